/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 messages (RFC 9110, RFC 9112) as bytes: strict heads in, rewritten heads out, chunked
 * bodies. Pure. What two parsers could read differently is refused, never repaired: such bytes are
 * how requests are smuggled.
 *
 * Parsers are shown the whole head so far each time and keep nothing between calls. What they
 * return points into the bytes that they were shown.
 */
#ifndef PENSTOCK_HTTP_H1_H
#define PENSTOCK_HTTP_H1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/str.h"
#include "penstock/limits.h"

/* X(NAME, status for a request that has it, "what is wrong"). A response that has it is answered
 * with 502. */
#define H1_FAULTS(X) \
	X(NONE, 200, "nothing") \
	X(LINE_END, 400, "a line does not end in CRLF") \
	X(METHOD, 400, "the method is not a token") \
	X(CONNECT, 501, "CONNECT is not implemented") \
	X(TARGET, 400, "the request target is not valid") \
	X(TARGET_TOO_LONG, 414, "the request target is too long") \
	X(PATH, 400, "the path climbs above its root or has an escape that is not valid") \
	X(VERSION, 400, "the protocol version is not valid") \
	X(VERSION_UNKNOWN, 505, "the protocol version is not HTTP/1.x") \
	X(STATUS_LINE, 400, "the status line is not valid") \
	X(FIELD_NAME, 400, "a header name is not a token, or space comes before its colon") \
	X(FIELD_VALUE, 400, "a header value has a control character") \
	X(FIELD_FOLDED, 400, "a header is folded over lines") \
	X(TOO_MANY_FIELDS, 431, "too many headers") \
	X(TOO_LARGE, 431, "the head is too large") \
	X(HOST_MISSING, 400, "there is no Host header") \
	X(HOST_TWICE, 400, "there is more than one Host header") \
	X(HOST, 400, "the host is not valid") \
	X(LENGTH, 400, "Content-Length is not a number") \
	X(LENGTH_TWICE, 400, "there is more than one Content-Length") \
	X(LENGTH_AND_CODING, 400, "there are both Content-Length and Transfer-Encoding") \
	X(CODING_TWICE, 400, "there is more than one Transfer-Encoding") \
	X(CODING_UNKNOWN, 501, "the transfer coding is not chunked") \
	X(CODING_OLD, 400, "Transfer-Encoding does not exist in HTTP/1.0") \
	X(CONNECTION, 400, \
	  "Connection is not a list of names, or names a header that frames the message") \
	X(CHUNK_SIZE, 400, "a chunk size is not valid") \
	X(CHUNK_END, 400, "a chunk does not end in CRLF") \
	X(CHUNK_EXTENSION, 400, "chunk extensions are not valid or too long") \
	X(TRAILER, 400, "a trailer is not valid, or the trailers are too long")

enum h1_fault {
#define H1_ENUM_FAULT(name, status, text) H1_FAULT_##name,
	H1_FAULTS(H1_ENUM_FAULT)
#undef H1_ENUM_FAULT
	    H1_FAULT_MAX
};

uint16_t h1_fault_status(enum h1_fault fault);
const char *h1_fault_text(enum h1_fault fault);

enum h1_progress { H1_NEED_MORE, H1_DONE, H1_REFUSED };

enum h1_method {
	H1_METHOD_OTHER,
	H1_METHOD_GET,
	H1_METHOD_HEAD,
	H1_METHOD_POST,
	H1_METHOD_PUT,
	H1_METHOD_DELETE,
	H1_METHOD_OPTIONS,
	H1_METHOD_TRACE,
	H1_METHOD_CONNECT,
	H1_METHOD_MAX
};

/* RFC 9110 section 9.2.2: sending it twice means the same as once. */
bool h1_method_is_idempotent(enum h1_method method);

/* How the body ends (RFC 9112 section 6.3). */
enum h1_body { H1_BODY_NONE, H1_BODY_LENGTH, H1_BODY_CHUNKED, H1_BODY_UNTIL_CLOSE, H1_BODY_MAX };

/* Headers that this codec acts on. */
enum h1_name {
	H1_NAME_OTHER,
	H1_NAME_HOST,
	H1_NAME_CONTENT_LENGTH,
	H1_NAME_TRANSFER_ENCODING,
	H1_NAME_CONNECTION,
	H1_NAME_EXPECT,
	H1_NAME_HOP, /* Keep-Alive, Proxy-Connection, TE, Trailer, Upgrade: between two neighbours
			only */
	H1_NAME_FORWARDED, /* Forwarded, X-Forwarded-*, X-Real-IP, Client-Cert, Client-Cert-Chain:
			      not believed from outside */
	H1_NAME_MAX
};

/* One header line, by offsets from h1_head.data. Its CRLF ends where the next line starts. */
struct h1_field {
	uint16_t line;
	uint16_t name_len;
	uint16_t value;
	uint16_t value_len;
	uint8_t name; /* enum h1_name */
};

struct h1_head {
	const char *data;
	size_t len_bytes; /* with the empty line; where the body starts */
	uint8_t minor; /* of the version: 0 or 1 */
	enum h1_body body;
	uint64_t content_length; /* of H1_BODY_LENGTH; of a response to HEAD, as announced */
	bool has_content_length;
	bool is_chunked;
	bool wants_close; /* Connection: close, or HTTP/1.0 without keep-alive */
	bool lists_names; /* Connection names further headers */
	size_t n_fields;
	uint16_t fields_end; /* where the empty line starts */
	struct h1_field fields[PENSTOCK_MAX_HEADERS];
};

struct h1_request {
	struct h1_head head;
	enum h1_method method;
	struct str method_text;
	struct str path; /* as sent, without query; "" where an absolute target has none; "*" */
	struct str query; /* with its "?"; "" where there is none */
	struct str host; /* of an absolute target, else of the Host header (RFC 9112 section 3.2.2);
			    with port */
	bool expects_continue;
};

struct h1_response {
	struct h1_head head;
	uint16_t status;
	struct str reason;
};

/*
 * `len_bytes` is at most PENSTOCK_MAX_REQUEST_HEAD_BYTES of head and whatever follows it. An empty
 * line before the request is skipped (RFC 9112 section 2.2). `ret_request` is good on H1_DONE,
 * `ret_fault` is set on H1_REFUSED.
 */
enum h1_progress h1_parse_request(const char *data, size_t len_bytes,
				  struct h1_request *ret_request,
				  enum h1_fault *ret_fault) MUST_CHECK;

/* `to_head`: it answers a HEAD request. */
enum h1_progress h1_parse_response(const char *data, size_t len_bytes, bool to_head,
				   struct h1_response *ret_response,
				   enum h1_fault *ret_fault) MUST_CHECK;

/*
 * After H1_NEED_MORE: whether parsing again can tell more than that. It looks only at what is new,
 * so that a head that comes byte by byte costs no more than its length. `scanned_bytes` is 0 at
 * first and kept by the caller.
 */
bool h1_is_worth_parsing(const char *data, size_t len_bytes, size_t *scanned_bytes) MUST_CHECK;

/* Without its port, brackets kept, and without a last dot: what routes are matched against. */
struct str h1_host_name(struct str host);

/*
 * What a path means, for choosing a route and for nothing else: escapes of unreserved characters
 * are decoded, "." and
 * ".." segments resolved, empty segments dropped. "%2F" stays an escape: it does not separate. The
 * request goes on as it was sent. `buffer` has room for path.len bytes, and is used only where the
 * two differ. H1_FAULT_PATH: above the root, an escape that is none, or one of a control character.
 */
bool h1_path_is_normal(struct str path); /* means what it says: no buffer is needed */
enum h1_fault h1_path_normalise(struct str path, char *buffer, struct str *ret_path) MUST_CHECK;

/* What goes to the origin about where the request came from. */
struct h1_origin_facts {
	struct str client; /* address without port: X-Forwarded-For */
	struct str proto; /* "http" or "https": X-Forwarded-Proto */
	struct str lines; /* further header lines, each with its CRLF; "" where none */
};

/* Where the facts of a written request head are in it. */
struct h1_written {
	size_t len_bytes;
	struct str method;
	struct str path; /* without query */
	struct str host; /* with port */
};

/* An upper bound of what h1_write_request() writes. */
size_t h1_request_bound(const struct h1_request *request, const struct h1_origin_facts *facts);

/*
 * Writes the head for the origin: HTTP/1.1, origin-form, our Host line, no header of this hop only
 * (RFC 9110 section 7.6.1), no forwarding header from outside, then ours.
 */
void h1_write_request(const struct h1_request *request, const struct h1_origin_facts *facts,
		      char *out, struct h1_written *ret_written);

/* What the head for the client says about this hop. */
struct h1_reply_facts {
	bool chunked; /* the body is sent chunked */
	bool close; /* Connection: close */
	bool keep_alive; /* Connection: keep-alive, for HTTP/1.0 */
};

size_t h1_response_bound(const struct h1_response *response);

/* Returns the bytes written: the head as the origin sent it, without headers of that hop only. */
size_t h1_write_response(const struct h1_response *response, const struct h1_reply_facts *facts,
			 char *out);

/* The standard phrase; "" for a status without one. */
const char *h1_status_phrase(uint16_t status);

/* A response of our own with a short text body. Returns the bytes written, at most
 * H1_PLAIN_REPLY_MAX. */
#define H1_PLAIN_REPLY_MAX 768
size_t h1_write_plain_reply(uint16_t status, const char *text, const struct h1_reply_facts *facts,
			    bool to_head, char out[H1_PLAIN_REPLY_MAX]);

/* Decodes a chunked body (RFC 9112 section 7.1). Zero before first use. */
struct h1_chunked {
	uint8_t state;
	uint8_t size_digits;
	uint64_t left_bytes; /* of the chunk under way */
	uint32_t extension_bytes; /* of all chunks so far */
	uint32_t trailer_bytes;
};

/*
 * Takes what it can of `data` and moves the payload in it together: `ret_payload` is a slice of
 * `data`. Trailers are checked and dropped (RFC 9110 section 6.5.1 leaves that to a recipient).
 * `ret_taken_bytes`: all of it on H1_NEED_MORE; on H1_DONE the next message starts there.
 */
enum h1_progress h1_chunked_decode(struct h1_chunked *chunked, char *data, size_t len_bytes,
				   struct str *ret_payload, size_t *ret_taken_bytes,
				   enum h1_fault *ret_fault) MUST_CHECK;

/* The line before a chunk of `len_bytes` > 0; returns its length. After the payload comes CRLF. */
#define H1_CHUNK_LINE_MAX 18
size_t h1_write_chunk_line(uint64_t len_bytes, char out[H1_CHUNK_LINE_MAX]);

#define H1_LAST_CHUNK "0\r\n\r\n"

#endif
