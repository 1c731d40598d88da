/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of TLS 1.2 and 1.3 with an AEAD cipher: from plain bytes to a record and back (RFC 8446,
 * 5.2; RFC 5246, 6.2.3.3; RFC 5288, 3; RFC 7905, 2). Pure but for the thread's cipher contexts:
 * bytes in, bytes out; no socket, no stream. The cipher itself is OpenSSL's.
 */
#ifndef PENSTOCK_TLS_TLS_RECORD_H
#define PENSTOCK_TLS_TLS_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/compiler.h"

/* Plain bytes of one record (RFC 8446, 5.1). */
#define TLS_RECORD_MAX 16384

#define TLS_RECORD_HEADER_BYTES 5
#define TLS_RECORD_TAG_BYTES 16
#define TLS_RECORD_NONCE_BYTES 8 /* the explicit part, TLS 1.2 with GCM */

/* Most that is added to the plain bytes by us: the nonce or the inner type is in it. */
#define TLS_RECORD_EXTRA_MAX \
	(TLS_RECORD_HEADER_BYTES + TLS_RECORD_NONCE_BYTES + TLS_RECORD_TAG_BYTES)

/* Most of a peer, behind the header: expansion by 256 bytes (RFC 8446, 5.2). TLS 1.2 allows more,
 * which no AEAD cipher uses. */
#define TLS_RECORD_BODY_MAX (TLS_RECORD_MAX + 256)

/* How records look, on both sides of a connection. */
struct tls_record_form {
	uint16_t version; /* TLS_1_2_VERSION, TLS_1_3_VERSION of linux/tls.h */
	uint16_t cipher; /* TLS_CIPHER_* of linux/tls.h */
};

/* One direction: all that the kernel wants, or these functions. */
struct tls_direction_keys {
	unsigned char key[32];
	unsigned char iv[12]; /* TLS 1.2 with GCM: only the 4 bytes of the salt */
	uint64_t next_record;
};

/* Bytes in parts, taken from the front. */
struct tls_source {
	const struct iovec *parts;
	int n_parts;
	size_t offset; /* in parts[0] */
};

size_t tls_source_len(const struct tls_source *source);

/* Takes at most `len_bytes` and copies them, or only passes over them where `to` is NULL. */
size_t tls_source_take(struct tls_source *source, void *to, size_t len_bytes);

/* Once, before threads. 0 or -ENOTSUP. */
int tls_record_init(void) MUST_CHECK;

/* Bytes on the wire of a record of `len_bytes`. */
size_t tls_record_size(struct tls_record_form form, size_t len_bytes);

/*
 * Makes a record of `type` from the next `len_bytes` of `source`, at most TLS_RECORD_MAX, at `to`,
 * where there is room for tls_record_size(). The number goes on. 0 or -errno (-EOVERFLOW: numbers
 * ran out).
 */
int tls_record_seal(struct tls_record_form form, struct tls_direction_keys *keys, uint8_t type,
		    struct tls_source *source, size_t len_bytes, unsigned char *to) MUST_CHECK;

/* Length of what follows the header; 0, or the alert (> 0) that the header deserves. */
int tls_record_look(struct tls_record_form form, const unsigned char *header,
		    size_t *ret_body_bytes) MUST_CHECK;

struct tls_record_text {
	uint8_t type;
	const unsigned char *data; /* where it was asked for, else within the record */
	size_t len_bytes;
};

/*
 * Opens a whole record, header and body, that tls_record_look() let pass. The text goes to `to`
 * where the room is enough, else it is made in place of the record; both are scribbled on in any
 * case. The number goes on. 0, an alert (> 0) that is to be sent, -errno.
 */
int tls_record_open(struct tls_record_form form, struct tls_direction_keys *keys,
		    unsigned char *record, size_t body_bytes, unsigned char *to, size_t room_bytes,
		    struct tls_record_text *ret_text) MUST_CHECK;

/* Wipes them, here and where this thread has them in use. */
void tls_record_forget(struct tls_record_form form, struct tls_direction_keys *keys);

#endif
