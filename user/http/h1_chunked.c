/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_internal.h"

#define H1_SIZE_DIGITS_MAX 15 /* less than INT64_MAX */
#define H1_EXTENSION_BYTES_MAX 4096 /* of a whole body: they carry nothing that anybody reads */
#define H1_TRAILER_BYTES_MAX 8192

enum h1_chunked_state {
	H1_CHUNK_SIZE, /* zero: where a body begins */
	H1_CHUNK_EXTENSION,
	H1_CHUNK_SIZE_LF,
	H1_CHUNK_DATA,
	H1_CHUNK_DATA_CR,
	H1_CHUNK_DATA_LF,
	H1_CHUNK_TRAILER_START,
	H1_CHUNK_TRAILER_NAME,
	H1_CHUNK_TRAILER_VALUE,
	H1_CHUNK_TRAILER_LF,
	H1_CHUNK_END_LF,
	H1_CHUNK_DONE,
};

static int h1_chunk_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum h1_fault h1_chunk_size(struct h1_chunked *chunked, char c)
{
	int digit = h1_chunk_digit(c);

	if (digit >= 0) {
		if (++chunked->size_digits > H1_SIZE_DIGITS_MAX)
			return H1_FAULT_CHUNK_SIZE;
		chunked->left_bytes = chunked->left_bytes << 4 | (unsigned int)digit;
		return H1_FAULT_NONE;
	}
	if (chunked->size_digits == 0)
		return H1_FAULT_CHUNK_SIZE;
	if (c == '\r')
		chunked->state = H1_CHUNK_SIZE_LF;
	else if (c == ';')
		chunked->state = H1_CHUNK_EXTENSION;
	else
		return H1_FAULT_CHUNK_SIZE;
	return H1_FAULT_NONE;
}

static enum h1_fault h1_chunk_extension(struct h1_chunked *chunked, char c)
{
	if (c == '\r') {
		chunked->state = H1_CHUNK_SIZE_LF;
		return H1_FAULT_NONE;
	}
	if (((unsigned char)c < 0x20 && c != '\t') || c == 0x7f ||
	    ++chunked->extension_bytes > H1_EXTENSION_BYTES_MAX)
		return H1_FAULT_CHUNK_EXTENSION;
	return H1_FAULT_NONE;
}

static enum h1_fault h1_chunk_lf(struct h1_chunked *chunked, char c, uint8_t next,
				 enum h1_fault fault)
{
	if (c != '\n')
		return fault;
	chunked->state = next;
	return H1_FAULT_NONE;
}

static enum h1_fault h1_chunk_trailer(struct h1_chunked *chunked, char c)
{
	if (++chunked->trailer_bytes > H1_TRAILER_BYTES_MAX)
		return H1_FAULT_TRAILER;
	switch (chunked->state) {
	case H1_CHUNK_TRAILER_START:
		chunked->state = c == '\r' ? H1_CHUNK_END_LF : H1_CHUNK_TRAILER_NAME;
		return c == '\r' || h1_is_token_char(c) ? H1_FAULT_NONE : H1_FAULT_TRAILER;
	case H1_CHUNK_TRAILER_NAME:
		if (c == ':')
			chunked->state = H1_CHUNK_TRAILER_VALUE;
		return c == ':' || h1_is_token_char(c) ? H1_FAULT_NONE : H1_FAULT_TRAILER;
	case H1_CHUNK_TRAILER_VALUE:
		if (c == '\r')
			chunked->state = H1_CHUNK_TRAILER_LF;
		else if (((unsigned char)c < 0x20 && c != '\t') || c == 0x7f)
			return H1_FAULT_TRAILER;
		return H1_FAULT_NONE;
	case H1_CHUNK_TRAILER_LF:
		return h1_chunk_lf(chunked, c, H1_CHUNK_TRAILER_START, H1_FAULT_TRAILER);
	default:
		return h1_chunk_lf(chunked, c, H1_CHUNK_DONE, H1_FAULT_TRAILER);
	}
}

/* One byte that is not payload. */
static enum h1_fault h1_chunk_byte(struct h1_chunked *chunked, char c)
{
	switch (chunked->state) {
	case H1_CHUNK_SIZE:
		return h1_chunk_size(chunked, c);
	case H1_CHUNK_EXTENSION:
		return h1_chunk_extension(chunked, c);
	case H1_CHUNK_SIZE_LF:
		chunked->size_digits = 0;
		return h1_chunk_lf(chunked, c,
				   chunked->left_bytes ? H1_CHUNK_DATA : H1_CHUNK_TRAILER_START,
				   H1_FAULT_CHUNK_SIZE);
	case H1_CHUNK_DATA_CR:
		chunked->state = H1_CHUNK_DATA_LF;
		return c == '\r' ? H1_FAULT_NONE : H1_FAULT_CHUNK_END;
	case H1_CHUNK_DATA_LF:
		return h1_chunk_lf(chunked, c, H1_CHUNK_SIZE, H1_FAULT_CHUNK_END);
	default:
		return h1_chunk_trailer(chunked, c);
	}
}

/* Payload at data[at]: it joins what was found before it. */
static size_t h1_chunk_take_data(struct h1_chunked *chunked, char *data, size_t at,
				 size_t len_bytes, struct str *payload)
{
	size_t n = (size_t)MIN((uint64_t)(len_bytes - at), chunked->left_bytes);
	char *to = data + (payload->len ? (size_t)(payload->ptr - data) + payload->len : at);

	if (payload->len == 0)
		payload->ptr = to;
	if (to != data + at)
		memmove(to, data + at, n);
	payload->len += n;
	chunked->left_bytes -= n;
	if (chunked->left_bytes == 0)
		chunked->state = H1_CHUNK_DATA_CR;
	return n;
}

enum h1_progress h1_chunked_decode(struct h1_chunked *chunked, char *data, size_t len_bytes,
				   struct str *ret_payload, size_t *ret_taken_bytes,
				   enum h1_fault *ret_fault)
{
	size_t at = 0;

	*ret_payload = (struct str){data, 0};
	while (at < len_bytes && chunked->state != H1_CHUNK_DONE) {
		if (chunked->state == H1_CHUNK_DATA) {
			at += h1_chunk_take_data(chunked, data, at, len_bytes, ret_payload);
			continue;
		}
		*ret_fault = h1_chunk_byte(chunked, data[at]);
		if (*ret_fault)
			return H1_REFUSED;
		at++;
	}
	*ret_taken_bytes = at;
	return chunked->state == H1_CHUNK_DONE ? H1_DONE : H1_NEED_MORE;
}
