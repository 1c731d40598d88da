/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PROXY protocol, versions 1 and 2 (HAProxy's specification of 2020): who the client is, said by a
 * proxy in front of us or by us to an origin. Pure.
 */
#ifndef PENSTOCK_CLASSIFY_PROXY_PROTOCOL_H
#define PENSTOCK_CLASSIFY_PROXY_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/compiler.h"
#include "base/str.h"

/* A header is never longer than this, TLVs included; longer ones are malformed. */
#define PROXY_PROTOCOL_MAX_BYTES 4096

enum proxy_verdict {
	PROXY_NEED_MORE, /* a prefix of a header; show more */
	PROXY_DONE,
	PROXY_ABSENT, /* cannot become one */
	PROXY_MALFORMED, /* begins as one and breaks its rules */
};

/* Strings point into the data; "" where not told. */
struct proxy_header {
	uint8_t version; /* 1 or 2 */
	bool is_local; /* LOCAL, UNKNOWN, or no TCP: the connection speaks for itself */
	struct addr source; /* len 0 where not told, that is: where is_local */
	struct addr destination;
	struct str authority; /* PP2_TYPE_AUTHORITY: the SNI */
	struct str alpn;
	struct str unique_id;
	bool is_tls; /* the client spoke TLS with the sender */
	struct str tls_version;
	struct str tls_cipher;
	size_t header_bytes; /* to be consumed */
};

/* All bytes so far each time; CRC32C is checked where it is there. `ret_header` is set for DONE. */
enum proxy_verdict proxy_protocol_parse(const uint8_t *data, size_t len_bytes,
					struct proxy_header *ret_header) MUST_CHECK;

struct proxy_facts {
	const struct addr *source; /* NULL or len 0: not known */
	const struct addr *destination;
	struct str sni; /* "" where none */
	struct str alpn; /* one name; "" where none */
	struct str unique_id;
	const char *tls_version; /* NULL: no TLS was ended here */
	const char *tls_cipher;
	bool has_certificate; /* the client has shown one, and it was verified */
	bool is_certificate_of_session; /* in an earlier connection of the TLS session */
	struct str certificate_name; /* its common name; "" where none */
	bool is_local; /* health checks: LOCAL, no addresses */
};

/*
 * Writes a header; its length, or -ENOSPC. Version 1 has no TLVs. Addresses that the version cannot
 * say, or that are not of one family, are UNKNOWN (1) or unspecified (2); IPv4-mapped IPv6
 * addresses are said as IPv4. A field that is longer than its TLV may be is left out.
 */
int proxy_protocol_write(uint8_t version, const struct proxy_facts *facts, uint8_t *data,
			 size_t size_bytes) MUST_CHECK;

#endif
