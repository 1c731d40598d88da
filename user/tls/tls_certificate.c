/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One certificate of the configuration with its chain and key: read from its files, for either side
 * of TLS. What is wrong with it in time or order is told by tls_certificate_check.c; who gets it is
 * chosen elsewhere.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#include "tls/tls_ctx_internal.h"
#include "tls/tls_internal.h"

static int certificate_read_leaf(struct tls_certificate *certificate, BIO *bio,
				 const struct conf_file *file, struct conf_diag *diag)
{
	certificate->leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (certificate->leaf)
		return 0;
	if (tls_pem_has_error())
		tls_pem_complain(diag, file, "cannot use the certificate in");
	else
		conf_diag_add(diag, file->mark, "there is no PEM certificate in \"%s\"",
			      file->path);
	return -EINVAL;
}

/* The leaf, and what stands above it. */
static int certificate_read_chain(struct tls_certificate *certificate, BIO *bio,
				  const struct conf_file *file, struct conf_diag *diag)
{
	X509 *above;
	int err = certificate_read_leaf(certificate, bio, file, diag);

	if (err)
		return err;
	while ((above = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		if (sk_X509_push(certificate->above, above) > 0)
			continue;
		X509_free(above);
		break;
	}
	if (tls_pem_has_error()) {
		tls_pem_complain(diag, file, "cannot use the chain in");
		return -EINVAL;
	}
	return 0;
}

static int certificate_load_chain(struct tls_certificate *certificate, const struct conf_file *file,
				  const struct tls_files *files, struct conf_diag *diag)
{
	struct tls_pem pem;
	BIO *bio;
	int err = tls_pem_read(file, files, NULL, diag, &pem);

	if (err)
		return err;
	certificate->above = sk_X509_new_null();
	bio = BIO_new_mem_buf(pem.data, (int)pem.len_bytes);
	err = -ENOMEM;
	if (bio && certificate->above)
		err = certificate_read_chain(certificate, bio, file, diag);
	else
		tls_pem_complain(diag, file, "cannot read");
	BIO_free(bio);
	tls_pem_done(&pem);
	return err;
}

/* OpenSSL's decoders give one and the same error for "no key here" and "no key that I know". */
static bool certificate_has_key(const struct tls_pem *pem)
{
	static const char mark[] = "PRIVATE KEY-----";

	return memmem(pem->data, pem->len_bytes, mark, sizeof(mark) - 1);
}

struct passphrase {
	struct tls_pem pem; /* data NULL: there is none */
	bool is_wanted; /* the key asked for it */
};

/* The file's first line. */
static int certificate_give_passphrase(char *buffer, int size, int is_writing UNUSED,
				       void *argument)
{
	struct passphrase *passphrase = argument;
	size_t len = 0;

	passphrase->is_wanted = true;
	if (!passphrase->pem.data)
		return -1;
	while (len < passphrase->pem.len_bytes && passphrase->pem.data[len] != '\n' &&
	       passphrase->pem.data[len] != '\r')
		len++;
	if (len > (size_t)size)
		return -1;
	memcpy(buffer, passphrase->pem.data, len);
	return (int)len;
}

static void certificate_complain_key(const struct conf_certificate *conf, const struct tls_pem *pem,
				     const struct passphrase *passphrase, struct conf_diag *diag)
{
	const char *path = conf->key.path;

	if (passphrase->is_wanted && conf->passphrase.path)
		conf_diag_add(diag, conf->passphrase.mark,
			      "the passphrase in \"%s\" does not open the private key in \"%s\"",
			      conf->passphrase.path, path);
	else if (passphrase->is_wanted)
		conf_diag_add(diag, conf->key.mark,
			      "the private key in \"%s\" is protected by a passphrase: name a file "
			      "that holds it with \"passphrase\"",
			      path);
	else if (!certificate_has_key(pem))
		conf_diag_add(diag, conf->key.mark, "there is no PEM private key in \"%s\"", path);
	else
		tls_pem_complain(diag, &conf->key, "cannot use the private key in");
	ERR_clear_error();
}

static int certificate_read_key(struct tls_certificate *certificate,
				const struct conf_certificate *conf, const struct tls_pem *pem,
				struct passphrase *passphrase, struct conf_diag *diag)
{
	BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len_bytes);

	if (bio)
		certificate->key =
		    PEM_read_bio_PrivateKey(bio, NULL, certificate_give_passphrase, passphrase);
	BIO_free(bio);
	if (!certificate->key) {
		certificate_complain_key(conf, pem, passphrase, diag);
		return -EINVAL;
	}
	ERR_clear_error();
	if (X509_check_private_key(certificate->leaf, certificate->key) == 1)
		return 0;
	ERR_clear_error();
	conf_diag_add(diag, conf->key.mark,
		      "the private key in \"%s\" does not belong to the certificate",
		      conf->key.path);
	return -EINVAL;
}

static int certificate_load_key(struct tls_certificate *certificate,
				const struct conf_certificate *conf, const struct tls_files *files,
				struct conf_diag *diag)
{
	struct passphrase passphrase = {.is_wanted = false};
	struct tls_pem pem;
	int err = tls_pem_read(&conf->key, files, "private key", diag, &pem);

	if (err)
		return err;
	if (conf->passphrase.path)
		err = tls_pem_read(&conf->passphrase, files, "passphrase", diag, &passphrase.pem);
	if (!err)
		err = certificate_read_key(certificate, conf, &pem, &passphrase, diag);
	tls_pem_done(&passphrase.pem);
	tls_pem_done(&pem);
	return err;
}

int tls_certificate_load(const struct conf_certificate *conf, const struct tls_files *files,
			 struct conf_diag *diag, struct tls_certificate *ret_certificate)
{
	struct tls_certificate certificate = {.conf = conf};
	int err;

	tls_wipe_begin(); /* one file may hold both */
	err = certificate_load_chain(&certificate, &conf->chain, files, diag);
	if (!err)
		err = certificate_load_key(&certificate, conf, files, diag);
	if (!err && conf->ocsp.path)
		err = tls_staple_load(&certificate, files, diag, &certificate.staple);
	tls_wipe_end();
	if (err) {
		tls_certificate_done(&certificate);
		return err;
	}
	tls_certificate_check(&certificate, diag);
	*ret_certificate = certificate;
	return 0;
}

int tls_certificate_use(const struct tls_certificate *certificate, SSL_CTX *ssl_ctx,
			struct conf_diag *diag)
{
	if (SSL_CTX_use_cert_and_key(ssl_ctx, certificate->leaf, certificate->key,
				     certificate->above, 1) == 1)
		return 0;
	tls_pem_complain(diag, &certificate->conf->chain, "cannot use the certificate in");
	return -EINVAL;
}

void tls_certificate_done(struct tls_certificate *certificate)
{
	X509_free(certificate->leaf);
	sk_X509_pop_free(certificate->above, X509_free);
	EVP_PKEY_free(certificate->key);
	tls_staple_done(&certificate->staple);
	*certificate = (struct tls_certificate){.conf = NULL};
}
