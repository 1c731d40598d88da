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
#include <unistd.h>

#include <cmocka.h>

#include "lab.h"

static struct lab_identity authority, site;
static const struct lab_identity *between; /* sent along by clients; NULL: none */
static struct tls_server_ctx *server;

static struct tls_server_ctx *make_server_of(const char *ca, const char *crl, bool tells_der)
{
	struct conf_certificate certificate = {.chain = {.path = "site.pem"},
					       .key = {.path = "site.pem"}};
	const struct conf_server_tls conf = {
	    .certificates = &certificate,
	    .n_certificates = 1,
	    .client = {.mode = CONF_CLIENT_AUTH_OPTIONAL,
		       .ca = {.path = ca},
		       .crl = {.path = crl},
		       .depth = 3,
		       .tells_der = tells_der},
	    .tickets = {.on = true, .lifetime_s = 3600},
	};
	struct conf_diag *diag = conf_diag_new("test");
	struct tls_server_ctx *ctx = tls_server_ctx_new(&conf, &lab_files, diag);

	if (!ctx)
		fail_msg("%s", conf_diag_text(diag));
	conf_diag_free(diag);
	return ctx;
}

static struct tls_server_ctx *make_server(bool tells_der)
{
	return make_server_of("ca.pem", NULL, tells_der);
}

/* The certificate that a client showed, or NULL with the progress. `session` is given and taken. */
static struct tls_peer *show(const struct lab_identity *identity, SSL_SESSION **session,
			     enum tls_progress *ret_progress)
{
	struct lab_peer_wish wish = {.identity = identity};
	SSL_CTX *peer_ctx = lab_make_peer_ctx(&wish);
	struct tls_peer *shown;
	struct lab_end end;
	char byte;
	SSL *peer;
	int fds[2];

	if (between)
		assert_int_equal(SSL_CTX_add1_chain_cert(peer_ctx, between->certificate), 1);
	lab_connect(fds, false);
	lab_open_end(&end, fds[0]);
	assert_int_equal(tls_start_server(&end.io, server, NULL), 0);
	peer = lab_make_peer(peer_ctx, &wish, fds[1]);
	if (session && *session)
		assert_int_equal(SSL_set_session(peer, *session), 1);
	*ret_progress = lab_shake(&end, peer);
	SSL_read(peer, &byte, 1); /* tickets */
	if (session) {
		SSL_SESSION_free(*session);
		*session = SSL_get1_session(peer);
	}
	shown = tls_take_peer(&end.io);
	assert_null(tls_take_peer(&end.io));
	SSL_set_shutdown(peer, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(peer);
	SSL_CTX_free(peer_ctx);
	close(fds[1]);
	lab_close_end(&end);
	return shown;
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

/* ---- revocation lists ---- */

/* Of one authority, with at most one entry; until `end_s` from now, 0: it does not say. */
static void put_list(BIO *bio, const struct lab_identity *issuer,
		     const struct lab_identity *revoked, long end_s)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *time = X509_gmtime_adj(NULL, -7200);

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->certificate));
	X509_CRL_set1_lastUpdate(crl, time);
	if (revoked) {
		X509_REVOKED *entry = X509_REVOKED_new();

		X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->certificate));
		X509_REVOKED_set_revocationDate(entry, time);
		X509_CRL_add0_revoked(crl, entry);
	}
	if (end_s)
		X509_CRL_set1_nextUpdate(crl, X509_gmtime_adj(time, end_s));
	assert_true(X509_CRL_sign(crl, issuer->key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509_CRL(bio, crl), 1);
	ASN1_TIME_free(time);
	X509_CRL_free(crl);
}

static void add_bio(const char *path, BIO *bio)
{
	char *text;
	long len = BIO_get_mem_data(bio, &text);

	lab_add_file(path, text, (size_t)len);
	BIO_free(bio);
}

/* RFC 5280 wants them to say how long they hold; OpenSSL takes such that do not. */
static void a_list_without_end_holds(void **state)
{
	struct lab_identity_wish wish = {.common_name = "alice", .issuer = &authority};
	struct lab_identity alice, mallory;
	BIO *bio = BIO_new(BIO_s_mem());
	SSL_SESSION *session = NULL;
	enum tls_progress progress;

	(void)state;
	lab_make_identity(&wish, &alice);
	wish.common_name = "mallory";
	lab_make_identity(&wish, &mallory);
	put_list(bio, &authority, &mallory, 0);
	add_bio("endless.crl", bio);
	tls_server_ctx_free(server);
	server = make_server_of("ca.pem", "endless.crl", false);
	for (int i = 0; i < 2; i++) {
		struct tls_peer *shown = show(&alice, &session, &progress);

		assert_non_null(shown);
		assert_int_equal(shown->is_resumed, i);
		tls_peer_free(shown);
	}
	assert_null(show(&mallory, NULL, &progress));
	assert_int_equal(progress, TLS_UNVERIFIED);
	SSL_SESSION_free(session);
	lab_free_identity(&alice);
	lab_free_identity(&mallory);
}

static void make_middle(struct lab_identity *middle)
{
	struct lab_identity_wish wish = {.common_name = "Middle", .issuer = &authority};
	BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();

	lab_make_identity(&wish, middle);
	constraints->ca = 0xff;
	assert_int_equal(X509_add1_ext_i2d(middle->certificate, NID_basic_constraints, constraints,
					   1, X509V3_ADD_REPLACE),
			 1);
	BASIC_CONSTRAINTS_free(constraints);
	assert_true(X509_sign(middle->certificate, authority.key, EVP_sha256()) > 0);
}

/* A session says nothing of the authorities between, so each list asks for the certificate anew. */
static void a_revoked_authority_ends_sessions(void **state)
{
	struct lab_identity_wish wish = {.common_name = "alice"};
	struct lab_identity middle, alice;
	SSL_SESSION *session = NULL;
	enum tls_progress progress;

	(void)state;
	make_middle(&middle);
	between = &middle;
	wish.issuer = &middle;
	lab_make_identity(&wish, &alice);
	for (int is_revoked = 0; is_revoked < 2; is_revoked++) {
		BIO *bio = BIO_new(BIO_s_mem());
		struct tls_peer *shown;

		put_list(bio, &middle, NULL, 86400);
		put_list(bio, &authority, is_revoked ? &middle : NULL, 86400);
		add_bio(is_revoked ? "after.crl" : "before.crl", bio);
		tls_server_ctx_free(server);
		server = make_server_of("ca.pem", is_revoked ? "after.crl" : "before.crl", false);
		shown = show(&alice, &session, &progress);
		assert_int_equal(progress, is_revoked ? TLS_UNVERIFIED : TLS_READY);
		assert_int_equal(shown != NULL, !is_revoked);
		tls_peer_free(shown);
	}
	between = NULL;
	SSL_SESSION_free(session);
	lab_free_identity(&alice);
	lab_free_identity(&middle);
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
	    cmocka_unit_test(a_list_without_end_holds),
	    cmocka_unit_test(a_revoked_authority_ends_sessions),
	    cmocka_unit_test(a_forged_signature_is_an_unverified_client),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
