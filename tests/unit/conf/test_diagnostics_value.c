/* SPDX-License-Identifier: Apache-2.0 */
/* Of single values: words, numbers, times, sizes, addresses and networks. */
#include "diagnostics.h"

static const struct row value_rows[] = {
    {"word", TEXT("log: {format: jsn}\n" WEB),
     "f:1:15: error: \"format\" does not take \"jsn\"; did you mean \"json\"?\n"},
    {"word, nothing near", TEXT("log: {level: loud}\n" WEB),
     "f:1:14: error: \"level\" does not take \"loud\"; it takes error, warn, info or debug\n"},
    {"word of the balancer",
     TEXT("origins:\n"
	  "  o: {servers: [\"192.0.2.1:1\"], balance: magleev}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:42: error: \"balance\" does not take \"magleev\"; did you mean \"maglev\"?\n"},
    {"word empty", TEXT("log: {level: \"\"}\n" WEB),
     "f:1:14: error: \"level\" does not take \"\"; it takes error, warn, info or debug\n"},
    {"switch yes", TEXT("log: {access: yes}\n" WEB),
     "f:1:15: error: \"access\" does not take \"yes\"; it takes on or off\n"},
    {"switch in quotes", TEXT("log: {access: \"true\"}\n" WEB),
     "f:1:15: error: \"access\" does not take \"true\"; it takes on or off\n"},
    {"number word", TEXT("process: {threads: many}\n" WEB),
     "f:1:20: error: \"threads\" must be a number or \"auto\", not \"many\"\n"},
    {"number fraction", TEXT("process: {threads: 1.5}\n" WEB),
     "f:1:20: error: \"threads\" must be a number or \"auto\", not \"1.5\"\n"},
    {"number in quotes", TEXT("process: {threads: \"2\"}\n" WEB),
     "f:1:20: error: \"threads\" must be a number or \"auto\", not \"2\" in quotes\n"},
    {"number low", TEXT("process: {threads: 0}\n" WEB),
     "f:1:20: error: \"threads\" must be from 1 to 64, not 0\n"},
    {"number high", TEXT("process: {threads: 65}\n" WEB),
     "f:1:20: error: \"threads\" must be from 1 to 64, not 65\n"},
    {"number huge", TEXT("process: {threads: 99999999999999999999}\n" WEB),
     "f:1:20: error: \"threads\" must be from 1 to 64, not 99999999999999999999\n"},
    {"negative", TEXT("process: {threads: -1}\n" WEB),
     "f:1:20: error: \"threads\" must be a number or \"auto\", not \"-1\"\n"},
    {"duration without unit", TEXT("process: {drain_timeout: 5}\n" WEB),
     "f:1:26: error: \"drain_timeout\" has no unit; write for example \"5s\" (units are ms, s, m "
     "and h)\n"},
    {"duration unit", TEXT("process: {drain_timeout: 5 s}\n" WEB),
     "f:1:26: error: \"drain_timeout\" must be a duration such as \"500ms\", \"5s\", \"1m\" or "
     "\"2h\", not \"5 s\"\n"},
    {"duration word", TEXT("process: {drain_timeout: soon}\n" WEB),
     "f:1:26: error: \"drain_timeout\" must be a duration such as \"500ms\", \"5s\", \"1m\" or "
     "\"2h\", not \"soon\"\n"},
    {"duration zero", TEXT("process: {drain_timeout: 0s}\n" WEB),
     "f:1:26: error: \"drain_timeout\" must be from 1ms to 24h, not \"0s\"\n"},
    {"duration long", TEXT("process: {drain_timeout: 25h}\n" WEB),
     "f:1:26: error: \"drain_timeout\" must be from 1ms to 24h, not \"25h\"\n"},
    {"duration huge", TEXT("process: {drain_timeout: 99999999999999999999h}\n" WEB),
     "f:1:26: error: \"drain_timeout\" must be from 1ms to 24h, not \"99999999999999999999h\"\n"},
    {"user", TEXT("process: {user: \"Root!\"}\n" WEB),
     "f:1:17: error: \"Root!\" is not the name of a user\n"},
    {"directory", TEXT("process: {runtime_dir: run}\n" WEB),
     "f:1:24: error: \"run\" is not an absolute path; begin it with \"/\"\n"},
    {"directory long",
     TEXT("process: {runtime_dir: "
	  "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}"
	  "\n" WEB),
     "f:1:24: error: "
     "\"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…\" is "
     "longer than the 80 bytes that a path may have here\n"},
    {"device", TEXT("steer: {devices: [a/b]}\n" WEB),
     "f:1:19: error: \"a/b\" is not the name of a network device; `ip link` shows them\n"},
    {"device long", TEXT("steer: {devices: [abcdefghijklmnop]}\n" WEB),
     "f:1:19: error: \"abcdefghijklmnop\" is not the name of a network device; `ip link` shows "
     "them\n"},
    {"resolver by name", TEXT("resolver: {servers: [192.0.2.53, dns.example.com]}\n" WEB),
     "f:1:34: error: \"dns.example.com\" is not the address of a name server; write for example "
     "\"192.0.2.53\" or \"[2001:db8::53]:5353\"\n"},
    {"resolver on a UNIX socket", TEXT("resolver: {servers: \"unix:/run/dns\"}\n" WEB),
     "f:1:21: error: \"unix:/run/dns\" is not the address of a name server; write for example "
     "\"192.0.2.53\" or \"[2001:db8::53]:5353\"\n"},
    {"ports", TEXT("steer: {nat_ports: 61000}\n" WEB),
     "f:1:20: error: \"61000\" is not a range of ports; write for example \"61000-65535\"\n"},
    {"ports reserved", TEXT("steer: {nat_ports: 80-90}\n" WEB),
     "f:1:20: error: \"80-90\" is not within 1024-65535\n"},
    {"ports too high", TEXT("steer: {nat_ports: 61000-65536}\n" WEB),
     "f:1:20: error: \"61000-65536\" is not within 1024-65535\n"},
    {"ports reversed", TEXT("steer: {nat_ports: 62000-61000}\n" WEB),
     "f:1:20: error: \"62000-61000\" ends before it begins\n"},
    {"listener name", TEXT(WEB "    name: \"a b\"\n"),
     "f:4:11: error: \"a b\" is not a name; take 1 to 63 of the characters a-z A-Z 0-9 - _ and "
     "dot\n"},
    {"origin name",
     TEXT("origins:\n"
	  "  \"a b\": {servers: [\"192.0.2.1:1\"]}\n" WEB),
     "f:2:3: error: \"a b\" is not a name; take 1 to 63 of the characters a-z A-Z 0-9 - _ and "
     "dot\n"},
};

static const struct row address_rows[] = {
    {"bind without port", TEXT("listeners: [{bind: \"192.0.2.1\", " ROUTES "}]\n"),
     "f:1:20: error: \"192.0.2.1\" is not an address with a port; write for example \":443\", "
     "\"192.0.2.1:443\" or \"[2001:db8::1]:443\"\n"},
    {"bind port 0", TEXT("listeners: [{bind: \":0\", " ROUTES "}]\n"),
     "f:1:20: error: \":0\" has no port from 1 to 65535\n"},
    {"bind port 65536", TEXT("listeners: [{bind: \":65536\", " ROUTES "}]\n"),
     "f:1:20: error: \":65536\" has no port from 1 to 65535\n"},
    {"bind host", TEXT("listeners: [{bind: \"localhost:80\", " ROUTES "}]\n"),
     "f:1:20: error: \"localhost:80\" names a host; give an address of this host, such as "
     "\"192.0.2.1:443\", or \":443\" for all\n"},
    {"bind IPv6 without brackets", TEXT("listeners: [{bind: \"2001:db8::1:80\", " ROUTES "}]\n"),
     "f:1:20: error: \"2001:db8::1:80\" is not an address with a port; write for example \":443\", "
     "\"192.0.2.1:443\" or \"[2001:db8::1]:443\"\n"},
    {"bind UNIX without path", TEXT("listeners: [{bind: \"unix:\", " ROUTES "}]\n"),
     "f:1:20: error: \"unix:\" is not a UNIX socket; write a path of 1 to 107 bytes, as in "
     "\"unix:/run/web.sock\"\n"},
    {"bind UNIX, not absolute", TEXT("listeners: [{bind: \"unix:run/x\", " ROUTES "}]\n"),
     "f:1:20: error: \"unix:run/x\" is not an absolute path; write for example "
     "\"unix:/run/web.sock\"\n"},
    {"bind range reversed", TEXT("listeners: [{bind: \":90-80\", " ROUTES "}]\n"),
     "f:1:20: error: \":90-80\" has a range of ports that ends before it begins\n"},
    {"bind range too high", TEXT("listeners: [{bind: \":65530-65536\", " ROUTES "}]\n"),
     "f:1:20: error: \":65530-65536\" has no port from 1 to 65535\n"},
    {"bind range without end", TEXT("listeners: [{bind: \":80-\", " ROUTES "}]\n"),
     "f:1:20: error: \":80-\" is not an address with a port; write for example \":443\", "
     "\"192.0.2.1:443\" or \"[2001:db8::1]:443\"\n"},
    {"bind range of three", TEXT("listeners: [{bind: \":80-81-82\", " ROUTES "}]\n"),
     "f:1:20: error: \":80-81-82\" is not an address with a port; write for example \":443\", "
     "\"192.0.2.1:443\" or \"[2001:db8::1]:443\"\n"},
    {"bind range large", TEXT("listeners: [{bind: \":1000-2024\", " ROUTES "}]\n"),
     "f:1:20: error: \":1000-2024\" has more than 1024 ports, which are as many sockets in each "
     "thread\n"},
    {"bind ranges large",
     TEXT("listeners: [{bind: [\":1000-1999\", \":2000-2024\"], " ROUTES "}]\n"),
     "f:1:20: error: \"bind\" has 1025 ports; at most 1024 are taken\n"},
    {"server without port",
     TEXT("origins:\n"
	  "  o: {servers: [\"192.0.2.1\"]}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:17: error: \"192.0.2.1\" is not an address with a port; write for example "
     "\"192.0.2.1:8200\", \"[2001:db8::1]:8200\" or \"db.example.com:8200\"\n"},
    {"server host without port",
     TEXT("origins:\n"
	  "  o: {servers: [db.example.com]}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:17: error: \"db.example.com\" has no port; write for example \"db.example.com:5432\"\n"},
    {"server host with port 0",
     TEXT("origins:\n"
	  "  o: {servers: [\"db.example.com:0\"]}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:17: error: \"db.example.com:0\" has no port from 1 to 65535\n"},
    {"server host that is none",
     TEXT("origins:\n"
	  "  o: {servers: [\"db..example.com:1\"]}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:17: error: \"db..example.com:1\" is not an address with a port; write for example "
     "\"192.0.2.1:8200\", \"[2001:db8::1]:8200\" or \"db.example.com:8200\"\n"},
    {"server IPv4 that is none",
     TEXT("origins:\n"
	  "  o: {servers: [\"192.0.2.256:1\"]}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:17: error: \"192.0.2.256:1\" is not an address with a port; write for example "
     "\"192.0.2.1:8200\", \"[2001:db8::1]:8200\" or \"db.example.com:8200\"\n"},
    {"server without address",
     TEXT("origins:\n"
	  "  o: {servers: [\":1\"]}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:17: error: \":1\" is not an address with a port; write for example \"192.0.2.1:8200\", "
     "\"[2001:db8::1]:8200\" or \"db.example.com:8200\"\n"},
    {"server URL",
     TEXT("origins:\n"
	  "  o: {servers: [\"http://192.0.2.1:1\"]}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:17: error: \"http://192.0.2.1:1\" is not an address with a port; write for example "
     "\"192.0.2.1:8200\", \"[2001:db8::1]:8200\" or \"db.example.com:8200\"\n"},
    {"server weight",
     TEXT("origins:\n"
	  "  o: {servers: [{address: \"192.0.2.1:1\", weight: 257}]}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:50: error: \"weight\" must be from 1 to 256, not 257\n"},
    {"server name",
     TEXT("origins:\n"
	  "  o: {servers: [\"192.0.2.1:1\"], tls: {server_name: \"*.example.com\"}}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:52: error: \"*.example.com\" has a \"*\", which is not taken here\n"},
    {"UNIX server without name",
     TEXT("origins:\n"
	  "  o: {servers: [\"unix:/run/o\"], tls: on}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:38: error: origin \"o\" needs \"server_name\" in \"tls\": a UNIX socket has no name to "
     "verify\n"},
};

static const struct row quantity_rows[] = {
    {"size unit", TEXT("relay: {bulk: 10MB}\n" WEB),
     "f:1:15: error: \"bulk\" must be a size such as \"64KiB\", \"1MiB\", or a number of bytes, "
     "not \"10MB\"\n"},
    {"size zero", TEXT("relay: {bulk: 0}\n" WEB),
     "f:1:15: error: \"bulk\" must be from 1 to 1024GiB, not \"0\"\n"},
    {"size small", TEXT("relay: {window: 32KiB}\n" WEB),
     "f:1:17: error: \"window\" must be from 64KiB to 1GiB, not \"32KiB\"\n"},
    {"size huge", TEXT("relay: {bulk: 9223372036854775807GiB}\n" WEB),
     "f:1:15: error: \"bulk\" must be from 1 to 1024GiB, not \"9223372036854775807GiB\"\n"},
    {"size negative", TEXT("relay: {chat_bytes: -1}\n" WEB),
     "f:1:21: error: \"chat_bytes\" must be a size such as \"64KiB\", \"1MiB\", or a number of "
     "bytes, not \"-1\"\n"},
    {"messages", TEXT("relay: {chat_messages: 0}\n" WEB),
     "f:1:24: error: \"chat_messages\" must be from 1 to 10000000, not 0\n"},
    {"sockmap", TEXT("relay: {sockmap: auto}\n" WEB),
     "f:1:18: error: \"sockmap\" does not take \"auto\"; it takes on or off\n"},
    {"log interval word", TEXT("log: {interval: never}\n" WEB),
     "f:1:17: error: \"interval\" must be a duration such as \"500ms\", \"5s\", \"1m\" or \"2h\", "
     "or off, not \"never\"\n"},
    {"log interval short", TEXT("log: {interval: 10ms}\n" WEB),
     "f:1:17: error: \"interval\" must be from 1s to 24h, not \"10ms\"\n"},
    {"rate unit", TEXT(WEB "    limits: {rate: 100/m}\n"),
     "f:4:20: error: \"rate\" must be a number a second, such as \"100/s\" or 100, not "
     "\"100/m\"\n"},
    {"rate zero", TEXT(WEB "    limits: {per_source: {rate: 0/s}}\n"),
     "f:4:33: error: \"rate\" must be from 1/s to 10000000/s, not \"0/s\"\n"},
    {"bandwidth in bits",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", limits: {bandwidth: 10Mbit}}\n"),
     "f:4:57: error: \"bandwidth\" must be bytes a second such as \"512KiB\" or \"10MiB\", not "
     "\"10Mbit\"\n"},
    {"bandwidth low",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", limits: {total_bandwidth: 1}}\n"),
     "f:4:63: error: \"total_bandwidth\" must be from 1KiB to 1024GiB, not \"1\"\n"},
    {"share without unit", TEXT(ORIGIN("health: {panic: 50}")),
     "f:2:49: error: \"panic\" has no unit; write for example \"50%\" (the unit is %)\n"},
    {"share large", TEXT(ORIGIN("health: {eject: {max: 101%}}")),
     "f:2:55: error: \"max\" must be from 0% to 100%, not \"101%\"\n"},
};

static const struct row network_rows[] = {
    {"no network", TEXT(WEB "    access: {allow: [office]}\n"),
     "f:4:22: error: \"office\" is not a network; write for example \"192.0.2.0/24\", "
     "\"2001:db8::/32\" or one address\n"},
    {"network with port", TEXT(WEB "    access: {deny: \"192.0.2.1:80\"}\n"),
     "f:4:20: error: \"192.0.2.1:80\" is not a network; write for example \"192.0.2.0/24\", "
     "\"2001:db8::/32\" or one address\n"},
    {"host bits", TEXT(WEB "    access: {allow: 192.0.2.77/28}\n"),
     "f:4:21: error: \"192.0.2.77/28\" has bits beyond its prefix; did you mean "
     "\"192.0.2.64/28\"?\n"},
    {"host bits of IPv6", TEXT(WEB "    access: {allow: \"2001:db8::1/33\"}\n"),
     "f:4:21: error: \"2001:db8::1/33\" has bits beyond its prefix; did you mean "
     "\"2001:db8::/33\"?\n"},
    {"prefix long", TEXT(WEB "    access: {allow: 192.0.2.0/33}\n"),
     "f:4:21: error: \"192.0.2.0/33\" has a prefix that is longer than its address\n"},
    {"prefix long of IPv6", TEXT(WEB "    access: {allow: \"2001:db8::/129\"}\n"),
     "f:4:21: error: \"2001:db8::/129\" has a prefix that is longer than its address\n"},
    {"mask", TEXT(WEB "    access: {allow: 192.0.2.0/255.255.255.0}\n"),
     "f:4:21: error: \"192.0.2.0/255.255.255.0\" is not a network; write for example "
     "\"192.0.2.0/24\", \"2001:db8::/32\" or one address\n"},
    {"mapped network", TEXT(WEB "    access: {allow: \"::ffff:192.0.2.0/120\"}\n"),
     "f:4:21: error: \"::ffff:192.0.2.0/120\" is IPv4 in an IPv6 form; write it as IPv4\n"},
    {"no networks", TEXT(WEB "    access: {allow: []}\n"),
     "f:4:21: error: \"allow\" is empty; it needs a network\n"},
    {"unknown in access", TEXT(WEB "    access: {alow: []}\n"),
     "f:4:14: error: unknown key \"alow\" in \"access\"; did you mean \"allow\"?\n"},
    {"PROXY protocol of whom", TEXT(WEB "    proxy_protocol: {}\n"),
     "f:4:21: error: \"proxy_protocol\" needs \"from\"; for example from: \"192.0.2.0/24\"\n"},
    {"PROXY protocol on", TEXT(WEB "    proxy_protocol: on\n"),
     "f:4:21: error: \"proxy_protocol\" must be a mapping with \"from\", not a single value\n"},
    {"source of a route",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", source: [192.0.2.1/8]}\n"),
     "f:4:46: error: \"192.0.2.1/8\" has bits beyond its prefix; did you mean \"192.0.0.0/8\"?\n"},
    {"destination of a route",
     TEXT(BIND "    routes:\n"
	       "      - {pass: \"tcp://127.0.0.1:1\", destination: eth0}\n"),
     "f:4:50: error: \"eth0\" is not a network; write for example \"192.0.2.0/24\", "
     "\"2001:db8::/32\" or one address\n"},
};

static void test_value(void **state)
{
	(void)state;
	check_rows(value_rows, true);
}

static void test_address(void **state)
{
	(void)state;
	check_rows(address_rows, true);
}

static void test_quantity(void **state)
{
	(void)state;
	check_rows(quantity_rows, true);
}

static void test_network(void **state)
{
	(void)state;
	check_rows(network_rows, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_value),
	    cmocka_unit_test(test_address),
	    cmocka_unit_test(test_quantity),
	    cmocka_unit_test(test_network),
	};

	return cmocka_run_group_tests_name("conf diagnostics of value", tests, NULL, NULL);
}
