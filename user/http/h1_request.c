/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_internal.h"

#define H1_METHOD_LEN_MAX 32

static const struct {
	struct str text;
	enum h1_method method;
} h1_methods[] = {
    {STR("GET"), H1_METHOD_GET},       {STR("HEAD"), H1_METHOD_HEAD},
    {STR("POST"), H1_METHOD_POST},     {STR("PUT"), H1_METHOD_PUT},
    {STR("DELETE"), H1_METHOD_DELETE}, {STR("OPTIONS"), H1_METHOD_OPTIONS},
    {STR("TRACE"), H1_METHOD_TRACE},   {STR("CONNECT"), H1_METHOD_CONNECT},
};

static enum h1_method h1_method_find(struct str text)
{
	for (size_t i = 0; i < ARRAY_LEN(h1_methods); i++)
		if (str_is_equal(text, h1_methods[i].text))
			return h1_methods[i].method;
	return H1_METHOD_OTHER;
}

bool h1_method_is_idempotent(enum h1_method method)
{
	switch (method) {
	case H1_METHOD_GET:
	case H1_METHOD_HEAD:
	case H1_METHOD_PUT:
	case H1_METHOD_DELETE:
	case H1_METHOD_OPTIONS:
	case H1_METHOD_TRACE:
		return true;
	default:
		return false;
	}
}

static bool h1_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool h1_is_host_char(char c)
{
	return h1_is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
	       c == '.' || c == '_';
}

static bool h1_is_ipv6_char(char c)
{
	return h1_is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' ||
	       c == '.';
}

/* ":" and a number up to 65535, or nothing. */
static bool h1_is_port(const char *p, const char *end)
{
	unsigned int port = 0;

	if (p == end)
		return true;
	if (*p != ':' || end - p < 2 || end - p > 6)
		return false;
	for (p++; p < end; p++) {
		if (!h1_is_digit(*p))
			return false;
		port = port * 10 + (unsigned int)(*p - '0');
	}
	return port <= 65535;
}

/* A name, an address, or a bracketed IPv6 address; no escapes, no user. */
static bool h1_is_host(struct str host)
{
	const char *p = host.ptr, *end = host.ptr + host.len;

	if (p < end && *p == '[') {
		for (p++; p < end && h1_is_ipv6_char(*p);)
			p++;
		return p < end && *p == ']' && p - host.ptr > 2 && h1_is_port(p + 1, end);
	}
	while (p < end && h1_is_host_char(*p))
		p++;
	return p > host.ptr && *host.ptr != '.' && h1_is_port(p, end);
}

struct str h1_host_name(struct str host)
{
	size_t len = host.len;

	while (len && h1_is_digit(host.ptr[len - 1]))
		len--;
	if (len && host.ptr[len - 1] == ':')
		host.len = len - 1;
	if (host.len > 1 && host.ptr[host.len - 1] == '.')
		host.len--;
	return host;
}

/* Visible ASCII without "#" (a fragment is never sent) and "\" (which some origins take for "/").
 */
static bool h1_is_target(struct str target)
{
	for (size_t i = 0; i < target.len; i++) {
		unsigned char c = (unsigned char)target.ptr[i];

		if (c <= 0x20 || c >= 0x7f || c == '#' || c == '\\')
			return false;
	}
	return target.len > 0;
}

static void h1_split_query(struct h1_request *request, struct str target)
{
	const char *question = memchr(target.ptr, '?', target.len);
	size_t path_len = question ? (size_t)(question - target.ptr) : target.len;

	request->path = (struct str){target.ptr, path_len};
	request->query = (struct str){target.ptr + path_len, target.len - path_len};
}

/* "http://host:port/path?query": RFC 9112 section 3.2.2. Its host replaces the Host header. */
static enum h1_fault h1_parse_absolute(struct h1_request *request, struct str target)
{
	const char *end = target.ptr + target.len;
	size_t scheme_len = 7;
	const char *p;

	if (target.len > 8 && str_is_equal_nocase((struct str){target.ptr, 8}, STR("https://")))
		scheme_len = 8;
	else if (target.len <= 7 ||
		 !str_is_equal_nocase((struct str){target.ptr, 7}, STR("http://")))
		return H1_FAULT_TARGET;
	for (p = target.ptr + scheme_len; p < end && *p != '/' && *p != '?';)
		p++;
	request->host.ptr = target.ptr + scheme_len;
	request->host.len = (size_t)(p - request->host.ptr);
	if (!h1_is_host(request->host))
		return H1_FAULT_HOST;
	h1_split_query(request, (struct str){p, (size_t)(end - p)});
	return H1_FAULT_NONE;
}

static enum h1_fault h1_parse_target(struct h1_request *request, struct str target)
{
	if (request->method == H1_METHOD_CONNECT)
		return H1_FAULT_CONNECT;
	if (!h1_is_target(target))
		return H1_FAULT_TARGET;
	if (*target.ptr == '/') {
		h1_split_query(request, target);
		return H1_FAULT_NONE;
	}
	if (str_is_equal(target, STR("*"))) {
		h1_split_query(request, target);
		return request->method == H1_METHOD_OPTIONS ? H1_FAULT_NONE : H1_FAULT_TARGET;
	}
	return h1_parse_absolute(request, target);
}

/* "METHOD SP target SP HTTP/1.1" between `p` and `cr`. */
static enum h1_fault h1_parse_request_line(struct h1_request *request, const char *p,
					   const char *cr)
{
	const char *method_end = h1_skip_token(p, cr);
	const char *target = method_end + 1;
	const char *target_end;
	enum h1_fault fault;

	request->method_text = (struct str){p, (size_t)(method_end - p)};
	request->method = h1_method_find(request->method_text);
	if (method_end == cr || *method_end != ' ')
		return H1_FAULT_METHOD;
	target_end = memchr(target, ' ', (size_t)(cr - target));
	if (!target_end)
		return H1_FAULT_VERSION;
	fault = h1_parse_version((struct str){target_end + 1, (size_t)(cr - target_end - 1)},
				 &request->head.minor);
	if (fault)
		return fault;
	return h1_parse_target(request, (struct str){target, (size_t)(target_end - target)});
}

/* What has come of the first line can be judged before the rest is here: TLS on a plain port, for
 * one. */
static enum h1_progress h1_parse_first_line(struct h1_request *request, const char *p,
					    const char *end, const char **ret_next,
					    enum h1_fault *ret_fault)
{
	const char *method_end = h1_skip_token(p, end);
	const char *cr = NULL;
	enum h1_progress progress;

	if (method_end - p > H1_METHOD_LEN_MAX || method_end == p ||
	    (method_end < end && *method_end != ' ')) {
		*ret_fault =
		    method_end < end && *method_end == '\n' ? H1_FAULT_LINE_END : H1_FAULT_METHOD;
		return H1_REFUSED;
	}
	progress = h1_find_line_end(p, end, H1_FAULT_TARGET, &cr, ret_fault);
	if (progress != H1_DONE)
		return progress;
	*ret_fault = h1_parse_request_line(request, p, cr);
	*ret_next = cr + 2;
	return *ret_fault ? H1_REFUSED : H1_DONE;
}

static enum h1_fault h1_check_request(struct h1_request *request, const struct h1_seen *seen)
{
	if (seen->n_hosts == 0)
		return H1_FAULT_HOST_MISSING;
	if (seen->n_hosts > 1)
		return H1_FAULT_HOST_TWICE;
	if (!h1_is_host(seen->host))
		return H1_FAULT_HOST;
	if (!request->host.ptr)
		request->host = seen->host;
	/* RFC 9110 section 10.1.1: from HTTP/1.0 it means nothing. */
	request->expects_continue = seen->expects_continue && request->head.minor > 0;
	if (request->head.is_chunked)
		request->head.body = H1_BODY_CHUNKED;
	else if (request->head.content_length > 0)
		request->head.body = H1_BODY_LENGTH;
	else
		request->head.body = H1_BODY_NONE;
	return H1_FAULT_NONE;
}

enum h1_progress h1_parse_request(const char *data, size_t len_bytes,
				  struct h1_request *ret_request, enum h1_fault *ret_fault)
{
	const char *end = data + MIN(len_bytes, (size_t)PENSTOCK_MAX_REQUEST_HEAD_BYTES);
	const char *p = data, *fields = NULL;
	enum h1_progress progress;
	struct h1_seen seen;

	h1_head_init(&ret_request->head, data);
	ret_request->host = (struct str){NULL, 0};
	if (end - p >= 2 && p[0] == '\r' && p[1] == '\n')
		p += 2;
	if (p == end || (end - data == 1 && *p == '\r'))
		return H1_NEED_MORE;
	progress = h1_parse_first_line(ret_request, p, end, &fields, ret_fault);
	if (progress == H1_DONE)
		progress = h1_parse_fields(&ret_request->head, fields, end, &seen, ret_fault);
	if (progress == H1_NEED_MORE && len_bytes >= PENSTOCK_MAX_REQUEST_HEAD_BYTES) {
		*ret_fault = fields ? H1_FAULT_TOO_LARGE : H1_FAULT_TARGET_TOO_LONG;
		return H1_REFUSED;
	}
	if (progress != H1_DONE)
		return progress;
	*ret_fault = h1_check_request(ret_request, &seen);
	return *ret_fault ? H1_REFUSED : H1_DONE;
}
