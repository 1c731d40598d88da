/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside classify/. */
#ifndef PENSTOCK_CLASSIFY_INTERNAL_H
#define PENSTOCK_CLASSIFY_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A cursor: each read checks the bounds, and after one that failed all others fail too, yielding
 * zeros. So a parser may read on and look at `failed` once.
 */
struct cursor {
	const uint8_t *at;
	size_t left_bytes;
	bool failed;
};

static inline const uint8_t *cursor_take(struct cursor *cursor, size_t len_bytes)
{
	const uint8_t *taken = cursor->at;

	if (cursor->failed || len_bytes > cursor->left_bytes) {
		cursor->failed = true;
		cursor->left_bytes = 0;
		return NULL;
	}
	cursor->at += len_bytes;
	cursor->left_bytes -= len_bytes;
	return taken;
}

static inline uint8_t cursor_u8(struct cursor *cursor)
{
	const uint8_t *taken = cursor_take(cursor, 1);

	return taken ? taken[0] : 0;
}

static inline uint16_t cursor_u16(struct cursor *cursor)
{
	const uint8_t *taken = cursor_take(cursor, 2);

	if (!taken)
		return 0;
	return (uint16_t)(taken[0] << 8 | taken[1]);
}

/* What the next `len_bytes` hold, as a cursor of their own. */
static inline struct cursor cursor_sub(struct cursor *cursor, size_t len_bytes)
{
	const uint8_t *taken = cursor_take(cursor, len_bytes);

	return (struct cursor){.at = taken, .left_bytes = taken ? len_bytes : 0, .failed = !taken};
}

/* ---- The wire format of PROXY protocol, version 2 ---- */

#define PROXY2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define PROXY2_SIGNATURE_BYTES 12
#define PROXY2_HEADER_BYTES 16 /* up to the addresses */
#define PROXY2_UNIX_PATH_BYTES 108
#define PROXY2_UNIQUE_ID_MAX_BYTES 128
#define PROXY2_TLV_HEADER_BYTES 3
#define PROXY2_CRC_BYTES 4

enum {
	PROXY2_COMMAND_LOCAL = 0x20, /* with the version in the high nibble */
	PROXY2_COMMAND_PROXY = 0x21,
};

enum {
	PROXY2_FAMILY_UNSPEC = 0,
	PROXY2_FAMILY_INET = 1,
	PROXY2_FAMILY_INET6 = 2,
	PROXY2_FAMILY_UNIX = 3,
};

enum { PROXY2_TRANSPORT_UNSPEC = 0, PROXY2_TRANSPORT_STREAM = 1, PROXY2_TRANSPORT_DGRAM = 2 };

enum {
	PROXY2_TLV_ALPN = 0x01,
	PROXY2_TLV_AUTHORITY = 0x02,
	PROXY2_TLV_CRC32C = 0x03,
	PROXY2_TLV_UNIQUE_ID = 0x05,
	PROXY2_TLV_SSL = 0x20,
	PROXY2_TLV_SSL_VERSION = 0x21,
	PROXY2_TLV_SSL_CN = 0x22,
	PROXY2_TLV_SSL_CIPHER = 0x23,
};

#define PROXY2_CLIENT_SSL 0x01 /* the client spoke TLS with the sender */
#define PROXY2_CLIENT_CERT_CONN 0x02 /* and showed a certificate on this connection */
#define PROXY2_CLIENT_CERT_SESS 0x04 /* and showed one in this TLS session */

/* Goes on from `crc`, which begins as ~0; the result is to be inverted. */
uint32_t proxy_crc32c(uint32_t crc, const uint8_t *data, size_t len_bytes);

#endif
