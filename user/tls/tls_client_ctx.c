/* SPDX-License-Identifier: Apache-2.0 */
/* The rules for one origin: whom to trust, and how the hand-over to the kernel is meant. Verifies
 * nothing itself. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tls/tls_internal.h"

/* 16 names of up to 255 bytes. */
#define CLIENT_ALPN_MAX 4096

struct tls_client_ctx {
	SSL_CTX *ssl_ctx;
	char *server_name; /* NULL: the host that tls_start_client() is given */
	bool verifies;
	bool wants_kernel;
};

const char *tls_system_ca_path(void)
{
	return "/etc/ssl/certs/ca-certificates.crt";
}

/*
 * The store that was loaded last. The system's is 140 certificates, a megabyte and ten
 * milliseconds, and most origins have the same.
 */
static struct {
	pthread_mutex_t lock;
	X509_STORE *store; /* NULL: none yet */
	dev_t device;
	ino_t inode;
	off_t len_bytes;
	struct timespec changed;
} last_trust = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* A reference to the store of this very file, or NULL. */
static X509_STORE *client_recall_trust(const struct stat *st)
{
	X509_STORE *store = NULL;

	pthread_mutex_lock(&last_trust.lock);
	if (last_trust.store && last_trust.device == st->st_dev && last_trust.inode == st->st_ino &&
	    last_trust.len_bytes == st->st_size &&
	    last_trust.changed.tv_sec == st->st_ctim.tv_sec &&
	    last_trust.changed.tv_nsec == st->st_ctim.tv_nsec) {
		store = last_trust.store;
		X509_STORE_up_ref(store);
	}
	pthread_mutex_unlock(&last_trust.lock);
	return store;
}

static void client_remember_trust(const struct stat *st, X509_STORE *store)
{
	pthread_mutex_lock(&last_trust.lock);
	X509_STORE_free(last_trust.store);
	X509_STORE_up_ref(store);
	last_trust.store = store;
	last_trust.device = st->st_dev;
	last_trust.inode = st->st_ino;
	last_trust.len_bytes = st->st_size;
	last_trust.changed = st->st_ctim;
	pthread_mutex_unlock(&last_trust.lock);
}

static int client_fill_trust(X509_STORE *store, BIO *bio, const struct conf_file *file,
			     struct conf_diag *diag)
{
	size_t n_trusted = 0;
	X509 *authority;
	unsigned long code;

	while ((authority = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		int ok = X509_STORE_add_cert(store, authority);

		X509_free(authority);
		if (ok != 1)
			break;
		n_trusted++;
	}
	code = ERR_peek_last_error();
	if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE) {
		tls_pem_complain(diag, file, "cannot use the certificates in");
		return -EINVAL;
	}
	ERR_clear_error();
	if (n_trusted)
		return 0;
	conf_diag_add(diag, file->mark, "there is no PEM certificate in \"%s\"", file->path);
	return -EINVAL;
}

/* A new store with the file's certificates; NULL: reported. */
static X509_STORE *client_read_trust(const struct tls_pem *pem, const struct conf_file *file,
				     struct conf_diag *diag)
{
	X509_STORE *store = X509_STORE_new();
	BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len_bytes);
	bool ok = store && bio && !client_fill_trust(store, bio, file, diag);

	if (!store || !bio)
		conf_diag_add(diag, file->mark, "no memory");
	BIO_free(bio);
	if (ok)
		return store;
	X509_STORE_free(store);
	return NULL;
}

static int client_load_trust(struct tls_client_ctx *ctx, const struct conf_client_tls *conf,
			     const struct tls_files *files, struct conf_diag *diag)
{
	struct conf_file file = conf->ca;
	struct tls_pem pem;
	X509_STORE *store;
	int err;

	if (!file.path)
		file = (struct conf_file){.path = tls_system_ca_path(), .mark = conf->mark};
	err = tls_pem_read(&file, files, NULL, diag, &pem);
	if (err)
		return err;
	store = client_recall_trust(&pem.st);
	if (!store) {
		store = client_read_trust(&pem, &file, diag);
		if (store)
			client_remember_trust(&pem.st, store);
	}
	tls_pem_done(&pem);
	if (!store)
		return -EINVAL;
	SSL_CTX_set_cert_store(ctx->ssl_ctx, store); /* takes the reference */
	return 0;
}

/* In wire form: a byte of length before each name. */
static int client_offer_alpn(struct tls_client_ctx *ctx, const struct conf_client_tls *conf)
{
	unsigned char wire[CLIENT_ALPN_MAX];
	size_t n = 0;

	for (size_t i = 0; i < conf->n_alpn; i++) {
		size_t len = strlen(conf->alpn[i]);

		if (len > UINT8_MAX || n + 1 + len > sizeof(wire))
			return -EINVAL;
		wire[n] = (unsigned char)len;
		memcpy(wire + n + 1, conf->alpn[i], len);
		n += 1 + len;
	}
	return n && SSL_CTX_set_alpn_protos(ctx->ssl_ctx, wire, (unsigned int)n) ? -ENOMEM : 0;
}

/* 0, or -ENOMEM. */
static int client_init(struct tls_client_ctx *ctx, const struct conf_client_tls *conf)
{
	ctx->verifies = conf->verify;
	ctx->wants_kernel = conf->kernel != CONF_KERNEL_TLS_OFF;
	ctx->server_name = conf->server_name ? strdup(conf->server_name) : NULL;
	ctx->ssl_ctx = tls_ctx_new_common(false, &conf->policy, ctx->wants_kernel);
	if (!ctx->ssl_ctx || (conf->server_name && !ctx->server_name) ||
	    client_offer_alpn(ctx, conf))
		return -ENOMEM;
	SSL_CTX_set_verify(ctx->ssl_ctx, conf->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	/* What the operator's own file names is trusted as it stands, be it a root or not. */
	if (conf->ca.path)
		X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx->ssl_ctx),
					    X509_V_FLAG_PARTIAL_CHAIN);
	return 0;
}

struct tls_client_ctx *tls_client_ctx_new(const struct conf_client_tls *conf,
					  const struct tls_files *files, struct conf_diag *diag)
{
	struct tls_client_ctx *ctx = calloc(1, sizeof(*ctx));

	if (!ctx || client_init(ctx, conf)) {
		conf_diag_add(diag, conf->mark, "no memory");
		tls_client_ctx_free(ctx);
		return NULL;
	}
	if (conf->verify && client_load_trust(ctx, conf, files, diag)) {
		tls_client_ctx_free(ctx);
		return NULL;
	}
	return ctx;
}

void tls_client_ctx_free(struct tls_client_ctx *ctx)
{
	if (!ctx)
		return;
	SSL_CTX_free(ctx->ssl_ctx);
	free(ctx->server_name);
	free(ctx);
}

SSL_CTX *tls_client_ctx_ssl(struct tls_client_ctx *ctx)
{
	return ctx->ssl_ctx;
}

bool tls_client_ctx_wants_kernel(const struct tls_client_ctx *ctx)
{
	return ctx->wants_kernel;
}

bool tls_client_ctx_verifies(const struct tls_client_ctx *ctx)
{
	return ctx->verifies;
}

const char *tls_client_ctx_server_name(const struct tls_client_ctx *ctx)
{
	return ctx->server_name;
}
