/* SPDX-License-Identifier: Apache-2.0 */
/* The client side against plain OpenSSL: pins, what a failure is called, sessions. */
#include <errno.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lab.h"
#include "tls/tls_internal.h"

#define HOST "origin.example"

static struct lab_identity authority, site, stranger, expired, other_name, forged;
static bool by_kernel;
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

static void make_pin(const struct lab_identity *identity, uint8_t pin[CONF_PIN_BYTES])
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(identity->key, &der);

	assert_true(len > 0);
	assert_int_equal(EVP_Digest(der, (size_t)len, pin, NULL, EVP_sha256(), NULL), 1);
	OPENSSL_free(der);
}

static struct tls_client_ctx *make_client(const struct conf_client_tls *conf)
{
	struct conf_diag *diag = conf_diag_new("test");
	struct tls_client_ctx *client = tls_client_ctx_new(conf, &lab_files, diag);

	if (!client)
		fail_msg("%s", conf_diag_text(diag));
	conf_diag_free(diag);
	return client;
}

struct outcome {
	enum tls_progress progress;
	enum tls_fault fault;
	bool resumed;
	bool by_kernel;
	char error[256];
};

/* One connection; where it is made, bytes go both ways, so that tickets are taken. */
static struct outcome meet(struct tls_client_ctx *client, SSL_CTX *peer_ctx,
			   const struct lab_peer_wish *wish, struct tls_sessions *sessions)
{
	struct outcome outcome;
	struct tls_facts facts;
	struct lab_end end;
	char byte = 'x';
	SSL *peer;
	int fds[2];

	lab_connect(fds, false);
	lab_open_end(&end, fds[0]);
	assert_int_equal(tls_start_client(&end.io, client, HOST, NULL), 0);
	if (sessions)
		tls_resume(&end.io, client, sessions);
	peer = lab_make_peer(peer_ctx, wish, fds[1]);
	outcome.progress = lab_shake(&end, peer);
	outcome.fault = tls_fault(&end.io);
	snprintf(outcome.error, sizeof(outcome.error), "%s", tls_error(&end.io));
	if (outcome.progress == TLS_READY) {
		ssize_t n = -EAGAIN;

		assert_int_equal(SSL_write(peer, &byte, 1), 1);
		while (n == -EAGAIN) {
			lab_take_events(&end, false);
			n = io_recv(&end.io, &byte, 1);
		}
		assert_int_equal(n, 1);
	}
	tls_get_facts(&end.io, &facts);
	outcome.resumed = facts.resumed;
	outcome.by_kernel = facts.kernel_receive;
	SSL_set_shutdown(peer, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(peer);
	close(fds[1]);
	lab_close_end(&end);
	return outcome;
}

static struct outcome meet_once_with(const struct conf_client_tls *conf, SSL_CTX *peer_ctx,
				     const struct lab_peer_wish *wish)
{
	struct tls_client_ctx *client = make_client(conf);
	struct outcome outcome = meet(client, peer_ctx, wish, NULL);

	tls_client_ctx_free(client);
	return outcome;
}

static struct outcome meet_once(const struct conf_client_tls *conf,
				const struct lab_peer_wish *wish)
{
	SSL_CTX *peer_ctx = lab_make_peer_ctx(wish);
	struct outcome outcome = meet_once_with(conf, peer_ctx, wish);

	SSL_CTX_free(peer_ctx);
	return outcome;
}

#define assert_fault(outcome, fault_, text) \
	do { \
		if ((outcome).fault != (fault_) || !strstr((outcome).error, (text))) \
			fail_msg("fault %d, \"%s\"", (int)(outcome).fault, (outcome).error); \
	} while (0)

static void pins_come_on_top_of_the_verification(void **state)
{
	uint8_t pins[2][CONF_PIN_BYTES] = {{0}};
	struct conf_client_tls conf = {
	    .ca = {.path = "ca.pem"}, .verify = true, .pins = pins, .n_pins = 2};
	struct lab_peer_wish wish = {.is_server = true, .identity = &site};
	struct outcome outcome;

	(void)state;
	make_pin(&stranger, pins[0]);
	outcome = meet_once(&conf, &wish);
	assert_int_equal(outcome.progress, TLS_UNVERIFIED);
	assert_fault(outcome, TLS_FAULT_PIN, "its key is not pinned (it is sha256/");
	make_pin(&site, pins[1]);
	assert_int_equal(meet_once(&conf, &wish).progress, TLS_READY);
	make_pin(&authority, pins[1]); /* above the leaf, in a verified chain */
	assert_int_equal(meet_once(&conf, &wish).progress, TLS_READY);
	wish.identity = &stranger; /* a pinned key does not make up for the chain */
	outcome = meet_once(&conf, &wish);
	assert_fault(outcome, TLS_FAULT_UNTRUSTED, "certificate not accepted: ");
}

static void pins_count_where_nothing_is_verified(void **state)
{
	uint8_t pins[1][CONF_PIN_BYTES];
	struct conf_client_tls conf = {.verify = false, .pins = pins, .n_pins = 1};
	struct lab_peer_wish wish = {.is_server = true, .identity = &stranger};
	struct outcome outcome;

	(void)state;
	make_pin(&stranger, pins[0]);
	assert_int_equal(meet_once(&conf, &wish).progress, TLS_READY);
	make_pin(&authority, pins[0]); /* anybody can send the authority's certificate along */
	wish.identity = &site;
	outcome = meet_once(&conf, &wish);
	assert_int_equal(outcome.progress, TLS_UNVERIFIED);
	assert_fault(outcome, TLS_FAULT_PIN, "is not pinned");
}

static void failures_have_kinds(void **state)
{
	struct conf_client_tls conf = {.ca = {.path = "ca.pem"}, .verify = true};
	struct lab_peer_wish wish = {.is_server = true};

	(void)state;
	wish.identity = &site;
	assert_fault(meet_once(&conf, &wish), TLS_FAULT_NONE, "");
	wish.identity = &stranger;
	assert_fault(meet_once(&conf, &wish), TLS_FAULT_UNTRUSTED, "certificate not accepted: ");
	wish.identity = &expired;
	assert_fault(meet_once(&conf, &wish), TLS_FAULT_EXPIRED, "certificate has expired");
	wish.identity = &other_name;
	assert_fault(meet_once(&conf, &wish), TLS_FAULT_NAME, "(expected \"" HOST "\")");
	wish.identity = &forged;
	assert_fault(meet_once(&conf, &wish), TLS_FAULT_CERTIFICATE,
		     "certificate not accepted: certificate signature failure");
	assert_int_equal(meet_once(&conf, &wish).progress, TLS_UNVERIFIED);
	wish.identity = NULL; /* nothing to show: an alert */
	assert_fault(meet_once(&conf, &wish), TLS_FAULT_ALERT,
		     "the peer sent the alert \"handshake failure\"");
}

static void garbage_and_silence_have_kinds(void **state)
{
	static const struct {
		const char *says;
		enum tls_fault fault;
	} peers[] = {
	    {"HTTP/1.1 400 Bad Request\r\n\r\n", TLS_FAULT_PROTOCOL},
	    {"\x16\x03\x03\xff\xff....", TLS_FAULT_PROTOCOL},
	    {"", TLS_FAULT_CLOSED},
	};
	struct conf_client_tls conf = {.ca = {.path = "ca.pem"}, .verify = true};
	struct tls_client_ctx *client = make_client(&conf);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
		enum tls_progress progress = TLS_AGAIN;
		struct lab_end end;
		int fds[2];

		lab_connect(fds, false);
		lab_open_end(&end, fds[0]);
		assert_int_equal(tls_start_client(&end.io, client, HOST, NULL), 0);
		assert_int_equal(write(fds[1], peers[i].says, strlen(peers[i].says)),
				 strlen(peers[i].says));
		shutdown(fds[1], SHUT_WR);
		while (progress == TLS_AGAIN) {
			lab_take_events(&end, false);
			progress = tls_handshake(&end.io);
		}
		assert_int_equal(progress, TLS_FAILED);
		if (tls_fault(&end.io) != peers[i].fault)
			fail_msg("%s: %s", peers[i].says, tls_error(&end.io));
		lab_close_end(&end);
		close(fds[1]);
	}
	tls_client_ctx_free(client);
}

/* `kernel`: the directions that it may have. */
static void resume_with(int version, const char *cipher, uint8_t kernel)
{
	struct conf_client_tls conf = {
	    .ca = {.path = "ca.pem"},
	    .verify = true,
	    .sessions = true,
	    .kernel_receive =
		kernel & TLS_KERNEL_RECEIVE ? CONF_KERNEL_TLS_AUTO : CONF_KERNEL_TLS_OFF,
	    .kernel_send = kernel & TLS_KERNEL_SEND ? CONF_KERNEL_TLS_AUTO : CONF_KERNEL_TLS_OFF,
	};
	struct lab_peer_wish wish = {
	    .is_server = true, .identity = &site, .version = version, .cipher = cipher};
	struct conf_certificate shown = {.chain = {.path = "client.pem"},
					 .key = {.path = "client.pem"}};
	struct tls_client_ctx *client = make_client(&conf), *same = make_client(&conf), *later;
	struct tls_sessions *sessions = tls_sessions_new();
	SSL_CTX *peer_ctx = lab_make_peer_ctx(&wish);
	struct outcome outcome = meet(client, peer_ctx, &wish, sessions);

	conf.certificate = &shown;
	later = make_client(&conf);
	assert_true(tls_client_ctx_scope(same) == tls_client_ctx_scope(client));
	assert_true(tls_client_ctx_scope(later) != tls_client_ctx_scope(client));

	assert_int_equal(outcome.progress, TLS_READY);
	assert_false(outcome.resumed);
	for (int i = 0; i < 10; i++) {
		outcome = meet(client, peer_ctx, &wish, sessions);
		assert_true(outcome.resumed);
		assert_int_equal(outcome.by_kernel, by_kernel && (kernel & TLS_KERNEL_RECEIVE));
	}
	outcome = meet(client, peer_ctx, &wish, NULL);
	assert_false(outcome.resumed);
	/* A reload that changed nothing. */
	outcome = meet(same, peer_ctx, &wish, sessions);
	assert_true(outcome.resumed);
	/* What a context agreed on says nothing for one with other files. */
	outcome = meet(later, peer_ctx, &wish, sessions);
	assert_int_equal(outcome.progress, TLS_READY);
	assert_false(outcome.resumed);
	outcome = meet(later, peer_ctx, &wish, sessions);
	assert_true(outcome.resumed);
	SSL_CTX_free(peer_ctx);
	tls_client_ctx_free(client);
	tls_client_ctx_free(same);
	tls_client_ctx_free(later);
	tls_sessions_free(sessions);
}

/* Each cipher has its own way of sealing tickets again. */
static void resume_in(int version, uint8_t kernel)
{
	static const char *const ciphers[] = {"AES128", "AES256", "CHACHA"};

	for (size_t i = 0; i < ARRAY_LEN(ciphers); i++)
		resume_with(version, ciphers[i], kernel);
}

static void sessions_are_resumed_1_2(void **state)
{
	(void)state;
	resume_in(TLS1_2_VERSION, TLS_KERNEL_SEND | TLS_KERNEL_RECEIVE);
}

static void sessions_are_resumed_1_3(void **state)
{
	(void)state;
	resume_in(TLS1_3_VERSION, TLS_KERNEL_SEND | TLS_KERNEL_RECEIVE);
}

static void sessions_are_resumed_in_user_space(void **state)
{
	(void)state;
	resume_in(TLS1_3_VERSION, 0);
	resume_in(TLS1_3_VERSION, TLS_KERNEL_RECEIVE);
	resume_in(TLS1_3_VERSION, TLS_KERNEL_SEND);
}

static void sessions_can_be_turned_off(void **state)
{
	struct conf_client_tls conf = {.ca = {.path = "ca.pem"}, .verify = true};
	struct lab_peer_wish wish = {.is_server = true, .identity = &site};
	struct tls_client_ctx *client = make_client(&conf);
	struct tls_sessions *sessions = tls_sessions_new();
	SSL_CTX *peer_ctx = lab_make_peer_ctx(&wish);

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_false(meet(client, peer_ctx, &wish, sessions).resumed);
	SSL_CTX_free(peer_ctx);
	tls_client_ctx_free(client);
	tls_sessions_free(sessions);
}

/* A session that was resumed is renewed, but the certificate was not shown again. */
static void after_an_hour_the_certificate_is_looked_at(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	static const bool resumed[] = {false, true, true, false, true};
	struct conf_client_tls conf = {.ca = {.path = "ca.pem"}, .verify = true, .sessions = true};
	struct tls_client_ctx *client = make_client(&conf);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct lab_peer_wish wish = {
		    .is_server = true, .identity = &site, .version = versions[i]};
		SSL_CTX *peer_ctx = lab_make_peer_ctx(&wish);
		struct tls_sessions *sessions = tls_sessions_new();

		SSL_CTX_set_timeout(peer_ctx, 86400);
		for (size_t j = 0; j < ARRAY_LEN(resumed); j++) {
			ahead_s = (time_t)j * 25 * 60;
			assert_int_equal(meet(client, peer_ctx, &wish, sessions).resumed,
					 resumed[j]);
		}
		ahead_s = 0;
		SSL_CTX_free(peer_ctx);
		tls_sessions_free(sessions);
	}
	tls_client_ctx_free(client);
}

/* A handshake that fails may have failed for the session: the next is a full one. */
static void sessions_go_after_a_failure(void **state)
{
	struct conf_client_tls conf = {.ca = {.path = "ca.pem"}, .verify = true, .sessions = true};
	struct lab_peer_wish wish = {.is_server = true, .identity = &site},
			     bad = {.is_server = true, .identity = &stranger};
	struct tls_client_ctx *client = make_client(&conf);
	struct tls_sessions *sessions = tls_sessions_new();
	SSL_CTX *peer_ctx = lab_make_peer_ctx(&wish), *bad_ctx = lab_make_peer_ctx(&bad);

	(void)state;
	assert_int_equal(meet(client, peer_ctx, &wish, sessions).progress, TLS_READY);
	assert_true(meet(client, peer_ctx, &wish, sessions).resumed);
	assert_int_equal(meet(client, bad_ctx, &bad, sessions).progress, TLS_UNVERIFIED);
	assert_false(meet(client, peer_ctx, &wish, sessions).resumed);
	SSL_CTX_free(peer_ctx);
	SSL_CTX_free(bad_ctx);
	tls_client_ctx_free(client);
	tls_sessions_free(sessions);
}

static int take_any(int ok, X509_STORE_CTX *store_ctx)
{
	(void)ok;
	(void)store_ctx;
	return 1;
}

static void a_certificate_is_shown_where_it_is_asked_for(void **state)
{
	struct conf_certificate certificate = {.chain = {.path = "client.pem"},
					       .key = {.path = "client.pem"}};
	struct conf_client_tls conf = {.ca = {.path = "ca.pem"}, .verify = true};
	struct lab_peer_wish wish = {.is_server = true, .identity = &site};
	SSL_CTX *peer_ctx = lab_make_peer_ctx(&wish);

	(void)state;
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct tls_client_ctx *client;
		struct outcome outcome;

		SSL_CTX_set_min_proto_version(peer_ctx, version);
		SSL_CTX_set_max_proto_version(peer_ctx, version);
		SSL_CTX_set_verify(peer_ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
				   take_any);
		conf.certificate = &certificate;
		client = make_client(&conf);
		outcome = meet(client, peer_ctx, &wish, NULL);
		assert_int_equal(outcome.progress, TLS_READY);
		tls_client_ctx_free(client);
	}
	SSL_CTX_set_max_proto_version(peer_ctx, TLS1_2_VERSION);
	SSL_CTX_set_min_proto_version(peer_ctx, TLS1_2_VERSION);
	conf.certificate = NULL;
	assert_fault(meet_once_with(&conf, peer_ctx, &wish), TLS_FAULT_ALERT,
		     "the peer sent the alert \"handshake failure\"");
	SSL_CTX_free(peer_ctx);
}

static int set_up(void **state)
{
	struct lab_identity_wish wish = {.common_name = "authority"};

	(void)state;
	by_kernel = lab_init();
	lab_make_identity(&wish, &authority);
	wish.common_name = HOST;
	wish.alt_names = "DNS:" HOST;
	lab_make_identity(&wish, &stranger);
	wish.issuer = &authority;
	lab_make_identity(&wish, &site);
	lab_make_identity(&wish, &forged);
	assert_true(X509_sign(forged.certificate, stranger.key, EVP_sha256()) > 0);
	wish.days_from = -20;
	wish.days_to = -10;
	lab_make_identity(&wish, &expired);
	wish = (struct lab_identity_wish){
	    .common_name = "other", .alt_names = "DNS:other.example", .issuer = &authority};
	lab_make_identity(&wish, &other_name);
	lab_add_certificate("ca.pem", &authority);
	lab_add_both("client.pem", &stranger);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	lab_remove_files();
	lab_free_identity(&authority);
	lab_free_identity(&site);
	lab_free_identity(&stranger);
	lab_free_identity(&expired);
	lab_free_identity(&other_name);
	lab_free_identity(&forged);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pins_come_on_top_of_the_verification),
	    cmocka_unit_test(pins_count_where_nothing_is_verified),
	    cmocka_unit_test(failures_have_kinds),
	    cmocka_unit_test(garbage_and_silence_have_kinds),
	    cmocka_unit_test(a_certificate_is_shown_where_it_is_asked_for),
	    cmocka_unit_test(sessions_are_resumed_1_2),
	    cmocka_unit_test(sessions_are_resumed_1_3),
	    cmocka_unit_test(sessions_are_resumed_in_user_space),
	    cmocka_unit_test(sessions_can_be_turned_off),
	    cmocka_unit_test(after_an_hour_the_certificate_is_looked_at),
	    cmocka_unit_test(sessions_go_after_a_failure),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
