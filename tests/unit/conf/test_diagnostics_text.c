/* SPDX-License-Identifier: Apache-2.0 */
/* Of the text as a whole: YAML, keys, kinds of values, and how what is wrong is told. */
#include "diagnostics.h"

#include <stdlib.h>
#include <string.h>

#include "penstock/limits.h"

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

static void test_text(void **state)
{
	(void)state;
	check_rows(text_rows, true);
}

static void test_key(void **state)
{
	(void)state;
	check_rows(key_rows, true);
}

static void test_type(void **state)
{
	(void)state;
	check_rows(type_rows, true);
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
	    cmocka_unit_test(test_text),	cmocka_unit_test(test_key),
	    cmocka_unit_test(test_type),	cmocka_unit_test(test_too_large),
	    cmocka_unit_test(test_many_errors), cmocka_unit_test(test_order),
	};

	return cmocka_run_group_tests_name("conf diagnostics of text", tests, NULL, NULL);
}
