/* SPDX-License-Identifier: Apache-2.0 */
/* Session tickets: whose keys, for how long, and who resumes where. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lab.h"
#include "tls/tls_tickets.h"

#define DAY TLS_TICKET_TURN_S

static struct lab_identity site;
static struct conf_certificate certificate = {.chain = {.path = "site.pem"},
					      .key = {.path = "site.pem"}};
static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

/* ---- the ring ---- */

static void a_key_seals_a_day_and_opens_two(void **state)
{
	struct tls_ticket_ring ring = {.has_key = false};
	struct tls_ticket_key first, key, none = {.name = {0}};
	time_t start = 1000000;
	bool renew;

	(void)state;
	assert_int_equal(tls_ticket_ring_seal(&ring, start, &first), 0);
	assert_memory_not_equal(&first, &none, sizeof(first));
	assert_int_equal(tls_ticket_ring_seal(&ring, start + DAY - 1, &key), 0);
	assert_memory_equal(&key, &first, sizeof(key));
	assert_int_equal(tls_ticket_ring_seal(&ring, start + DAY, &key), 0);
	assert_memory_not_equal(key.name, first.name, sizeof(key.name));
	assert_memory_not_equal(key.mac, first.mac, sizeof(key.mac));
	assert_memory_not_equal(key.cipher, first.cipher, sizeof(key.cipher));
	assert_int_equal(tls_ticket_ring_open(&ring, start + 2 * DAY - 1, first.name, &key, &renew),
			 0);
	assert_memory_equal(&key, &first, sizeof(key));
	assert_true(renew);
	assert_int_equal(tls_ticket_ring_open(&ring, start + 2 * DAY, first.name, &key, &renew),
			 -ENOENT);
	assert_memory_not_equal(&ring.previous, &first, sizeof(first));
}

static void after_a_silence_no_old_key_opens(void **state)
{
	struct tls_ticket_ring ring = {.has_key = false};
	struct tls_ticket_key first, key, none = {.name = {0}};
	bool renew;

	(void)state;
	assert_int_equal(tls_ticket_ring_seal(&ring, DAY, &first), 0);
	assert_int_equal(tls_ticket_ring_open(&ring, DAY + 9, first.name, &key, &renew), 0);
	assert_false(renew);
	assert_int_equal(tls_ticket_ring_open(&ring, 3 * DAY, first.name, &key, &renew), -ENOENT);
	assert_false(ring.has_previous);
	assert_memory_equal(&ring.previous, &none, sizeof(none)); /* wiped */
	/* A clock that goes back does not bring it back, nor does it make keys. */
	key = ring.now;
	assert_int_equal(tls_ticket_ring_seal(&ring, DAY, &first), 0);
	assert_memory_equal(&key, &first, sizeof(key));
}

/* ---- files ---- */

static struct tls_server_ctx *load(const char *keys, bool on, const char *said)
{
	struct conf_server_tls conf = {
	    .certificates = &certificate,
	    .n_certificates = 1,
	    .tickets = {.on = on, .keys = {.path = keys, .mark = {8, 8}}, .lifetime_s = 3600},
	};
	struct conf_diag *diag = conf_diag_new("test");
	struct tls_server_ctx *ctx = tls_server_ctx_new(&conf, &lab_files, diag);

	if ((ctx == NULL) != (said != NULL) || (said && !strstr(conf_diag_text(diag), said)))
		fail_msg("\"%s\" was expected, not \"%s\"", said ? said : "", conf_diag_text(diag));
	conf_diag_free(diag);
	return ctx;
}

static void files_have_whole_keys(void **state)
{
	(void)state;
	load("empty.keys", true, "8:8: error: \"empty.keys\" has 0 bytes; it must hold 1 to 64");
	load("odd.keys", true, "8:8: error: \"odd.keys\" has 79 bytes");
	load("many.keys", true, "8:8: error: \"many.keys\" has 5200 bytes");
	load("none.keys", true, "8:8: error: cannot read \"none.keys\"");
	tls_server_ctx_free(load("a.keys", true, NULL));
	tls_server_ctx_free(load("ba.keys", true, NULL));
}

/* ---- resumption ---- */

/* One handshake; `session` goes in and comes out as the client has it afterwards. */
static bool resume(struct tls_server_ctx *ctx, int version, SSL_SESSION **session)
{
	struct lab_peer_wish wish = {.version = version, .sni = "site.example"};
	SSL_CTX *peer_ctx = lab_make_peer_ctx(&wish);
	struct tls_facts facts;
	struct lab_end end;
	bool resumed;
	SSL *peer;
	char byte;
	int fds[2];

	lab_connect(fds, false);
	lab_open_end(&end, fds[0]);
	assert_int_equal(tls_start_server(&end.io, ctx, NULL), 0);
	peer = lab_make_peer(peer_ctx, &wish, fds[1]);
	if (*session)
		assert_int_equal(SSL_set_session(peer, *session), 1);
	assert_int_equal(lab_shake(&end, peer), TLS_READY);
	assert_true(SSL_read(peer, &byte, 1) < 0); /* tickets of TLS 1.3 come after the handshake */
	resumed = SSL_session_reused(peer) == 1;
	tls_get_facts(&end.io, &facts);
	assert_int_equal(facts.resumed, resumed);
	SSL_SESSION_free(*session);
	*session = SSL_get1_session(peer);
	SSL_set_shutdown(peer, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	lab_close_end(&end);
	SSL_free(peer);
	SSL_CTX_free(peer_ctx);
	close(fds[1]);
	return resumed;
}

/* A ticket of the first context, shown to the second. */
static bool resume_across(const char *first_keys, const char *second_keys, int version)
{
	struct tls_server_ctx *first = load(first_keys, true, NULL);
	struct tls_server_ctx *second = load(second_keys, true, NULL);
	SSL_SESSION *session = NULL;
	bool resumed;

	assert_false(resume(first, version, &session));
	tls_server_ctx_free(first);
	resumed = resume(second, version, &session);
	SSL_SESSION_free(session);
	tls_server_ctx_free(second);
	return resumed;
}

static void a_new_configuration_opens_what_the_old_sealed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(versions); i++)
		assert_true(resume_across(NULL, NULL, versions[i]));
}

static void nodes_share_a_file(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		assert_true(resume_across("a.keys", "a.keys", versions[i]));
		assert_true(resume_across("a.keys", "ba.keys", versions[i])); /* turned here */
		assert_false(resume_across("ba.keys", "a.keys", versions[i]));
		assert_false(resume_across("a.keys", NULL, versions[i]));
		assert_false(resume_across(NULL, "a.keys", versions[i]));
	}
}

/* A ticket that an older key sealed is replaced, or it would end with that key. */
static void an_old_ticket_is_renewed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct tls_server_ctx *old = load("a.keys", true, NULL);
		struct tls_server_ctx *both = load("ba.keys", true, NULL);
		struct tls_server_ctx *fresh = load("b.keys", true, NULL);
		SSL_SESSION *session = NULL;

		assert_false(resume(old, versions[i], &session));
		assert_true(resume(both, versions[i], &session));
		assert_true(resume(fresh, versions[i], &session));
		SSL_SESSION_free(session);
		tls_server_ctx_free(old);
		tls_server_ctx_free(both);
		tls_server_ctx_free(fresh);
	}
}

/* A client that uses each ticket once, as RFC 8446, C.4 has it, resumes for ever. */
static void every_resumption_brings_a_ticket(void **state)
{
	struct tls_server_ctx *ctx = load("a.keys", true, NULL);
	SSL_SESSION *session = NULL;
	size_t len, last_len;
	const unsigned char *ticket;
	unsigned char last[1024];

	(void)state;
	assert_false(resume(ctx, TLS1_3_VERSION, &session));
	for (int i = 0; i < 3; i++) {
		SSL_SESSION_get0_ticket(session, &ticket, &last_len);
		assert_true(last_len && last_len <= sizeof(last));
		memcpy(last, ticket, last_len);
		assert_true(resume(ctx, TLS1_3_VERSION, &session));
		SSL_SESSION_get0_ticket(session, &ticket, &len);
		assert_true(len != last_len || memcmp(last, ticket, len) != 0);
	}
	SSL_SESSION_free(session);
	tls_server_ctx_free(ctx);
}

static struct tls_server_ctx *load_ciphers(const char *ciphers_12)
{
	const struct conf_server_tls conf = {
	    .certificates = &certificate,
	    .n_certificates = 1,
	    .policy.ciphers_12 = ciphers_12,
	    .tickets = {.on = true, .lifetime_s = 3600},
	};
	struct conf_diag *diag = conf_diag_new("test");
	struct tls_server_ctx *ctx = tls_server_ctx_new(&conf, &lab_files, diag);

	assert_non_null(ctx);
	conf_diag_free(diag);
	return ctx;
}

/* TLS 1.2 resumes with the session's cipher, whatever the listener would choose. */
static void a_session_brings_no_cipher_that_is_not_allowed(void **state)
{
	struct tls_server_ctx *weak = load_ciphers("ECDHE-ECDSA-AES128-SHA256");
	struct tls_server_ctx *strong = load_ciphers(NULL);
	SSL_SESSION *session = NULL;

	(void)state;
	assert_false(resume(weak, TLS1_2_VERSION, &session));
	assert_true(resume(weak, TLS1_2_VERSION, &session));
	assert_false(resume(strong, TLS1_2_VERSION, &session));
	assert_string_equal(SSL_CIPHER_get_name(SSL_SESSION_get0_cipher(session)),
			    "ECDHE-ECDSA-AES128-GCM-SHA256");
	SSL_SESSION_free(session);
	tls_server_ctx_free(weak);
	tls_server_ctx_free(strong);
}

static struct tls_server_ctx *load_certificate(const char *path)
{
	struct conf_certificate shown = {.chain = {.path = path}, .key = {.path = path}};
	const struct conf_server_tls conf = {
	    .certificates = &shown,
	    .n_certificates = 1,
	    .tickets = {.on = true, .lifetime_s = 3600},
	};
	struct conf_diag *diag = conf_diag_new("test");
	struct tls_server_ctx *ctx = tls_server_ctx_new(&conf, &lab_files, diag);

	assert_non_null(ctx);
	conf_diag_free(diag);
	return ctx;
}

/* A client that was led to another listener must see its certificate; a renewal is no other. */
static void a_session_is_of_the_names_that_were_shown(void **state)
{
	struct tls_server_ctx *before = load_certificate("site.pem");
	struct tls_server_ctx *renewed = load_certificate("renewed.pem");
	struct tls_server_ctx *elsewhere = load_certificate("elsewhere.pem");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		SSL_SESSION *session = NULL;

		assert_false(resume(before, versions[i], &session));
		assert_true(resume(renewed, versions[i], &session));
		assert_false(resume(elsewhere, versions[i], &session));
		SSL_SESSION_free(session);
	}
	tls_server_ctx_free(before);
	tls_server_ctx_free(renewed);
	tls_server_ctx_free(elsewhere);
}

static void off_is_no_ticket(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct tls_server_ctx *ctx = load(NULL, false, NULL);
		SSL_SESSION *session = NULL;

		assert_false(resume(ctx, versions[i], &session));
		assert_false(SSL_SESSION_has_ticket(session));
		assert_false(resume(ctx, versions[i], &session));
		SSL_SESSION_free(session);
		tls_server_ctx_free(ctx);
	}
}

static void the_lifetime_is_told(void **state)
{
	struct tls_server_ctx *ctx = load(NULL, true, NULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		SSL_SESSION *session = NULL;

		assert_false(resume(ctx, versions[i], &session));
		assert_int_equal(SSL_SESSION_get_ticket_lifetime_hint(session), 3600);
		SSL_SESSION_free(session);
	}
	tls_server_ctx_free(ctx);
}

static int make_world(void **state)
{
	static char bytes[65 * 80];
	struct lab_identity other;

	(void)state;
	lab_make_identity(
	    &(struct lab_identity_wish){.common_name = "site", .alt_names = "DNS:site.example"},
	    &site);
	lab_add_both("site.pem", &site);
	lab_make_identity(
	    &(struct lab_identity_wish){.common_name = "site", .alt_names = "DNS:site.example"},
	    &other);
	lab_add_both("renewed.pem", &other);
	lab_free_identity(&other);
	lab_make_identity(&(struct lab_identity_wish){.common_name = "elsewhere",
						      .alt_names = "DNS:elsewhere.example"},
			  &other);
	lab_add_both("elsewhere.pem", &other);
	lab_free_identity(&other);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i / 80 + 1); /* each key of its own */
	lab_add_file("empty.keys", "", 0);
	lab_add_file("odd.keys", bytes, 79);
	lab_add_file("many.keys", bytes, sizeof(bytes));
	lab_add_file("a.keys", bytes + 80, 80);
	lab_add_file("b.keys", bytes, 80);
	lab_add_file("ba.keys", bytes, 160);
	return 0;
}

static int end_world(void **state)
{
	(void)state;
	lab_free_identity(&site);
	lab_remove_files();
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_key_seals_a_day_and_opens_two),
	    cmocka_unit_test(after_a_silence_no_old_key_opens),
	    cmocka_unit_test(files_have_whole_keys),
	    cmocka_unit_test(a_new_configuration_opens_what_the_old_sealed),
	    cmocka_unit_test(nodes_share_a_file),
	    cmocka_unit_test(an_old_ticket_is_renewed),
	    cmocka_unit_test(every_resumption_brings_a_ticket),
	    cmocka_unit_test(a_session_brings_no_cipher_that_is_not_allowed),
	    cmocka_unit_test(a_session_is_of_the_names_that_were_shown),
	    cmocka_unit_test(off_is_no_ticket),
	    cmocka_unit_test(the_lifetime_is_told),
	};

	lab_init();
	return cmocka_run_group_tests(tests, make_world, end_world);
}
