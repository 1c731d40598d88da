/* SPDX-License-Identifier: Apache-2.0 */
/* See proxy_headers.h. */
#include "proxy_headers.h"

#include <stdlib.h>
#include <string.h>

enum proxy_verdict parse(const void *data, size_t len_bytes, struct proxy_header *ret_header)
{
	static uint8_t *copy; /* what strings of the header point into, until the next call */

	free(copy);
	copy = malloc(len_bytes + !len_bytes);
	assert_non_null(copy);
	memcpy(copy, data, len_bytes);
	memset(ret_header, 0xa5, sizeof(*ret_header));
	return proxy_protocol_parse(copy, len_bytes, ret_header);
}

void assert_addr(const struct addr *addr, const char *text)
{
	char buffer[ADDR_TEXT_MAX];

	assert_string_equal(addr_format(addr, buffer), text);
}

void assert_str(struct str got, const char *wanted)
{
	if (!str_is_equal(got, str_from(wanted)))
		fail_msg("\"" STR_FMT "\", wanted \"%s\"", STR_ARG(got), wanted);
}

void check_cuts(const void *data, size_t len_bytes)
{
	struct proxy_header header;
	uint8_t longer[PROXY_PROTOCOL_MAX_BYTES + 8];

	for (size_t cut = 0; cut < len_bytes; cut++)
		if (parse(data, cut, &header) != PROXY_NEED_MORE)
			fail_msg("verdict at %zu of %zu bytes", cut, len_bytes);
	assert_int_equal(parse(data, len_bytes, &header), PROXY_DONE);
	assert_int_equal(header.header_bytes, len_bytes);
	memcpy(longer, data, len_bytes);
	memcpy(longer + len_bytes, "\x16\x03\x01\r\nPQ", 8);
	assert_int_equal(parse(longer, len_bytes + 8, &header), PROXY_DONE);
	assert_int_equal(header.header_bytes, len_bytes);
}
