/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A certificate of any bytes that OpenSSL takes for one: what is kept of it has no control
 * characters, and keeps its bounds.
 */
#include <stdlib.h>
#include <string.h>

#include "tls/tls_peer_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_text(const char *text, bool is_ascii)
{
	check(strlen(text) <= TLS_IN_MAX);
	for (; *text; text++)
		check((unsigned char)*text >= ' ' && *text != 0x7f &&
		      (!is_ascii || (unsigned char)*text < 0x80));
}

static void check_peer(const struct tls_peer *peer, const X509 *leaf)
{
	unsigned char *der = NULL;
	int len = i2d_X509(leaf, &der);

	check_text(peer->subject, true);
	check_text(peer->issuer, true);
	check_text(peer->common_name, false);
	check_text(peer->issuer_name, false);
	check_text(peer->serial, true);
	check_text(peer->not_before, true);
	check_text(peer->not_after, true);
	check(strlen(peer->fingerprint) == 64);
	check(peer->n_sans <= 100);
	for (size_t i = 0; i < peer->n_sans; i++) {
		check(peer->sans[i].text[0]);
		check_text(peer->sans[i].text, true);
	}
	check(len > 0 && peer->der_bytes == (size_t)len &&
	      memcmp(peer->der, der, (size_t)len) == 0);
	OPENSSL_free(der);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	const unsigned char *at = data;
	X509 *leaf = len_bytes <= TLS_IN_MAX ? d2i_X509(NULL, &at, (long)len_bytes) : NULL;
	struct tls_peer *peer;

	if (!leaf)
		return 0;
	if (tls_peer_make(leaf, NULL, true, &peer) == 0) {
		check_peer(peer, leaf);
		tls_peer_free(peer);
	}
	X509_free(leaf);
	return 0;
}
