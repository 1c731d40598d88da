/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verdict on a part never contradicts the verdict on more of it; what was told is written in
 * both versions and read back as the same.
 */
#include <stdlib.h>

#include "classify/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_inside(struct str text, const uint8_t *data, size_t header_bytes)
{
	check(text.len == 0 || (text.ptr >= (const char *)data &&
				text.ptr + text.len <= (const char *)data + header_bytes));
}

static void check_header(const struct proxy_header *header, const uint8_t *data, size_t len_bytes)
{
	char text[ADDR_TEXT_MAX];

	check(header->version == 1 || header->version == 2);
	check(header->header_bytes <= len_bytes &&
	      header->header_bytes <= PROXY_PROTOCOL_MAX_BYTES);
	check(header->is_local == (header->source.len == 0));
	check(header->is_local == (header->destination.len == 0));
	check_inside(header->authority, data, header->header_bytes);
	check_inside(header->alpn, data, header->header_bytes);
	check_inside(header->unique_id, data, header->header_bytes);
	check_inside(header->tls_version, data, header->header_bytes);
	check_inside(header->tls_cipher, data, header->header_bytes);
	addr_format(&header->source, text);
	addr_format(&header->destination, text);
}

static void check_same_addr(const struct addr *told, const struct addr *read)
{
	char a[ADDR_TEXT_MAX], b[ADDR_TEXT_MAX];

	/* As text: IPv4-mapped addresses are written as IPv4. */
	check(strcmp(addr_format(told, a), addr_format(read, b)) == 0);
}

static struct str bounded(struct str text, size_t max)
{
	return text.len <= max ? text : (struct str){NULL, 0};
}

static void check_written(const struct proxy_header *told, uint8_t version)
{
	struct proxy_facts facts = {
	    .source = &told->source,
	    .destination = &told->destination,
	    .sni = bounded(told->authority, 255),
	    .alpn = bounded(told->alpn, 255),
	    .unique_id = told->unique_id,
	    .tls_version = told->is_tls ? "TLSv1.3" : NULL,
	    .is_local = told->is_local,
	};
	uint8_t data[PROXY_PROTOCOL_MAX_BYTES];
	struct proxy_header read;
	int len = proxy_protocol_write(version, &facts, data, sizeof(data));

	check(len > 0);
	check(proxy_protocol_parse(data, (size_t)len - 1, &read) == PROXY_NEED_MORE);
	check(proxy_protocol_parse(data, (size_t)len, &read) == PROXY_DONE);
	check(read.version == version && read.header_bytes == (size_t)len);
	if (read.is_local) /* one IPv4-mapped, the other not; or no way to say it in version 1 */
		return;
	check_same_addr(&told->source, &read.source);
	check_same_addr(&told->destination, &read.destination);
	if (version == 1)
		return;
	check(str_is_equal(read.authority, facts.sni) && str_is_equal(read.alpn, facts.alpn));
	check(str_is_equal(read.unique_id, facts.unique_id) && read.is_tls == told->is_tls);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct proxy_header header, part_header;
	enum proxy_verdict verdict = proxy_protocol_parse(data, len_bytes, &header);
	/* A place to cut that depends on the input, so that the fuzzer can move it. */
	size_t cut = len_bytes ? data[len_bytes - 1] * len_bytes / 256 : 0;
	enum proxy_verdict part = proxy_protocol_parse(data, cut, &part_header);

	check(part == PROXY_NEED_MORE || part == verdict);
	if (part == PROXY_DONE)
		check(part_header.header_bytes == header.header_bytes);
	if (verdict != PROXY_DONE)
		return 0;
	check_header(&header, data, len_bytes);
	check_written(&header, 1);
	check_written(&header, 2);
	return 0;
}
