/* SPDX-License-Identifier: Apache-2.0 */
/* TLS with clients: what a snapshot has of it, and what is wrong with its text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "conf/conf.h"

#define TLS(keys) \
	"listeners:\n  - bind: \":443\"\n    routes: [{to: \"http://127.0.0.1:1\"}]\n" \
	"    tls: {certificates: [a]" keys "}\n"

static struct conf *parse(const char *text)
{
	struct conf_diag *diag = conf_diag_new("f");
	struct conf *conf = conf_parse(text, strlen(text), "f", diag);

	if (!conf || *conf_diag_text(diag))
		fail_msg("%s\n%s", text, conf_diag_text(diag));
	conf_diag_free(diag);
	return conf;
}

static void fallbacks(void **state)
{
	struct conf *conf = parse(TLS(""));
	const struct conf_server_tls *tls = conf->listeners[0].tls;

	(void)state;
	assert_false(tls->strict_sni);
	assert_int_equal(tls->policy.level, CONF_TLS_INTERMEDIATE);
	assert_int_equal(tls->policy.min_version, 0);
	assert_int_equal(tls->policy.max_version, 0);
	assert_null(tls->policy.ciphers_12);
	assert_null(tls->policy.ciphers_13);
	assert_int_equal(tls->n_alpn, 2);
	assert_string_equal(tls->alpn[0], "http/1.1");
	assert_string_equal(tls->alpn[1], "http/1.0");
	assert_int_equal(tls->max_handshakes, 0);
	assert_null(tls->key_log.path);
	assert_true(tls->tickets.on);
	assert_null(tls->tickets.keys.path);
	assert_int_equal(tls->tickets.lifetime_s, 86400);
	assert_null(tls->certificates[0].passphrase.path);
	assert_null(tls->certificates[0].ocsp.path);
	conf_unref(conf);
}

static void every_key(void **state)
{
	struct conf *conf =
	    parse("listeners:\n  - bind: \":443\"\n    routes: [{to: \"http://127.0.0.1:1\"}]\n"
		  "    tls:\n"
		  "      certificates: [{chain: a, key: b, passphrase: c, ocsp: d}, e]\n"
		  "      strict_sni: on\n"
		  "      policy: modern\n"
		  "      versions: [TLSv1.3, TLSv1.2]\n"
		  "      ciphers: [ECDHE-RSA-AES256-GCM-SHA384, TLS_AES_256_GCM_SHA384,\n"
		  "                ECDHE-ECDSA-AES256-GCM-SHA384]\n"
		  "      alpn: [http/1.1, http/1.0]\n"
		  "      max_handshakes: 7\n"
		  "      tickets: {keys: k, lifetime: 90s}\n");
	const struct conf_server_tls *tls = conf->listeners[0].tls;

	(void)state;
	assert_string_equal(tls->certificates[0].passphrase.path, "c");
	assert_int_equal(tls->certificates[0].passphrase.mark.line, 5);
	assert_string_equal(tls->certificates[0].ocsp.path, "d");
	assert_null(tls->certificates[1].passphrase.path);
	assert_true(tls->strict_sni);
	assert_int_equal(tls->policy.level, CONF_TLS_MODERN);
	assert_int_equal(tls->policy.min_version, 0x0303);
	assert_int_equal(tls->policy.max_version, 0x0304);
	assert_string_equal(tls->policy.ciphers_12,
			    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-GCM-SHA384");
	assert_string_equal(tls->policy.ciphers_13, "TLS_AES_256_GCM_SHA384");
	assert_int_equal(tls->n_alpn, 2);
	assert_string_equal(tls->alpn[1], "http/1.0");
	assert_int_equal(tls->max_handshakes, 7);
	assert_true(tls->tickets.on);
	assert_string_equal(tls->tickets.keys.path, "k");
	assert_int_equal(tls->tickets.lifetime_s, 90);
	conf_unref(conf);
}

static int note_file(void *argument, const struct conf_file *file)
{
	strcat(argument, file->path);
	return 0;
}

static void files_of_certificates(void **state)
{
	struct conf *conf =
	    parse("listeners:\n  - bind: \":443\"\n    routes: [{to: \"http://127.0.0.1:1\"}]\n"
		  "    tls:\n"
		  "      certificates: [{chain: a, key: b, passphrase: c, ocsp: d}, e]\n"
		  "      tickets: {keys: k}\n");
	char seen[16] = "";

	(void)state;
	assert_int_equal(conf_each_file(conf, note_file, seen), 0);
	assert_string_equal(seen, "abcdek");
	conf_unref(conf);
}

static void tickets_are_off_where_told(void **state)
{
	struct conf *conf = parse(TLS(", tickets: off"));

	(void)state;
	assert_false(conf->listeners[0].tls->tickets.on);
	conf_unref(conf);
	conf = parse(TLS(", tickets: on"));
	assert_true(conf->listeners[0].tls->tickets.on);
	assert_int_equal(conf->listeners[0].tls->tickets.lifetime_s, 86400);
	conf_unref(conf);
}

static void one_version_is_both_ends(void **state)
{
	struct conf *conf = parse(TLS(", versions: TLSv1.2"));

	(void)state;
	assert_int_equal(conf->listeners[0].tls->policy.min_version, 0x0303);
	assert_int_equal(conf->listeners[0].tls->policy.max_version, 0x0303);
	conf_unref(conf);
}

static void a_key_log_is_warned_of(void **state)
{
	static const char text[] = TLS(", key_log: /tmp/k");
	struct conf_diag *diag = conf_diag_new("f");
	struct conf *conf = conf_parse(text, sizeof(text) - 1, "f", diag);

	(void)state;
	assert_non_null(conf);
	assert_string_equal(conf->listeners[0].tls->key_log.path, "/tmp/k");
	assert_int_equal(conf_diag_warnings(diag), 1);
	assert_non_null(strstr(conf_diag_text(diag), "f:4:39: warning: THE KEYS OF ALL TLS"));
	conf_unref(conf);
	conf_diag_free(diag);
}

static void no_requests_no_alpn(void **state)
{
	struct conf *conf = NULL;
	struct conf_diag *diag = conf_diag_new("f");
	static const char text[] = "listeners:\n  - bind: \":443\"\n"
				   "    routes: [{pass: \"tcp://127.0.0.1:1\"}]\n"
				   "    tls: {certificates: [a]}\n";

	(void)state;
	conf = conf_parse(text, sizeof(text) - 1, "f", diag); /* and warns that it is not used */
	assert_non_null(conf);
	assert_int_equal(conf->listeners[0].tls->n_alpn, 0);
	conf_unref(conf);
	conf_diag_free(diag);
}

static void what_is_wrong_is_told(void **state)
{
	static const struct {
		const char *text, *diagnostics;
	} rows[] = {
	    {TLS(", policy: moderm"),
	     "f:4:38: error: \"policy\" does not take \"moderm\"; did you mean \"modern\"?\n"},
	    {TLS(", versions: TLSv1.1"),
	     "f:4:40: error: \"versions\" does not take \"TLSv1.1\"; did you mean \"TLSv1.2\"?\n"},
	    {TLS(", ciphers: ECDHE-RSA-AES128-GCM-SHA265"),
	     "f:4:39: error: \"ciphers\" does not take \"ECDHE-RSA-AES128-GCM-SHA265\"; did you "
	     "mean \"ECDHE-RSA-AES128-GCM-SHA256\"?\n"},
	    {TLS(", policy: modern, ciphers: ECDHE-RSA-AES128-GCM-SHA256"),
	     "f:4:55: error: \"ECDHE-RSA-AES128-GCM-SHA256\" is a cipher of TLS 1.2, which is not "
	     "spoken here\n"},
	    {TLS(", versions: TLSv1.2, ciphers: [TLS_AES_128_GCM_SHA256]"),
	     "f:4:59: error: \"TLS_AES_128_GCM_SHA256\" is a cipher of TLS 1.3, which is not "
	     "spoken here\n"},
	    {TLS(", alpn: h2"), "f:4:36: error: \"h2\" is not built yet\n"},
	    {TLS(", alpn: [http/1.1, smtp]"),
	     "f:4:47: error: \"smtp\" is not spoken by the routes of this listener, which take "
	     "http/1.1\n"},
	    {TLS(", tickets: {lifetime: 25h}"),
	     "f:4:50: error: \"lifetime\" must be from 1s to 24h, not \"25h\"\n"},
	    {TLS(", strict_sni: maybe"),
	     "f:4:42: error: \"strict_sni\" does not take \"maybe\"; it takes on or off\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct conf_diag *diag = conf_diag_new("f");

		assert_null(conf_parse(rows[i].text, strlen(rows[i].text), "f", diag));
		assert_string_equal(conf_diag_text(diag), rows[i].diagnostics);
		conf_diag_free(diag);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fallbacks),
	    cmocka_unit_test(every_key),
	    cmocka_unit_test(files_of_certificates),
	    cmocka_unit_test(tickets_are_off_where_told),
	    cmocka_unit_test(one_version_is_both_ends),
	    cmocka_unit_test(a_key_log_is_warned_of),
	    cmocka_unit_test(no_requests_no_alpn),
	    cmocka_unit_test(what_is_wrong_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
