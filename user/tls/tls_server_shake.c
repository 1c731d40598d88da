/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server decides within a handshake: the certificates for the name that the client asks for,
 * the protocol, the staple. Callbacks of OpenSSL; session tickets are those of the SSL_CTX that the
 * handshake began with, whichever certificate was chosen.
 */
#include <openssl/tls1.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "tls/tls_ctx_internal.h"
#include "tls/tls_internal.h"
#include "tls/tls_server_internal.h"

static int shake_refuse_name(struct tls_stream *stream, const char *why, int *ret_alert)
{
	stream->shake->refused = why;
	*ret_alert = SSL_AD_UNRECOGNIZED_NAME;
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int shake_on_name(SSL *ssl, int *ret_alert, void *argument UNUSED)
{
	struct tls_stream *stream = SSL_get_app_data(ssl);
	const struct tls_server_ctx *ctx = stream->shake->server;
	const char *sent = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	const struct tls_server_name *found;
	char name[TLS_NAME_MAX];

	if (!sent)
		return SSL_TLSEXT_ERR_NOACK;
	if (!tls_name_normalize(sent, strlen(sent), name))
		return shake_refuse_name(
		    stream, "the server name that the client sent is not a host name", ret_alert);
	found = tls_server_names_pick(&ctx->names, name);
	free(stream->name);
	stream->name = strdup(name);
	if (!found && ctx->strict_sni)
		return shake_refuse_name(stream,
					 "no certificate is for the name that the client "
					 "asks for, and \"strict_sni\" is on",
					 ret_alert);
	if (!stream->name ||
	    !SSL_set_SSL_CTX(ssl,
			     ctx->groups[found ? found->certificate : ctx->first_group].ssl_ctx)) {
		stream->shake->refused = "no memory";
		*ret_alert = SSL_AD_INTERNAL_ERROR;
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	}
	return SSL_TLSEXT_ERR_OK;
}

/* Ours or, to clients that speak ALPN without any of them, an alert (RFC 7301, 3.2). */
static int shake_on_alpn(SSL *ssl, const unsigned char **ret_chosen, unsigned char *ret_len,
			 const unsigned char *offered, unsigned int offered_len,
			 void *argument UNUSED)
{
	struct tls_stream *stream = SSL_get_app_data(ssl);
	const struct tls_server_ctx *ctx = stream->shake->server;
	unsigned char *chosen;

	if (stream->shake->answers_alpn)
		return tls_stream_choose_alpn(stream, offered, offered_len, ret_chosen, ret_len);
	if (!ctx->alpn)
		return SSL_TLSEXT_ERR_NOACK;
	if (SSL_select_next_proto(&chosen, ret_len, ctx->alpn, (unsigned int)ctx->alpn_len, offered,
				  offered_len) != OPENSSL_NPN_NEGOTIATED) {
		stream->shake->refused = "the client's ALPN has no protocol that is spoken here";
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	}
	*ret_chosen = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* A response that has run out is worse than none: clients take it for an attack. */
static int shake_on_status(SSL *ssl, void *argument UNUSED)
{
	const struct tls_stream *stream = SSL_get_app_data(ssl);
	const X509 *chosen = SSL_get_certificate(ssl);
	const struct tls_server_ctx *ctx = stream->shake->server;
	unsigned char *copy;

	for (size_t i = 0; i < ctx->n_certificates; i++) {
		const struct tls_certificate *certificate = &ctx->certificates[i];

		if (certificate->leaf != chosen || !tls_staple_is_valid(&certificate->staple))
			continue;
		copy = OPENSSL_memdup(certificate->staple.der, certificate->staple.len_bytes);
		if (!copy)
			break;
		SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)certificate->staple.len_bytes);
		return SSL_TLSEXT_ERR_OK;
	}
	return SSL_TLSEXT_ERR_NOACK;
}

static int shake_on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
			   EVP_MAC_CTX *mac, int seal)
{
	const struct tls_stream *stream = SSL_get_app_data(ssl);
	int taken;

	if (!stream->shake->server)
		return -1;
	taken = tls_ticket_take(&stream->shake->server->ticket_keys, name, iv, cipher, mac, seal);
	/* Clients use a ticket of TLS 1.3 once (RFC 8446, C.4): with none for the next time every
	 * second connection would be a full handshake. */
	return taken == 1 && !seal && SSL_version(ssl) == TLS1_3_VERSION ? 2 : taken;
}

/* One write of a whole line at the file's end, so that the lines of threads do not mix. */
static void shake_on_keylog(const SSL *ssl, const char *line)
{
	const struct tls_stream *stream = SSL_get_app_data(ssl);
	struct iovec parts[] = {{(void *)line, strlen(line)}, {(void *)"\n", 1}};
	ssize_t n;

	if (!tls_kdf_properties())
		tls_keys_on_keylog(ssl, line);
	if (!stream || !stream->shake->server || stream->shake->server->key_log_fd < 0)
		return;
	n = writev(stream->shake->server->key_log_fd, parts, ARRAY_LEN(parts));
	(void)n; /* a full disk must not end connections */
}

static void shake_init_tickets(const struct tls_server_ctx *ctx, SSL_CTX *ssl_ctx)
{
	if (!ctx->has_tickets) {
		SSL_CTX_set_options(ssl_ctx, SSL_OP_NO_TICKET);
		SSL_CTX_set_num_tickets(ssl_ctx, 0); /* in TLS 1.3 the option alone means a cache */
		return;
	}
	SSL_CTX_set_timeout(ssl_ctx, (long)ctx->ticket_lifetime_s);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl_ctx, shake_on_ticket);
}

void tls_server_shake_init(const struct tls_server_ctx *ctx, struct tls_server_group *group)
{
	bool has_staple = false;

	SSL_CTX_set_session_id_context(group->ssl_ctx, ctx->scope, sizeof(ctx->scope));
	SSL_CTX_set_tlsext_servername_callback(group->ssl_ctx, shake_on_name);
	shake_init_tickets(ctx, group->ssl_ctx);
	if (ctx->key_log_fd >= 0)
		SSL_CTX_set_keylog_callback(group->ssl_ctx, shake_on_keylog);
	if (ctx->alpn)
		SSL_CTX_set_alpn_select_cb(group->ssl_ctx, shake_on_alpn, NULL);
	for (int i = 0; i < TLS_KEY_KIND_MAX; i++)
		has_staple = has_staple || (group->of_kind[i] && group->of_kind[i]->staple.der);
	if (has_staple)
		SSL_CTX_set_tlsext_status_cb(group->ssl_ctx, shake_on_status);
}
