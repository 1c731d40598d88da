/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a listener asks of its clients: a certificate below its authorities, in time, not revoked.
 * Resumed handshakes show none, so what the session says of the first one is held against time, and
 * a session of other rules or revocation lists is not taken. What an accepted one says is told by
 * tls_peer.c.
 */
#include <endian.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tls/tls_ctx_internal.h"
#include "tls/tls_internal.h"
#include "tls/tls_peer_internal.h"

struct tls_client_auth {
	enum conf_client_auth mode;
	uint32_t depth;
	uint32_t session_age_max_s; /* since the certificate was shown */
	bool wants_der;
	X509_STORE *store;
	struct tls_revocations revocations; /* without lists where none are looked at */
	STACK_OF(X509_NAME) * names; /* of the authorities: clients choose by them */
};

/* ---- loading ---- */

static int auth_add_name(struct tls_client_auth *auth, const X509 *authority)
{
	X509_NAME *name = X509_NAME_dup(X509_get_subject_name(authority));

	if (name && sk_X509_NAME_push(auth->names, name) > 0)
		return 0;
	X509_NAME_free(name);
	return -ENOMEM;
}

static int auth_load_names(struct tls_client_auth *auth)
{
	STACK_OF(X509) *all = X509_STORE_get1_all_certs(auth->store);
	int err = 0;

	auth->names = sk_X509_NAME_new_null();
	if (!all || !auth->names)
		err = -ENOMEM;
	for (int i = 0; i < sk_X509_num(all) && !err; i++)
		err = auth_add_name(auth, sk_X509_value(all, i));
	sk_X509_pop_free(all, X509_free);
	return err;
}

int tls_client_auth_load(const struct conf_server_tls *conf, const struct tls_files *files,
			 struct conf_diag *diag, struct tls_client_auth **ret_auth)
{
	const struct conf_client_auth_rules *rules = &conf->client;
	struct tls_client_auth *auth;
	int err = 0;

	*ret_auth = NULL;
	if (rules->mode == CONF_CLIENT_AUTH_OFF)
		return 0;
	auth = calloc(1, sizeof(*auth));
	if (!auth)
		return -ENOMEM;
	auth->mode = rules->mode;
	auth->depth = rules->depth;
	auth->session_age_max_s = conf->tickets.lifetime_s;
	auth->wants_der = rules->tells_der;
	/* Revocation lists go into the store, so it is nobody else's. */
	auth->store = tls_trust_load_own(&rules->ca, files, diag);
	if (!auth->store)
		err = -EINVAL;
	if (!err && rules->crl.path)
		err = tls_revocations_load(&auth->revocations, &rules->crl, files, diag);
	if (!err && rules->crl.path)
		err = tls_revocations_apply(&auth->revocations, &rules->crl, diag, &auth->store);
	if (!err)
		err = auth_load_names(auth);
	if (!err) {
		*ret_auth = auth;
		return 0;
	}
	tls_client_auth_free(auth);
	return err;
}

void tls_client_auth_free(struct tls_client_auth *auth)
{
	if (!auth)
		return;
	X509_STORE_free(auth->store);
	tls_revocations_done(&auth->revocations);
	sk_X509_NAME_pop_free(auth->names, X509_NAME_free);
	free(auth);
}

int tls_client_auth_digest(const struct tls_client_auth *auth, EVP_MD_CTX *digest)
{
	if (!auth)
		return 0;
	if (EVP_DigestUpdate(digest, &auth->mode, sizeof(auth->mode)) != 1 ||
	    EVP_DigestUpdate(digest, &auth->depth, sizeof(auth->depth)) != 1)
		return -ENOMEM;
	return tls_revocations_digest(&auth->revocations, digest)
		   ?: tls_trust_digest(auth->store, digest);
}

int64_t tls_client_auth_lists_until(const struct tls_client_auth *auth)
{
	return auth ? tls_revocations_until(&auth->revocations) : 0;
}

bool tls_client_auth_wants_der(const struct tls_client_auth *auth)
{
	return auth && auth->wants_der;
}

/* ---- within a handshake ---- */

/* The first objection is the one to tell. */
static int auth_on_verify(int ok, X509_STORE_CTX *store_ctx)
{
	const SSL *ssl =
	    X509_STORE_CTX_get_ex_data(store_ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_stream *stream = SSL_get_app_data(ssl);
	const X509 *culprit = X509_STORE_CTX_get_current_cert(store_ctx);
	char subject[256] = "?";

	if (!ok && tls_revocations_forgive(store_ctx))
		return 1;
	if (ok || stream->error_text)
		return ok;
	if (culprit)
		X509_NAME_oneline(X509_get_subject_name(culprit), subject, sizeof(subject));
	tls_stream_set_error(stream, "the client's certificate is not accepted: %s (%s%s)",
			     X509_verify_cert_error_string(X509_STORE_CTX_get_error(store_ctx)),
			     X509_STORE_CTX_get_error_depth(store_ctx) > 0 ? "above it, " : "",
			     subject);
	return ok;
}

/* ---- sessions ---- */

/*
 * What a ticket says of the handshake in which the certificate was shown. Each resumption may bring
 * a new ticket, whose own time begins anew with TLS 1.3; this does not. Nodes that share keys read
 * each other's: big-endian.
 */
struct auth_shown {
	uint64_t shown_s; /* since 1970 */
	uint64_t until_s; /* the first certificate of the chain runs out */
};

/* Of a handshake that verified one. */
static struct auth_shown auth_note_shown(const SSL *ssl)
{
	STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
	int64_t until_s = INT64_MAX;

	for (int i = 0; i < sk_X509_num(chain); i++)
		until_s =
		    MIN(until_s, tls_time_seconds(X509_get0_notAfter(sk_X509_value(chain, i))));
	return (struct auth_shown){htobe64((uint64_t)time(NULL)), htobe64((uint64_t)until_s)};
}

/* OpenSSL's callback before each ticket; 0 ends the handshake. A resumed session has the note of
 * the one before. */
static int auth_on_new_ticket(SSL *ssl, void *argument UNUSED)
{
	struct auth_shown shown;

	if (SSL_session_reused(ssl) || !SSL_get0_peer_certificate(ssl))
		return 1;
	shown = auth_note_shown(ssl);
	return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), &shown, sizeof(shown));
}

/* Since then, neither too long nor beyond what the chain holds. A clock that was set back is not
 * trusted. */
static bool auth_is_recent(const struct tls_client_auth *auth, SSL_SESSION *session)
{
	int64_t now_s = (int64_t)time(NULL), age_s;
	struct auth_shown shown;
	size_t len_bytes;
	void *data;

	if (SSL_SESSION_get0_ticket_appdata(session, &data, &len_bytes) != 1 || !data ||
	    len_bytes != sizeof(shown))
		return false;
	memcpy(&shown, data, sizeof(shown));
	age_s = now_s - (int64_t)be64toh(shown.shown_s);
	return age_s >= 0 && age_s < auth->session_age_max_s &&
	       now_s < (int64_t)be64toh(shown.until_s);
}

/* Which authorities stood between nobody knows any more: with a list that has run out, any of them
 * may have been revoked. */
static bool auth_takes_session(const struct tls_client_auth *auth, SSL_SESSION *session)
{
	if (!SSL_SESSION_get0_peer(session))
		return auth->mode != CONF_CLIENT_AUTH_REQUIRED;
	return auth_is_recent(auth, session) && !tls_revocations_have_run_out(&auth->revocations);
}

/* A ticket that is passed over makes the handshake a full one, in which the certificate is shown
 * again. */
static SSL_TICKET_RETURN auth_on_ticket(SSL *ssl UNUSED, SSL_SESSION *session,
					const unsigned char *name UNUSED, size_t name_len UNUSED,
					SSL_TICKET_STATUS status, void *argument)
{
	switch (status) {
	case SSL_TICKET_SUCCESS:
	case SSL_TICKET_SUCCESS_RENEW:
		if (!auth_takes_session(argument, session))
			return SSL_TICKET_RETURN_IGNORE_RENEW;
		return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE
						    : SSL_TICKET_RETURN_USE_RENEW;
	default:
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	}
}

int tls_client_auth_apply(const struct tls_client_auth *auth, SSL_CTX *ssl_ctx)
{
	int mode = SSL_VERIFY_PEER;
	STACK_OF(X509_NAME) * names;

	if (!auth)
		return 0;
	names = SSL_dup_CA_list(auth->names);
	if (!names)
		return -ENOMEM;
	SSL_CTX_set_client_CA_list(ssl_ctx, names);
	SSL_CTX_set1_cert_store(ssl_ctx, auth->store);
	SSL_CTX_set_verify_depth(ssl_ctx, (int)auth->depth);
	/* What the operator's own file names is trusted as it stands, be it a root or not. */
	X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ssl_ctx), X509_V_FLAG_PARTIAL_CHAIN);
	if (auth->mode == CONF_CLIENT_AUTH_REQUIRED)
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	SSL_CTX_set_verify(ssl_ctx, mode, auth_on_verify);
	return SSL_CTX_set_session_ticket_cb(ssl_ctx, auth_on_new_ticket, auth_on_ticket,
					     (void *)auth) == 1
		   ? 0
		   : -ENOMEM;
}
