/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client's certificate says, as texts that outlive the SSL object. Everything in it is the
 * client's word as far as its authority let it through: bounded, and never with control characters.
 * Does not verify.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "tls/tls_internal.h"
#include "tls/tls_peer_internal.h"

/* Longer lists are cut. */
#define PEER_SANS_MAX 100

/* Of one text; a longer one counts as none. */
#define PEER_TEXT_MAX 1024

/* What is kept of one certificate, made in the thread's buffer and then moved to memory of its
 * size. */
struct peer_box {
	struct tls_peer peer;
	char *data;
	size_t used_bytes;
	size_t size_bytes;
};

/* NULL: no room. */
static void *peer_alloc(struct peer_box *box, size_t len_bytes)
{
	size_t rounded = (len_bytes + 7) & ~(size_t)7;
	char *data = box->data + box->used_bytes;

	if (rounded < len_bytes || rounded > box->size_bytes - box->used_bytes)
		return NULL;
	box->used_bytes += rounded;
	return data;
}

static bool peer_is_clean(const unsigned char *text, size_t len_bytes)
{
	for (size_t i = 0; i < len_bytes; i++)
		if (text[i] < ' ' || text[i] == 0x7f)
			return false;
	return true;
}

static const char *peer_keep(struct peer_box *box, const char *text, size_t len_bytes)
{
	char *copy = peer_alloc(box, len_bytes + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text, len_bytes);
	copy[len_bytes] = 0;
	return copy;
}

/* "" for what is too long, or has a control character: a NUL would cut a name short elsewhere. */
static const char *peer_keep_clean(struct peer_box *box, const unsigned char *text, int len)
{
	if (len <= 0 || len > PEER_TEXT_MAX || !peer_is_clean(text, (size_t)len))
		return "";
	return peer_keep(box, (const char *)text, (size_t)len);
}

/* All of a name, in ASCII: the flags escape all else, and what could harm. NULL: no memory or room.
 */
static const char *peer_keep_name(struct peer_box *box, const X509_NAME *name)
{
	BIO *bio = BIO_new(BIO_s_mem());
	const char *kept = NULL;
	char *text;
	long len = 0;

	if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0)
		len = BIO_get_mem_data(bio, &text);
	if (bio)
		kept = len > 0 ? peer_keep(box, text, (size_t)MIN(len, 4L * PEER_TEXT_MAX)) : "";
	BIO_free(bio);
	return kept;
}

/* The last common name is the most specific. */
static const char *peer_keep_common_name(struct peer_box *box, const X509_NAME *name)
{
	int at = -1, last = -1;
	unsigned char *text = NULL;
	const char *kept;
	int len;

	while ((at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0)
		last = at;
	if (last < 0)
		return "";
	len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, last)));
	kept = peer_keep_clean(box, text, len);
	OPENSSL_free(text);
	return kept;
}

static const char *peer_keep_serial(struct peer_box *box, const X509 *leaf)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(leaf), NULL);
	char *digits = number ? BN_bn2hex(number) : NULL;
	const char *kept = digits ? peer_keep(box, digits, strlen(digits)) : NULL;

	OPENSSL_free(digits);
	BN_free(number);
	return kept;
}

static const char *peer_keep_time(struct peer_box *box, const ASN1_TIME *time)
{
	char text[32];
	struct tm tm;
	size_t len;

	if (ASN1_TIME_to_tm(time, &tm) != 1)
		return "";
	len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return peer_keep(box, text, len);
}

static const char *peer_keep_address(struct peer_box *box, const ASN1_OCTET_STRING *bytes)
{
	char text[ADDR_TEXT_MAX];
	int len = ASN1_STRING_length(bytes);
	struct addr addr = {.len = sizeof(addr.in), .in = {.sin_family = AF_INET}};

	if (len == 16)
		addr = (struct addr){.len = sizeof(addr.in6), .in6 = {.sin6_family = AF_INET6}};
	else if (len != 4)
		return "";
	memcpy(len == 4 ? (void *)&addr.in.sin_addr : (void *)&addr.in6.sin6_addr,
	       ASN1_STRING_get0_data(bytes), (size_t)len);
	addr_format_host(&addr, text);
	return peer_keep(box, text, strlen(text));
}

static bool peer_is_ascii(const ASN1_STRING *text)
{
	for (int i = 0; i < ASN1_STRING_length(text); i++)
		if (ASN1_STRING_get0_data(text)[i] >= 0x80)
			return false;
	return true;
}

/* Its text is "" where it is of no use, NULL without room. */
static struct tls_san peer_keep_san(struct peer_box *box, const GENERAL_NAME *name)
{
	struct tls_san san = {.text = ""};

	switch (name->type) {
	case GEN_DNS:
		san.kind = TLS_SAN_DNS;
		break;
	case GEN_EMAIL:
		san.kind = TLS_SAN_EMAIL;
		break;
	case GEN_URI:
		san.kind = TLS_SAN_URI;
		break;
	case GEN_IPADD:
		san.kind = TLS_SAN_IP;
		san.text = peer_keep_address(box, name->d.iPAddress);
		return san;
	default:
		return san;
	}
	if (peer_is_ascii(name->d.ia5))
		san.text = peer_keep_clean(box, ASN1_STRING_get0_data(name->d.ia5),
					   ASN1_STRING_length(name->d.ia5));
	return san;
}

static int peer_fill_sans(struct peer_box *box, const X509 *leaf)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	int n_names = MAX(sk_GENERAL_NAME_num(names), 0);
	size_t room = (size_t)MIN(n_names, PEER_SANS_MAX);
	struct tls_san *sans = room ? peer_alloc(box, room * sizeof(*sans)) : NULL;
	int err = room && !sans ? -E2BIG : 0;

	for (int i = 0; i < n_names && !err; i++) {
		struct tls_san san = peer_keep_san(box, sk_GENERAL_NAME_value(names, i));

		if (!san.text)
			err = -E2BIG;
		else if (san.text[0] && box->peer.n_sans == room)
			box->peer.has_more_sans = true;
		else if (san.text[0])
			sans[box->peer.n_sans++] = san;
		if (box->peer.has_more_sans)
			break;
	}
	GENERAL_NAMES_free(names);
	box->peer.sans = sans;
	return err;
}

static int peer_fill_fingerprint(struct tls_peer *peer, const X509 *leaf)
{
	unsigned char digest[32];

	if (X509_digest(leaf, EVP_sha256(), digest, NULL) != 1)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(peer->fingerprint + 2 * i, 3, "%02x", digest[i]);
	return 0;
}

static int peer_keep_der(struct peer_box *box, const X509 *certificate, struct tls_der *ret_der)
{
	unsigned char *der = NULL;
	int len = i2d_X509(certificate, &der);
	unsigned char *copy = len > 0 ? peer_alloc(box, (size_t)len) : NULL;

	if (copy) {
		memcpy(copy, der, (size_t)len);
		*ret_der = (struct tls_der){copy, (size_t)len};
	}
	OPENSSL_free(der);
	return copy ? 0 : -E2BIG;
}

static int peer_fill_der(struct peer_box *box, const X509 *leaf, const STACK_OF(X509) * chain)
{
	size_t n_above = (size_t)MAX(sk_X509_num(chain), 0);
	struct tls_der *above = n_above ? peer_alloc(box, n_above * sizeof(*above)) : NULL;
	struct tls_der own = {NULL, 0};
	int err = n_above && !above ? -E2BIG : peer_keep_der(box, leaf, &own);

	for (size_t i = 0; i < n_above && !err; i++)
		err = peer_keep_der(box, sk_X509_value(chain, (int)i), &above[i]);
	box->peer.der = own.der;
	box->peer.der_bytes = own.der_bytes;
	box->peer.above = above;
	box->peer.n_above = n_above;
	return err;
}

static int peer_fill(struct peer_box *box, const X509 *leaf)
{
	struct tls_peer *peer = &box->peer;

	peer->subject = peer_keep_name(box, X509_get_subject_name(leaf));
	peer->issuer = peer_keep_name(box, X509_get_issuer_name(leaf));
	peer->common_name = peer_keep_common_name(box, X509_get_subject_name(leaf));
	peer->issuer_name = peer_keep_common_name(box, X509_get_issuer_name(leaf));
	peer->serial = peer_keep_serial(box, leaf);
	peer->not_before = peer_keep_time(box, X509_get0_notBefore(leaf));
	peer->not_after = peer_keep_time(box, X509_get0_notAfter(leaf));
	if (!peer->subject || !peer->issuer || !peer->common_name || !peer->issuer_name ||
	    !peer->serial || !peer->not_before || !peer->not_after)
		return -E2BIG;
	return peer_fill_sans(box, leaf) ?: peer_fill_fingerprint(peer, leaf);
}

/* A pointer into the box, as it is in the copy of its data; others stay. */
static const void *peer_moved(const struct peer_box *box, const char *copy, const void *pointer)
{
	uintptr_t at = (uintptr_t)pointer - (uintptr_t)box->data;

	return pointer && at < box->used_bytes ? copy + at : pointer;
}

static struct tls_peer *peer_pack(struct peer_box *box)
{
	struct tls_peer *peer = malloc(sizeof(*peer) + box->used_bytes);
	struct tls_san *sans;
	struct tls_der *above;
	char *data;

	if (!peer)
		return NULL;
	data = (char *)(peer + 1);
	*peer = box->peer;
	memcpy(data, box->data, box->used_bytes);
	peer->subject = peer_moved(box, data, peer->subject);
	peer->issuer = peer_moved(box, data, peer->issuer);
	peer->common_name = peer_moved(box, data, peer->common_name);
	peer->issuer_name = peer_moved(box, data, peer->issuer_name);
	peer->serial = peer_moved(box, data, peer->serial);
	peer->not_before = peer_moved(box, data, peer->not_before);
	peer->not_after = peer_moved(box, data, peer->not_after);
	peer->der = peer_moved(box, data, peer->der);
	peer->sans = sans = (struct tls_san *)peer_moved(box, data, peer->sans);
	for (size_t i = 0; i < peer->n_sans; i++)
		sans[i].text = peer_moved(box, data, sans[i].text);
	peer->above = above = (struct tls_der *)peer_moved(box, data, peer->above);
	for (size_t i = 0; i < peer->n_above; i++)
		above[i].der = peer_moved(box, data, above[i].der);
	return peer;
}

int tls_peer_make(const X509 *leaf, const STACK_OF(X509) * above, bool wants_der,
		  struct tls_peer **ret_peer)
{
	struct peer_box box = {.data = tls_thread_in(), .size_bytes = TLS_IN_MAX};
	int err = peer_fill(&box, leaf);

	if (!err && wants_der)
		err = peer_fill_der(&box, leaf, above);
	ERR_clear_error();
	if (err)
		return err;
	*ret_peer = peer_pack(&box);
	return *ret_peer ? 0 : -ENOMEM;
}

int tls_peer_new(SSL *ssl, bool wants_der, struct tls_peer **ret_peer)
{
	bool is_resumed = SSL_session_reused(ssl) == 1;
	/* OpenSSL's list of a server is without the leaf. */
	int err =
	    tls_peer_make(SSL_get0_peer_certificate(ssl),
			  is_resumed ? NULL : SSL_get_peer_cert_chain(ssl), wants_der, ret_peer);

	if (!err)
		(*ret_peer)->is_resumed = is_resumed;
	return err;
}

void tls_peer_free(struct tls_peer *peer)
{
	free(peer);
}
