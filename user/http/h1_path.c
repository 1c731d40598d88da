/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_internal.h"

static int h1_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 3986 section 2.3. */
static bool h1_is_unreserved(int c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

bool h1_path_is_normal(struct str path)
{
	for (size_t i = 0; i < path.len; i++) {
		if (path.ptr[i] == '%')
			return false;
		if (path.ptr[i] == '/' && i + 1 < path.len &&
		    (path.ptr[i + 1] == '/' || path.ptr[i + 1] == '.'))
			return false;
	}
	return true;
}

/* Decodes what means the same decoded. */
static enum h1_fault h1_path_decode(struct str path, char *buffer, size_t *ret_len)
{
	size_t len = 0;

	for (size_t i = 0; i < path.len; i++) {
		int high, low, c;

		if (path.ptr[i] != '%') {
			buffer[len++] = path.ptr[i];
			continue;
		}
		high = i + 2 < path.len ? h1_hex_digit(path.ptr[i + 1]) : -1;
		low = i + 2 < path.len ? h1_hex_digit(path.ptr[i + 2]) : -1;
		c = high * 16 + low;
		if (high < 0 || low < 0 || c < 0x20 || c == 0x7f)
			return H1_FAULT_PATH;
		if (h1_is_unreserved(c)) {
			buffer[len++] = (char)c;
		} else {
			memcpy(buffer + len, path.ptr + i, 3);
			len += 3;
		}
		i += 2;
	}
	*ret_len = len;
	return H1_FAULT_NONE;
}

/* Back over the last segment and its "/"; false where there is none. */
static bool h1_path_climb(const char *buffer, size_t *len)
{
	if (*len == 0)
		return false;
	while (buffer[--*len] != '/')
		;
	return true;
}

/* RFC 3986 section 5.2.4 in place, and empty segments are dropped. `buffer` begins with "/". */
static enum h1_fault h1_path_resolve(char *buffer, size_t len, size_t *ret_len)
{
	size_t to = 0, from = 0;

	while (from < len) {
		size_t end = from + 1, segment;
		bool is_last;

		while (end < len && buffer[end] != '/')
			end++;
		segment = end - from - 1;
		is_last = end == len;
		if (segment == 2 && buffer[from + 1] == '.' && buffer[from + 2] == '.') {
			if (!h1_path_climb(buffer, &to))
				return H1_FAULT_PATH;
		} else if (segment && !(segment == 1 && buffer[from + 1] == '.')) {
			memmove(buffer + to, buffer + from, segment + 1);
			to += segment + 1;
			is_last = false;
		}
		if (is_last)
			buffer[to++] = '/'; /* "/a/", "/a/." and "/a/b/.." all end in "/" */
		from = end;
	}
	*ret_len = to;
	return H1_FAULT_NONE;
}

enum h1_fault h1_path_normalise(struct str path, char *buffer, struct str *ret_path)
{
	enum h1_fault fault;
	size_t len;

	if (path.len == 0 || *path.ptr != '/') { /* "http://host", "*" */
		*ret_path = STR("/");
		return H1_FAULT_NONE;
	}
	if (h1_path_is_normal(path)) {
		*ret_path = path;
		return H1_FAULT_NONE;
	}
	fault = h1_path_decode(path, buffer, &len);
	if (!fault)
		fault = h1_path_resolve(buffer, len, &len);
	if (!fault)
		*ret_path = (struct str){buffer, len};
	return fault;
}
