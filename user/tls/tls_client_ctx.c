/* SPDX-License-Identifier: Apache-2.0 */
/* The rules for one origin: whom to trust, what is offered, and how the hand-over to the kernel is
 * meant. Verifies nothing itself. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls_ctx_internal.h"
#include "tls/tls_internal.h"

struct tls_client_ctx {
	SSL_CTX *ssl_ctx;
	char *server_name; /* NULL: the host that tls_start_client() is given */
	uint64_t scope; /* as tls_client_ctx_scope() */
	bool keeps_sessions;
	bool verifies;
	uint8_t kernel; /* TLS_KERNEL_* */
	struct tls_certificate certificate; /* that is shown; zeroed: none */
};

const char *tls_system_ca_path(void)
{
	return "/etc/ssl/certs/ca-certificates.crt";
}

static int client_load_trust(struct tls_client_ctx *ctx, const struct conf_client_tls *conf,
			     const struct tls_files *files, struct conf_diag *diag)
{
	struct conf_file file = conf->ca;
	X509_STORE *store;

	if (!file.path)
		file = (struct conf_file){.path = tls_system_ca_path(), .mark = conf->mark};
	store = tls_trust_load(&file, files, diag);
	if (!store)
		return -EINVAL;
	SSL_CTX_set_cert_store(ctx->ssl_ctx, store); /* takes the reference */
	return 0;
}

static int client_load_certificate(struct tls_client_ctx *ctx, const struct conf_certificate *conf,
				   const struct tls_files *files, struct conf_diag *diag)
{
	int err = tls_certificate_load(conf, files, diag, &ctx->certificate);

	return err ? err : tls_certificate_use(&ctx->certificate, ctx->ssl_ctx, diag);
}

/* RFC 7301, 3.1: each name after a byte with its length. 0, or -ENOMEM. */
static int client_offer_alpn(SSL_CTX *ssl_ctx, const struct conf_client_tls *conf)
{
	unsigned char wire[16 * 256];
	unsigned int len_bytes = 0;

	for (size_t i = 0; i < conf->n_alpn; i++) {
		size_t n = strlen(conf->alpn[i]);

		if (n > 255 || len_bytes + n + 1 > sizeof(wire))
			return -EINVAL;
		wire[len_bytes] = (unsigned char)n;
		memcpy(wire + len_bytes + 1, conf->alpn[i], n);
		len_bytes += (unsigned int)n + 1;
	}
	return len_bytes && SSL_CTX_set_alpn_protos(ssl_ctx, wire, len_bytes) ? -ENOMEM : 0;
}

/* 0, or -ENOMEM. */
static int client_init(struct tls_client_ctx *ctx, const struct conf_client_tls *conf)
{
	ctx->verifies = conf->verify;
	ctx->kernel = tls_ctx_wanted(conf->kernel, conf->kernel_receive, conf->kernel_send,
				     conf->kernel_waits);
	ctx->keeps_sessions = conf->sessions;
	ctx->server_name = conf->server_name ? strdup(conf->server_name) : NULL;
	ctx->ssl_ctx = tls_ctx_new_common(false, &conf->policy);
	if (!ctx->ssl_ctx || (conf->server_name && !ctx->server_name) ||
	    client_offer_alpn(ctx->ssl_ctx, conf))
		return -ENOMEM;
	SSL_CTX_set_verify(ctx->ssl_ctx, conf->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	/* What the operator's own file names is trusted as it stands, be it a root or not. */
	if (conf->ca.path)
		X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx->ssl_ctx),
					    X509_V_FLAG_PARTIAL_CHAIN);
	if (conf->sessions)
		tls_session_enable(ctx->ssl_ctx);
	return tls_pins_set(ctx->ssl_ctx, conf);
}

/* Whom it trusts, and as whom it comes. */
static int client_digest(const struct tls_client_ctx *ctx, EVP_MD_CTX *digest)
{
	const X509 *own = SSL_CTX_get0_certificate(ctx->ssl_ctx);
	unsigned char of_own[32];

	if (own && (X509_digest(own, EVP_sha256(), of_own, NULL) != 1 ||
		    EVP_DigestUpdate(digest, of_own, sizeof(of_own)) != 1))
		return -ENOMEM;
	return ctx->verifies ? tls_trust_digest(SSL_CTX_get_cert_store(ctx->ssl_ctx), digest) : 0;
}

/* Files may change under the same names, and what was agreed on with the old ones must not outlive
 * them. What the configuration itself says is in the origin's identity. */
static int client_make_scope(struct tls_client_ctx *ctx)
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	unsigned char value[32];
	int err = -ENOMEM;

	if (digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1)
		err = client_digest(ctx, digest);
	if (!err && EVP_DigestFinal_ex(digest, value, NULL) != 1)
		err = -ENOMEM;
	if (!err)
		memcpy(&ctx->scope, value, sizeof(ctx->scope));
	EVP_MD_CTX_free(digest);
	return err;
}

struct tls_client_ctx *tls_client_ctx_new(const struct conf_client_tls *conf,
					  const struct tls_files *files, struct conf_diag *diag)
{
	struct tls_client_ctx *ctx = calloc(1, sizeof(*ctx));
	int err = ctx ? client_init(ctx, conf) : -ENOMEM;

	if (err)
		conf_diag_add(diag, conf->mark, "no memory");
	if (!err && conf->verify)
		err = client_load_trust(ctx, conf, files, diag);
	if (!err && conf->certificate)
		err = client_load_certificate(ctx, conf->certificate, files, diag);
	if (!err) {
		err = client_make_scope(ctx);
		if (err)
			conf_diag_add(diag, conf->mark, "no memory");
	}
	if (!err)
		return ctx;
	tls_client_ctx_free(ctx);
	return NULL;
}

void tls_client_ctx_free(struct tls_client_ctx *ctx)
{
	if (!ctx)
		return;
	SSL_CTX_free(ctx->ssl_ctx);
	tls_certificate_done(&ctx->certificate);
	free(ctx->server_name);
	free(ctx);
}

SSL_CTX *tls_client_ctx_ssl(struct tls_client_ctx *ctx)
{
	return ctx->ssl_ctx;
}

uint8_t tls_client_ctx_kernel(const struct tls_client_ctx *ctx)
{
	return ctx->kernel;
}

bool tls_client_ctx_verifies(const struct tls_client_ctx *ctx)
{
	return ctx->verifies;
}

const char *tls_client_ctx_server_name(const struct tls_client_ctx *ctx)
{
	return ctx->server_name;
}

bool tls_client_ctx_keeps_sessions(const struct tls_client_ctx *ctx)
{
	return ctx->keeps_sessions;
}

bool tls_client_ctx_describe(const struct tls_client_ctx *ctx,
			     struct tls_certificate_facts *ret_facts)
{
	if (!ctx->certificate.leaf)
		return false;
	tls_certificate_describe(&ctx->certificate, ret_facts);
	return true;
}

uint64_t tls_client_ctx_scope(const struct tls_client_ctx *ctx)
{
	return ctx->scope;
}
