/* SPDX-License-Identifier: Apache-2.0 */
/* Of what is taken, with a warning or in silence. */
#include "diagnostics.h"

static const struct row warning_rows[] = {
    {"requests after a stream for everything",
     TEXT(BIND "    tls: {certificates: [a]}\n"
	       "    routes:\n"
	       "      - {to: \"tcp://127.0.0.1:1\"}\n"
	       "      - {to: \"http://127.0.0.1:2\", host: a}\n"),
     "f:6:9: warning: nothing reaches this route: the one on line 5 takes all of it; put this one "
     "first\n"},
    {"a stream after requests of every name",
     TEXT(BIND "    tls: {certificates: [a]}\n"
	       "    routes:\n"
	       "      - {to: \"http://127.0.0.1:2\", path: /a}\n"
	       "      - {to: \"tcp://127.0.0.1:1\", sni: a}\n"),
     "f:6:9: warning: nothing reaches this route: the one on line 5 takes all of it; put this one "
     "first\n"},
    {"a stream after requests, without TLS",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:2\", host: a}\n"
	       "      - {to: \"tcp://127.0.0.1:1\"}\n"),
     "f:5:9: warning: nothing reaches this route: the one on line 4 takes all of it; put this one "
     "first\n"},
    {"verify off",
     TEXT("origins:\n"
	  "  o: {servers: [\"192.0.2.1:1\"], tls: {verify: off}}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:38: warning: the certificate of origin \"o\" is not verified: whoever is on the way can "
     "read and change all; give \"ca\" instead of \"verify: off\"\n"},
    {"verify off but pinned",
     TEXT("origins:\n"
	  "  o: {servers: [\"192.0.2.1:1\"], tls: {verify: off, pins: "
	  "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:38: warning: the certificate of origin \"o\" is not verified, only its key is compared "
     "with \"pins\": neither its name nor its time counts\n"},
    {"route after one for everything",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\"}\n"
	       "      - {to: \"http://127.0.0.1:2\", host: a}\n"),
     "f:5:9: warning: nothing reaches this route: the one on line 4 takes all of it; put this one "
     "first\n"},
    {"route after a wider path",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", path: /a}\n"
	       "      - {to: \"http://127.0.0.1:2\", path: /a/b}\n"),
     "f:5:9: warning: nothing reaches this route: the one on line 4 takes all of it; put this one "
     "first\n"},
    {"route after a wildcard",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", host: \"*.a\"}\n"
	       "      - {to: \"http://127.0.0.1:2\", host: b.a}\n"),
     "f:5:9: warning: nothing reaches this route: the one on line 4 takes all of it; put this one "
     "first\n"},
    {"route after a pass of all",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\"}\n"
	       "      - {to: \"http://127.0.0.1:2\"}\n"),
     "f:5:9: warning: nothing reaches this route: the one on line 4 takes all of it; put this one "
     "first\n"},
    {"pass after the same sni",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", sni: a}\n"
	       "      - {pass: \"tcp://127.0.0.1:2\", sni: A}\n"),
     "f:5:9: warning: nothing reaches this route: the one on line 4 takes all of it; put this one "
     "first\n"},
    {"pass after all TLS is ended",
     TEXT(BIND "    tls: {certificates: [a]}\n"
	       "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\"}\n"
	       "      - {pass: \"tcp://127.0.0.1:2\", sni: a}\n"),
     "f:6:9: warning: nothing reaches this route: the one on line 5 takes all of it; put this one "
     "first\n"},
    {"pass after the same host is ended",
     TEXT(BIND "    tls: {certificates: [a]}\n"
	       "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", host: a}\n"
	       "      - {pass: \"tcp://127.0.0.1:2\", sni: a}\n"),
     "f:6:9: warning: nothing reaches this route: the one on line 5 takes all of it; put this one "
     "first\n"},
    {"tls without to",
     TEXT(BIND "    tls: {certificates: [a]}\n"
	       "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\"}\n"),
     "f:3:5: warning: \"tls\" is not used: no route of this listener has \"to\"\n"},
    {"origin without route", TEXT("origins: {o: {servers: [\"192.0.2.1:1\"]}}\n" WEB),
     "f:1:11: warning: no route leads to origin \"o\"\n"},
    {"server twice",
     TEXT("origins:\n"
	  "  o: {servers: [\"192.0.2.1:1\", \"192.0.2.1:1\"]}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:32: warning: \"192.0.2.1:1\" is in this list already\n"},
    {"bind within nat_ports", TEXT("listeners: [{bind: \":61000\", " ROUTES "}]\n"),
     "f:1:13: warning: the port of \":61000\" is within \"nat_ports\" of the steer lane\n"},
    {"route after one for a wider network",
     TEXT(BIND
	  "    routes:\n"
	  "      - {pass: \"tcp://127.0.0.1:1\", source: [192.0.2.0/24, \"2001:db8::/32\"]}\n"
	  "      - {pass: \"tcp://127.0.0.1:2\", source: [192.0.2.64/26, \"2001:db8:1::/48\"]}\n"),
     "f:5:9: warning: nothing reaches this route: the one on line 4 takes all of it; put this one "
     "first\n"},
    {"route after one for all addresses",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", destination: [0.0.0.0/0, \"::/0\"]}\n"
	       "      - {pass: \"tcp://127.0.0.1:2\"}\n"),
     "f:5:9: warning: nothing reaches this route: the one on line 4 takes all of it; put this one "
     "first\n"},
    {"route after one for more protocols",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", alpn: [h2, http/1.1]}\n"
	       "      - {pass: \"tcp://127.0.0.1:2\", alpn: h2}\n"),
     "f:5:9: warning: nothing reaches this route: the one on line 4 takes all of it; put this one "
     "first\n"},
    {"PROXY protocol from everybody",
     TEXT(WEB "    proxy_protocol: {from: [192.0.2.1, 0.0.0.0/0]}\n"),
     "f:2:5: warning: \"proxy_protocol\" trusts everybody (0.0.0.0/0): any client may say that it "
     "is another; give the addresses of the proxies in front\n"},
    {"deny has all of allow", TEXT(WEB "    access: {allow: 192.0.2.0/25, deny: 192.0.2.0/24}\n"),
     "f:2:5: warning: nobody is let in: \"deny\" has all of \"allow\", and is stronger\n"},
    {"deny has everybody", TEXT(WEB "    access: {deny: [0.0.0.0/0, \"::/0\"]}\n"),
     "f:2:5: warning: nobody is let in: \"deny\" has every address\n"},
    {"defer accept where the server speaks first",
     TEXT(BIND "    routes: [{pass: \"tcp://127.0.0.1:1\"}]\n"
	       "    socket: {defer_accept: 5s}\n"),
     "f:3:14: warning: with \"defer_accept\" a client that waits for the server to speak first "
     "waits "
     "for 5 s\n"},
    {"bandwidth of one above that of all",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", limits: {bandwidth: 2MiB, total_bandwidth: "
	       "1MiB}}\n"),
     "f:4:9: warning: \"bandwidth\" of a connection is more than \"total_bandwidth\" of all\n"},
    {"queue without bound", TEXT(ORIGIN("limits: {queue: 5}")),
     "f:2:3: warning: \"queue\" of origin \"o\" is not used: nothing bounds its connections; give "
     "\"connections\" too, or \"max_connections\" of a server\n"},
    {"eject all", TEXT(TWO("health: {eject: {max: 100%}}")),
     "f:2:3: warning: origin \"o\" may leave out all of its servers at once: \"max\" in \"eject\" "
     "is 100%\n"},
    {"backups without check",
     TEXT(SERVERS("\"192.0.2.1:1\", {address: \"192.0.2.2:1\", backup: on}")),
     "f:2:3: warning: the backups of origin \"o\" are used only after connections to the others "
     "failed; give \"health\" a \"check\"\n"},
    {"backups alone", TEXT(SERVERS("{address: \"192.0.2.2:1\", backup: on}")),
     "f:2:3: warning: every server of origin \"o\" is a backup: there is none that they stand in "
     "for\n"},
    {"send without check", TEXT(ORIGIN("health: {send: a}")),
     "f:2:3: warning: \"send\" of origin \"o\" is not used: \"check\" is off\n"},
    {"expect without check", TEXT(ORIGIN("health: {expect: a}")),
     "f:2:3: warning: \"expect\" of origin \"o\" is not used: \"check\" is off\n"},
    {"check longer than its interval", TEXT(ORIGIN("health: {check: tcp, interval: 1s}")),
     "f:2:3: warning: a check of origin \"o\" may take longer than \"interval\"; make \"timeout\" "
     "shorter\n"},
    {"PROXY protocol for requests", TEXT(ORIGIN("proxy_protocol: v1")),
     "f:2:3: warning: requests to origin \"o\" get a connection each, as \"proxy_protocol\" is of "
     "one client: none is kept for the next\n"},
    {"balance of steered flows", TEXT(STEERED(", balance: least_connections")),
     "f:2:45: warning: \"balance\" of origin \"o\" is not used by \"steer\", which spreads flows "
     "by their addresses and ports\n"},
    {"name twice", TEXT(SERVERS("\"db.example.com:1\", \"DB.example.com:1\"")),
     "f:2:37: warning: \"DB.example.com:1\" is in this list already\n"},
};

/* Silence is right: neither error nor warning. */
static const struct row quiet_rows[] = {
    {"streams before requests, by name",
     TEXT(BIND
	  "    tls: {certificates: [a]}\n"
	  "    routes:\n"
	  "      - {to: \"tcp://127.0.0.1:1\", sni: a}\n"
	  "      - {to: \"tls://127.0.0.1:2\", alpn: b, relay: pipe, limits: {bandwidth: 1MiB}}\n"
	  "      - {to: \"http://127.0.0.1:2\", host: c}\n"
	  "      - {to: \"tcp://127.0.0.1:3\"}\n"),
     ""},
    {"the same address passed on and ended",
     TEXT(BIND "    tls: {certificates: [a]}\n"
	       "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", sni: a}\n"
	       "      - {to: \"tcp://127.0.0.1:1\"}\n"),
     ""},
    {"host before another sni",
     TEXT(BIND "    tls: {certificates: [a]}\n"
	       "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", host: a}\n"
	       "      - {pass: \"tcp://127.0.0.1:2\", sni: b}\n"),
     ""},
    {"narrow before wide",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", host: a, path: /x}\n"
	       "      - {to: \"http://127.0.0.1:2\", host: a}\n"
	       "      - {to: \"http://127.0.0.1:3\"}\n"),
     ""},
    {"sibling paths",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", path: /a}\n"
	       "      - {to: \"http://127.0.0.1:2\", path: /ab}\n"),
     ""},
    {"two labels below a wildcard",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", host: \"*.a\"}\n"
	       "      - {to: \"http://127.0.0.1:2\", host: c.b.a}\n"),
     ""},
    {"pass of TLS after plain HTTP",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\"}\n"
	       "      - {pass: \"tcp://127.0.0.1:2\"}\n"),
     ""},
    {"pass of TLS with a name after plain HTTP",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\"}\n"
	       "      - {pass: \"tcp://127.0.0.1:2\", sni: a}\n"),
     ""},
    {"a path below one of another host",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", host: a, path: /x}\n"
	       "      - {to: \"http://127.0.0.1:2\", host: b, path: /x/y}\n"),
     ""},
    {"TCP and UDP on one address",
     TEXT("listeners:\n"
	  "  - {bind: \"192.0.2.1:53\", routes: [{steer: \"udp://192.0.2.9:53\"}]}\n"
	  "  - {bind: \"192.0.2.1:53\", routes: [{steer: \"tcp://192.0.2.9:53\"}]}\n"),
     ""},
    {"one address and all",
     TEXT("listeners:\n"
	  "  - {bind: \":80\", " ROUTES "}\n"
	  "  - {bind: \"192.0.2.1:80\", " ROUTES "}\n"),
     ""},
    {"verify off in quotes",
     TEXT("{listeners: [{bind: \":80\", " ROUTES "}], log: {access: \"off\"}}\n"), ""},
    {"truth value", TEXT("log: {access: true}\n" WEB), ""},
    {"CRLF",
     TEXT("listeners:\r\n"
	  "  - bind: \":80\"\r\n"
	  "    " ROUTES "\r\n"),
     ""},
    {"byte order mark", TEXT("\357\273\277" WEB), ""},
    {"a route for some before one for all",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", source: 192.0.2.0/24}\n"
	       "      - {pass: \"tcp://127.0.0.1:2\", destination: 192.0.2.1}\n"
	       "      - {pass: \"tcp://127.0.0.1:3\", alpn: h2}\n"
	       "      - {pass: \"tcp://127.0.0.1:4\"}\n"),
     ""},
    {"a wide network after a narrow one",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", source: 192.0.2.0/25}\n"
	       "      - {pass: \"tcp://127.0.0.1:2\", source: 192.0.2.0/24}\n"),
     ""},
    {"neighbours within a byte",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", source: 192.0.2.0/25}\n"
	       "      - {pass: \"tcp://127.0.0.1:2\", source: 192.0.2.128/26}\n"),
     ""},
    {"all of IPv4 before the rest",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", source: 0.0.0.0/0}\n"
	       "      - {pass: \"tcp://127.0.0.1:2\"}\n"),
     ""},
    {"more protocols after one",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", alpn: h2}\n"
	       "      - {pass: \"tcp://127.0.0.1:2\", alpn: [h2, http/1.1]}\n"),
     ""},
    {"queue behind the bound of a server",
     TEXT("origins:\n"
	  "  o: {servers: [{address: \"192.0.2.1:1\", max_connections: 5}], limits: {queue: 5}}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     ""},
    {"one server may not be spared anyway", TEXT(ORIGIN("health: {eject: {max: 100%}}")), ""},
    {"PROXY protocol for streams",
     TEXT("origins: {o: {servers: [\"192.0.2.1:1\"], proxy_protocol: v2}}\n"
	  "listeners: [{bind: \":80\", routes: [{pass: o}]}]\n"),
     ""},
    {"one name, two ports", TEXT(SERVERS("\"db.example.com:1\", \"db.example.com:2\"")), ""},
    {"IPv4 source of a UNIX server and a name",
     TEXT("origins: {o: {servers: [\"unix:/x\", \"db.example.com:1\"], source: 192.0.2.1}}\n"
	  "listeners: [{bind: \":80\", routes: [{pass: o}]}]\n"),
     ""},
};

static void test_warning(void **state)
{
	(void)state;
	check_rows(warning_rows, false);
}

static void test_quiet(void **state)
{
	(void)state;
	check_rows(quiet_rows, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_warning),
	    cmocka_unit_test(test_quiet),
	};

	return cmocka_run_group_tests_name("conf diagnostics of warning", tests, NULL, NULL);
}
