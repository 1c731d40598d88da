/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions with servers, kept for the next handshake. A TLS 1.2 session comes with the handshake
 * and serves many times. A TLS 1.3 ticket comes after it and serves once (RFC 8446, C.4), so a few
 * are kept. A session tells of a verification: it is good only for the context that made it, and no
 * longer than the certificate. Sessions that come of resumed ones tell of the same verification.
 */
#include <errno.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <time.h>

#include "tls/tls_internal.h"

/* Of one server and thread. A session has the server's chain with it, about 10 KiB. */
#define SESSIONS_MAX 4

/* Whatever the server allows: then the certificate is looked at again. */
#define SESSION_AGE_MAX_S 3600

struct tls_sessions {
	size_t n_kept;
	struct {
		SSL_SESSION *session;
		time_t verified_s; /* when the certificate was shown */
		uint64_t scope; /* of the context that made it */
	} kept[SESSIONS_MAX]; /* the oldest first */
};

struct tls_sessions *tls_sessions_new(void)
{
	return calloc(1, sizeof(struct tls_sessions));
}

static void sessions_drop(struct tls_sessions *sessions, size_t at)
{
	SSL_SESSION_free(sessions->kept[at].session);
	sessions->n_kept--;
	for (; at < sessions->n_kept; at++)
		sessions->kept[at] = sessions->kept[at + 1];
}

void tls_sessions_clear(struct tls_sessions *sessions)
{
	while (sessions && sessions->n_kept)
		sessions_drop(sessions, sessions->n_kept - 1);
}

void tls_sessions_free(struct tls_sessions *sessions)
{
	tls_sessions_clear(sessions);
	free(sessions);
}

static bool session_is_fresh(SSL_SESSION *session, time_t verified_s)
{
	long now_s = (long)time(NULL), since_s = now_s - (long)verified_s;
	long age_s = now_s - (long)SSL_SESSION_get_time(session);
	const X509 *leaf = SSL_SESSION_get0_peer(session);

	return SSL_SESSION_is_resumable(session) && since_s >= 0 && since_s < SESSION_AGE_MAX_S &&
	       age_s >= 0 && age_s < SSL_SESSION_get_timeout(session) &&
	       (!leaf || X509_cmp_time(X509_get0_notAfter(leaf), NULL) > 0);
}

void tls_session_offer(struct tls_stream *stream)
{
	struct tls_sessions *sessions = stream->shake->sessions;

	while (sessions->n_kept) {
		size_t last = sessions->n_kept - 1;
		SSL_SESSION *session = sessions->kept[last].session;
		bool serves_once = SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION;
		time_t verified_s = sessions->kept[last].verified_s;
		bool is_set = sessions->kept[last].scope == stream->shake->sessions_scope &&
			      session_is_fresh(session, verified_s) &&
			      SSL_set_session(stream->ssl, session) == 1;

		if (serves_once || !is_set)
			sessions_drop(sessions, last);
		if (is_set) {
			stream->shake->session_verified_s = verified_s;
			return;
		}
	}
}

/* OpenSSL's callback; 1: the reference is ours. */
static int session_on_new(SSL *ssl, SSL_SESSION *session)
{
	struct tls_stream *stream = SSL_get_app_data(ssl);
	struct tls_sessions *sessions = stream->shake->sessions;

	if (!sessions)
		return 0;
	if (sessions->n_kept == SESSIONS_MAX)
		sessions_drop(sessions, 0);
	sessions->kept[sessions->n_kept].verified_s =
	    SSL_session_reused(ssl) ? stream->shake->session_verified_s : time(NULL);
	sessions->kept[sessions->n_kept].scope = stream->shake->sessions_scope;
	sessions->kept[sessions->n_kept++].session = session;
	return 1;
}

void tls_session_enable(SSL_CTX *ssl_ctx)
{
	SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ssl_ctx, session_on_new);
}
