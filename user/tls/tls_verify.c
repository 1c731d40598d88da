/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom to trust, on both sides: stores of authorities. Makes no contexts.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tls/tls_ctx_internal.h"

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
static X509_STORE *trust_recall(const struct stat *st)
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

static void trust_remember(const struct stat *st, X509_STORE *store)
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

static int trust_fill(X509_STORE *store, BIO *bio, const struct conf_file *file,
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
static X509_STORE *trust_read(const struct tls_pem *pem, const struct conf_file *file,
			      struct conf_diag *diag)
{
	X509_STORE *store = X509_STORE_new();
	BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len_bytes);
	bool ok = store && bio && !trust_fill(store, bio, file, diag);

	if (!store || !bio)
		conf_diag_add(diag, file->mark, "no memory");
	BIO_free(bio);
	if (ok)
		return store;
	X509_STORE_free(store);
	return NULL;
}

X509_STORE *tls_trust_load_own(const struct conf_file *file, const struct tls_files *files,
			       struct conf_diag *diag)
{
	struct tls_pem pem;
	X509_STORE *store;

	if (tls_pem_read(file, files, NULL, diag, &pem))
		return NULL;
	store = trust_read(&pem, file, diag);
	tls_pem_done(&pem);
	return store;
}

X509_STORE *tls_trust_load(const struct conf_file *file, const struct tls_files *files,
			   struct conf_diag *diag)
{
	struct tls_pem pem;
	X509_STORE *store;

	if (tls_pem_read(file, files, NULL, diag, &pem))
		return NULL;
	store = trust_recall(&pem.st);
	if (!store) {
		store = trust_read(&pem, file, diag);
		if (store)
			trust_remember(&pem.st, store);
	}
	tls_pem_done(&pem);
	return store;
}

int tls_trust_digest(X509_STORE *store, EVP_MD_CTX *digest)
{
	STACK_OF(X509) *all = X509_STORE_get1_all_certs(store);
	unsigned char of_one[32];
	bool ok = all != NULL;

	for (int i = 0; i < sk_X509_num(all) && ok; i++)
		ok = X509_digest(sk_X509_value(all, i), EVP_sha256(), of_one, NULL) == 1 &&
		     EVP_DigestUpdate(digest, of_one, sizeof(of_one)) == 1;
	sk_X509_pop_free(all, X509_free);
	return ok ? 0 : -ENOMEM;
}
