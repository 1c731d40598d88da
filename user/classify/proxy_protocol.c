/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PROXY protocol header that came: a line of text (section 2.1 of the specification) or a binary
 * block (section 2.2). Stricter than most where a mistake would name a wrong client; what says
 * nothing of the addresses is skipped.
 */
#include "classify/proxy_protocol.h"

#include "classify/classify_internal.h"

/* ---- Version 1 ---- */

#define PROXY1_PREFIX "PROXY "
#define PROXY1_MAX_BYTES 107 /* CRLF included */

/* The next word of the line; each is followed by exactly one blank, but for the last. */
static struct str proxy1_word(struct str *line)
{
	const char *blank = line->len ? memchr(line->ptr, ' ', line->len) : NULL;
	struct str word = {line->ptr, blank ? (size_t)(blank - line->ptr) : line->len};
	size_t taken = word.len + (blank ? 1 : 0);

	/* A blank at the end leaves a word that is empty, and that nothing takes. */
	*line = (struct str){line->ptr + taken, line->len - taken};
	return word;
}

/* 0 to 65535, without leading zeros. */
static bool proxy1_read_port(struct str word, in_port_t *ret_port)
{
	uint32_t port = 0;

	if (word.len == 0 || word.len > 5 || (word.len > 1 && word.ptr[0] == '0'))
		return false;
	for (size_t i = 0; i < word.len; i++) {
		if (word.ptr[i] < '0' || word.ptr[i] > '9')
			return false;
		port = port * 10 + (uint32_t)(word.ptr[i] - '0');
	}
	if (port > UINT16_MAX)
		return false;
	*ret_port = htons((uint16_t)port);
	return true;
}

static bool proxy1_read_addr(sa_family_t family, struct str host, struct str port,
			     struct addr *ret_addr)
{
	struct addr addr;
	in_port_t number;

	if (addr_parse_host(host, &addr) || addr.sa.sa_family != family ||
	    !proxy1_read_port(port, &number))
		return false;
	if (family == AF_INET)
		addr.in.sin_port = number;
	else
		addr.in6.sin6_port = number;
	*ret_addr = addr;
	return true;
}

/* `line` is what stands between "PROXY " and CRLF. */
static bool proxy1_read_line(struct str line, struct proxy_header *header)
{
	struct str protocol = proxy1_word(&line), source, destination, source_port;
	sa_family_t family;

	if (str_is_equal(protocol, STR("UNKNOWN"))) { /* the rest is to be ignored */
		header->is_local = true;
		return true;
	}
	if (str_is_equal(protocol, STR("TCP4")))
		family = AF_INET;
	else if (str_is_equal(protocol, STR("TCP6")))
		family = AF_INET6;
	else
		return false;
	source = proxy1_word(&line);
	destination = proxy1_word(&line);
	source_port = proxy1_word(&line);
	return proxy1_read_addr(family, source, source_port, &header->source) &&
	       proxy1_read_addr(family, destination, line, &header->destination);
}

static enum proxy_verdict proxy1_parse(const char *data, size_t len_bytes,
				       struct proxy_header *header)
{
	size_t prefix_len = sizeof(PROXY1_PREFIX) - 1;
	size_t seen_len = MIN(len_bytes, (size_t)PROXY1_MAX_BYTES);
	const char *end = memchr(data, '\n', seen_len);

	if (!end)
		return seen_len == PROXY1_MAX_BYTES ? PROXY_MALFORMED : PROXY_NEED_MORE;
	if (end[-1] != '\r')
		return PROXY_MALFORMED;
	header->version = 1;
	header->header_bytes = (size_t)(end + 1 - data);
	if (!proxy1_read_line(
		(struct str){data + prefix_len, header->header_bytes - prefix_len - 2}, header))
		return PROXY_MALFORMED;
	return PROXY_DONE;
}

/* ---- Version 2 ---- */

uint32_t proxy_crc32c(uint32_t crc, const uint8_t *data, size_t len_bytes)
{
	/* By half bytes, of the reflected polynomial 0x82f63b78 (RFC 4960 appendix B). */
	static const uint32_t table[16] = {
	    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
	    0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
	    0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};

	for (size_t i = 0; i < len_bytes; i++) {
		crc ^= data[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return crc;
}

/* As over the whole header with zeros in place of the checksum. */
static bool proxy2_crc_is_right(const uint8_t *data, size_t header_bytes, const uint8_t *field)
{
	static const uint8_t zeros[PROXY2_CRC_BYTES];
	size_t before_bytes = (size_t)(field - data);
	uint32_t told = (uint32_t)field[0] << 24 | (uint32_t)field[1] << 16 |
			(uint32_t)field[2] << 8 | field[3];
	uint32_t crc = proxy_crc32c(~0u, data, before_bytes);

	crc = proxy_crc32c(crc, zeros, sizeof(zeros));
	crc = proxy_crc32c(crc, field + PROXY2_CRC_BYTES,
			   header_bytes - before_bytes - PROXY2_CRC_BYTES);
	return ~crc == told;
}

static void proxy2_read_inet(struct cursor *block, struct proxy_header *header)
{
	struct addr *source = &header->source, *destination = &header->destination;
	const uint8_t *bytes = cursor_take(block, 12);

	if (!bytes)
		return;
	source->len = destination->len = sizeof(source->in);
	source->in.sin_family = destination->in.sin_family = AF_INET;
	memcpy(&source->in.sin_addr, bytes, 4);
	memcpy(&destination->in.sin_addr, bytes + 4, 4);
	memcpy(&source->in.sin_port, bytes + 8, 2);
	memcpy(&destination->in.sin_port, bytes + 10, 2);
}

static void proxy2_read_inet6(struct cursor *block, struct proxy_header *header)
{
	struct addr *source = &header->source, *destination = &header->destination;
	const uint8_t *bytes = cursor_take(block, 36);

	if (!bytes)
		return;
	source->len = destination->len = sizeof(source->in6);
	source->in6.sin6_family = destination->in6.sin6_family = AF_INET6;
	memcpy(&source->in6.sin6_addr, bytes, 16);
	memcpy(&destination->in6.sin6_addr, bytes + 16, 16);
	memcpy(&source->in6.sin6_port, bytes + 32, 2);
	memcpy(&destination->in6.sin6_port, bytes + 34, 2);
}

/* Abstract names, and paths that fill the field to its end, are taken as unnamed: no text form of
 * ours could say them. */
static void proxy2_read_path(struct cursor *block, struct addr *addr)
{
	const char *path = (const char *)cursor_take(block, PROXY2_UNIX_PATH_BYTES);
	size_t len = path ? strnlen(path, PROXY2_UNIX_PATH_BYTES) : 0;

	if (len == PROXY2_UNIX_PATH_BYTES)
		len = 0;
	addr->un.sun_family = AF_UNIX;
	addr->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (len ? len + 1 : 0));
	if (len)
		memcpy(addr->un.sun_path, path, len);
}

/* False: no such family. Addresses of another transport than TCP's are skipped, as the
 * specification has it of what a receiver does not support. */
static bool proxy2_read_addresses(uint8_t family, uint8_t transport, struct cursor *block,
				  struct proxy_header *header)
{
	switch (family) {
	case PROXY2_FAMILY_INET:
		proxy2_read_inet(block, header);
		break;
	case PROXY2_FAMILY_INET6:
		proxy2_read_inet6(block, header);
		break;
	case PROXY2_FAMILY_UNIX:
		proxy2_read_path(block, &header->source);
		proxy2_read_path(block, &header->destination);
		break;
	default:
		return false;
	}
	if (transport != PROXY2_TRANSPORT_STREAM) {
		header->is_local = true;
		header->source.len = 0;
		header->destination.len = 0;
	}
	return transport <= PROXY2_TRANSPORT_DGRAM && !block->failed;
}

static struct str proxy2_str(struct cursor value)
{
	return (struct str){(const char *)value.at, value.left_bytes};
}

static bool proxy2_read_ssl(struct cursor value, struct proxy_header *header)
{
	header->is_tls = cursor_u8(&value) & PROXY2_CLIENT_SSL;
	cursor_take(&value, 4); /* about client certificates */
	while (value.left_bytes) {
		uint8_t type = cursor_u8(&value);
		struct cursor part = cursor_sub(&value, cursor_u16(&value));

		if (part.failed)
			return false;
		if (type == PROXY2_TLV_SSL_VERSION)
			header->tls_version = proxy2_str(part);
		else if (type == PROXY2_TLV_SSL_CIPHER)
			header->tls_cipher = proxy2_str(part);
	}
	return !value.failed;
}

/* `crc_field`: where the checksum stands; NULL: nowhere. */
static bool proxy2_read_tlvs(struct cursor block, struct proxy_header *header,
			     const uint8_t **crc_field)
{
	while (block.left_bytes) {
		uint8_t type = cursor_u8(&block);
		struct cursor value = cursor_sub(&block, cursor_u16(&block));

		if (value.failed)
			return false;
		switch (type) {
		case PROXY2_TLV_ALPN:
			header->alpn = proxy2_str(value);
			break;
		case PROXY2_TLV_AUTHORITY:
			header->authority = proxy2_str(value);
			break;
		case PROXY2_TLV_UNIQUE_ID:
			if (value.left_bytes > PROXY2_UNIQUE_ID_MAX_BYTES)
				return false;
			header->unique_id = proxy2_str(value);
			break;
		case PROXY2_TLV_SSL:
			if (!proxy2_read_ssl(value, header))
				return false;
			break;
		case PROXY2_TLV_CRC32C:
			if (value.left_bytes != PROXY2_CRC_BYTES || *crc_field)
				return false;
			*crc_field = value.at;
			break;
		default:
			break;
		}
	}
	return true;
}

static bool proxy2_read_block(const uint8_t *data, struct proxy_header *header)
{
	struct cursor block = {data + PROXY2_HEADER_BYTES,
			       header->header_bytes - PROXY2_HEADER_BYTES, false};
	const uint8_t *crc_field = NULL;
	uint8_t family = data[13] >> 4, transport = data[13] & 15;

	/* LOCAL: the block is to be ignored, the family included. Unspecified: how long the
	 * addresses are, and so where the TLVs begin, is not known. */
	if (data[12] == PROXY2_COMMAND_LOCAL || family == PROXY2_FAMILY_UNSPEC) {
		header->is_local = true;
		return data[12] == PROXY2_COMMAND_LOCAL || transport <= PROXY2_TRANSPORT_DGRAM;
	}
	return proxy2_read_addresses(family, transport, &block, header) &&
	       proxy2_read_tlvs(block, header, &crc_field) &&
	       (!crc_field || proxy2_crc_is_right(data, header->header_bytes, crc_field));
}

static enum proxy_verdict proxy2_parse(const uint8_t *data, size_t len_bytes,
				       struct proxy_header *header)
{
	if (len_bytes > 12 && data[12] != PROXY2_COMMAND_LOCAL && data[12] != PROXY2_COMMAND_PROXY)
		return PROXY_MALFORMED;
	if (len_bytes < PROXY2_HEADER_BYTES)
		return PROXY_NEED_MORE;
	header->version = 2;
	header->header_bytes = PROXY2_HEADER_BYTES + (size_t)(data[14] << 8 | data[15]);
	if (header->header_bytes > PROXY_PROTOCOL_MAX_BYTES)
		return PROXY_MALFORMED;
	if (len_bytes < header->header_bytes)
		return PROXY_NEED_MORE;
	return proxy2_read_block(data, header) ? PROXY_DONE : PROXY_MALFORMED;
}

/* ---- Either ---- */

/* Are these bytes the signature, as far as they go? */
static bool proxy_begins_with(const uint8_t *data, size_t len_bytes, const char *signature,
			      size_t signature_bytes)
{
	return memcmp(data, signature, MIN(len_bytes, signature_bytes)) == 0;
}

enum proxy_verdict proxy_protocol_parse(const uint8_t *data, size_t len_bytes,
					struct proxy_header *ret_header)
{
	struct proxy_header header = {.version = 0};
	enum proxy_verdict verdict = PROXY_ABSENT;

	if (len_bytes == 0)
		return PROXY_NEED_MORE;
	if (proxy_begins_with(data, len_bytes, PROXY2_SIGNATURE, PROXY2_SIGNATURE_BYTES))
		verdict = proxy2_parse(data, len_bytes, &header);
	else if (proxy_begins_with(data, len_bytes, PROXY1_PREFIX, sizeof(PROXY1_PREFIX) - 1))
		verdict = proxy1_parse((const char *)data, len_bytes, &header);
	if (verdict == PROXY_DONE)
		*ret_header = header;
	return verdict;
}
