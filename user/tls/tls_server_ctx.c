/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates of one listener, chosen by the name that a client asks for. One SSL_CTX per
 * certificate; session tickets are those of the first, whichever certificate was chosen. Files are
 * read by tls_certificate.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls_internal.h"

struct tls_server_ctx {
	atomic_uint refs;
	bool wants_kernel;
	SSL_CTX **certificates;
	size_t n_certificates;
	struct tls_server_names names;
};

SSL_CTX *tls_server_ctx_pick(struct tls_server_ctx *ctx, const char *name)
{
	const struct tls_server_name *found = tls_server_names_pick(&ctx->names, name);

	return ctx->certificates[found ? found->certificate : 0];
}

static int server_on_name(SSL *ssl, int *ret_alert, void *argument UNUSED)
{
	struct tls_stream *stream = SSL_get_app_data(ssl);
	const char *sent = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	char name[TLS_NAME_MAX];

	if (!sent)
		return SSL_TLSEXT_ERR_NOACK;
	if (!tls_name_normalize(sent, strlen(sent), name)) {
		stream->refused = "the server name that the client sent is not a host name";
		*ret_alert = SSL_AD_UNRECOGNIZED_NAME;
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	}
	free(stream->sni);
	stream->sni = strdup(name);
	if (!stream->sni || !SSL_set_SSL_CTX(ssl, tls_server_ctx_pick(stream->server, name))) {
		stream->refused = "no memory";
		*ret_alert = SSL_AD_INTERNAL_ERROR;
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	}
	return SSL_TLSEXT_ERR_OK;
}

/* HTTP/1.1 or, to clients that speak ALPN without it, an alert (RFC 7301, 3.2). */
static int server_on_alpn(SSL *ssl, const unsigned char **ret_chosen, unsigned char *ret_len,
			  const unsigned char *offered, unsigned int offered_len,
			  void *argument UNUSED)
{
	static const unsigned char ours[] = "\x08http/1.1";
	struct tls_stream *stream = SSL_get_app_data(ssl);
	unsigned char *chosen;

	if (SSL_select_next_proto(&chosen, ret_len, ours, sizeof(ours) - 1, offered, offered_len) !=
	    OPENSSL_NPN_NEGOTIATED) {
		stream->refused =
		    "the client's ALPN has no protocol that is spoken here (http/1.1)";
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	}
	*ret_chosen = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *server_new_certificate(bool wants_kernel)
{
	static const unsigned char session_scope[] = "penstock";
	SSL_CTX *ssl_ctx = tls_ctx_new_common(true, wants_kernel);

	if (!ssl_ctx)
		return NULL;
	SSL_CTX_set_session_id_context(ssl_ctx, session_scope, sizeof(session_scope) - 1);
	SSL_CTX_set_tlsext_servername_callback(ssl_ctx, server_on_name);
	SSL_CTX_set_alpn_select_cb(ssl_ctx, server_on_alpn, NULL);
	return ssl_ctx;
}

/* 0, -ENOMEM, or another -errno that was reported. */
static int server_add_certificate(struct tls_server_ctx *ctx, const struct conf_certificate *conf,
				  const struct tls_files *files, struct conf_diag *diag)
{
	SSL_CTX *ssl_ctx = server_new_certificate(ctx->wants_kernel);
	struct tls_certificate certificate;
	int err;

	if (!ssl_ctx)
		return -ENOMEM;
	ctx->certificates[ctx->n_certificates++] = ssl_ctx;
	err = tls_certificate_load(conf, files, diag, &certificate);
	if (err)
		return err;
	err = tls_certificate_use(&certificate, ssl_ctx, diag);
	if (!err)
		err = tls_server_names_add(&ctx->names, ctx->n_certificates - 1, certificate.leaf);
	tls_certificate_done(&certificate);
	return err;
}

struct tls_server_ctx *tls_server_ctx_new(const struct conf_server_tls *conf,
					  const struct tls_files *files, struct conf_diag *diag)
{
	struct tls_server_ctx *ctx = calloc(1, sizeof(*ctx));
	int err = 0;

	if (ctx)
		ctx->certificates = calloc(conf->n_certificates, sizeof(SSL_CTX *));
	if (!ctx || !ctx->certificates) {
		conf_diag_add(diag, conf->mark, "no memory");
		free(ctx);
		return NULL;
	}
	atomic_init(&ctx->refs, 1);
	ctx->wants_kernel = conf->kernel != CONF_KERNEL_TLS_OFF;
	for (size_t i = 0; i < conf->n_certificates; i++) {
		int one = server_add_certificate(ctx, &conf->certificates[i], files, diag);

		if (one == -ENOMEM)
			conf_diag_add(diag, conf->mark, "no memory");
		err = err ? err : one;
	}
	if (err) {
		tls_server_ctx_free(ctx);
		return NULL;
	}
	tls_server_names_sort(&ctx->names);
	return ctx;
}

SSL_CTX *tls_server_ctx_first(struct tls_server_ctx *ctx)
{
	return ctx->certificates[0];
}

bool tls_server_ctx_wants_kernel(const struct tls_server_ctx *ctx)
{
	return ctx->wants_kernel;
}

struct tls_server_ctx *tls_server_ctx_ref(struct tls_server_ctx *ctx)
{
	atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
	return ctx;
}

void tls_server_ctx_free(struct tls_server_ctx *ctx)
{
	if (!ctx || atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < ctx->n_certificates; i++)
		SSL_CTX_free(ctx->certificates[i]);
	tls_server_names_done(&ctx->names);
	free(ctx->certificates);
	free(ctx);
}
