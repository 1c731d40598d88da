/* SPDX-License-Identifier: Apache-2.0 */
#include "visitor.h"

#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

int visitor_version;

void visitor_make_authority(const struct lab_identity_wish *wish, struct lab_identity *ret_identity)
{
	BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();

	lab_make_identity(wish, ret_identity);
	constraints->ca = 0xff;
	assert_int_equal(X509_add1_ext_i2d(ret_identity->certificate, NID_basic_constraints,
					   constraints, 1, X509V3_ADD_REPLACE),
			 1);
	BASIC_CONSTRAINTS_free(constraints);
	assert_true(X509_sign(ret_identity->certificate, wish->issuer->key, EVP_sha256()) > 0);
}

struct tls_server_ctx *visitor_make_server(const struct conf_client_auth_rules *rules,
					   char **ret_said)
{
	struct conf_certificate certificate = {.chain = {.path = "site.pem"},
					       .key = {.path = "site.pem"}};
	const struct conf_server_tls conf = {
	    .certificates = &certificate,
	    .n_certificates = 1,
	    .client = *rules,
	    .tickets = {.on = true, .lifetime_s = VISITOR_LIFETIME_S},
	};
	struct conf_diag *diag = conf_diag_new("test");
	struct tls_server_ctx *ctx = tls_server_ctx_new(&conf, &lab_files, diag);

	if (ret_said)
		*ret_said = strdup(conf_diag_text(diag));
	else if (!ctx)
		fail_msg("%s", conf_diag_text(diag));
	conf_diag_free(diag);
	return ctx;
}

struct tls_peer *visitor_show(struct tls_server_ctx *server, const struct lab_identity *identity,
			      const struct lab_identity *const *above, SSL_SESSION **session,
			      enum tls_progress *ret_progress)
{
	struct lab_peer_wish wish = {.identity = identity, .version = visitor_version};
	SSL_CTX *peer_ctx = lab_make_peer_ctx(&wish);
	struct tls_peer *shown;
	struct lab_end end;
	char byte;
	SSL *peer;
	int fds[2];

	for (; above && *above; above++)
		assert_int_equal(SSL_CTX_add1_chain_cert(peer_ctx, (*above)->certificate), 1);
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
