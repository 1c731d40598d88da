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

enum proxy_verdict { PROXY_NEED_MORE, PROXY_DONE, PROXY_ABSENT, PROXY_MALFORMED };

struct proxy_header {
	uint8_t version; /* 1 or 2 */
	bool is_local; /* LOCAL or UNKNOWN: the connection speaks for itself */
	struct addr source; /* len 0 where not told */
	struct addr destination;
	struct str authority; /* PP2_TYPE_AUTHORITY: the SNI; points into the data */
	struct str alpn;
	struct str unique_id;
	size_t header_bytes; /* to be consumed */
};

/* CRC32C is checked where it is there. `ret_header` is set for DONE. */
enum proxy_verdict proxy_protocol_parse(const uint8_t *data, size_t len_bytes,
					struct proxy_header *ret_header) MUST_CHECK;

struct proxy_facts {
	const struct addr *source;
	const struct addr *destination;
	struct str sni; /* "" where none */
	struct str alpn; /* one name; "" where none */
	struct str unique_id;
	const char *tls_version; /* NULL: no TLS was ended here */
	const char *tls_cipher;
	bool is_local; /* health checks: LOCAL, no addresses */
};

/* Writes a header; its length, or -ENOSPC. Version 1 has no TLVs; addresses it cannot say are
 * UNKNOWN. */
int proxy_protocol_write(uint8_t version, const struct proxy_facts *facts, uint8_t *data,
			 size_t size_bytes) MUST_CHECK;

#endif
