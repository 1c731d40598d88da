/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slice of bytes that somebody else owns: not terminated, may hold any byte. Pure.
 */
#ifndef PENSTOCK_BASE_STR_H
#define PENSTOCK_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *ptr;
	size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).len, (s).ptr

static inline struct str str_from(const char *text)
{
	return (struct str){text, text ? strlen(text) : 0};
}

static inline bool str_is_equal(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Equal but for the case of ASCII letters; other bytes are compared as they are. */
static inline bool str_is_equal_nocase(struct str a, struct str b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i]))
			return false;
	return true;
}

static inline bool str_starts_with(struct str s, struct str prefix)
{
	return s.len >= prefix.len &&
	       (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

/* Length in bytes of the UTF-8 sequence `s` starts with, and its code point; 0 where there is none
 * (RFC 3629). */
size_t utf8_decode(struct str s, uint32_t *code);

/* Levenshtein distance of two words, for "did you mean"; words longer than 63 bytes are SIZE_MAX
 * apart. */
size_t str_distance(struct str a, struct str b);

#endif
