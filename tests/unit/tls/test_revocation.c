/* SPDX-License-Identifier: Apache-2.0 */
/* Revocation lists of clients' authorities: whose lists are asked for, and what they end. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "visitor.h"

enum { ROOT = 1, MIDDLE = 2, LOW = 4, OWN = 8 };

/* Each authority is below the one before, and has two clients, one of them on its list. The fourth
 * is a client that nobody issued. */
static struct lab_identity authorities[4], good[4], bad[3], site;
static const struct lab_identity *const root = &authorities[0];

/* What a client of each sends along. */
static const struct lab_identity *const above[][3] = {
    {NULL}, {&authorities[1], NULL}, {&authorities[2], &authorities[1], NULL}, {NULL}};

static const char *const names[] = {"Root", "Middle", "Low", "own"};

#define DAY_S 86400L

static void revoke(X509_CRL *crl, const struct lab_identity *revoked, const ASN1_TIME *time)
{
	X509_REVOKED *entry = X509_REVOKED_new();

	X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->certificate));
	X509_REVOKED_set_revocationDate(entry, (ASN1_TIME *)time);
	X509_CRL_add0_revoked(crl, entry);
}

/* A list of one authority with those of `revoked` (NULL: none; ends with NULL), made two hours ago,
 * until `end_s` from now; 0: it does not say. */
static void put_list(BIO *bio, const struct lab_identity *issuer,
		     const struct lab_identity *const *revoked, long end_s)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *time = X509_gmtime_adj(NULL, -7200);

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->certificate));
	X509_CRL_set1_lastUpdate(crl, time);
	for (; revoked && *revoked; revoked++)
		revoke(crl, *revoked, time);
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

static void add_authorities(const char *path, unsigned int which)
{
	BIO *bio = BIO_new(BIO_s_mem());

	for (size_t i = 0; i < ARRAY_LEN(authorities); i++)
		if (which & 1U << i)
			PEM_write_bio_X509(bio, authorities[i].certificate);
	add_bio(path, bio);
}

/* `revoked`: authorities that are on the list of the one before. */
static void add_lists(const char *path, unsigned int which, unsigned int revoked, long end_s)
{
	BIO *bio = BIO_new(BIO_s_mem());

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const struct lab_identity *of_one[] = {
		    &bad[i], revoked & 2U << i ? &authorities[i + 1] : NULL, NULL};

		if (which & 1U << i)
			put_list(bio, &authorities[i], of_one, end_s);
	}
	add_bio(path, bio);
}

static struct tls_server_ctx *make_server(const char *ca, const char *crl, char **ret_said)
{
	const struct conf_client_auth_rules rules = {.mode = CONF_CLIENT_AUTH_REQUIRED,
						     .ca = {.path = ca},
						     .crl = {.path = crl},
						     .depth = 3};

	return visitor_make_server(&rules, ret_said);
}

static bool is_taken(struct tls_server_ctx *server, const struct lab_identity *identity,
		     const struct lab_identity *const *sent)
{
	enum tls_progress progress;
	struct tls_peer *shown = visitor_show(server, identity, sent, NULL, &progress);

	assert_int_equal(shown != NULL, progress == TLS_READY);
	tls_peer_free(shown);
	return progress == TLS_READY;
}

#define NO_LIST(name) "there is no revocation list of \"/CN=" name "\""
#define REVOKED(name) "\"/CN=" name "\" is revoked by a list"
#define RUN_OUT(name) "a revocation list of \"/CN=" name "\""

static const struct row {
	unsigned int ca, lists, revoked;
	long end_s;
	unsigned int taken; /* whose good clients are; 0 with `refuses`: no server comes of it */
	const char *said[4];
	bool refuses;
} rows[] = {
    {ROOT, ROOT | MIDDLE | LOW, 0, DAY_S, ROOT | MIDDLE | LOW, {NULL}, false},
    /* Lists above the authority that is named are asked for by nobody... */
    {MIDDLE, MIDDLE, 0, DAY_S, MIDDLE, {NULL}, false},
    {MIDDLE, MIDDLE | LOW, 0, DAY_S, MIDDLE | LOW, {NULL}, false},
    {MIDDLE | LOW, MIDDLE | LOW, 0, DAY_S, MIDDLE | LOW, {NULL}, false},
    {LOW, LOW, 0, DAY_S, LOW, {NULL}, false},
    /* ... those below it by each. */
    {ROOT | MIDDLE, MIDDLE, 0, DAY_S, MIDDLE, {NO_LIST("Root")}, false},
    {ROOT, ROOT, 0, DAY_S, ROOT, {NULL}, false},
    {ROOT, MIDDLE, 0, DAY_S, 0, {NO_LIST("Root")}, false},
    {ROOT | MIDDLE, ROOT, 0, DAY_S, ROOT, {NO_LIST("Middle")}, false},
    {ROOT | MIDDLE, ROOT | MIDDLE, 0, -DAY_S, 0, {RUN_OUT("Root"), RUN_OUT("Middle")}, false},
    /* An authority that is revoked is none, wherever the file has it. */
    {ROOT, ROOT | MIDDLE | LOW, MIDDLE, DAY_S, ROOT, {NULL}, false},
    {ROOT | MIDDLE | LOW,
     ROOT | MIDDLE | LOW,
     MIDDLE,
     DAY_S,
     ROOT,
     {REVOKED("Middle"), REVOKED("Low")},
     false},
    {ROOT | MIDDLE | LOW, ROOT | MIDDLE | LOW, LOW, DAY_S, ROOT | MIDDLE, {REVOKED("Low")}, false},
    {ROOT | LOW, ROOT | MIDDLE | LOW, LOW, DAY_S, ROOT | MIDDLE, {REVOKED("Low")}, false},
    {MIDDLE, ROOT | MIDDLE, MIDDLE, DAY_S, 0, {"all authorities are revoked"}, true},
    /* A client whose own certificate is in the file stands by itself. */
    {ROOT | OWN, ROOT, 0, DAY_S, ROOT | OWN, {NO_LIST("own")}, false},
};

static void try_row(const struct row *row, size_t number)
{
	struct tls_server_ctx *server;
	char *said;

	add_authorities("row.pem", row->ca);
	add_lists("row.crl", row->lists, row->revoked, row->end_s);
	server = make_server("row.pem", "row.crl", &said);
	for (size_t i = 0; row->said[i]; i++)
		if (!strstr(said, row->said[i]))
			fail_msg("row %zu does not say %s:\n%s", number, row->said[i], said);
	if (!row->said[0] && *said)
		fail_msg("row %zu says\n%s", number, said);
	free(said);
	assert_int_equal(server == NULL, row->refuses);
	for (size_t i = 0; server && i < ARRAY_LEN(good); i++)
		if (is_taken(server, &good[i], above[i]) != !!(row->taken & 1U << i))
			fail_msg("row %zu, client of %s", number, names[i]);
	for (size_t i = 0; server && i < ARRAY_LEN(bad); i++)
		if (is_taken(server, &bad[i], above[i]))
			fail_msg("row %zu takes who %s has revoked", number, names[i]);
	tls_server_ctx_free(server);
	lab_remove_files();
	lab_add_both("site.pem", &site);
}

static void whose_lists_are_asked_for(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		try_row(&rows[i], i);
}

/* ---- sessions ---- */

/* Is the certificate taken, and from a session? */
static void show_again(struct tls_server_ctx *server, const struct lab_identity *identity,
		       const struct lab_identity *const *sent, SSL_SESSION **session,
		       bool from_session)
{
	enum tls_progress progress;
	struct tls_peer *shown = visitor_show(server, identity, sent, session, &progress);

	assert_non_null(shown);
	assert_int_equal(shown->is_resumed, from_session);
	tls_peer_free(shown);
}

/* RFC 5280 wants them to say how long they hold; OpenSSL takes such that do not. */
static void a_list_without_end_holds(void **state)
{
	struct tls_server_ctx *server;
	SSL_SESSION *session = NULL;

	(void)state;
	add_authorities("ca.pem", ROOT);
	add_lists("endless.crl", ROOT, 0, 0);
	server = make_server("ca.pem", "endless.crl", NULL);
	show_again(server, &good[0], NULL, &session, false);
	show_again(server, &good[0], NULL, &session, true);
	assert_false(is_taken(server, &bad[0], NULL));
	SSL_SESSION_free(session);
	tls_server_ctx_free(server);
}

/* The new one counts, and nothing is said of the old. */
static void an_old_list_beside_a_new_one_is_nothing(void **state)
{
	BIO *bio = BIO_new(BIO_s_mem());
	struct tls_server_ctx *server;
	SSL_SESSION *session = NULL;
	char *said;

	(void)state;
	add_authorities("ca.pem", ROOT);
	put_list(bio, root, NULL, -DAY_S);
	put_list(bio, root, (const struct lab_identity *const[]){&bad[0], NULL}, DAY_S);
	add_bio("two.crl", bio);
	server = make_server("ca.pem", "two.crl", &said);
	assert_string_equal(said, "");
	show_again(server, &good[0], NULL, &session, false);
	show_again(server, &good[0], NULL, &session, true);
	assert_false(is_taken(server, &bad[0], NULL));
	free(said);
	SSL_SESSION_free(session);
	tls_server_ctx_free(server);
}

/* A session says nothing of the authorities between, so each list asks for the certificate anew. */
static void a_revoked_authority_ends_sessions(void **state)
{
	SSL_SESSION *session = NULL;
	struct tls_server_ctx *server;
	enum tls_progress progress;

	(void)state;
	add_authorities("ca.pem", ROOT);
	add_lists("before.crl", ROOT | MIDDLE, 0, DAY_S);
	server = make_server("ca.pem", "before.crl", NULL);
	show_again(server, &good[1], above[1], &session, false);
	tls_server_ctx_free(server);
	server = make_server("ca.pem", "before.crl", NULL);
	show_again(server, &good[1], above[1], &session, true);
	tls_server_ctx_free(server);
	add_lists("after.crl", ROOT | MIDDLE, MIDDLE, DAY_S);
	server = make_server("ca.pem", "after.crl", NULL);
	assert_null(visitor_show(server, &good[1], above[1], &session, &progress));
	assert_int_equal(progress, TLS_UNVERIFIED);
	SSL_SESSION_free(session);
	tls_server_ctx_free(server);
}

/* ---- */

static int set_up(void **state)
{
	(void)state;
	lab_init();
	for (size_t i = 0; i < ARRAY_LEN(authorities); i++) {
		struct lab_identity_wish wish = {.common_name = names[i]};

		if (i == 0 || i == 3) {
			lab_make_identity(&wish, &authorities[i]);
		} else {
			wish.issuer = &authorities[i - 1];
			visitor_make_authority(&wish, &authorities[i]);
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct lab_identity_wish wish = {.common_name = "good", .issuer = &authorities[i]};

		lab_make_identity(&wish, &good[i]);
		wish.common_name = "bad";
		lab_make_identity(&wish, &bad[i]);
	}
	good[3] = authorities[3];
	lab_make_identity(&(struct lab_identity_wish){.common_name = "site.example"}, &site);
	lab_add_both("site.pem", &site);
	return 0;
}

static int clean(void **state)
{
	(void)state;
	lab_remove_files();
	lab_add_both("site.pem", &site);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	lab_remove_files();
	for (size_t i = 0; i < ARRAY_LEN(authorities); i++)
		lab_free_identity(&authorities[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		lab_free_identity(&good[i]);
		lab_free_identity(&bad[i]);
	}
	lab_free_identity(&site);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(whose_lists_are_asked_for),
	    cmocka_unit_test_teardown(a_list_without_end_holds, clean),
	    cmocka_unit_test_teardown(an_old_list_beside_a_new_one_is_nothing, clean),
	    cmocka_unit_test_teardown(a_revoked_authority_ends_sessions, clean),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
