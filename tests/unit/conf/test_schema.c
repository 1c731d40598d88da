/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema and the parser say the same: of every example, of one mistake of each kind, and in the
 * manual. Runs in the root of the source tree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/conf.h"

#define ROUTES "routes: [{to: \"http://127.0.0.1:1\"}]"
#define WEB "listeners: [{bind: \":80\", " ROUTES "}]\n"

/* Both take these: values that YAML readers see in more than one way. */
static const char *const taken[] = {
    WEB,
    "log: {access: on}\n" WEB,
    "log: {access: \"off\"}\n" WEB,
    "log: {access: true}\n" WEB,
    "process: {threads: auto, max_connections: 5}\n" WEB,
    "steer: {devices: eth0}\n" WEB,
    "steer: {devices: [eth0]}\n" WEB,
    "listeners: [{bind: [\":80\"], tls: {certificates: [a, {chain: b, key: c}], kernel: "
    "off}, " ROUTES "}]\n",
    "origins: {o: {servers: [\"192.0.2.1:1\", {address: \"192.0.2.2:1\"}], tls: on}}\n"
    "listeners: [{bind: \":80\", routes: [{to: o}]}]\n",
    "origins: {o: {servers: [\"192.0.2.1:1\"], tls: {certificate: {chain: a, key: b}, alpn: h2, "
    "sessions: off, pins: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}}}\n"
    "listeners: [{bind: \":80\", routes: [{to: o}]}]\n",
    "origins: {o: {servers: [\"unix:/x\"], tls: off}}\n"
    "listeners: [{bind: \":80\", routes: [{to: o}]}]\n",
    "relay: {bulk: 65536, chat_bytes: 1KiB, window: \"1048576\", sockmap: off}\n" WEB,
    "log: {interval: off}\n" WEB,
    "log: {interval: \"off\"}\n" WEB,
    "log: {interval: 5m}\n" WEB,
    "resolver: {servers: 192.0.2.53}\n" WEB,
    "resolver: {servers: [\"2001:db8::53\", \"[2001:db8::53]:5353\"]}\n" WEB,
    "listeners: [{bind: \":80\", limits: {rate: 100, per_source: {rate: 5/s, connections: "
    "3}}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", access: {allow: 192.0.2.0/24, deny: [\"2001:db8::/32\", "
    "192.0.2.1]}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", proxy_protocol: {from: 192.0.2.1}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", socket: {keepalive: on, fast_open: true}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", socket: {keepalive: off}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", socket: {keepalive: {idle: 5s}}, " ROUTES "}]\n",
    "listeners: [{bind: [\"unix:/run/x\", \":8000-8010\"], " ROUTES "}]\n",
    "listeners: [{bind: \":80\", routes: [{pass: \"tcp://127.0.0.1:1\", source: 192.0.2.0/24, "
    "destination: [192.0.2.1], alpn: h2, relay: sockmap}]}]\n",
    "listeners: [{bind: \":80\", routes: [{pass: \"tcp://127.0.0.1:1\", alpn: [h2, http/1.1], "
    "limits: {bandwidth: 10MiB, total_bandwidth: 1048576}}]}]\n",
    "listeners: [{bind: \":80\", routes: [{pass: \"tcp://127.0.0.1:1\", limits: {bandwidth: "
    "10MiB/s}}]}]\n",
    "origins: {o: {servers: [\"192.0.2.1:1\"], health: {check: tls, send: \"a\\r\\n\", expect: "
    "'\\x00', eject: off, panic: 0%}}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], health: {check: off, eject: {max: 50%}}}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], limits: {connections: 5, queue: 0}, retries: 0, "
    "source: \"192.0.2.1\", slow_start: off}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], proxy_protocol: v2, slow_start: 5s, socket: "
    "{user_timeout: 5s, receive_buffer: 64KiB, send_buffer: 1MiB}}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], proxy_protocol: off}}\n" WEB,
    "origins: {o: {servers: [\"db.example.com:1\", {address: \"192.0.2.1:1\", backup: true, "
    "max_connections: 3}]}}\n" WEB,
};

/* Both refuse these: one mistake each. */
static const char *const refused[] = {
    "[]\n",
    "{}\n",
    "listeners: []\n",
    "listeners: [{bind: \":80\"}]\n",
    "listeners: [{" ROUTES "}]\n",
    "listeners: [{bind: [], " ROUTES "}]\n",
    "listeners: [{bind: \"80\", " ROUTES "}]\n",
    "listeners: [{bind: \":80\", routes: []}]\n",
    "listeners: [{bind: \":80\", name: \"a b\", " ROUTES "}]\n",
    "listeners: [{bind: \":80\", x: 1, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", proxy_protocol: on, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", max_connections: 0, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", protocol: sctp, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", timeouts: {idle: 5}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", timeouts: {x: 5s}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", tls: {}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", tls: {certificates: [a], x: 1}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", tls: {certificates: [{chain: a, x: 1}]}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", tls: {certificates: [{key: a}]}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", routes: [{to: \"http://127.0.0.1:1\", x: 1}]}]\n",
    "listeners: [{bind: \":80\", routes: [{to: \"http://127.0.0.1:1\", redirect: x}]}]\n",
    "listeners: [{bind: \":80\", routes: [{to: \"http://127.0.0.1:1\", host: \"a:80\"}]}]\n",
    "listeners: [{bind: \":80\", routes: [{to: \"http://127.0.0.1:1\", path: a}]}]\n",
    "listeners: [{bind: \":80\", routes: [{pass: \"tcp://127.0.0.1:1\", relay: socket}]}]\n",
    "process: {threads: 65}\n" WEB,
    "process: {threads: \"2\"}\n" WEB,
    "process: {x: 1}\n" WEB,
    "process: {runtime_dir: x}\n" WEB,
    "process:\n" WEB,
    "log: {level: 1}\n" WEB,
    "log: {x: 1}\n" WEB,
    "steer: {nat_ports: 61000}\n" WEB,
    "steer: {hook: [xdp]}\n" WEB,
    "steer: {x: 1}\n" WEB,
    "x: 1\n" WEB,
    "origins: []\n" WEB,
    "origins: {\"a b\": {servers: [\"192.0.2.1:1\"]}}\n" WEB,
    "origins: {o: {}}\n" WEB,
    "origins: {o: {servers: []}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1\"]}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], x: 1}}\n" WEB,
    "origins: {o: {servers: [{weight: 1}]}}\n" WEB,
    "origins: {o: {servers: [{address: \"192.0.2.1:1\", weight: 257}]}}\n" WEB,
    "origins: {o: {servers: [{address: \"192.0.2.1:1\", x: 1}]}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], tls: {x: 1}}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], tls: {server_name: \"*.a\"}}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], balance: random}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], timeouts: {connect: 1, x: 1s}}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], max_idle: -1}}\n" WEB,
    "relay: {bulk: 10MB}\n" WEB,
    "relay: {bulk: 0}\n" WEB,
    "relay: {x: 1}\n" WEB,
    "log: {interval: on}\n" WEB,
    "log: {interval: 5}\n" WEB,
    "resolver: {servers: []}\n" WEB,
    "resolver: {x: 1}\n" WEB,
    "listeners: [{bind: \":80\", limits: {rate: 0}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", limits: {rate: 5/m}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", limits: {x: 1}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", limits: {per_source: {x: 1}}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", access: {allow: office}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", access: {allow: []}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", access: {x: 1}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", access: [192.0.2.1], " ROUTES "}]\n",
    "listeners: [{bind: \":80\", proxy_protocol: {}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", socket: {backlog: 0}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", socket: {keepalive: {x: 1s}}, " ROUTES "}]\n",
    "listeners: [{bind: \":80\", socket: {keepalive: 5s}, " ROUTES "}]\n",
    "listeners: [{bind: \":80-\", " ROUTES "}]\n",
    "listeners: [{bind: \"unix:run\", " ROUTES "}]\n",
    "listeners: [{bind: \":80\", routes: [{pass: \"tcp://127.0.0.1:1\", alpn: \"\"}]}]\n",
    "listeners: [{bind: \":80\", routes: [{pass: \"tcp://127.0.0.1:1\", alpn: []}]}]\n",
    "listeners: [{bind: \":80\", routes: [{pass: \"tcp://127.0.0.1:1\", source: x}]}]\n",
    "listeners: [{bind: \":80\", routes: [{pass: \"tcp://127.0.0.1:1\", destination: []}]}]\n",
    "listeners: [{bind: \":80\", routes: [{pass: \"tcp://127.0.0.1:1\", limits: {bandwidth: "
    "1}}]}]\n",
    "listeners: [{bind: \":80\", routes: [{pass: \"tcp://127.0.0.1:1\", limits: {bandwidth: "
    "1Mbit}}]}]\n",
    "listeners: [{bind: \":80\", routes: [{pass: \"tcp://127.0.0.1:1\", limits: {x: 1}}]}]\n",
    "origins: {o: {servers: [\"192.0.2.1:1\"], health: {check: http}}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], health: {send: \"\"}}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], health: {panic: 50}}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], health: {eject: {x: 1}}}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], health: {eject: 5}}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], health: {rise: 0}}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], health: {x: 1}}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], limits: {queue: -1}}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], limits: {x: 1}}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], retries: 17}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], source: a.b.example}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], slow_start: on}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], proxy_protocol: v3}}\n" WEB,
    "origins: {o: {servers: [\"192.0.2.1:1\"], socket: {backlog: 5}}}\n" WEB,
    "origins: {o: {servers: [{address: \"192.0.2.1:1\", backup: 1}]}}\n" WEB,
    "origins: {o: {servers: [{address: \"192.0.2.1:1\", max_connections: 0}]}}\n" WEB,
};

struct fixture {
	char folder[64];
	char schema_path[96];
};

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int fixture_new(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	char *schema = conf_schema();

	assert_non_null(fixture);
	assert_non_null(schema);
	strcpy(fixture->folder, "/tmp/penstock-schema-XXXXXX");
	assert_non_null(mkdtemp(fixture->folder));
	snprintf(fixture->schema_path, sizeof(fixture->schema_path), "%s/schema.json",
		 fixture->folder);
	write_file(fixture->schema_path, schema);
	free(schema);
	*state = fixture;
	return 0;
}

static int fixture_free(void **state)
{
	struct fixture *fixture = *state;
	char pattern[96];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/*", fixture->folder);
	if (glob(pattern, 0, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc; i++)
			unlink(found.gl_pathv[i]);
	globfree(&found);
	rmdir(fixture->folder);
	free(fixture);
	return 0;
}

/* Runs a Python program; 77 skips the test, after it has said why. */
static void run_python(char **arguments)
{
	const char *python = getenv("PYTHON");
	int status;
	pid_t pid;

	arguments[0] = (char *)(python && *python ? python : "/usr/bin/python3");
	fflush(stdout);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* Its leaks are not ours. */
		unsetenv("LD_PRELOAD");
		execvp(arguments[0], arguments);
		_exit(77);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void run_check(struct fixture *fixture, const char *wanted, char *const *paths, size_t n)
{
	char **arguments = calloc(n + 5, sizeof(*arguments));

	assert_non_null(arguments);
	arguments[1] = (char *)"tests/unit/conf/check_schema.py";
	arguments[2] = fixture->schema_path;
	arguments[3] = (char *)wanted;
	memcpy(arguments + 4, paths, n * sizeof(*paths));
	run_python(arguments);
	free(arguments);
}

static void check_parser(const char *text, size_t len_bytes, const char *name, bool is_taken)
{
	struct conf_diag *diag = conf_diag_new(name);
	struct conf *conf;

	assert_non_null(diag);
	conf = conf_parse(text, len_bytes, name, diag);
	if (!conf == is_taken)
		fail_msg("%.*s%s", (int)len_bytes, text, conf_diag_text(diag));
	conf_unref(conf);
	conf_diag_free(diag);
}

static void check_texts(struct fixture *fixture, const char *const *texts, size_t n, bool is_taken)
{
	const char *wanted = is_taken ? "taken" : "refused";
	char **paths = calloc(n, sizeof(*paths));

	assert_non_null(paths);
	for (size_t i = 0; i < n; i++) {
		check_parser(texts[i], strlen(texts[i]), wanted, is_taken);
		assert_true(asprintf(&paths[i], "%s/%s-%zu.yaml", fixture->folder, wanted, i) > 0);
		write_file(paths[i], texts[i]);
	}
	run_check(fixture, wanted, paths, n);
	for (size_t i = 0; i < n; i++)
		free(paths[i]);
	free(paths);
}

static void test_taken(void **state)
{
	check_texts(*state, taken, ARRAY_LEN(taken), true);
}

static void test_refused(void **state)
{
	check_texts(*state, refused, ARRAY_LEN(refused), false);
}

/* Without a warning too. */
static void check_example(const char *path)
{
	struct conf_diag *diag = conf_diag_new(path);
	FILE *file = fopen(path, "r");
	static char text[65536];
	struct conf *conf;
	size_t len;

	assert_non_null(file);
	assert_non_null(diag);
	len = fread(text, 1, sizeof(text), file);
	fclose(file);
	conf = conf_parse(text, len, path, diag);
	if (*conf_diag_text(diag))
		fail_msg("%s", conf_diag_text(diag));
	conf_unref(conf);
	conf_diag_free(diag);
}

static void test_examples(void **state)
{
	glob_t found;

	assert_int_equal(glob("examples/*.yaml", 0, NULL, &found), 0);
	assert_true(found.gl_pathc >= 5);
	for (size_t i = 0; i < found.gl_pathc; i++)
		check_example(found.gl_pathv[i]);
	run_check(*state, "taken", found.gl_pathv, found.gl_pathc);
	globfree(&found);
}

/* Fails on a key that the example with every key leaves out. */
static void check_all_keys(const json_t *schema, const char *text, const char *where)
{
	const char *key;
	json_t *value;
	size_t i;

	json_array_foreach(json_object_get(schema, "anyOf"), i, value)
	    check_all_keys(value, text, where);
	if (json_object_get(schema, "items"))
		check_all_keys(json_object_get(schema, "items"), text, where);
	json_object_foreach(json_object_get(schema, "patternProperties"), key, value)
	    check_all_keys(value, text, where);
	json_object_foreach(json_object_get(schema, "properties"), key, value)
	{
		char written[64];

		assert_non_null(json_object_get(value, "description"));
		if (json_object_get(value, "not"))
			continue;
		snprintf(written, sizeof(written), "%s:", key);
		if (!strstr(text, written))
			fail_msg("examples/penstock.yaml lacks \"%s\" of %s", key, where);
		check_all_keys(value, text, key);
	}
}

static void test_example_has_every_key(void **state)
{
	struct fixture *fixture = *state;
	static char text[65536];
	json_t *schema = json_load_file(fixture->schema_path, 0, NULL);
	FILE *file = fopen("examples/penstock.yaml", "r");

	assert_non_null(schema);
	assert_non_null(file);
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	check_all_keys(schema, text, "the file");
	json_decref(schema);
}

static void test_manual(void **state)
{
	struct fixture *fixture = *state;
	char *arguments[] = {NULL,
			     (char *)"tools/conf-reference",
			     (char *)"--check",
			     fixture->schema_path,
			     (char *)"man/penstock.yaml.5",
			     NULL};

	run_python(arguments);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_taken, fixture_new, fixture_free),
	    cmocka_unit_test_setup_teardown(test_refused, fixture_new, fixture_free),
	    cmocka_unit_test_setup_teardown(test_examples, fixture_new, fixture_free),
	    cmocka_unit_test_setup_teardown(test_example_has_every_key, fixture_new, fixture_free),
	    cmocka_unit_test_setup_teardown(test_manual, fixture_new, fixture_free),
	};

	return cmocka_run_group_tests_name("conf schema", tests, NULL, NULL);
}
