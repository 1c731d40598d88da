/* SPDX-License-Identifier: Apache-2.0 */
/* Of origins, of what is steered, and of what does not go together. */
#include "diagnostics.h"

static const struct row origin_rows[] = {
    {"backup", TEXT(SERVERS("{address: \"192.0.2.1:1\", backup: maybe}")),
     "f:2:50: error: \"backup\" does not take \"maybe\"; it takes on or off\n"},
    {"connections of a server", TEXT(SERVERS("{address: \"192.0.2.1:1\", max_connections: 0}")),
     "f:2:59: error: \"max_connections\" must be from 1 to 10000000, not 0\n"},
    {"check", TEXT(ORIGIN("health: {check: redis}")),
     "f:2:49: error: \"check\" does not take \"redis\"; it takes off, tcp or tls\n"},
    {"send empty", TEXT(ORIGIN("health: {check: tcp, send: \"\"}")),
     "f:2:60: error: \"\" is empty; leave the key out\n"},
    {"send with an escape that is none", TEXT(ORIGIN("health: {check: tcp, send: 'a\\q'}")),
     "f:2:60: error: \"a\\q\" has a \"\\\" that is none of \\r, \\n, \\t, \\\\ and \\xHH\n"},
    {"send with half an escape", TEXT(ORIGIN("health: {check: tcp, send: '\\x1'}")),
     "f:2:60: error: \"\\x1\" has a \"\\\" that is none of \\r, \\n, \\t, \\\\ and \\xHH\n"},
    {"expect that ends in a backslash", TEXT(ORIGIN("health: {check: tcp, expect: 'a\\'}")),
     "f:2:62: error: \"a\\\" has a \"\\\" that is none of \\r, \\n, \\t, \\\\ and \\xHH\n"},
    {"interval", TEXT(ORIGIN("health: {check: tcp, interval: 10ms}")),
     "f:2:64: error: \"interval\" must be from 100ms to 1h, not \"10ms\"\n"},
    {"rise", TEXT(ORIGIN("health: {check: tcp, rise: 0}")),
     "f:2:60: error: \"rise\" must be from 1 to 1000, not 0\n"},
    {"eject", TEXT(ORIGIN("health: {eject: 5}")),
     "f:2:49: error: \"eject\" does not take \"5\"; it takes on or off\n"},
    {"eject failures", TEXT(ORIGIN("health: {eject: {failures: 0}}")),
     "f:2:60: error: \"failures\" must be from 1 to 1000, not 0\n"},
    {"queue", TEXT(ORIGIN("limits: {connections: 1, queue: -1}")),
     "f:2:65: error: \"queue\" must be a number, not \"-1\"\n"},
    {"retries", TEXT(ORIGIN("retries: 17")),
     "f:2:42: error: \"retries\" must be from 0 to 16, not 17\n"},
    {"source with port", TEXT(ORIGIN("source: \"192.0.2.1:1\"")),
     "f:2:41: error: \"192.0.2.1:1\" has a port; give the address alone\n"},
    {"source network", TEXT(ORIGIN("source: 192.0.2.0/24")),
     "f:2:41: error: \"192.0.2.0/24\" is not an address; write for example \"192.0.2.1\" or "
     "\"2001:db8::1\"\n"},
    {"source of the other family", TEXT(ORIGIN("source: \"2001:db8::1\"")),
     "f:2:17: error: \"192.0.2.1:1\" cannot be reached from \"source\" of origin \"o\": one is "
     "IPv4, the other IPv6\n"},
    {"slow start", TEXT(ORIGIN("slow_start: slowly")),
     "f:2:45: error: \"slow_start\" must be a duration such as \"500ms\", \"5s\", \"1m\" or "
     "\"2h\", or off, not \"slowly\"\n"},
    {"PROXY protocol", TEXT(ORIGIN("proxy_protocol: v3")),
     "f:2:49: error: \"proxy_protocol\" does not take \"v3\"; did you mean \"v1\"?\n"},
    {"backlog toward servers", TEXT(ORIGIN("socket: {backlog: 1}")),
     "f:2:42: error: unknown key \"backlog\" in \"socket\"; it takes fast_open, keepalive, "
     "user_timeout, receive_buffer and send_buffer\n"},
    {"controls where a word is due", TEXT(ORIGIN("balance: \"a\\tb\"")),
     "f:2:42: error: a value may not hold control characters or line ends\n"},
    {"pin", TEXT("origins: {o: {servers: [\"192.0.2.1:1\"], tls: {pins: abc}}}\n" WEB),
     "f:1:53: error: \"abc\" is not the digest of a public key; write 44 characters of base64, as "
     "`openssl x509 -in FILE -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst "
     "-sha256 -binary | openssl base64` prints them\n"},
    {"pin of another digest",
     TEXT("origins: {o: {servers: [\"192.0.2.1:1\"], tls: {pins: [sha1/x]}}}\n" WEB),
     "f:1:54: error: \"sha1/x\" is no digest by SHA-256\n"},
};

static const struct row steer_rows[] = {
    {"with others",
     TEXT("listeners:\n"
	  "  - bind: \"192.0.2.1:53\"\n"
	  "    routes:\n"
	  "      - {steer: \"udp://192.0.2.9:53\"}\n"
	  "      - {pass: \"tcp://192.0.2.9:53\"}\n"),
     "f:5:9: error: a route with \"steer\" stands alone in its listener; give the others one of "
     "their own\n"},
    {"any address",
     TEXT("listeners: [{bind: \":53\", routes: [{steer: \"udp://192.0.2.9:53\"}]}]\n"),
     "f:1:20: error: \":53\": packets are steered at one IPv4 address, such as \"192.0.2.1:53\" "
     "(IPv6 is not built yet)\n"},
    {"any IPv4 address",
     TEXT("listeners: [{bind: \"0.0.0.0:53\", routes: [{steer: \"udp://192.0.2.9:53\"}]}]\n"),
     "f:1:20: error: \"0.0.0.0:53\": packets are steered at one IPv4 address, such as "
     "\"192.0.2.1:53\" (IPv6 is not built yet)\n"},
    {"IPv6",
     TEXT("listeners: [{bind: \"[2001:db8::1]:53\", routes: [{steer: \"udp://192.0.2.9:53\"}]}]\n"),
     "f:1:20: error: \"[2001:db8::1]:53\": packets are steered at one IPv4 address, such as "
     "\"192.0.2.1:53\" (IPv6 is not built yet)\n"},
    {"IPv6 server",
     TEXT("listeners: [{bind: \"192.0.2.1:53\", routes: [{steer: \"udp://[2001:db8::9]:53\"}]}]\n"),
     "f:1:53: error: packets are steered to IPv4 servers; \"[2001:db8::9]:53\" is none (IPv6 is "
     "not built yet)\n"},
    {"protocol differs",
     TEXT("listeners: [{bind: \"192.0.2.1:53\", protocol: tcp, routes: [{steer: "
	  "\"udp://192.0.2.9:53\"}]}]\n"),
     "f:1:46: error: \"protocol\" and the URL of \"steer\" differ; leave \"protocol\" out\n"},
    {"udp without steer", TEXT(WEB "    protocol: udp\n"),
     "f:4:15: error: UDP is taken by routes with \"steer\" only\n"},
    {"tls",
     TEXT("listeners: [{bind: \"192.0.2.1:53\", tls: {certificates: [a]}, routes: [{steer: "
	  "\"tcp://192.0.2.9:53\"}]}]\n"),
     "f:1:36: error: \"tls\" has no meaning beside \"steer\": packets are not opened\n"},
    {"sni",
     TEXT("listeners: [{bind: \"192.0.2.1:53\", routes: [{steer: \"tcp://192.0.2.9:53\", sni: "
	  "a}]}]\n"),
     "f:1:75: error: \"sni\" has no meaning beside \"steer\": packets are steered before anything "
     "is read\n"},
    {"host name",
     TEXT("listeners: [{bind: \"192.0.2.1:53\", routes: [{steer: "
	  "\"udp://dns.example.com:53\"}]}]\n"),
     "f:1:53: error: \"dns.example.com:53\" names a host: looking names up is not built yet for "
     "origins of \"steer\"; give an IPv4 address and port\n"},
    {"bounds", TEXT(STEERED(", limits: {connections: 5}")),
     "f:2:45: error: origin \"o\" has \"limits\", which is not built yet beside \"steer\"\n"},
    {"source address", TEXT(STEERED(", source: 192.0.2.1")),
     "f:2:45: error: origin \"o\" has \"source\", which is not built yet beside \"steer\"\n"},
    {"PROXY protocol to servers", TEXT(STEERED(", proxy_protocol: v2")),
     "f:2:45: error: origin \"o\" has \"proxy_protocol\", which is not built yet beside "
     "\"steer\"\n"},
    {"bounds of a server",
     TEXT("origins: {o: {servers: [{address: \"192.0.2.9:1\", max_connections: 2}]}}\n"
	  "listeners: [{bind: \"192.0.2.1:53\", routes: [{steer: o}]}]\n"),
     "f:1:35: error: \"max_connections\" is not built yet for origins of \"steer\"\n"},
    {"access", TEXT(STEERING("access: {deny: 192.0.2.66}")),
     "f:4:5: error: \"access\" is not built yet beside \"steer\"\n"},
    {"limits", TEXT(STEERING("limits: {rate: 5}")),
     "f:4:5: error: \"limits\" is not built yet beside \"steer\"\n"},
    {"socket", TEXT(STEERING("socket: {backlog: 5}")),
     "f:4:5: error: \"socket\" is not built yet beside \"steer\"\n"},
    {"PROXY protocol", TEXT(STEERING("proxy_protocol: {from: 192.0.2.2}")),
     "f:4:5: error: \"proxy_protocol\" is not built yet beside \"steer\"\n"},
    {"source of a route",
     TEXT("listeners: [{bind: \"192.0.2.1:53\", routes: [{steer: \"udp://192.0.2.9:53\", source: "
	  "192.0.2.0/24}]}]\n"),
     "f:1:75: error: \"source\" is not built yet beside \"steer\"\n"},
    {"UNIX socket",
     TEXT("listeners: [{bind: \"unix:/run/x\", routes: [{steer: \"udp://192.0.2.9:53\"}]}]\n"),
     "f:1:20: error: \"unix:/run/x\": packets are steered at one IPv4 address, such as "
     "\"192.0.2.1:53\" (IPv6 is not built yet)\n"},
};

static const struct row together_rows[] = {
    {"listener names",
     TEXT("listeners:\n"
	  "  - {name: a, bind: \":80\", " ROUTES "}\n"
	  "  - {name: a, bind: \":81\", " ROUTES "}\n"),
     "f:3:5: error: two listeners have the name \"a\"; the first is on line 2\n"},
    {"same address",
     TEXT("listeners:\n"
	  "  - {bind: \":80\", " ROUTES "}\n"
	  "  - {bind: \":80\", " ROUTES "}\n"),
     "f:3:12: error: \":80\" is taken already, by \":80\" on line 2\n"},
    {"same address in one list",
     TEXT("listeners:\n"
	  "  - {bind: [\":80\", \":80\"], " ROUTES "}\n"),
     "f:2:20: error: \":80\" is taken already, by \":80\" on line 2\n"},
    {"any of both kinds",
     TEXT("listeners:\n"
	  "  - {bind: \":80\", " ROUTES "}\n"
	  "  - {bind: \"0.0.0.0:80\", " ROUTES "}\n"),
     "f:3:12: error: \"0.0.0.0:80\" is taken already, by \":80\" on line 2\n"},
    {"mapped address",
     TEXT("listeners:\n"
	  "  - {bind: \"192.0.2.1:80\", " ROUTES "}\n"
	  "  - {bind: \"[::ffff:192.0.2.1]:80\", " ROUTES "}\n"),
     "f:3:12: error: \"[::ffff:192.0.2.1]:80\" is taken already, by \"192.0.2.1:80\" on line 2\n"},
    {"origin twice",
     TEXT("origins:\n"
	  "  o: {servers: [\"192.0.2.1:1\"]}\n"
	  "  o: {servers: [\"192.0.2.1:1\"]}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:3:3: error: origin \"o\" is given twice; the first is on line 2\n"},
    {"all errors",
     TEXT("proces: {}\n"
	  "log: {level: loud, access: maybe}\n"
	  "listeners:\n"
	  "  - bind: \":443\"\n"
	  "    tls: {certificates: [a], kernel: of}\n"
	  "    routes: [{to: vault, path: x}, {pass: db}]\n"),
     "f:1:1: error: unknown key \"proces\" in the file; did you mean \"process\"?\n"
     "f:2:14: error: \"level\" does not take \"loud\"; it takes error, warn, info or debug\n"
     "f:2:28: error: \"access\" does not take \"maybe\"; it takes on or off\n"
     "f:5:38: error: \"kernel\" does not take \"of\"; did you mean \"off\"?\n"
     "f:6:19: error: no origin has the name \"vault\"; give it under \"origins\", or write a URL "
     "with http://, https://, tcp:// or tls://\n"
     "f:6:32: error: \"x\" is not a path; begin it with \"/\"\n"
     "f:6:43: error: no origin has the name \"db\"; give it under \"origins\", or write a URL with "
     "tcp://\n"},
};

static void test_origin(void **state)
{
	(void)state;
	check_rows(origin_rows, true);
}

static void test_steer(void **state)
{
	(void)state;
	check_rows(steer_rows, true);
}

static void test_together(void **state)
{
	(void)state;
	check_rows(together_rows, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_origin),
	    cmocka_unit_test(test_steer),
	    cmocka_unit_test(test_together),
	};

	return cmocka_run_group_tests_name("conf diagnostics of origin", tests, NULL, NULL);
}
