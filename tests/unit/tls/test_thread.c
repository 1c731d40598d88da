/* SPDX-License-Identifier: Apache-2.0 */
/* A thread's library context: what the configuration made outside works in it, for both sides. */
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "session.h"
#include "visitor.h"

/* Those of two threads; a test enters them one after the other. */
static OSSL_LIB_CTX *contexts[2];
static struct lab_identity authority, alice;

static void enter(OSSL_LIB_CTX *context)
{
	OSSL_LIB_CTX_set0_default(context);
}

static void leave(void)
{
	enter(OSSL_LIB_CTX_get0_global_default());
}

/* That of this thread now. */
static OSSL_LIB_CTX *current(void)
{
	return OSSL_LIB_CTX_set0_default(NULL);
}

static void each_thread_has_its_own(void **state)
{
	OSSL_LIB_CTX *process = OSSL_LIB_CTX_get0_global_default();
	EVP_KDF *kdf;

	(void)state;
	assert_ptr_equal(current(), process);
	assert_ptr_not_equal(contexts[0], process);
	assert_ptr_not_equal(contexts[1], process);
	assert_ptr_not_equal(contexts[0], contexts[1]);
	enter(contexts[0]);
	tls_thread_init(); /* a second time: nothing is to be done */
	assert_ptr_equal(current(), contexts[0]);
	kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, tls_kdf_properties());
	leave();
	assert_non_null(kdf);
	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(kdf)), "penstock");
	EVP_KDF_free(kdf);
}

/* A provider that the host's settings load is found in the process's context alone. */
static void settings_of_the_host_count(void **state)
{
	OSSL_PROVIDER *provider = OSSL_PROVIDER_load(NULL, "null");

	(void)state;
	assert_non_null(provider);
	tls_thread_init();
	assert_ptr_equal(current(), OSSL_LIB_CTX_get0_global_default());
	OSSL_PROVIDER_unload(provider);
}

static void algorithms_of_the_host_count(void **state)
{
	(void)state;
	assert_int_equal(EVP_default_properties_enable_fips(NULL, 1), 1);
	tls_thread_init();
	assert_int_equal(EVP_default_properties_enable_fips(NULL, 0), 1);
	assert_ptr_equal(current(), OSSL_LIB_CTX_get0_global_default());
}

/* In turn, with what both share: the key in two forms, the ticket that the other sealed. */
static void visit_in_turn(struct tls_server_ctx *server)
{
	SSL_SESSION *session = NULL;

	for (size_t i = 0; i < 4; i++) {
		enum tls_progress progress;
		struct tls_peer *shown;

		enter(contexts[i % 2]);
		shown = visitor_show(server, &alice, NULL, &session, &progress);
		leave();
		assert_int_equal(progress, TLS_READY);
		assert_non_null(shown);
		assert_string_equal(shown->subject, "CN=alice");
		assert_int_equal(shown->is_resumed, i > 0);
		tls_peer_free(shown);
	}
	SSL_SESSION_free(session);
}

/* Certificates and keys were read outside; what is verified and signed is here. */
static void a_server_is_shared(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	const struct conf_client_auth_rules rules = {
	    .mode = CONF_CLIENT_AUTH_REQUIRED, .ca = {.path = "clients.pem"}, .depth = 3};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct tls_server_ctx *server = visitor_make_server(&rules, NULL);

		visitor_version = versions[i];
		visit_in_turn(server);
		tls_server_ctx_free(server);
	}
}

static void a_key_of_rsa_is_shared(void **state)
{
	struct lab_identity_wish wish = {.common_name = "rsa.example", .is_rsa = true};
	struct conf_certificate certificate = {.chain = {.path = "rsa.pem"},
					       .key = {.path = "rsa.pem"}};
	const struct conf_server_tls conf = {.certificates = &certificate, .n_certificates = 1};
	struct conf_diag *diag = conf_diag_new("test");
	struct tls_server_ctx *server;
	struct lab_identity rsa;
	enum tls_progress progress;

	(void)state;
	lab_make_identity(&wish, &rsa);
	lab_add_both("rsa.pem", &rsa);
	server = tls_server_ctx_new(&conf, &lab_files, diag);
	assert_non_null(server);
	for (size_t i = 0; i < 4; i++) {
		enter(contexts[i % 2]);
		assert_null(visitor_show(server, NULL, NULL, NULL, &progress));
		leave();
		assert_int_equal(progress, TLS_READY);
	}
	tls_server_ctx_free(server);
	conf_diag_free(diag);
	lab_free_identity(&rsa);
}

/* As session_open(), but the handshake is made in another context than all else. */
static void open_here(struct session *session, const struct lab_peer_wish *wish)
{
	struct lab_peer_wish theirs = *wish;
	int fds[2];

	*session = (struct session){0};
	theirs.identity = wish->is_server ? &session_site : NULL;
	lab_connect(fds, false);
	session_open_ours(session, !wish->is_server, fds[0]);
	session->peer_fd = fds[1];
	lab_watch_peer(&session->end, fds[1]);
	session->peer_ctx = lab_make_peer_ctx(&theirs);
	session->peer = lab_make_peer(session->peer_ctx, &theirs, fds[1]);
	enter(contexts[0]);
	session->progress = lab_shake(&session->end, session->peer);
}

/* All ciphers, by both sides, with the records that follow; the origin's certificate verified. */
static void records_follow(void **state)
{
	(void)state;
	for (size_t i = 0; i < SESSION_N_CASES; i++)
		for (int is_server = 0; is_server < 2; is_server++) {
			const struct lab_peer_wish wish = {.is_server = is_server,
							   .version = session_matrix[i].version,
							   .cipher = session_matrix[i].cipher};
			struct session session;

			open_here(&session, &wish);
			session_assert_open(&session);
			session_transfer(&session, 100000, 5000, 7000);
			leave();
			session_close(&session);
		}
}

static int make_world(void **state)
{
	int err = session_make_world(state);

	lab_make_identity(&(struct lab_identity_wish){.common_name = "Authority"}, &authority);
	lab_make_identity(&(struct lab_identity_wish){.common_name = "alice", .issuer = &authority},
			  &alice);
	lab_add_certificate("clients.pem", &authority);
	for (size_t i = 0; i < ARRAY_LEN(contexts); i++) {
		tls_thread_init();
		contexts[i] = current();
		leave();
	}
	return err;
}

static int end_world(void **state)
{
	lab_free_identity(&alice);
	lab_free_identity(&authority);
	return session_end_world(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_thread_has_its_own),
	    cmocka_unit_test(settings_of_the_host_count),
	    cmocka_unit_test(algorithms_of_the_host_count),
	    cmocka_unit_test(a_server_is_shared),
	    cmocka_unit_test(a_key_of_rsa_is_shared),
	    cmocka_unit_test_setup(records_follow, session_reset),
	};

	return cmocka_run_group_tests(tests, make_world, end_world);
}
