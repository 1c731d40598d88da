/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pins: the digests of public keys that a server may have (RFC 7469, 2.4: of the whole
 * SubjectPublicKeyInfo). They come on top of the verification, or alone where that is off.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls_ctx_internal.h"
#include "tls/tls_internal.h"

#define PIN_TEXT_BYTES (4 * ((CONF_PIN_BYTES + 2) / 3) + 1)

struct tls_pins {
	bool verifies; /* the chain too */
	size_t n_digests;
	uint8_t digests[][CONF_PIN_BYTES];
};

/* Where an SSL_CTX has its pins: they live as long as it does. */
static int pins_index = -1;

static void pins_free(void *parent UNUSED, void *pins, CRYPTO_EX_DATA *data UNUSED,
		      int index UNUSED, long number UNUSED, void *argument UNUSED)
{
	free(pins);
}

int tls_pins_init(void)
{
	if (pins_index < 0)
		pins_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, pins_free);
	return pins_index < 0 ? -ENOMEM : 0;
}

static bool pin_digest(const X509 *certificate, uint8_t ret_digest[CONF_PIN_BYTES])
{
	unsigned char *der = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
	bool ok =
	    len > 0 && EVP_Digest(der, (size_t)len, ret_digest, NULL, EVP_sha256(), NULL) == 1;

	OPENSSL_free(der);
	return ok;
}

static bool pins_have(const struct tls_pins *pins, const X509 *certificate)
{
	uint8_t digest[CONF_PIN_BYTES];

	if (!pin_digest(certificate, digest))
		return false;
	for (size_t i = 0; i < pins->n_digests; i++)
		if (memcmp(pins->digests[i], digest, sizeof(digest)) == 0)
			return true;
	return false;
}

/* Only a verified chain says anything of those above the leaf: anybody can append a certificate. */
static bool pins_have_any(const struct tls_pins *pins, X509_STORE_CTX *store_ctx)
{
	STACK_OF(X509) *chain = pins->verifies ? X509_STORE_CTX_get0_chain(store_ctx) : NULL;
	X509 *leaf = X509_STORE_CTX_get0_cert(store_ctx);

	if (leaf && pins_have(pins, leaf))
		return true;
	for (int i = 1; i < sk_X509_num(chain); i++)
		if (pins_have(pins, sk_X509_value(chain, i)))
			return true;
	return false;
}

static void pins_complain(struct tls_stream *stream, const X509 *leaf)
{
	char text[PIN_TEXT_BYTES] = "?";
	uint8_t digest[CONF_PIN_BYTES];

	if (leaf && pin_digest(leaf, digest))
		EVP_EncodeBlock((unsigned char *)text, digest, sizeof(digest));
	tls_stream_set_error(
	    stream, "certificate not accepted: its key is not pinned (it is sha256/%s)", text);
}

static int pins_on_verify(X509_STORE_CTX *store_ctx, void *argument UNUSED)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store_ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	const struct tls_pins *pins = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), pins_index);

	if (pins->verifies && X509_verify_cert(store_ctx) != 1)
		return 0;
	if (pins_have_any(pins, store_ctx))
		return 1;
	pins_complain(SSL_get_app_data(ssl), X509_STORE_CTX_get0_cert(store_ctx));
	X509_STORE_CTX_set_error(store_ctx, TLS_VERIFY_PIN);
	return 0;
}

int tls_pins_set(SSL_CTX *ssl_ctx, const struct conf_client_tls *conf)
{
	size_t size_bytes = conf->n_pins * sizeof(*conf->pins);
	struct tls_pins *pins;

	if (!conf->n_pins)
		return 0;
	pins = malloc(sizeof(*pins) + size_bytes);
	if (!pins)
		return -ENOMEM;
	pins->verifies = conf->verify;
	pins->n_digests = conf->n_pins;
	memcpy(pins->digests, conf->pins, size_bytes);
	if (SSL_CTX_set_ex_data(ssl_ctx, pins_index, pins) != 1) {
		free(pins);
		return -ENOMEM;
	}
	SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(ssl_ctx, pins_on_verify, NULL);
	return 0;
}
