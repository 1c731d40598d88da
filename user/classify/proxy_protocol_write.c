/* SPDX-License-Identifier: Apache-2.0 */
/* A PROXY protocol header as we send it: the counterpart of proxy_protocol.c. */
#include "classify/proxy_protocol.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "classify/classify_internal.h"

/* The two addresses as they are told; family 0: not at all. */
struct proxy_ends {
	sa_family_t family;
	struct addr source;
	struct addr destination;
};

static struct addr proxy_unmap(const struct addr *addr)
{
	struct addr plain = {.in = {.sin_family = AF_INET}};

	if (addr->sa.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&addr->in6.sin6_addr))
		return *addr;
	memcpy(&plain.in.sin_addr, &addr->in6.sin6_addr.s6_addr[12], 4);
	plain.in.sin_port = addr->in6.sin6_port;
	plain.len = sizeof(plain.in);
	return plain;
}

static struct proxy_ends proxy_ends_of(const struct proxy_facts *facts)
{
	struct proxy_ends ends = {.family = AF_UNSPEC};

	if (facts->is_local || !facts->source || !facts->destination || facts->source->len == 0 ||
	    facts->destination->len == 0)
		return ends;
	ends.source = proxy_unmap(facts->source);
	ends.destination = proxy_unmap(facts->destination);
	if (ends.source.sa.sa_family == ends.destination.sa.sa_family)
		ends.family = ends.source.sa.sa_family;
	return ends;
}

/* ---- Version 1 ---- */

static int proxy1_write(const struct proxy_ends *ends, uint8_t *data, size_t size_bytes)
{
	char source[ADDR_TEXT_MAX], destination[ADDR_TEXT_MAX], line[2 * ADDR_TEXT_MAX + 32];
	int len;

	if (ends->family == AF_INET || ends->family == AF_INET6)
		len = snprintf(line, sizeof(line), "PROXY %s %s %s %u %u\r\n",
			       ends->family == AF_INET ? "TCP4" : "TCP6",
			       addr_format_host(&ends->source, source),
			       addr_format_host(&ends->destination, destination),
			       addr_port(&ends->source), addr_port(&ends->destination));
	else
		len = snprintf(line, sizeof(line), "PROXY UNKNOWN\r\n");
	if ((size_t)len > size_bytes)
		return -ENOSPC;
	memcpy(data, line, (size_t)len);
	return len;
}

/* ---- Version 2 ---- */

/* Where the next byte goes. What does not fit is not written, and nothing after it. */
struct proxy_writer {
	uint8_t *data;
	size_t len_bytes;
	size_t size_bytes;
	bool is_full;
};

static void proxy_put(struct proxy_writer *writer, const void *bytes, size_t len_bytes)
{
	if (writer->is_full || len_bytes > writer->size_bytes - writer->len_bytes) {
		writer->is_full = true;
		return;
	}
	if (len_bytes)
		memcpy(writer->data + writer->len_bytes, bytes, len_bytes);
	writer->len_bytes += len_bytes;
}

static void proxy_put_u8(struct proxy_writer *writer, uint8_t value)
{
	proxy_put(writer, &value, sizeof(value));
}

static void proxy_put_u16(struct proxy_writer *writer, size_t value)
{
	uint16_t wire = htons((uint16_t)value);

	proxy_put(writer, &wire, sizeof(wire));
}

/* Left out where empty, or longer than `max_bytes`. */
static void proxy_put_tlv(struct proxy_writer *writer, uint8_t type, struct str value,
			  size_t max_bytes)
{
	if (value.len == 0 || value.len > max_bytes)
		return;
	proxy_put_u8(writer, type);
	proxy_put_u16(writer, value.len);
	proxy_put(writer, value.ptr, value.len);
}

static void proxy_put_path(struct proxy_writer *writer, const struct addr *addr)
{
	char field[PROXY2_UNIX_PATH_BYTES] = {0};
	size_t len = (size_t)addr->len - offsetof(struct sockaddr_un, sun_path);

	if (addr->len > offsetof(struct sockaddr_un, sun_path))
		memcpy(field, addr->un.sun_path, MIN(len, sizeof(field)));
	proxy_put(writer, field, sizeof(field));
}

static uint8_t proxy2_family_byte(sa_family_t family)
{
	switch (family) {
	case AF_INET:
		return PROXY2_FAMILY_INET << 4 | PROXY2_TRANSPORT_STREAM;
	case AF_INET6:
		return PROXY2_FAMILY_INET6 << 4 | PROXY2_TRANSPORT_STREAM;
	case AF_UNIX:
		return PROXY2_FAMILY_UNIX << 4 | PROXY2_TRANSPORT_STREAM;
	default:
		return PROXY2_FAMILY_UNSPEC << 4 | PROXY2_TRANSPORT_UNSPEC;
	}
}

static void proxy2_put_addresses(struct proxy_writer *writer, const struct proxy_ends *ends)
{
	switch (ends->family) {
	case AF_INET:
		proxy_put(writer, &ends->source.in.sin_addr, 4);
		proxy_put(writer, &ends->destination.in.sin_addr, 4);
		proxy_put(writer, &ends->source.in.sin_port, 2);
		proxy_put(writer, &ends->destination.in.sin_port, 2);
		break;
	case AF_INET6:
		proxy_put(writer, &ends->source.in6.sin6_addr, 16);
		proxy_put(writer, &ends->destination.in6.sin6_addr, 16);
		proxy_put(writer, &ends->source.in6.sin6_port, 2);
		proxy_put(writer, &ends->destination.in6.sin6_port, 2);
		break;
	case AF_UNIX:
		proxy_put_path(writer, &ends->source);
		proxy_put_path(writer, &ends->destination);
		break;
	default:
		break;
	}
}

static uint8_t proxy2_client_byte(const struct proxy_facts *facts)
{
	if (!facts->has_certificate)
		return PROXY2_CLIENT_SSL;
	return PROXY2_CLIENT_SSL | PROXY2_CLIENT_CERT_SESS |
	       (facts->is_certificate_of_session ? 0 : PROXY2_CLIENT_CERT_CONN);
}

static size_t proxy2_tlv_bytes(struct str value)
{
	return value.len ? PROXY2_TLV_HEADER_BYTES + value.len : 0;
}

static void proxy2_put_ssl(struct proxy_writer *writer, const struct proxy_facts *facts)
{
	struct str version = str_from(facts->tls_version), cipher = str_from(facts->tls_cipher);
	struct str name =
	    facts->certificate_name.len <= UINT8_MAX ? facts->certificate_name : STR("");
	/* 0: a client certificate was verified. */
	const uint8_t verify[4] = {0, 0, 0, facts->has_certificate ? 0 : 1};

	if (!facts->tls_version)
		return;
	proxy_put_u8(writer, PROXY2_TLV_SSL);
	proxy_put_u16(writer, 1 + sizeof(verify) + PROXY2_TLV_HEADER_BYTES + version.len +
				  proxy2_tlv_bytes(cipher) + proxy2_tlv_bytes(name));
	proxy_put_u8(writer, proxy2_client_byte(facts));
	proxy_put(writer, verify, sizeof(verify));
	proxy_put_u8(writer, PROXY2_TLV_SSL_VERSION);
	proxy_put_u16(writer, version.len);
	proxy_put(writer, version.ptr, version.len);
	proxy_put_tlv(writer, PROXY2_TLV_SSL_CIPHER, cipher, UINT16_MAX);
	proxy_put_tlv(writer, PROXY2_TLV_SSL_CN, name, UINT8_MAX);
}

static void proxy2_put_tlvs(struct proxy_writer *writer, const struct proxy_facts *facts)
{
	static const uint8_t no_crc[PROXY2_CRC_BYTES];

	proxy_put_tlv(writer, PROXY2_TLV_ALPN, facts->alpn, UINT8_MAX);
	proxy_put_tlv(writer, PROXY2_TLV_AUTHORITY, facts->sni, UINT8_MAX);
	proxy_put_tlv(writer, PROXY2_TLV_UNIQUE_ID, facts->unique_id, PROXY2_UNIQUE_ID_MAX_BYTES);
	proxy2_put_ssl(writer, facts);
	/* Last, so that its place is known. */
	proxy_put_u8(writer, PROXY2_TLV_CRC32C);
	proxy_put_u16(writer, PROXY2_CRC_BYTES);
	proxy_put(writer, no_crc, sizeof(no_crc));
}

static int proxy2_write(const struct proxy_facts *facts, const struct proxy_ends *ends,
			uint8_t *data, size_t size_bytes)
{
	struct proxy_writer writer = {
	    .data = data, .size_bytes = MIN(size_bytes, (size_t)PROXY_PROTOCOL_MAX_BYTES)};
	uint16_t block_bytes;
	uint32_t crc;

	proxy_put(&writer, PROXY2_SIGNATURE, PROXY2_SIGNATURE_BYTES);
	proxy_put_u8(&writer, facts->is_local ? PROXY2_COMMAND_LOCAL : PROXY2_COMMAND_PROXY);
	proxy_put_u8(&writer, proxy2_family_byte(ends->family));
	proxy_put_u16(&writer, 0);
	if (!facts->is_local) {
		proxy2_put_addresses(&writer, ends);
		proxy2_put_tlvs(&writer, facts);
	}
	if (writer.is_full)
		return -ENOSPC;
	block_bytes = htons((uint16_t)(writer.len_bytes - PROXY2_HEADER_BYTES));
	memcpy(data + PROXY2_HEADER_BYTES - sizeof(block_bytes), &block_bytes, sizeof(block_bytes));
	if (!facts->is_local) {
		crc = htonl(~proxy_crc32c(~0u, data, writer.len_bytes));
		memcpy(data + writer.len_bytes - sizeof(crc), &crc, sizeof(crc));
	}
	return (int)writer.len_bytes;
}

int proxy_protocol_write(uint8_t version, const struct proxy_facts *facts, uint8_t *data,
			 size_t size_bytes)
{
	struct proxy_ends ends = proxy_ends_of(facts);

	return version == 1 ? proxy1_write(&ends, data, size_bytes)
			    : proxy2_write(facts, &ends, data, size_bytes);
}
