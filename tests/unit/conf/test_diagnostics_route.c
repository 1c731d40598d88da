/* SPDX-License-Identifier: Apache-2.0 */
/* Of listeners and their routes. */
#include "diagnostics.h"

static const struct row route_rows[] = {
    {"no lane",
     TEXT(BIND "    routes:\n"
	       "      - {host: a}\n"),
     "f:4:9: error: a route needs \"to\", \"pass\" or \"steer\"; for example to: "
     "\"http://127.0.0.1:8080\"\n"},
    {"two lanes",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", pass: \"tcp://127.0.0.1:1\"}\n"),
     "f:4:9: error: a route takes one of \"to\", \"pass\" and \"steer\", not \"to\" and "
     "\"pass\"\n"},
    {"unknown origin",
     TEXT("origins: {vault: {servers: [\"192.0.2.1:1\"]}}\n"
	  "listeners:\n"
	  "  - bind: \":80\"\n"
	  "    routes:\n"
	  "      - {to: vualt}\n"),
     "f:5:14: error: no origin has the name \"vualt\"; did you mean \"vault\"?\n"},
    {"unknown origin, nothing near",
     TEXT(BIND "    routes:\n"
	       "      - {to: vault}\n"),
     "f:4:14: error: no origin has the name \"vault\"; give it under \"origins\", or write a URL "
     "with http://, https://, tcp:// or tls://\n"},
    {"no scheme",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"127.0.0.1:80\"}\n"),
     "f:4:14: error: \"127.0.0.1:80\" has no scheme; begin it with http://, https://, "
     "tcp:// or tls://\n"},
    {"neither",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"a b\"}\n"),
     "f:4:14: error: \"a b\" is neither a URL nor the name of an origin\n"},
    {"scheme",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"ftp://127.0.0.1:1\"}\n"),
     "f:4:14: error: \"ftp://127.0.0.1:1\": \"to\" takes http://, https://, tcp:// or tls://, "
     "or the name of an origin\n"},
    {"scheme of pass",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"https://127.0.0.1:1\"}\n"),
     "f:4:16: error: \"https://127.0.0.1:1\": \"pass\" takes tcp://, or the name of an origin\n"},
    {"path of a stream",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"tcp://127.0.0.1:1/\"}\n"),
     "f:4:14: error: \"tcp://127.0.0.1:1/\": \"127.0.0.1:1/\" is not an address with a port; write "
     "for example \"192.0.2.1:8200\", \"[2001:db8::1]:8200\" or \"db.example.com:8200\"\n"},
    {"pass into TLS",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tls://127.0.0.1:1\"}\n"),
     "f:4:16: error: \"tls://127.0.0.1:1\": \"pass\" leaves bytes as they are; use tcp://, or "
     "\"to\" where they are to be encrypted\n"},
    {"URL host that is none",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"https://a..b:8200\"}\n"),
     "f:4:14: error: \"https://a..b:8200\": \"a..b:8200\" is not an address with a port; write "
     "for example \"192.0.2.1:8200\", \"[2001:db8::1]:8200\" or \"db.example.com:8200\"\n"},
    {"URL host without port",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://localhost\"}\n"),
     "f:4:16: error: \"tcp://localhost\": \"localhost\" has no port; write for example "
     "\"db.example.com:5432\"\n"},
    {"URL path",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1/api\"}\n"),
     "f:4:14: error: \"http://127.0.0.1:1/api\" has a path or query: changing those is not built "
     "yet; end it after the port\n"},
    {"URL query",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1?a\"}\n"),
     "f:4:14: error: \"http://127.0.0.1:1?a\" has a path or query: changing those is not built "
     "yet; end it after the port\n"},
    {"URL user",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://u@127.0.0.1:1\"}\n"),
     "f:4:14: error: \"http://u@127.0.0.1:1\" has a user name; leave it out\n"},
    {"URL empty",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://\"}\n"),
     "f:4:14: error: \"http://\": \"\" is not an address with a port; write for example "
     "\"192.0.2.1:8200\", \"[2001:db8::1]:8200\" or \"db.example.com:8200\"\n"},
    {"URL port",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:0\"}\n"),
     "f:4:14: error: \"http://127.0.0.1:0\": \"127.0.0.1:0\" has no port from 1 to 65535\n"},
    {"URL long",
     TEXT(BIND "    routes:\n"
	       "      - {to: "
	       "\"http://"
	       "11111111111111111111111111111111111111111111111111111111111111111111111111111111111"
	       "11111111111111111111111111111111111111111111111111111111111111111111111111111111111"
	       "11111111111111111111111111111111111111111111111111111111111111111111111111111111111"
	       "11111111111111111111111111111111111111111111111\"}\n"),
     "f:4:14: error: "
     "\"http://1111111111111111111111111111111111111111111111111111111111111111111111111…\" is "
     "longer than an address\n"},
    {"tcp without port",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1\"}\n"),
     "f:4:16: error: \"tcp://127.0.0.1\": \"127.0.0.1\" is not an address with a port; write for "
     "example "
     "\"192.0.2.1:8200\", \"[2001:db8::1]:8200\" or \"db.example.com:8200\"\n"},
    {"tcp with slash",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1/\"}\n"),
     "f:4:16: error: \"tcp://127.0.0.1:1/\": \"127.0.0.1:1/\" is not an address with a port; write "
     "for example "
     "\"192.0.2.1:8200\", \"[2001:db8::1]:8200\" or \"db.example.com:8200\"\n"},
    {"host with port",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", host: \"a:80\"}\n"),
     "f:4:42: error: \"a:80\" has a port; give the name alone\n"},
    {"host star",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", host: \"*\"}\n"),
     "f:4:42: error: \"*\" matches everything; leave the key out instead\n"},
    {"host star within",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", host: \"a.*.b\"}\n"),
     "f:4:42: error: \"a.*.b\" has a \"*\" elsewhere than as its whole first label, as in "
     "\"*.example.com\"\n"},
    {"host not ASCII",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", host: \"b\303\274cher.example\"}\n"),
     "f:4:42: error: \"bücher.example\" is not ASCII; write its \"xn--\" form\n"},
    {"host dot",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", host: \"a.\"}\n"),
     "f:4:42: error: \"a.\" ends with a dot; leave that out\n"},
    {"host dots",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", host: \"a..b\"}\n"),
     "f:4:42: error: \"a..b\" is not a domain name\n"},
    {"host label",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", host: "
	       "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b\"}\n"),
     "f:4:42: error: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b\" is not "
     "a domain name\n"},
    {"path",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", path: api}\n"),
     "f:4:42: error: \"api\" is not a path; begin it with \"/\"\n"},
    {"path star",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", path: \"/api/*\"}\n"),
     "f:4:42: error: \"/api/*\" has a \"*\": a path is a prefix already, patterns are not taken\n"},
    {"path query",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", path: \"/a?b\"}\n"),
     "f:4:42: error: \"/a?b\" has a query or fragment; give the path alone\n"},
    {"path space",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", path: \"/a b\"}\n"),
     "f:4:42: error: \"/a b\" has a character that a path in a request cannot have; write it as "
     "%XX\n"},
    {"path dots",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", path: \"/a/../b\"}\n"),
     "f:4:42: error: \"/a/../b\" has an empty, \".\" or \"..\" segment, which is taken out of "
     "requests before they are compared\n"},
    {"path empty segment",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", path: \"/a//b\"}\n"),
     "f:4:42: error: \"/a//b\" has an empty, \".\" or \"..\" segment, which is taken out of "
     "requests before they are compared\n"},
    {"host beside pass",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", host: a}\n"),
     "f:4:37: error: \"host\" has no meaning beside \"pass\": only requests have a host; use "
     "\"sni\", or \"to\" with http\n"},
    {"host of a stream",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"tcp://127.0.0.1:1\", host: a}\n"),
     "f:4:35: error: \"host\" has no meaning beside \"to\" a stream: only requests have a host; "
     "use \"sni\", or \"to\" with http\n"},
    {"path of an origin of streams",
     TEXT("origins: {o: {servers: [\"192.0.2.1:1\"], protocol: tcp}}\n" BIND "    routes:\n"
	  "      - {to: o, path: /a}\n"),
     "f:5:17: error: \"path\" has no meaning beside \"to\" a stream: only requests have a path; "
     "use \"to\" with http\n"},
    {"direction of the kernel's TLS",
     TEXT("origins: {o: {servers: [\"192.0.2.1:1\"], tls: {kernel: {recieve: off}}}}\n" BIND
	  "    routes:\n"
	  "      - {to: o}\n"),
     "f:1:56: error: unknown key \"recieve\" in \"kernel\"; did you mean \"receive\"?\n"},
    {"http2 origins",
     TEXT("origins: {o: {servers: [\"192.0.2.1:1\"], protocol: http2}}\n" BIND "    routes:\n"
	  "      - {to: o}\n"),
     "f:1:51: error: \"protocol\": \"http2\" is not built yet\n"},
    {"path beside pass",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", path: /a}\n"),
     "f:4:37: error: \"path\" has no meaning beside \"pass\": only requests have a path; use "
     "\"to\" with http\n"},
    {"relay beside to",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", relay: copy}\n"),
     "f:4:36: error: \"relay\" has no meaning beside \"to\": it is how streams of bytes are "
     "carried\n"},
    {"sni beside to without tls",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", sni: a}\n"),
     "f:4:9: error: \"sni\" beside \"to\" needs \"tls\" in the listener; use \"host\", or "
     "\"pass\"\n"},
};

static const struct row listener_rows[] = {
    {"connections of a source", TEXT(WEB "    limits: {per_source: {connections: 0}}\n"),
     "f:4:40: error: \"connections\" must be from 1 to 10000000, not 0\n"},
    {"backlog", TEXT(WEB "    socket: {backlog: 65536}\n"),
     "f:4:23: error: \"backlog\" must be from 1 to 65535, not 65536\n"},
    {"fast open", TEXT(WEB "    socket: {fast_open: 1}\n"),
     "f:4:25: error: \"fast_open\" does not take \"1\"; it takes on or off\n"},
    {"defer accept", TEXT(WEB "    socket: {defer_accept: on}\n"),
     "f:4:28: error: \"defer_accept\" must be a duration such as \"500ms\", \"5s\", \"1m\" or "
     "\"2h\", not \"on\"\n"},
    {"keepalive", TEXT(WEB "    socket: {keepalive: 60s}\n"),
     "f:4:25: error: \"keepalive\" does not take \"60s\"; it takes on or off\n"},
    {"keepalive time", TEXT(WEB "    socket: {keepalive: {idle: 500ms}}\n"),
     "f:4:32: error: \"idle\" must be from 1s to 32767s, not \"500ms\"\n"},
    {"keepalive count", TEXT(WEB "    socket: {keepalive: {count: 128}}\n"),
     "f:4:33: error: \"count\" must be from 1 to 127, not 128\n"},
    {"user timeout", TEXT(WEB "    socket: {user_timeout: 0s}\n"),
     "f:4:28: error: \"user_timeout\" must be from 1ms to 24h, not \"0s\"\n"},
    {"receive buffer", TEXT(WEB "    socket: {receive_buffer: 1KiB}\n"),
     "f:4:30: error: \"receive_buffer\" must be from 64KiB to 1GiB, not \"1KiB\"\n"},
    {"UNIX sockets twice",
     TEXT("listeners:\n"
	  "  - {bind: \"unix:/run/a\", " ROUTES "}\n"
	  "  - {bind: [\"unix:/run/b\", \"unix:/run/a\"], " ROUTES "}\n"),
     "f:3:28: error: \"unix:/run/a\" is taken already, by \"unix:/run/a\" on line 2\n"},
    {"a range with a port that is taken",
     TEXT("listeners:\n"
	  "  - {bind: \":1005\", " ROUTES "}\n"
	  "  - {bind: \":1000-1010\", " ROUTES "}\n"),
     "f:3:12: error: \":1005\" is taken already, by \":1005\" on line 2\n"},
    {"ranges that meet are told of once",
     TEXT("listeners:\n"
	  "  - {bind: \":1000-1010\", " ROUTES "}\n"
	  "  - {bind: \":1008-1020\", " ROUTES "}\n"),
     "f:3:12: error: \":1008\" is taken already, by \":1008\" on line 2\n"},
    {"alpn empty",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", alpn: \"\"}\n"),
     "f:4:43: error: \"\" is not the name of a protocol in ALPN; write for example \"h2\" or "
     "\"http/1.1\"\n"},
    {"alpn with a space",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", alpn: [h2, \"h 3\"]}\n"),
     "f:4:48: error: \"h 3\" is not the name of a protocol in ALPN; write for example \"h2\" or "
     "\"http/1.1\"\n"},
    {"alpn beside to without tls",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", alpn: h2}\n"),
     "f:4:9: error: \"alpn\" beside \"to\" needs \"tls\" in the listener; take it out, or use "
     "\"pass\"\n"},
    {"limits beside to",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", limits: {bandwidth: 1MiB}}\n"),
     "f:4:36: error: \"limits\" is not built yet beside \"to\"\n"},
};

static void test_route(void **state)
{
	(void)state;
	check_rows(route_rows, true);
}

static void test_listener(void **state)
{
	(void)state;
	check_rows(listener_rows, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_route),
	    cmocka_unit_test(test_listener),
	};

	return cmocka_run_group_tests_name("conf diagnostics of route", tests, NULL, NULL);
}
