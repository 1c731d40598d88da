/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Non-blocking byte streams for the load tool, plain or TLS 1.3 with AES-128-GCM (one cipher, so
 * that every proxy does the same work). No renegotiation; sessions are resumed only where asked.
 */
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#define SESSIONS_MAX 4096u

static SSL_CTX *context_new(const SSL_METHOD *method)
{
	SSL_CTX *context = SSL_CTX_new(method);

	if (!context)
		return NULL;
	SSL_CTX_set_mode(context,
			 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (!SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256")) {
		SSL_CTX_free(context);
		return NULL;
	}
	return context;
}

/* Sessions to be offered. A ticket of TLS 1.3 is used once (RFC 8446, C.4), and OpenSSL sees to it.
 */
static SSL_SESSION *sessions[SESSIONS_MAX];
static size_t n_sessions;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	if (n_sessions == SESSIONS_MAX)
		return 0;
	sessions[n_sessions++] = session;
	return 1; /* the reference is ours */
}

/* Offers the newest, where there is one. */
static int offer_session(struct link *link)
{
	int ok;

	if (n_sessions == 0)
		return 0;
	link->offered = true;
	ok = SSL_set_session(link->ssl, sessions[--n_sessions]);
	SSL_SESSION_free(sessions[n_sessions]);
	return ok ? 0 : -ENOMEM;
}

SSL_CTX *link_client_context(const char *ca_file, bool resumes)
{
	SSL_CTX *context = context_new(TLS_client_method());

	if (!context)
		return NULL;
	if (resumes) {
		SSL_CTX_set_session_cache_mode(context,
					       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(context, keep_session);
	}
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	if (!SSL_CTX_load_verify_file(context, ca_file)) {
		SSL_CTX_free(context);
		return NULL;
	}
	return context;
}

SSL_CTX *link_server_context(const char *pem_file)
{
	SSL_CTX *context = context_new(TLS_server_method());

	if (!context)
		return NULL;
	if (!SSL_CTX_use_certificate_chain_file(context, pem_file) ||
	    !SSL_CTX_use_PrivateKey_file(context, pem_file, SSL_FILETYPE_PEM)) {
		SSL_CTX_free(context);
		return NULL;
	}
	return context;
}

static int init_tls(struct link *link, SSL_CTX *context, const char *server_name)
{
	link->ssl = SSL_new(context);
	if (!link->ssl || !SSL_set_fd(link->ssl, link->fd))
		return -ENOMEM;
	if (!server_name) {
		SSL_set_accept_state(link->ssl);
		return 0;
	}
	SSL_set_connect_state(link->ssl);
	if (!SSL_set_tlsext_host_name(link->ssl, server_name) ||
	    !SSL_set1_host(link->ssl, server_name))
		return -ENOMEM;
	return offer_session(link);
}

bool link_was_refused(const struct link *link)
{
	return link->offered && SSL_session_reused(link->ssl) != 1;
}

int link_init(struct link *link, int fd, SSL_CTX *context, const char *server_name)
{
	int one = 1;
	int ret;

	*link = (struct link){.fd = fd};
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!context)
		return 0;
	ret = init_tls(link, context, server_name);
	if (ret < 0)
		link_done(link);
	return ret;
}

void link_done(struct link *link)
{
	/* Else a session that was not ended in order is not resumed. */
	if (link->ssl)
		SSL_set_shutdown(link->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(link->ssl);
	if (link->fd >= 0)
		close(link->fd);
	*link = (struct link){.fd = -1};
}

/* Turns what OpenSSL says into the convention of link_read(). */
static int tls_result(struct link *link, int ret)
{
	int error = SSL_get_error(link->ssl, ret);

	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	ERR_clear_error();
	return error == SSL_ERROR_ZERO_RETURN ? 0 : -EPROTO;
}

int link_handshake(struct link *link)
{
	int ret;

	if (!link->ssl || SSL_is_init_finished(link->ssl))
		return 0;
	ret = SSL_do_handshake(link->ssl);
	if (ret == 1)
		return 0;
	ret = tls_result(link, ret);
	return ret == 0 ? -EPROTO : ret;
}

ssize_t link_read(struct link *link, void *data, size_t len_bytes)
{
	ssize_t n;

	if (!link->ssl) {
		n = recv(link->fd, data, len_bytes, 0);
		return n < 0 ? -errno : n;
	}
	n = SSL_read(link->ssl, data, (int)len_bytes);
	return n > 0 ? n : tls_result(link, (int)n);
}

ssize_t link_discard(struct link *link, void *data, size_t len_bytes)
{
	ssize_t n;

	if (link->ssl)
		return link_read(link, data, len_bytes);
	n = recv(link->fd, NULL, len_bytes, MSG_TRUNC);
	return n < 0 ? -errno : n;
}

ssize_t link_write(struct link *link, const void *data, size_t len_bytes)
{
	ssize_t n;

	if (!link->ssl) {
		n = send(link->fd, data, len_bytes, MSG_NOSIGNAL);
		return n < 0 ? -errno : n;
	}
	n = SSL_write(link->ssl, data, (int)len_bytes);
	return n > 0 ? n : tls_result(link, (int)n);
}
