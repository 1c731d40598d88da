/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets and keys: how they come out of a handshake, and what follows them. */
#ifndef PENSTOCK_TLS_TLS_KEYS_INTERNAL_H
#define PENSTOCK_TLS_TLS_KEYS_INTERNAL_H

#include <linux/tls.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "tls/tls_record.h"

/* Of the longest digest in a cipher suite, SHA-384. */
#define TLS_SECRET_MAX 48

/* The two directions of a connection, named as TLS names its secrets. */
enum tls_side { TLS_SIDE_CLIENT, TLS_SIDE_SERVER, TLS_SIDE_MAX };

/* What is gathered during a handshake so that others can take over. Wiped and freed after it.
 */
struct tls_secrets {
	struct {
		bool known;
		unsigned char
		    secret[TLS_SECRET_MAX]; /* TLS 1.3 traffic secret of what this side writes */
		size_t len_bytes;
		uint64_t records; /* seen since the secret came into use */
		struct tls_direction_keys keys; /* made of it by OpenSSL */
		size_t key_len; /* 0: the key was not seen */
		bool has_iv;
	} of[TLS_SIDE_MAX];
};

/* What the next keys of a TLS 1.3 connection are made from (RFC 8446, 7.2). Wiped when freed. */
struct tls_rekey {
	const EVP_MD *md;
	struct tls_record_form form;
	size_t len_bytes;
	unsigned char secret[TLS_SIDE_MAX][TLS_SECRET_MAX]; /* in use now */
};

struct tls_keys {
	const EVP_MD *md; /* of the key schedule */
	uint16_t version; /* TLS_1_2_VERSION, TLS_1_3_VERSION of linux/tls.h */
	uint16_t cipher; /* TLS_CIPHER_* of linux/tls.h */
	struct tls_direction_keys of[TLS_SIDE_MAX];
};

/* tls_keys.c */

int tls_keys_init(void) MUST_CHECK;

/* One TLS 1.3 direction (RFC 8446, 7.3). 0 or -errno. */
int tls_keys_expand_13(const EVP_MD *md, const unsigned char *secret, size_t secret_len,
		       size_t key_len, struct tls_direction_keys *ret_keys) MUST_CHECK;

/* The keys of a finished handshake. 0, -ENOTSUP (a cipher or version that neither the
 * kernel nor tls_record.c has), -errno. */
int tls_keys_derive(SSL *ssl, const struct tls_secrets *secrets,
		    struct tls_keys *ret_keys) MUST_CHECK;

/* The secret that follows one in use (RFC 8446, 7.2); `ret_next` may be the same memory. 0 or
 * -errno. */
int tls_keys_next_secret(const EVP_MD *md, const unsigned char *secret, size_t len_bytes,
			 unsigned char *ret_next) MUST_CHECK;

/* Key length of a TLS_CIPHER_*. */
size_t tls_keys_len(uint16_t cipher);

/* A secret comes into use: the records of its side are counted anew. */
void tls_keys_note_secret(struct tls_secrets *secrets, enum tls_side side,
			  const unsigned char *secret, size_t len_bytes);

/* Callbacks that fill the stream's secrets; the first where tls_kdf_watch() does not. */
void tls_keys_on_keylog(const SSL *ssl, const char *line);
void tls_keys_on_message(int is_write, int version, int content_type, const void *data,
			 size_t len_bytes, SSL *ssl, void *argument);

/* tls_kdf.c: secrets of TLS 1.3 derived with less work around it. init() comes after OpenSSL's own;
 * properties are those that an SSL_CTX takes it by, NULL where it cannot be used. */
void tls_kdf_init(void);
const char *tls_kdf_properties(void);

/* Makes another library context find them, too, where the process's does. 0 or -ENOMEM. */
int tls_kdf_add(OSSL_LIB_CTX *context) MUST_CHECK;
bool tls_kdf_is_ours(const OSSL_PROVIDER *provider);

/* Where the keys of handshakes that this thread drives are put; NULL: nowhere. */
void tls_kdf_watch(struct tls_secrets *secrets);

#endif
