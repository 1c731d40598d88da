/* SPDX-License-Identifier: Apache-2.0 */
#include <endian.h>

#include "http/h1_internal.h"

#define H1_ALNUM ['0' ... '9'] = true, ['a' ... 'z'] = true, ['A' ... 'Z'] = true

static const bool h1_token_chars[256] = {
    ['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true, ['&'] = true, ['\''] = true,
    ['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true, ['^'] = true, ['_'] = true,
    ['`'] = true, ['|'] = true, ['~'] = true, H1_ALNUM,
};

bool h1_is_token_char(char c)
{
	return h1_token_chars[(unsigned char)c];
}

const char *h1_skip_token(const char *p, const char *end)
{
	while (p < end && h1_token_chars[(unsigned char)*p])
		p++;
	return p;
}

bool h1_is_token(struct str text)
{
	return text.len > 0 && h1_skip_token(text.ptr, text.ptr + text.len) == text.ptr + text.len;
}

#define H1_BYTES(byte) (UINT64_C(0x0101010101010101) * (byte))

/* The top bit of the first byte below 0x20 or DEL is set; what lies above that bit is noise. */
static inline uint64_t h1_word_controls(uint64_t word)
{
	uint64_t del = word ^ H1_BYTES(0x7f);
	uint64_t below = (word - H1_BYTES(0x20)) & ~word;

	return (below | ((del - H1_BYTES(1)) & ~del)) & H1_BYTES(0x80);
}

static inline bool h1_is_control(char c)
{
	return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

const char *h1_find_control(const char *p, const char *end)
{
	while (end - p >= (ptrdiff_t)sizeof(uint64_t)) {
		uint64_t word, controls;

		memcpy(&word, p, sizeof(word));
		controls = h1_word_controls(htole64(word));
		if (!controls) {
			p += sizeof(word);
			continue;
		}
		p += __builtin_ctzll(controls) / 8;
		if (*p != '\t')
			return p;
		p++;
	}
	while (p < end && !h1_is_control(*p))
		p++;
	return p;
}

enum h1_progress h1_find_line_end(const char *p, const char *end, enum h1_fault control_fault,
				  const char **ret_cr, enum h1_fault *ret_fault)
{
	const char *cr = h1_find_control(p, end);

	if (cr == end || (*cr == '\r' && cr + 1 == end))
		return H1_NEED_MORE;
	if (*cr == '\r' && cr[1] == '\n') {
		*ret_cr = cr;
		return H1_DONE;
	}
	*ret_fault = *cr == '\r' || *cr == '\n' ? H1_FAULT_LINE_END : control_fault;
	return H1_REFUSED;
}

enum h1_fault h1_parse_version(struct str text, uint8_t *ret_minor)
{
	if (text.len != 8 || memcmp(text.ptr, "HTTP/", 5) != 0 || text.ptr[6] != '.' ||
	    text.ptr[5] < '0' || text.ptr[5] > '9' || text.ptr[7] < '0' || text.ptr[7] > '9')
		return H1_FAULT_VERSION;
	if (text.ptr[5] != '1')
		return H1_FAULT_VERSION_UNKNOWN;
	*ret_minor = text.ptr[7] != '0';
	return H1_FAULT_NONE;
}

bool h1_is_worth_parsing(const char *data, size_t len_bytes, size_t *scanned_bytes)
{
	size_t from = *scanned_bytes;
	const char *lf;

	/* A few bytes tell whether it can become HTTP at all. */
	if (from < 16 || len_bytes >= PENSTOCK_MAX_REQUEST_HEAD_BYTES) {
		*scanned_bytes = len_bytes;
		return true;
	}
	while (from < len_bytes && (lf = memchr(data + from, '\n', len_bytes - from))) {
		size_t at = (size_t)(lf - data);

		from = at + 1;
		if (data[at - 1] != '\r' || (data[at - 2] == '\n')) {
			*scanned_bytes = from;
			return true;
		}
	}
	*scanned_bytes = len_bytes;
	return false;
}
