/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates of one listener: loaded and checked, and chosen by the name that a client asks
 * for. One SSL_CTX per certificate; session tickets are those of the first, whichever certificate
 * was chosen.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/str.h"
#include "tls/tls_internal.h"

struct server_name {
	char *name; /* lower case; may start with "*." */
	size_t certificate;
};

struct tls_server_ctx {
	atomic_uint refs;
	bool wants_kernel;
	SSL_CTX **certificates;
	size_t n_certificates;
	struct server_name *names; /* sorted by name, then by certificate */
	size_t n_names;
};

/* A passphrase cannot be asked for. */
static int server_refuse_passphrase(char *buffer UNUSED, int size UNUSED, int is_writing UNUSED,
				    void *argument)
{
	*(bool *)argument = true;
	return -1;
}

/* Empties the error queue of what only says "no further block". True where something else is wrong.
 */
static bool pem_has_error(void)
{
	unsigned long code = ERR_peek_last_error();

	if (!code)
		return false;
	if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
		return true;
	ERR_clear_error();
	return false;
}

/* The leaf, and what stands above it. */
static int server_read_chain(SSL_CTX *ssl_ctx, BIO *bio, const struct conf_file *file,
			     struct conf_diag *diag)
{
	X509 *leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL), *above;

	if (!leaf && !pem_has_error()) {
		conf_diag_add(diag, file->mark, "there is no PEM certificate in \"%s\"",
			      file->path);
		return -EINVAL;
	}
	if (!leaf || SSL_CTX_use_certificate(ssl_ctx, leaf) != 1) {
		X509_free(leaf);
		tls_pem_complain(diag, file, "cannot use the certificate in");
		return -EINVAL;
	}
	X509_free(leaf);
	while ((above = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		if (SSL_CTX_add0_chain_cert(ssl_ctx, above) == 1)
			continue;
		X509_free(above);
		break;
	}
	if (pem_has_error()) {
		tls_pem_complain(diag, file, "cannot use the chain in");
		return -EINVAL;
	}
	return 0;
}

static int server_use_chain(SSL_CTX *ssl_ctx, const struct tls_pem *pem,
			    const struct conf_file *file, struct conf_diag *diag)
{
	BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len_bytes);
	int err;

	if (!bio) {
		tls_pem_complain(diag, file, "cannot read");
		return -ENOMEM;
	}
	err = server_read_chain(ssl_ctx, bio, file, diag);
	BIO_free(bio);
	return err;
}

/* OpenSSL's decoders give one and the same error for "no key here" and "no key that I know". */
static bool server_has_key(const struct tls_pem *pem)
{
	static const char mark[] = "PRIVATE KEY-----";

	return memmem(pem->data, pem->len_bytes, mark, sizeof(mark) - 1);
}

static int server_use_key(SSL_CTX *ssl_ctx, const struct tls_pem *pem, const struct conf_file *file,
			  struct conf_diag *diag)
{
	bool has_passphrase = false, ok = false;
	BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len_bytes);
	EVP_PKEY *key =
	    bio ? PEM_read_bio_PrivateKey(bio, NULL, server_refuse_passphrase, &has_passphrase)
		: NULL;

	if (has_passphrase)
		conf_diag_add(
		    diag, file->mark,
		    "the private key in \"%s\" is protected by a passphrase: store it without",
		    file->path);
	else if (!key && !server_has_key(pem))
		conf_diag_add(diag, file->mark, "there is no PEM private key in \"%s\"",
			      file->path);
	else if (key && X509_check_private_key(SSL_CTX_get0_certificate(ssl_ctx), key) != 1)
		conf_diag_add(diag, file->mark,
			      "the private key in \"%s\" does not belong to the certificate",
			      file->path);
	else if (!key || SSL_CTX_use_PrivateKey(ssl_ctx, key) != 1)
		tls_pem_complain(diag, file, "cannot use the private key in");
	else
		ok = true;
	EVP_PKEY_free(key);
	BIO_free(bio);
	ERR_clear_error();
	return ok ? 0 : -EINVAL;
}

static void server_warn_of_time(struct conf_diag *diag, const struct conf_file *file,
				const char *what, const ASN1_TIME *when)
{
	char text[32] = "?";
	struct tm tm;

	if (ASN1_TIME_to_tm(when, &tm) == 1)
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm);
	conf_diag_warn(diag, file->mark, "the certificate in \"%s\" %s %s", file->path, what, text);
}

static void server_check_times(const X509 *leaf, const struct conf_file *file,
			       struct conf_diag *diag)
{
	if (X509_cmp_time(X509_get0_notAfter(leaf), NULL) < 0)
		server_warn_of_time(diag, file, "expired on", X509_get0_notAfter(leaf));
	if (X509_cmp_time(X509_get0_notBefore(leaf), NULL) > 0)
		server_warn_of_time(diag, file, "is not valid before", X509_get0_notBefore(leaf));
}

/* Lower case, without a final dot. False where it cannot be a host name. */
static bool server_name_normalize(const char *name, size_t len_bytes, char ret_name[TLS_NAME_MAX])
{
	if (len_bytes && name[len_bytes - 1] == '.')
		len_bytes--;
	if (!len_bytes || len_bytes >= TLS_NAME_MAX)
		return false;
	for (size_t i = 0; i < len_bytes; i++) {
		char c = ascii_lower(name[i]);

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
		      c == '.'))
			return false;
		ret_name[i] = c;
	}
	ret_name[len_bytes] = '\0';
	return true;
}

static int server_add_name(struct tls_server_ctx *ctx, size_t certificate, const char *text,
			   size_t len_bytes)
{
	bool is_wildcard = len_bytes > 2 && text[0] == '*' && text[1] == '.';
	char name[TLS_NAME_MAX], full[TLS_NAME_MAX + 2];
	struct server_name *grown;

	if (is_wildcard ? !server_name_normalize(text + 2, len_bytes - 2, name)
			: !server_name_normalize(text, len_bytes, name))
		return 0; /* no client can ask for it */
	stpcpy(stpcpy(full, is_wildcard ? "*." : ""), name);
	grown = reallocarray(ctx->names, ctx->n_names + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	ctx->names = grown;
	grown[ctx->n_names] =
	    (struct server_name){.name = strdup(full), .certificate = certificate};
	if (!grown[ctx->n_names].name)
		return -ENOMEM;
	ctx->n_names++;
	return 0;
}

/* The DNS names of the certificate; where it has none, its common name (as RFC 6125, 6.4.4 has it).
 */
static int server_add_names(struct tls_server_ctx *ctx, size_t certificate, const X509 *leaf)
{
	GENERAL_NAMES *sans = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	int n_dns = 0, err = 0, at;

	for (int i = 0; !err && i < sk_GENERAL_NAME_num(sans); i++) {
		const GENERAL_NAME *san = sk_GENERAL_NAME_value(sans, i);

		if (san->type != GEN_DNS)
			continue;
		n_dns++;
		err = server_add_name(ctx, certificate,
				      (const char *)ASN1_STRING_get0_data(san->d.dNSName),
				      (size_t)ASN1_STRING_length(san->d.dNSName));
	}
	GENERAL_NAMES_free(sans);
	at = X509_NAME_get_index_by_NID(X509_get_subject_name(leaf), NID_commonName, -1);
	if (!err && !n_dns && at >= 0) {
		const X509_NAME_ENTRY *entry = X509_NAME_get_entry(X509_get_subject_name(leaf), at);
		const ASN1_STRING *common = X509_NAME_ENTRY_get_data(entry);

		err = server_add_name(ctx, certificate, (const char *)ASN1_STRING_get0_data(common),
				      (size_t)ASN1_STRING_length(common));
	}
	ERR_clear_error();
	return err;
}

static int server_name_compare(const void *a, const void *b)
{
	const struct server_name *one = a, *other = b;
	int order = strcmp(one->name, other->name);

	return order ? order
		     : (one->certificate > other->certificate) -
			   (one->certificate < other->certificate);
}

/* The first certificate for exactly this name, or NULL. */
static SSL_CTX *server_find_name(const struct tls_server_ctx *ctx, const char *name)
{
	size_t low = 0, high = ctx->n_names;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(ctx->names[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == ctx->n_names || strcmp(ctx->names[low].name, name) != 0)
		return NULL;
	return ctx->certificates[ctx->names[low].certificate];
}

SSL_CTX *tls_server_ctx_pick(struct tls_server_ctx *ctx, const char *name)
{
	SSL_CTX *found = server_find_name(ctx, name);
	const char *dot = strchr(name, '.');
	char wildcard[TLS_NAME_MAX + 2];

	if (!found && dot && dot != name) {
		stpcpy(stpcpy(wildcard, "*"), dot);
		found = server_find_name(ctx, wildcard);
	}
	return found ? found : ctx->certificates[0];
}

static int server_on_name(SSL *ssl, int *ret_alert, void *argument UNUSED)
{
	struct tls_stream *stream = SSL_get_app_data(ssl);
	const char *sent = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	char name[TLS_NAME_MAX];

	if (!sent)
		return SSL_TLSEXT_ERR_NOACK;
	if (!server_name_normalize(sent, strlen(sent), name)) {
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

static int server_load(SSL_CTX *ssl_ctx, const struct conf_certificate *conf,
		       const struct tls_files *files, struct conf_diag *diag)
{
	struct tls_pem chain, key;
	int err = tls_pem_read(&conf->chain, files, false, diag, &chain);

	if (err)
		return err;
	err = server_use_chain(ssl_ctx, &chain, &conf->chain, diag);
	tls_pem_done(&chain);
	if (!err)
		err = tls_pem_read(&conf->key, files, true, diag, &key);
	if (err)
		return err;
	err = server_use_key(ssl_ctx, &key, &conf->key, diag);
	tls_pem_done(&key);
	if (!err)
		server_check_times(SSL_CTX_get0_certificate(ssl_ctx), &conf->chain, diag);
	return err;
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
	int err;

	if (!ssl_ctx)
		return -ENOMEM;
	ctx->certificates[ctx->n_certificates++] = ssl_ctx;
	err = server_load(ssl_ctx, conf, files, diag);
	return err ? err
		   : server_add_names(ctx, ctx->n_certificates - 1,
				      SSL_CTX_get0_certificate(ssl_ctx));
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
	if (ctx->n_names)
		qsort(ctx->names, ctx->n_names, sizeof(*ctx->names), server_name_compare);
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
	for (size_t i = 0; i < ctx->n_names; i++)
		free(ctx->names[i].name);
	for (size_t i = 0; i < ctx->n_certificates; i++)
		SSL_CTX_free(ctx->certificates[i]);
	free(ctx->names);
	free(ctx->certificates);
	free(ctx);
}
