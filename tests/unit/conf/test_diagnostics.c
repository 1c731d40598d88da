/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong, where, and the mend: the exact diagnostics. "f" is the name of the file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "penstock/limits.h"

#define TEXT(literal) literal, sizeof(literal) - 1

#define BIND "listeners:\n  - bind: \":80\"\n"
#define ROUTES "routes: [{to: \"http://127.0.0.1:1\"}]"
#define SERVERS(list) \
	"origins:\n  o: {servers: [" list "]}\nlisteners: [{bind: \":80\", routes: [{to: o}]}]\n"
#define ORIGIN(keys) \
	"origins:\n  o: {servers: [\"192.0.2.1:1\"], " keys \
	"}\nlisteners: [{bind: \":80\", routes: [{to: o}]}]\n"
#define TWO(keys) \
	"origins:\n  o: {servers: [\"192.0.2.1:1\", \"192.0.2.2:1\"], " keys \
	"}\nlisteners: [{bind: \":80\", routes: [{to: o}]}]\n"
#define STEERED(keys) \
	"origins: {o: {servers: [\"192.0.2.9:1\"]" keys \
	"}}\nlisteners: [{bind: \"192.0.2.1:53\", routes: [{steer: o}]}]\n"
#define STEERING(keys) \
	"listeners:\n  - bind: \"192.0.2.1:53\"\n    routes: [{steer: \"udp://192.0.2.9:53\"}]\n" \
	"    " keys "\n"
#define WEB BIND "    " ROUTES "\n" /* right as it stands */

struct row {
	const char *name;
	const char *text;
	size_t len_bytes;
	const char *diagnostics;
};

static const struct row text_rows[] = {
    {"empty", TEXT(""), "f:1:1: error: the file is empty; it needs \"listeners\"\n"},
    {"only a comment", TEXT("# nothing\n"),
     "f:1:1: error: the file is empty; it needs \"listeners\"\n"},
    {"only a word", TEXT("listeners\n"),
     "f:1:1: error: the file must be a mapping, not a single value\n"},
    {"a list", TEXT("- a\n"), "f:1:1: error: the file must be a mapping, not a list\n"},
    {"null", TEXT("~\n"), "f:1:1: error: the file is empty; it needs \"listeners\"\n"},
    {"not YAML", TEXT("listeners: [\n"),
     "f:2:1: error: not valid YAML: while parsing a flow node, did not find expected node "
     "content\n"},
    {"tab",
     TEXT("listeners:\n"
	  "\t- bind: x\n"),
     "f:2:1: error: not valid YAML: while scanning for the next token, found character that cannot "
     "start any token; indent with spaces, not tabs\n"},
    {"bad indentation",
     TEXT("process:\n"
	  "  user: a\n"
	  " threads: 1\n"),
     "f:3:2: error: not valid YAML: while parsing a block mapping, did not find expected key\n"},
    {"not UTF-8", TEXT("process: {user: \"\377\"}\n" WEB),
     "f:1:18: error: byte 0xff is not UTF-8; save the file as UTF-8\n"},
    {"too long UTF-8", TEXT("# \300\257\n"),
     "f:1:3: error: byte 0xc0 is not UTF-8; save the file as UTF-8\n"},
    {"NUL", TEXT("log: {}\000\n"), "f:1:8: error: control character 0x00; take it out\n"},
    {"control character", TEXT("# \001\n"), "f:1:3: error: control character 0x01; take it out\n"},
    {"escaped NUL", TEXT("process: {user: \"a\\0b\"}\n" WEB),
     "f:1:17: error: a value may not hold control characters or line ends\n"},
    {"escaped line end", TEXT("process: {user: \"a\\nb\"}\n" WEB),
     "f:1:17: error: a value may not hold control characters or line ends\n"},
    {"two documents", TEXT(WEB "---\n" WEB),
     "f:4:1: error: a second document; one file holds one\n"},
    {"alias",
     TEXT("x: &a [1]\n"
	  "y: *a\n"),
     "f:2:4: error: aliases (\"*name\") are not taken; write the value out\n"},
    {"loop", TEXT("listeners: &a [*a]\n"),
     "f:1:16: error: aliases (\"*name\") are not taken; write the value out\n"},
    {"tag", TEXT("process: {threads: !!int 3}\n" WEB),
     "f:1:20: error: tags (\"!…\") are not taken; leave it out\n"},
    {"key is a list",
     TEXT("? [a]\n"
	  ": b\n" WEB),
     "f:1:3: error: a key must be a word, not a list or mapping\n"},
    {"deep", TEXT("[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]\n"),
     "f:1:17: error: nested deeper than any configuration needs\n"},
    {"no value", TEXT("process:\n" WEB),
     "f:1:9: error: \"process\" has no value; give it a mapping or take it out\n"},
};

static const struct row key_rows[] = {
    {"unknown key", TEXT("lisener: []\n" WEB),
     "f:1:1: error: unknown key \"lisener\" in the file; did you mean \"listeners\"?\n"},
    {"unknown key, nothing near", TEXT("qqqqqqqq: 1\n" WEB),
     "f:1:1: error: unknown key \"qqqqqqqq\" in the file; it takes process, log, relay, steer, "
     "listeners, origins and resolver\n"},
    {"unknown key with control characters", TEXT("\"a\\x9b\\e[31m\": 1\n" WEB),
     "f:1:1: error: a value may not hold control characters or line ends\n"},
    {"long unknown key",
     TEXT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaa: 1\n" WEB),
     "f:1:1: error: unknown key "
     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…\" in the "
     "file; it takes process, log, relay, steer, listeners, origins and resolver\n"},
    {"unknown in a section", TEXT("log: {lvl: info}\n" WEB),
     "f:1:7: error: unknown key \"lvl\" in \"log\"; did you mean \"level\"?\n"},
    {"unknown in a listener", TEXT(WEB "    timeout: {}\n"),
     "f:4:5: error: unknown key \"timeout\" in a listener; did you mean \"timeouts\"?\n"},
    {"unknown in a route",
     TEXT(BIND "    routes:\n"
	       "      - {to: \"http://127.0.0.1:1\", hots: a}\n"),
     "f:4:36: error: unknown key \"hots\" in a route; did you mean \"host\"?\n"},
    {"unknown in a server",
     TEXT("origins:\n"
	  "  o: {servers: [{adress: \"192.0.2.1:1\"}]}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:17: error: a server needs \"address\"; for example address: \"192.0.2.1:8200\"\n"
     "f:2:18: error: unknown key \"adress\" in a server; did you mean \"address\"?\n"},
    {"merge key", TEXT("<<: {}\n" WEB),
     "f:1:1: error: unknown key \"<<\" in the file; it takes process, log, relay, steer, "
     "listeners, "
     "origins and resolver\n"},
    {"twice", TEXT("log: {level: info, level: debug}\n" WEB),
     "f:1:20: error: \"level\" is given twice; the first is on line 1\n"},
    {"not yet", TEXT("process: {cpus: 3}\n" WEB),
     "f:1:11: error: \"cpus\" is not built yet; take it out\n"},
    {"near one that is not yet", TEXT(WEB "    htttp: on\n"),
     "f:4:5: error: unknown key \"htttp\" in a listener; did you mean \"http\" (not built "
     "yet)?\n"},
    {"no listeners", TEXT("log: {}\n"),
     "f:1:1: error: the file needs \"listeners\"; for example listeners: [{bind: \":80\", routes: "
     "[{to: \"http://127.0.0.1:8080\"}]}]\n"},
    {"no bind", TEXT("listeners: [{" ROUTES "}]\n"),
     "f:1:13: error: a listener needs \"bind\"; for example bind: \":443\"\n"},
    {"no routes", TEXT("listeners: [{bind: \":80\"}]\n"),
     "f:1:13: error: a listener needs \"routes\"; for example routes: [{to: "
     "\"http://127.0.0.1:8080\"}]\n"},
    {"no servers",
     TEXT("origins:\n"
	  "  o: {}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:6: error: an origin needs \"servers\"; for example servers: [\"192.0.2.1:8200\"]\n"},
    {"no chain", TEXT(WEB "    tls: {certificates: [{key: a}]}\n"),
     "f:4:26: error: a certificate needs \"chain\"; for example chain: /etc/penstock/site.pem\n"},
};

static const struct row type_rows[] = {
    {"listeners no list", TEXT("listeners: {}\n"),
     "f:1:12: error: \"listeners\" must be a list of listeners, not a mapping\n"},
    {"no listener", TEXT("listeners: []\n"),
     "f:1:12: error: \"listeners\" is empty; it needs a listener\n"},
    {"listener a word", TEXT("listeners: [web]\n"),
     "f:1:13: error: an item of \"listeners\" must be a listener, not a single value\n"},
    {"section a word", TEXT("log: debug\n" WEB),
     "f:1:6: error: \"log\" must be a mapping, not a single value\n"},
    {"number as a list", TEXT("process: {threads: [1]}\n" WEB),
     "f:1:20: error: \"threads\" must be a number or \"auto\", not a list\n"},
    {"bind a mapping", TEXT("listeners: [{bind: {}, " ROUTES "}]\n"),
     "f:1:20: error: \"bind\" must be an address with a port, or a list of them, not a mapping\n"},
    {"empty bind", TEXT("listeners: [{bind: [], " ROUTES "}]\n"),
     "f:1:20: error: \"bind\" is empty; it needs an address with a port\n"},
    {"certificates a word", TEXT(WEB "    tls: {certificates: a}\n"),
     "f:4:25: error: \"certificates\" must be a list of certificates, not a single value\n"},
    {"origins a list", TEXT("origins: []\n" WEB),
     "f:1:10: error: \"origins\" must be a mapping from names to origins, not a list\n"},
    {"origin a word",
     TEXT("origins:\n"
	  "  o: \"192.0.2.1:1\"\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:6: error: \"o\" must be an origin, not a single value\n"},
    {"tls a list",
     TEXT("origins:\n"
	  "  o: {servers: [\"192.0.2.1:1\"], tls: []}\n"
	  "listeners: [{bind: \":80\", routes: [{to: o}]}]\n"),
     "f:2:38: error: \"tls\" must be on, off or a mapping, not a list\n"},
};

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

static void check_row(const struct row *row, bool is_refused)
{
	struct conf_diag *diag = conf_diag_new("f");
	char *copy = malloc(row->len_bytes + !row->len_bytes); /* exact, for ASan */
	struct conf *conf;
	bool ok;

	assert_non_null(diag);
	assert_non_null(copy);
	memcpy(copy, row->text, row->len_bytes);
	conf = conf_parse(copy, row->len_bytes, "f", diag);
	free(copy);
	ok = strcmp(conf_diag_text(diag), row->diagnostics) == 0 && !conf == is_refused &&
	     !conf == (conf_diag_errors(diag) > 0);
	if (!ok)
		print_error("%s: %s, wanted:\n%sgot:\n%s", row->name, conf ? "taken" : "refused",
			    row->diagnostics, conf_diag_text(diag));
	conf_unref(conf);
	conf_diag_free(diag);
	if (!ok)
		fail();
}

static void check_rows(const struct row *rows, size_t n, bool is_refused)
{
	for (size_t i = 0; i < n; i++)
		check_row(&rows[i], is_refused);
}

static void test_text(void **state)
{
	(void)state;
	check_rows(text_rows, ARRAY_LEN(text_rows), true);
}

static void test_key(void **state)
{
	(void)state;
	check_rows(key_rows, ARRAY_LEN(key_rows), true);
}

static void test_type(void **state)
{
	(void)state;
	check_rows(type_rows, ARRAY_LEN(type_rows), true);
}

static void test_value(void **state)
{
	(void)state;
	check_rows(value_rows, ARRAY_LEN(value_rows), true);
}

static void test_address(void **state)
{
	(void)state;
	check_rows(address_rows, ARRAY_LEN(address_rows), true);
}

static void test_route(void **state)
{
	(void)state;
	check_rows(route_rows, ARRAY_LEN(route_rows), true);
}

static void test_quantity(void **state)
{
	(void)state;
	check_rows(quantity_rows, ARRAY_LEN(quantity_rows), true);
}

static void test_network(void **state)
{
	(void)state;
	check_rows(network_rows, ARRAY_LEN(network_rows), true);
}

static void test_listener(void **state)
{
	(void)state;
	check_rows(listener_rows, ARRAY_LEN(listener_rows), true);
}

static void test_origin(void **state)
{
	(void)state;
	check_rows(origin_rows, ARRAY_LEN(origin_rows), true);
}

static void test_steer(void **state)
{
	(void)state;
	check_rows(steer_rows, ARRAY_LEN(steer_rows), true);
}

static void test_together(void **state)
{
	(void)state;
	check_rows(together_rows, ARRAY_LEN(together_rows), true);
}

static void test_warning(void **state)
{
	(void)state;
	check_rows(warning_rows, ARRAY_LEN(warning_rows), false);
}

static void test_quiet(void **state)
{
	(void)state;
	check_rows(quiet_rows, ARRAY_LEN(quiet_rows), false);
}

/* Each kind of text that is too much, too. */
static void test_too_large(void **state)
{
	size_t len_bytes = PENSTOCK_MAX_CONFIG_BYTES + 1;
	char *text = malloc(len_bytes);

	(void)state;
	assert_non_null(text);
	memset(text, '#', len_bytes);
	check_row(&(struct row){"too large", text, len_bytes,
				"f: error: larger than a configuration may be (4194304 bytes)\n"},
		  true);
	for (size_t i = 0; i + 1 < len_bytes; i += 2)
		memcpy(text + i, i ? "a," : "[ ", 2);
	check_row(&(struct row){"too many values", text, len_bytes - 1,
				"f:1:1000001: error: more values than a configuration may have "
				"(500000)\n"},
		  true);
	free(text);
}

/* More errors than anybody reads: all are counted, the first thousand kept. */
static void test_many_errors(void **state)
{
	struct conf_diag *diag = conf_diag_new("f");
	struct conf_mark mark = {1, 1};
	const char *text;
	size_t n_lines = 0;

	(void)state;
	assert_non_null(diag);
	for (mark.line = 1500; mark.line > 0; mark.line--)
		conf_diag_add(diag, mark, "line %u", mark.line);
	assert_int_equal(conf_diag_errors(diag), 1500);
	text = conf_diag_text(diag);
	assert_memory_equal(text, "f:501:1: error: line 501\n", 25);
	for (const char *c = text; *c; c++)
		n_lines += *c == '\n';
	assert_int_equal(n_lines, 1001);
	assert_non_null(strstr(text, "f: error: 500 more are not shown\n"));
	conf_diag_free(diag);
}

/* In the order of the text, warnings among them, control characters made harmless. */
static void test_order(void **state)
{
	struct conf_diag *diag = conf_diag_new("f");

	(void)state;
	assert_non_null(diag);
	assert_string_equal(conf_diag_text(diag), "");
	conf_diag_add(diag, (struct conf_mark){2, 1}, "third");
	conf_diag_warn(diag, (struct conf_mark){1, 9}, "sec\nond");
	conf_diag_add(diag, (struct conf_mark){0, 0}, "first");
	conf_diag_add(diag, (struct conf_mark){2, 1}, "fourth");
	assert_string_equal(conf_diag_text(diag), "f: error: first\nf:1:9: warning: sec?ond\n"
						  "f:2:1: error: third\nf:2:1: error: fourth\n");
	assert_int_equal(conf_diag_errors(diag), 3);
	assert_int_equal(conf_diag_warnings(diag), 1);
	conf_diag_free(diag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_text),      cmocka_unit_test(test_key),
	    cmocka_unit_test(test_type),      cmocka_unit_test(test_value),
	    cmocka_unit_test(test_address),   cmocka_unit_test(test_route),
	    cmocka_unit_test(test_quantity),  cmocka_unit_test(test_network),
	    cmocka_unit_test(test_listener),  cmocka_unit_test(test_origin),
	    cmocka_unit_test(test_steer),     cmocka_unit_test(test_together),
	    cmocka_unit_test(test_warning),   cmocka_unit_test(test_quiet),
	    cmocka_unit_test(test_too_large), cmocka_unit_test(test_many_errors),
	    cmocka_unit_test(test_order),
	};

	return cmocka_run_group_tests_name("conf diagnostics", tests, NULL, NULL);
}
