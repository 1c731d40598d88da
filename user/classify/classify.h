/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the first bytes of a connection say, before anybody answered them. Pure: bytes in, verdict
 * out; nothing is kept between calls, the caller shows all bytes so far each time.
 */
#ifndef PENSTOCK_CLASSIFY_CLASSIFY_H
#define PENSTOCK_CLASSIFY_CLASSIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/str.h"

enum classify_verdict {
	CLASSIFY_NEED_MORE, /* a prefix of a ClientHello; show more */
	CLASSIFY_CLIENT_HELLO, /* a whole ClientHello */
	CLASSIFY_NOT_TLS, /* cannot become one */
	CLASSIFY_MALFORMED, /* TLS records, but the ClientHello breaks RFC 8446 or RFC 6066 */
	CLASSIFY_TOO_LARGE, /* larger than PENSTOCK_MAX_CLIENT_HELLO_BYTES */
};

#define CLASSIFY_NAME_MAX 256
#define CLASSIFY_ALPN_MAX 256

struct client_hello {
	char sni[CLASSIFY_NAME_MAX]; /* lower case, terminated, without trailing dot; "" where none
					was sent */
	uint8_t alpn[CLASSIFY_ALPN_MAX]; /* the ProtocolNameList as sent: length-prefixed names; cut
					    to whole names */
	size_t alpn_len_bytes;
	uint16_t
	    max_version; /* highest of supported_versions or legacy_version: 0x0304 is TLS 1.3 */
};

/* The ClientHello may be split over records anywhere (RFC 8446 section 5.1). `ret_hello` is set for
 * CLIENT_HELLO. */
enum classify_verdict classify_client_hello(const uint8_t *data, size_t len_bytes,
					    struct client_hello *ret_hello) MUST_CHECK;

/*
 * After CLASSIFY_NEED_MORE of these bytes: how many there must be, at least, before another look
 * can say more. Always larger than `len_bytes`.
 */
size_t classify_needed_bytes(const uint8_t *data, size_t len_bytes) MUST_CHECK;

/* PostgreSQL's SSLRequest: its clients ask so, in the clear, whether TLS may begin, up to version
 * 17 in any case. Said of whole ones alone. */
bool classify_is_ssl_request(const uint8_t *data, size_t len_bytes) MUST_CHECK;

#endif
