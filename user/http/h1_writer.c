/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "http/h1_internal.h"

/* Our own lines around the kept ones, without what varies; generous. */
#define H1_REQUEST_EXTRA 256
#define H1_RESPONSE_EXTRA 128

char *h1_put(char *out, struct str text)
{
	memcpy(out, text.ptr, text.len);
	return out + text.len;
}

#define H1_PUT(out, literal) h1_put(out, STR(literal))

char *h1_put_fields(char *out, const struct h1_head *head,
		    bool (*keep)(const void *argument, const struct h1_head *head,
				 const struct h1_field *field),
		    const void *argument)
{
	size_t run = head->n_fields ? head->fields[0].line : head->fields_end;

	for (size_t i = 0; i < head->n_fields; i++) {
		const struct h1_field *field = &head->fields[i];
		size_t next;

		if (keep(argument, head, field))
			continue;
		next = i + 1 < head->n_fields ? field[1].line : head->fields_end;
		out = h1_put(out, (struct str){head->data + run, field->line - run});
		run = next;
	}
	return h1_put(out, (struct str){head->data + run, head->fields_end - run});
}

static bool h1_keep_in_request(const void *argument, const struct h1_head *head,
			       const struct h1_field *field)
{
	const struct h1_request *request = argument;

	switch (field->name) {
	case H1_NAME_HOST:
	case H1_NAME_FORWARDED:
		return false;
	case H1_NAME_EXPECT:
		return request->head.minor > 0;
	default:
		return !h1_field_is_hop_by_hop(head, field);
	}
}

size_t h1_request_bound(const struct h1_request *request, const struct h1_origin_facts *facts)
{
	return request->head.len_bytes + 2 * request->host.len + facts->client.len +
	       facts->proto.len + facts->lines.len + H1_REQUEST_EXTRA;
}

static char *h1_put_path(char *out, const struct h1_request *request)
{
	if (request->path.len)
		return h1_put(out, request->path);
	/* RFC 9112 section 3.2.4: OPTIONS of an absolute target without path is about the server.
	 */
	if (request->method == H1_METHOD_OPTIONS && request->query.len == 0)
		return H1_PUT(out, "*");
	return H1_PUT(out, "/");
}

void h1_write_request(const struct h1_request *request, const struct h1_origin_facts *facts,
		      char *out, struct h1_written *ret_written)
{
	char *p = out, *start;

	p = h1_put(p, request->method_text);
	ret_written->method = (struct str){out, (size_t)(p - out)};
	p = H1_PUT(p, " ");
	start = p;
	p = h1_put_path(p, request);
	ret_written->path = (struct str){start, (size_t)(p - start)};
	p = h1_put(p, request->query);
	p = H1_PUT(p, " HTTP/1.1\r\nHost: ");
	start = p;
	p = h1_put(p, request->host);
	ret_written->host = (struct str){start, (size_t)(p - start)};
	p = H1_PUT(p, "\r\n");
	p = h1_put_fields(p, &request->head, h1_keep_in_request, request);
	if (facts->lines.len)
		p = h1_put(p, facts->lines);
	p = H1_PUT(p, "X-Forwarded-For: ");
	p = h1_put(p, facts->client);
	p = H1_PUT(p, "\r\nX-Forwarded-Proto: ");
	p = h1_put(p, facts->proto);
	p = H1_PUT(p, "\r\nX-Forwarded-Host: ");
	p = h1_put(p, request->host);
	if (request->head.is_chunked)
		p = H1_PUT(p, "\r\nTransfer-Encoding: chunked");
	p = H1_PUT(p, "\r\n\r\n");
	ret_written->len_bytes = (size_t)(p - out);
}

/* RFC 9110 section 8.6: neither 1xx nor 204 has a Content-Length. */
static bool h1_keep_in_response(const void *argument, const struct h1_head *head,
				const struct h1_field *field)
{
	const struct h1_response *response = argument;

	if (field->name == H1_NAME_CONTENT_LENGTH &&
	    (response->status < 200 || response->status == 204))
		return false;
	return !h1_field_is_hop_by_hop(head, field);
}

size_t h1_response_bound(const struct h1_response *response)
{
	return response->head.len_bytes + H1_RESPONSE_EXTRA;
}

static char *h1_put_hop(char *out, const struct h1_reply_facts *facts)
{
	if (facts->chunked)
		out = H1_PUT(out, "Transfer-Encoding: chunked\r\n");
	if (facts->close)
		out = H1_PUT(out, "Connection: close\r\n");
	else if (facts->keep_alive)
		out = H1_PUT(out, "Connection: keep-alive\r\n");
	return out;
}

static char *h1_put_status(char *out, uint16_t status)
{
	out[0] = (char)('0' + status / 100);
	out[1] = (char)('0' + status / 10 % 10);
	out[2] = (char)('0' + status % 10);
	out[3] = ' ';
	return out + 4;
}

size_t h1_write_response(const struct h1_response *response, const struct h1_reply_facts *facts,
			 char *out)
{
	char *p = H1_PUT(out, "HTTP/1.1 ");

	p = h1_put_status(p, response->status);
	p = h1_put(p, response->reason);
	p = H1_PUT(p, "\r\n");
	p = h1_put_fields(p, &response->head, h1_keep_in_response, response);
	p = h1_put_hop(p, facts);
	p = H1_PUT(p, "\r\n");
	return (size_t)(p - out);
}

/* Of the statuses that penstock itself answers with. */
const char *h1_status_phrase(uint16_t status)
{
	switch (status) {
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 408:
		return "Request Timeout";
	case 413:
		return "Content Too Large";
	case 414:
		return "URI Too Long";
	case 421:
		return "Misdirected Request";
	case 431:
		return "Request Header Fields Too Large";
	case 500:
		return "Internal Server Error";
	case 501:
		return "Not Implemented";
	case 502:
		return "Bad Gateway";
	case 503:
		return "Service Unavailable";
	case 504:
		return "Gateway Timeout";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "";
	}
}

size_t h1_write_plain_reply(uint16_t status, const char *text, const struct h1_reply_facts *facts,
			    bool to_head, char out[H1_PLAIN_REPLY_MAX])
{
	char body[H1_PLAIN_REPLY_MAX / 2];
	int body_len =
	    snprintf(body, sizeof(body), "%u %s: %s\n", status, h1_status_phrase(status), text);
	char *p = H1_PUT(out, "HTTP/1.1 ");

	body_len = MIN(body_len, (int)sizeof(body) - 1);
	p = h1_put_status(p, status);
	p = h1_put(p, str_from(h1_status_phrase(status)));
	p += sprintf(p, "\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n", body_len);
	p = h1_put_hop(p, facts);
	p = H1_PUT(p, "\r\n");
	if (!to_head)
		p = h1_put(p, (struct str){body, (size_t)body_len});
	return (size_t)(p - out);
}

size_t h1_write_chunk_line(uint64_t len_bytes, char out[H1_CHUNK_LINE_MAX])
{
	static const char digits[] = "0123456789abcdef";
	size_t len = 1;

	for (uint64_t rest = len_bytes >> 4; rest; rest >>= 4)
		len++;
	for (size_t i = len; i > 0; i--, len_bytes >>= 4)
		out[i - 1] = digits[len_bytes & 15];
	out[len++] = '\r';
	out[len++] = '\n';
	return len;
}
