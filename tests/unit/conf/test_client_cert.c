/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of clients: what a snapshot has of them, and what is wrong with their text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "conf/conf.h"

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* Line 3 is the listener's `tls`, line 4 its route. */
#define WITH(client, route) \
	"listeners:\n  - bind: \":443\"\n    tls: {certificates: [a]" client \
	"}\n    routes: [{" route "to: \"http://127.0.0.1:1\"}]\n"

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
	struct conf *conf = parse(WITH("", ""));

	(void)state;
	assert_int_equal(conf->listeners[0].tls->client.mode, CONF_CLIENT_AUTH_OFF);
	assert_false(conf->listeners[0].routes[0].client_cert.is_set);
	conf_unref(conf);
	conf = parse(WITH(", client: {ca: b}", ""));
	assert_int_equal(conf->listeners[0].tls->client.mode, CONF_CLIENT_AUTH_REQUIRED);
	assert_string_equal(conf->listeners[0].tls->client.ca.path, "b");
	assert_null(conf->listeners[0].tls->client.crl.path);
	assert_int_equal(conf->listeners[0].tls->client.depth, 3);
	assert_false(conf->listeners[0].tls->client.tells_der);
	assert_int_equal(conf->listeners[0].routes[0].cert_headers, 0);
	conf_unref(conf);
}

static int count_files(void *argument, const struct conf_file *file)
{
	(void)file;
	++*(int *)argument;
	return 0;
}

static void every_key(void **state)
{
	struct conf *conf = parse(WITH(
	    ", client: {ca: b, verify: optional, crl: c, depth: 0, headers: [client-cert, "
	    "client-cert-chain, x-forwarded-client-cert]}",
	    "client_cert: {subject: \"*.a.example\", san: \"spiffe://x\", issuer: I, fingerprint: "
	    "\"01:23456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef\"}, "));
	const struct conf_client_auth_rules *client = &conf->listeners[0].tls->client;
	const struct conf_client_cert_match *match = &conf->listeners[0].routes[0].client_cert;
	char text[CONF_MATCH_TEXT_MAX];
	int n_files = 0;

	(void)state;
	assert_int_equal(client->mode, CONF_CLIENT_AUTH_OPTIONAL);
	assert_string_equal(client->crl.path, "c");
	assert_int_equal(client->crl.mark.line, 3);
	assert_int_equal(client->depth, 0);
	assert_true(client->tells_der);
	assert_int_equal(conf->listeners[0].routes[0].cert_headers, CONF_CERT_HEADER_LEAF |
									CONF_CERT_HEADER_CHAIN |
									CONF_CERT_HEADER_FORWARDED);
	assert_true(match->is_set && match->verified);
	assert_string_equal(match->subject, "*.a.example");
	assert_string_equal(match->san, "spiffe://x");
	assert_string_equal(match->issuer, "I");
	assert_string_equal(match->fingerprint, DIGEST);
	assert_string_equal(conf_route_format_match(&conf->listeners[0].routes[0], text),
			    "client_cert subject *.a.example client_cert san spiffe://x "
			    "client_cert issuer I client_cert fingerprint " DIGEST);
	conf_each_file(conf, count_files, &n_files);
	assert_int_equal(n_files, 3);
	conf_unref(conf);
}

static void on_and_off(void **state)
{
	struct conf *conf = parse(WITH(", client: {ca: b}", "client_cert: on, "));
	char text[CONF_MATCH_TEXT_MAX];

	(void)state;
	assert_true(conf->listeners[0].routes[0].client_cert.verified);
	assert_string_equal(conf_route_format_match(&conf->listeners[0].routes[0], text),
			    "client_cert on");
	conf_unref(conf);
	conf = parse(WITH(", client: {ca: b}", "client_cert: off, "));
	assert_true(conf->listeners[0].routes[0].client_cert.is_set);
	assert_false(conf->listeners[0].routes[0].client_cert.verified);
	conf_unref(conf);
}

/* The route's own go before the listener's, also where they are none. */
static void headers_of_routes(void **state)
{
	static const struct {
		const char *of_listener, *of_route;
		unsigned int headers;
		bool tells_der;
	} cases[] = {
	    {"", "", 0, false},
	    {"client-cert", "", CONF_CERT_HEADER_LEAF, true},
	    {"client-cert", "off", 0, false},
	    {"", "client-cert-chain", CONF_CERT_HEADER_CHAIN, true},
	    {"client-cert", "x-forwarded-client-cert", CONF_CERT_HEADER_FORWARDED, false},
	    {"client-cert", "[client-cert-chain, x-forwarded-client-cert]",
	     CONF_CERT_HEADER_CHAIN | CONF_CERT_HEADER_FORWARDED, true},
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct conf *conf;

		snprintf(
		    text, sizeof(text),
		    "listeners: [{bind: \":1\", tls: {certificates: [a], client: {ca: b%s%s}}, "
		    "routes: [{%s%s%s to: \"http://127.0.0.1:1\"}]}]\n",
		    *cases[i].of_listener ? ", headers: " : "", cases[i].of_listener,
		    *cases[i].of_route ? "client_cert_headers: " : "", cases[i].of_route,
		    *cases[i].of_route ? "," : "");
		conf = parse(text);
		assert_int_equal(conf->listeners[0].routes[0].cert_headers, cases[i].headers);
		assert_int_equal(conf->listeners[0].tls->client.tells_der, cases[i].tells_der);
		conf_unref(conf);
	}
}

static const struct row {
	const char *text;
	const char *errors;
} rows[] = {
    {WITH(", client: {}", ""),
     "f:3:38: error: \"client\" needs \"ca\"; for example ca: /etc/penstock/clients-ca.pem\n"},
    {WITH(", client: on", ""),
     "f:3:38: error: \"client\" must be a mapping with \"ca\", not a single value\n"},
    {WITH(", client: {ca: b, verify: off}", ""),
     "f:3:54: error: \"verify\" does not take \"off\"; it takes required or optional\n"},
    {WITH(", client: {ca: b, depth: 17}", ""),
     "f:3:53: error: \"depth\" must be from 0 to 16, not 17\n"},
    {WITH(", client: {ca: b, headers: client-cer}", ""),
     "f:3:55: error: \"headers\" does not take \"client-cer\"; did you mean \"client-cert\"?\n"},
    {WITH("", "client_cert: on, "),
     "f:4:14: error: \"client_cert\" has no meaning here: the listener asks for no certificates; "
     "give its \"tls\" a \"client\"\n"},
    {WITH("", "client_cert_headers: client-cert, "),
     "f:4:14: error: \"client_cert_headers\" has no meaning here: the listener asks for no "
     "certificates; give its \"tls\" a \"client\"\n"},
    {WITH(", client: {ca: b}", "client_cert_headers: [off], "),
     "f:4:37: error: an item of \"client_cert_headers\" does not take \"off\"; it takes "
     "client-cert, client-cert-chain or x-forwarded-client-cert\n"},
    {WITH(", client: {ca: b}", "client_cert: {fingerprint: abc}, "),
     "f:4:42: error: \"abc\" is not the SHA-256 digest of a certificate; write 64 hexadecimal "
     "digits\n"},
    {WITH(", client: {ca: b}", "client_cert: {san: \"*x\"}, "),
     "f:4:34: error: \"*x\" begins with \"*\" elsewhere than in \"*.\" and a domain\n"},
    {"listeners:\n  - bind: \":1\"\n    routes: [{pass: \"tcp://127.0.0.1:1\", client_cert: on}]\n",
     NULL},
};

static void errors_have_their_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct conf_diag *diag = conf_diag_new("f");
		struct conf *conf = conf_parse(rows[i].text, strlen(rows[i].text), "f", diag);
		const char *found = conf_diag_text(diag);

		assert_null(conf);
		if (rows[i].errors
			? strcmp(found, rows[i].errors) != 0
			: !strstr(found, "\"client_cert\" has no meaning beside \"pass\": "
					 "certificates of clients are seen only where TLS ends"))
			fail_msg("%s\n%s", rows[i].text, found);
		conf_diag_free(diag);
	}
}

/* Routes are told apart by what they ask of a certificate. */
static void reached_or_not(void **state)
{
	static const char *const pairs[][3] = {
	    {"on", "on", "nothing reaches"},	       {"on", "off", ""},
	    {"on", "{subject: a}", "nothing reaches"}, {"{subject: a}", "on", ""},
	    {"{subject: a}", "{subject: b}", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		struct conf_diag *diag = conf_diag_new("f");
		char text[512];
		struct conf *conf;

		snprintf(
		    text, sizeof(text),
		    "listeners: [{bind: \":1\", tls: {certificates: [a], client: {ca: b}}, "
		    "routes: [{client_cert: %s, to: \"http://127.0.0.1:1\"}, {client_cert: %s, "
		    "to: \"http://127.0.0.1:2\"}]}]\n",
		    pairs[i][0], pairs[i][1]);
		conf = conf_parse(text, strlen(text), "f", diag);
		assert_non_null(conf);
		if (*pairs[i][2] ? !strstr(conf_diag_text(diag), pairs[i][2])
				 : *conf_diag_text(diag) != 0)
			fail_msg("%s%s", text, conf_diag_text(diag));
		conf_unref(conf);
		conf_diag_free(diag);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fallbacks),      cmocka_unit_test(every_key),
	    cmocka_unit_test(on_and_off),     cmocka_unit_test(errors_have_their_place),
	    cmocka_unit_test(reached_or_not), cmocka_unit_test(headers_of_routes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
