/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include "base/compiler.h"

#define STR_DISTANCE_MAX_LEN 63

size_t utf8_decode(struct str s, uint32_t *code)
{
	const unsigned char *c = (const unsigned char *)s.ptr;
	size_t len;

	if (s.len == 0)
		return 0;
	len = c[0] < 0x80   ? 1
	      : c[0] < 0xc2 ? 0
	      : c[0] < 0xe0 ? 2
	      : c[0] < 0xf0 ? 3
	      : c[0] < 0xf5 ? 4
			    : 0;
	if (len == 0 || len > s.len)
		return 0;
	*code = len == 1 ? c[0] : c[0] & (0x7fU >> len);
	for (size_t i = 1; i < len; i++) {
		if ((c[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (c[i] & 0x3f);
	}
	/* Written longer than needed, a surrogate, beyond the last. */
	if ((len == 3 && *code < 0x800) || (*code >= 0xd800 && *code < 0xe000) ||
	    (len == 4 && *code < 0x10000) || *code > 0x10ffff)
		return 0;
	return len;
}

size_t str_distance(struct str a, struct str b)
{
	size_t row[STR_DISTANCE_MAX_LEN + 1];

	if (a.len > STR_DISTANCE_MAX_LEN || b.len > STR_DISTANCE_MAX_LEN)
		return SIZE_MAX;
	for (size_t j = 0; j <= b.len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			size_t substitution = diagonal + (a.ptr[i - 1] != b.ptr[j - 1]);

			diagonal = row[j];
			row[j] = MIN(substitution, MIN(row[j - 1], diagonal) + 1);
		}
	}
	return row[b.len];
}
