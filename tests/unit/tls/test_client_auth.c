/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates that clients show: what is kept of good ones, of odd ones and of hostile ones. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "visitor.h"

static struct lab_identity authority, site;
static struct tls_server_ctx *server;

static time_t ahead_s;

/* Ours and OpenSSL's. */
time_t time(time_t *ret_now)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += ahead_s;
	if (ret_now)
		*ret_now = now.tv_sec;
	return now.tv_sec;
}

static struct tls_server_ctx *make_server(bool tells_der)
{
	const struct conf_client_auth_rules rules = {.mode = CONF_CLIENT_AUTH_OPTIONAL,
						     .ca = {.path = "ca.pem"},
						     .depth = 3,
						     .tells_der = tells_der};

	return visitor_make_server(&rules, NULL);
}

static struct tls_peer *show(const struct lab_identity *identity, SSL_SESSION **session,
			     enum tls_progress *ret_progress)
{
	return visitor_show(server, identity, NULL, session, ret_progress);
}

static void what_is_said_is_kept(void **state)
{
	struct lab_identity_wish wish = {
	    .common_name = "alice",
	    .alt_names = "DNS:a.example,URI:spiffe://x/a,email:a@example.com,IP:192.0.2.7,"
			 "IP:2001:db8::7",
	    .issuer = &authority};
	static const struct tls_san sans[] = {{TLS_SAN_DNS, "a.example"},
					      {TLS_SAN_URI, "spiffe://x/a"},
					      {TLS_SAN_EMAIL, "a@example.com"},
					      {TLS_SAN_IP, "192.0.2.7"},
					      {TLS_SAN_IP, "2001:db8::7"}};
	struct lab_identity alice;
	SSL_SESSION *session = NULL;
	enum tls_progress progress;

	(void)state;
	lab_make_identity(&wish, &alice);
	for (int i = 0; i < 2; i++) {
		struct tls_peer *shown = show(&alice, &session, &progress);

		assert_int_equal(progress, TLS_READY);
		assert_non_null(shown);
		assert_int_equal(shown->is_resumed, i);
		assert_string_equal(shown->subject, "CN=alice");
		assert_string_equal(shown->common_name, "alice");
		assert_string_equal(shown->issuer, "CN=Authority");
		assert_string_equal(shown->issuer_name, "Authority");
		assert_int_equal(strlen(shown->fingerprint), 64);
		assert_int_equal(strlen(shown->not_before), 20);
		assert_int_equal(shown->not_after[19], 'Z');
		assert_true(strlen(shown->serial) > 0);
		assert_int_equal(shown->n_sans, ARRAY_LEN(sans));
		for (size_t j = 0; j < ARRAY_LEN(sans); j++) {
			assert_int_equal(shown->sans[j].kind, sans[j].kind);
			assert_string_equal(shown->sans[j].text, sans[j].text);
		}
		assert_null(shown->der);
		tls_peer_free(shown);
	}
	SSL_SESSION_free(session);
	lab_free_identity(&alice);
}

static void who_shows_none_has_none(void **state)
{
	enum tls_progress progress;

	(void)state;
	assert_null(show(NULL, NULL, &progress));
	assert_int_equal(progress, TLS_READY);
}

static void add_san(GENERAL_NAMES *names, int type, const char *text, size_t len_bytes)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *value = ASN1_IA5STRING_new();

	assert_int_equal(ASN1_STRING_set(value, text, (int)len_bytes), 1);
	GENERAL_NAME_set0_value(name, type, value);
	sk_GENERAL_NAME_push(names, name);
}

/* Names that other programs would read otherwise than we. */
static void hostile_names_are_nothing(void **state)
{
	static const unsigned char common_name[] = "admin\0.evil.example";
	struct lab_identity_wish wish = {.common_name = "x", .issuer = &authority};
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	struct lab_identity evil;
	enum tls_progress progress;
	struct tls_peer *shown;
	X509_NAME *name;

	(void)state;
	lab_make_identity(&wish, &evil);
	name = X509_get_subject_name(evil.certificate);
	X509_NAME_ENTRY_free(X509_NAME_delete_entry(name, 0));
	X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"a\r\nb", 4, -1,
				   0);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common_name, sizeof(common_name) - 1,
				   -1, 0);
	add_san(names, GEN_DNS, "good.example\0.evil.example", 26);
	add_san(names, GEN_DNS, "a\r\nX-Admin: yes", 15);
	add_san(names, GEN_URI, "spiffe://x/\xff", 12);
	add_san(names, GEN_EMAIL, "", 0);
	add_san(names, GEN_DNS, "kept.example", 12);
	X509_add1_ext_i2d(evil.certificate, NID_subject_alt_name, names, 0, 0);
	assert_true(X509_sign(evil.certificate, authority.key, EVP_sha256()) > 0);
	shown = show(&evil, NULL, &progress);
	assert_int_equal(progress, TLS_READY);
	assert_string_equal(shown->common_name, "");
	assert_null(strpbrk(shown->subject, "\r\n"));
	assert_int_equal(shown->n_sans, 1);
	assert_string_equal(shown->sans[0].text, "kept.example");
	tls_peer_free(shown);
	GENERAL_NAMES_free(names);
	lab_free_identity(&evil);
}

/* As many as fit are told, and that there are more; what would fill all of the buffer, or
 * a session ticket, ends the connection. */
static void huge_lists_are_cut(void **state)
{
	static const struct {
		int n_names;
		size_t len_bytes;
		size_t kept; /* SIZE_MAX: refused */
	} cases[] = {{100, 30, 100},
		     {1000, 30, 100},
		     {2, 1025, 0},
		     {100, 1024, SIZE_MAX},
		     {3000, 30, SIZE_MAX}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct lab_identity_wish wish = {.common_name = "many", .issuer = &authority};
		GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
		char text[1025];
		struct lab_identity many;
		enum tls_progress progress;
		struct tls_peer *shown;

		memset(text, 'a', sizeof(text));
		lab_make_identity(&wish, &many);
		for (int j = 0; j < cases[i].n_names; j++)
			add_san(names, GEN_DNS, text, cases[i].len_bytes);
		X509_add1_ext_i2d(many.certificate, NID_subject_alt_name, names, 0, 0);
		assert_true(X509_sign(many.certificate, authority.key, EVP_sha256()) > 0);
		shown = show(&many, NULL, &progress);
		if (cases[i].kept == SIZE_MAX) {
			assert_int_equal(progress, TLS_FAILED);
			assert_null(shown);
		} else {
			assert_int_equal(progress, TLS_READY);
			assert_int_equal(shown->n_sans, cases[i].kept);
			assert_int_equal(shown->has_more_sans, cases[i].n_names > 100);
		}
		tls_peer_free(shown);
		GENERAL_NAMES_free(names);
		lab_free_identity(&many);
	}
}

static void der_is_kept_for_headers(void **state)
{
	struct lab_identity_wish wish = {.common_name = "alice", .issuer = &authority};
	struct lab_identity alice;
	SSL_SESSION *session = NULL;
	unsigned char *der = NULL;
	enum tls_progress progress;
	int len;

	(void)state;
	lab_make_identity(&wish, &alice);
	len = i2d_X509(alice.certificate, &der);
	tls_server_ctx_free(server);
	server = make_server(true);
	for (int i = 0; i < 2; i++) {
		struct tls_peer *shown = show(&alice, &session, &progress);

		assert_non_null(shown);
		assert_int_equal(shown->is_resumed, i);
		assert_int_equal(shown->der_bytes, len);
		assert_memory_equal(shown->der, der, (size_t)len);
		tls_peer_free(shown);
	}
	SSL_SESSION_free(session);
	OPENSSL_free(der);
	lab_free_identity(&alice);
}

/* ---- how long a session stands for a certificate ---- */

/* Is the certificate taken, and from a session? */
static void show_at(time_t when_s, const struct lab_identity *identity,
		    const struct lab_identity *const *above, SSL_SESSION **session, bool is_taken,
		    bool is_resumed)
{
	enum tls_progress progress;
	struct tls_peer *shown;

	ahead_s = when_s;
	shown = visitor_show(server, identity, above, session, &progress);
	ahead_s = 0;
	assert_int_equal(progress, is_taken ? TLS_READY : TLS_UNVERIFIED);
	assert_int_equal(shown != NULL, is_taken);
	assert_int_equal(shown && shown->is_resumed, is_resumed);
	tls_peer_free(shown);
}

/* However often it was resumed, and with whichever ticket. */
static void sessions_end_when_they_are_old(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	struct lab_identity_wish wish = {.common_name = "alice", .issuer = &authority};
	struct lab_identity alice;

	(void)state;
	lab_make_identity(&wish, &alice);
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		SSL_SESSION *session = NULL;

		visitor_version = versions[i];
		show_at(0, &alice, NULL, &session, true, false);
		show_at(VISITOR_LIFETIME_S / 2, &alice, NULL, &session, true, true);
		show_at(VISITOR_LIFETIME_S - 60, &alice, NULL, &session, true, true);
		show_at(VISITOR_LIFETIME_S + 1, &alice, NULL, &session, true, false);
		show_at(VISITOR_LIFETIME_S * 3 / 2, &alice, NULL, &session, true, true);
		/* The clock was set back. */
		show_at(VISITOR_LIFETIME_S / 2, &alice, NULL, &session, true, false);
		SSL_SESSION_free(session);
	}
	visitor_version = 0;
	lab_free_identity(&alice);
}

/* Its own, or the one above it, which the session does not have. */
static void sessions_end_with_their_certificates(void **state)
{
	struct lab_identity_wish wish = {
	    .common_name = "Middle", .issuer = &authority, .days_to = 2};
	struct lab_identity middle, below, short_lived;
	const struct lab_identity *const above[] = {&middle, NULL};
	SSL_SESSION *session = NULL;

	(void)state;
	visitor_make_authority(&wish, &middle);
	wish = (struct lab_identity_wish){.common_name = "below", .issuer = &middle};
	lab_make_identity(&wish, &below);
	wish = (struct lab_identity_wish){
	    .common_name = "short-lived", .issuer = &authority, .days_to = 2};
	lab_make_identity(&wish, &short_lived);
	for (int i = 0; i < 2; i++) {
		const struct lab_identity *one = i ? &short_lived : &below;

		show_at(2 * 86400 - 600, one, above, &session, true, false);
		show_at(2 * 86400 - 300, one, above, &session, true, true);
		show_at(2 * 86400 + 300, one, above, &session, false, false);
		SSL_SESSION_free(session);
		session = NULL;
	}
	lab_free_identity(&middle);
	lab_free_identity(&below);
	lab_free_identity(&short_lived);
}

/* OpenSSL has several errors to tell then, and not first that the certificate is not good. */
static void a_forged_signature_is_an_unverified_client(void **state)
{
	struct lab_identity_wish wish = {.common_name = "alice", .issuer = &authority};
	struct lab_identity alice;
	enum tls_progress progress;

	(void)state;
	lab_make_identity(&wish, &alice);
	assert_true(X509_sign(alice.certificate, alice.key, EVP_sha256()) > 0);
	assert_null(show(&alice, NULL, &progress));
	assert_int_equal(progress, TLS_UNVERIFIED);
	lab_free_identity(&alice);
}

static int set_up(void **state)
{
	struct lab_identity_wish wish = {.common_name = "Authority"};

	(void)state;
	lab_init();
	lab_make_identity(&wish, &authority);
	wish = (struct lab_identity_wish){
	    .common_name = "site", .alt_names = "DNS:site.example", .issuer = &authority};
	lab_make_identity(&wish, &site);
	lab_add_certificate("ca.pem", &authority);
	lab_add_both("site.pem", &site);
	server = make_server(false);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tls_server_ctx_free(server);
	lab_remove_files();
	lab_free_identity(&authority);
	lab_free_identity(&site);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_said_is_kept),
	    cmocka_unit_test(who_shows_none_has_none),
	    cmocka_unit_test(hostile_names_are_nothing),
	    cmocka_unit_test(huge_lists_are_cut),
	    cmocka_unit_test(der_is_kept_for_headers),
	    cmocka_unit_test(sessions_end_when_they_are_old),
	    cmocka_unit_test(sessions_end_with_their_certificates),
	    cmocka_unit_test(a_forged_signature_is_an_unverified_client),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
