/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ClientHello: out of its records (RFC 8446 section 5.1), then its structure (section 4.1.2)
 * and the extensions that routes look at. What a TLS stack would refuse later, but says nothing of
 * the way (ciphers, key shares), is left to that stack.
 */
#include "classify/classify.h"
#include "classify/classify_internal.h"
#include "penstock/limits.h"

#define TLS_RECORD_HEADER_BYTES 5
#define TLS_RECORD_MAX_BYTES 16384 /* of plaintext, RFC 8446 section 5.1 */
#define TLS_HANDSHAKE_HEADER_BYTES 4
#define TLS_CONTENT_HANDSHAKE 22
#define TLS_CLIENT_HELLO 1
#define TLS_RANDOM_BYTES 32
#define TLS_SESSION_ID_MAX_BYTES 32

enum {
	TLS_EXTENSION_SERVER_NAME = 0, /* RFC 6066 section 3 */
	TLS_EXTENSION_ALPN = 16, /* RFC 7301 section 3.1 */
	TLS_EXTENSION_SUPPORTED_VERSIONS = 43, /* RFC 8446 section 4.2.1 */
};

#define TLS_NAME_TYPE_HOST 0
#define DNS_NAME_MAX_LEN 253
#define TLS_VERSION_MAJOR 3

/* ---- Extensions: true, or not as the RFC has it ---- */

static bool hello_is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

static bool hello_read_host_name(struct cursor name, struct client_hello *hello)
{
	size_t len = name.left_bytes;

	if (len > 1 && name.at[len - 1] == '.')
		len--;
	if (len == 0 || len > DNS_NAME_MAX_LEN || hello->sni[0])
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = ascii_lower((char)name.at[i]);

		if (!hello_is_name_char(c) || (c == '.' && (i == 0 || hello->sni[i - 1] == '.')))
			return false;
		hello->sni[i] = c;
	}
	hello->sni[len] = 0;
	return hello->sni[len - 1] != '.';
}

static bool hello_read_server_name(struct cursor data, struct client_hello *hello)
{
	struct cursor list = cursor_sub(&data, cursor_u16(&data));

	if (list.failed || list.left_bytes == 0 || data.left_bytes)
		return false;
	while (list.left_bytes) {
		uint8_t type = cursor_u8(&list);
		struct cursor name = cursor_sub(&list, cursor_u16(&list)); /* of other types too */

		if (name.failed ||
		    (type == TLS_NAME_TYPE_HOST && !hello_read_host_name(name, hello)))
			return false;
	}
	return true;
}

static bool hello_read_alpn(struct cursor data, struct client_hello *hello)
{
	struct cursor list = cursor_sub(&data, cursor_u16(&data));
	bool is_cut = false;

	if (list.failed || list.left_bytes == 0 || data.left_bytes)
		return false;
	while (list.left_bytes) {
		const uint8_t *start = list.at;
		uint8_t len = cursor_u8(&list);

		if (len == 0 || !cursor_take(&list, len))
			return false;
		is_cut |= hello->alpn_len_bytes + len + 1u > sizeof(hello->alpn);
		if (is_cut)
			continue;
		memcpy(hello->alpn + hello->alpn_len_bytes, start, len + 1u);
		hello->alpn_len_bytes += len + 1u;
	}
	return true;
}

/* Values of RFC 8701 (GREASE) and drafts have another major version. */
static bool hello_read_versions(struct cursor data, struct client_hello *hello)
{
	struct cursor list = cursor_sub(&data, cursor_u8(&data));

	if (list.failed || list.left_bytes == 0 || list.left_bytes % 2 || data.left_bytes)
		return false;
	hello->max_version = 0;
	while (list.left_bytes) {
		uint16_t version = cursor_u16(&list);

		if (version >> 8 == TLS_VERSION_MAJOR && version > hello->max_version)
			hello->max_version = version;
	}
	return true;
}

static bool hello_read_extension(uint16_t type, struct cursor data, struct client_hello *hello,
				 unsigned int *seen)
{
	static const struct {
		uint16_t type;
		bool (*read)(struct cursor data, struct client_hello *hello);
	} known[] = {
	    {TLS_EXTENSION_SERVER_NAME, hello_read_server_name},
	    {TLS_EXTENSION_ALPN, hello_read_alpn},
	    {TLS_EXTENSION_SUPPORTED_VERSIONS, hello_read_versions},
	};

	for (unsigned int i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].type != type)
			continue;
		if (*seen & 1u << i) /* RFC 8446 section 4.2 */
			return false;
		*seen |= 1u << i;
		return known[i].read(data, hello);
	}
	return true;
}

/* ---- The message ---- */

static bool hello_read_extensions(struct cursor list, struct client_hello *hello)
{
	unsigned int seen = 0;

	while (list.left_bytes) {
		uint16_t type = cursor_u16(&list);
		struct cursor data = cursor_sub(&list, cursor_u16(&list));

		if (data.failed || !hello_read_extension(type, data, hello, &seen))
			return false;
	}
	return !list.failed;
}

static bool hello_read_body(struct cursor body, struct client_hello *hello)
{
	struct cursor session_id, ciphers, compressions, extensions;

	hello->max_version = cursor_u16(&body);
	cursor_take(&body, TLS_RANDOM_BYTES);
	session_id = cursor_sub(&body, cursor_u8(&body));
	ciphers = cursor_sub(&body, cursor_u16(&body));
	compressions = cursor_sub(&body, cursor_u8(&body));
	if (body.failed || hello->max_version >> 8 != TLS_VERSION_MAJOR ||
	    session_id.left_bytes > TLS_SESSION_ID_MAX_BYTES || ciphers.left_bytes == 0 ||
	    ciphers.left_bytes % 2 || compressions.left_bytes == 0 ||
	    !memchr(compressions.at, 0, compressions.left_bytes))
		return false;
	if (body.left_bytes == 0) /* before RFC 3546 there were none */
		return true;
	extensions = cursor_sub(&body, cursor_u16(&body));
	return !body.failed && body.left_bytes == 0 && hello_read_extensions(extensions, hello);
}

static enum classify_verdict hello_read(const uint8_t *message, size_t len_bytes,
					struct client_hello *ret_hello)
{
	struct client_hello hello = {.max_version = 0};
	struct cursor body = {message + TLS_HANDSHAKE_HEADER_BYTES,
			      len_bytes - TLS_HANDSHAKE_HEADER_BYTES, false};

	if (!hello_read_body(body, &hello))
		return CLASSIFY_MALFORMED;
	*ret_hello = hello;
	return CLASSIFY_CLIENT_HELLO;
}

/* ---- Records ---- */

/* A record's part of the message, as far as it is there. */
struct fragment {
	const uint8_t *data;
	size_t len_bytes;
	size_t record_len_bytes; /* of its content, there or not */
};

/* Reads the record at `*offset` and moves behind it. NEED_MORE: its header is not there yet.
 * CLIENT_HELLO: go on. */
static enum classify_verdict record_read(const uint8_t *data, size_t len_bytes, size_t *offset,
					 struct fragment *ret_fragment)
{
	const uint8_t *header = data + *offset;
	size_t left_bytes = len_bytes - *offset, record_len_bytes;

	if (left_bytes >= 1 && header[0] != TLS_CONTENT_HANDSHAKE)
		return *offset ? CLASSIFY_MALFORMED : CLASSIFY_NOT_TLS;
	/* The minor version is to be ignored (RFC 8446 section 5.1). */
	if (left_bytes >= 2 && header[1] != TLS_VERSION_MAJOR)
		return *offset ? CLASSIFY_MALFORMED : CLASSIFY_NOT_TLS;
	if (left_bytes < TLS_RECORD_HEADER_BYTES)
		return CLASSIFY_NEED_MORE;
	record_len_bytes = (size_t)(header[3] << 8 | header[4]);
	if (record_len_bytes == 0 || record_len_bytes > TLS_RECORD_MAX_BYTES)
		return CLASSIFY_MALFORMED;
	left_bytes -= TLS_RECORD_HEADER_BYTES;
	*ret_fragment = (struct fragment){
	    .data = header + TLS_RECORD_HEADER_BYTES,
	    .len_bytes = left_bytes < record_len_bytes ? left_bytes : record_len_bytes,
	    .record_len_bytes = record_len_bytes,
	};
	*offset += TLS_RECORD_HEADER_BYTES + ret_fragment->len_bytes;
	return CLASSIFY_CLIENT_HELLO;
}

/* The message without its records, as far as it is there. */
struct message {
	uint8_t *joined; /* PENSTOCK_MAX_CLIENT_HELLO_BYTES */
	size_t have_bytes;
	size_t need_bytes; /* 0: not known yet */
	size_t header_bytes; /* of records so far */
};

static enum classify_verdict message_add(struct message *message, const struct fragment *fragment)
{
	size_t len_bytes = fragment->len_bytes;

	if (len_bytes > PENSTOCK_MAX_CLIENT_HELLO_BYTES - message->have_bytes)
		return CLASSIFY_TOO_LARGE;
	memcpy(message->joined + message->have_bytes, fragment->data, len_bytes);
	message->have_bytes += len_bytes;
	message->header_bytes += TLS_RECORD_HEADER_BYTES;
	if (message->have_bytes >= 1 && message->joined[0] != TLS_CLIENT_HELLO)
		return CLASSIFY_MALFORMED;
	if (message->have_bytes >= TLS_HANDSHAKE_HEADER_BYTES)
		message->need_bytes = TLS_HANDSHAKE_HEADER_BYTES +
				      ((size_t)message->joined[1] << 16) +
				      ((size_t)message->joined[2] << 8) + message->joined[3];
	if (message->header_bytes + message->need_bytes > PENSTOCK_MAX_CLIENT_HELLO_BYTES)
		return CLASSIFY_TOO_LARGE;
	if (message->need_bytes && message->have_bytes >= message->need_bytes)
		return CLASSIFY_CLIENT_HELLO;
	return CLASSIFY_NEED_MORE;
}

enum classify_verdict classify_client_hello(const uint8_t *data, size_t len_bytes,
					    struct client_hello *ret_hello)
{
	uint8_t joined[PENSTOCK_MAX_CLIENT_HELLO_BYTES];
	struct message message = {.joined = joined};
	enum classify_verdict verdict;
	struct fragment fragment;
	size_t offset = 0;

	for (;;) {
		verdict = record_read(data, len_bytes, &offset, &fragment);
		if (verdict != CLASSIFY_CLIENT_HELLO)
			break;
		verdict = message_add(&message, &fragment);
		if (verdict != CLASSIFY_NEED_MORE)
			break;
		if (fragment.len_bytes < fragment.record_len_bytes)
			break;
	}
	if (verdict == CLASSIFY_CLIENT_HELLO)
		return hello_read(joined, message.need_bytes, ret_hello);
	if (verdict == CLASSIFY_NEED_MORE && len_bytes >= PENSTOCK_MAX_CLIENT_HELLO_BYTES)
		return CLASSIFY_TOO_LARGE;
	return verdict;
}

#define NEEDED_RECORD_HEAD 5
#define NEEDED_MESSAGE_HEAD 4

/* A walk over records, some of the last perhaps still to come. */
struct needed_walk {
	size_t record; /* where the record at hand begins */
	size_t record_rest; /* of its payload still to come; 0: its head is not whole */
	size_t got; /* of the message */
	uint8_t head[NEEDED_MESSAGE_HEAD];
};

static struct needed_walk needed_walk(const uint8_t *data, size_t len_bytes)
{
	struct needed_walk walk = {.got = 0};

	while (len_bytes - walk.record >= NEEDED_RECORD_HEAD) {
		const uint8_t *payload = data + walk.record + NEEDED_RECORD_HEAD;
		size_t payload_len = (size_t)payload[-2] << 8 | payload[-1];
		size_t there = MIN(payload_len, len_bytes - walk.record - NEEDED_RECORD_HEAD);

		for (size_t i = 0; i < there && walk.got + i < NEEDED_MESSAGE_HEAD; i++)
			walk.head[walk.got + i] = payload[i];
		walk.got += there;
		walk.record_rest = payload_len - there;
		if (walk.record_rest)
			return walk;
		walk.record += NEEDED_RECORD_HEAD + payload_len;
	}
	return walk;
}

/* As if all that is missing came in the record at hand and one more: fewer bytes cannot be enough,
 * and if more are needed the next look asks for a part of what is left. */
size_t classify_needed_bytes(const uint8_t *data, size_t len_bytes)
{
	struct needed_walk walk = needed_walk(data, len_bytes);
	size_t total = NEEDED_MESSAGE_HEAD, missing, needed;

	if (walk.got >= NEEDED_MESSAGE_HEAD)
		total += (size_t)walk.head[1] << 16 | (size_t)walk.head[2] << 8 | walk.head[3];
	missing = total > walk.got ? total - walk.got : 1;
	if (walk.record_rest == 0)
		needed = walk.record + NEEDED_RECORD_HEAD + missing;
	else if (missing <= walk.record_rest)
		needed = len_bytes + missing;
	else
		needed = len_bytes + missing + NEEDED_RECORD_HEAD;
	return MAX(needed, len_bytes + 1);
}

bool classify_is_ssl_request(const uint8_t *data, size_t len_bytes)
{
	static const uint8_t request[] = {0,	0,    0,    8,
					  0x04, 0xd2, 0x16, 0x2f}; /* length, 80877103 */

	return len_bytes == sizeof(request) && memcmp(data, request, sizeof(request)) == 0;
}
