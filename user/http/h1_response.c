/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_internal.h"

/* "HTTP/1.1 SP 200 SP phrase"; the phrase, and then its space too, may be missing. */
static enum h1_fault h1_parse_status_line(struct h1_response *response, const char *p,
					  const char *cr)
{
	size_t len = (size_t)(cr - p);
	enum h1_fault fault;

	if (len < 12 || p[8] != ' ')
		return H1_FAULT_STATUS_LINE;
	fault = h1_parse_version((struct str){p, 8}, &response->head.minor);
	if (fault)
		return fault;
	for (int i = 9; i < 12; i++)
		if (p[i] < '0' || p[i] > '9')
			return H1_FAULT_STATUS_LINE;
	response->status = (uint16_t)((p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0'));
	if (response->status < 100 || response->status > 599 || (len > 12 && p[12] != ' '))
		return H1_FAULT_STATUS_LINE;
	response->reason = len > 13 ? (struct str){p + 13, len - 13} : STR("");
	return H1_FAULT_NONE;
}

/* RFC 9112 section 6.3, in its order. */
static enum h1_body h1_response_body(const struct h1_response *response, bool to_head)
{
	const struct h1_head *head = &response->head;

	if (to_head || response->status < 200 || response->status == 204 || response->status == 304)
		return H1_BODY_NONE;
	if (head->is_chunked)
		return H1_BODY_CHUNKED;
	if (!head->has_content_length)
		return H1_BODY_UNTIL_CLOSE;
	return head->content_length ? H1_BODY_LENGTH : H1_BODY_NONE;
}

static enum h1_progress h1_parse_response_head(const char *data, const char *end,
					       struct h1_response *response,
					       enum h1_fault *ret_fault)
{
	static const char start[] = "HTTP/1.";
	size_t n = MIN((size_t)(end - data), sizeof(start) - 1);
	enum h1_progress progress;
	struct h1_seen seen;
	const char *cr = NULL;

	if (memcmp(data, start, n) != 0) {
		*ret_fault = H1_FAULT_STATUS_LINE;
		return H1_REFUSED;
	}
	progress = h1_find_line_end(data, end, H1_FAULT_STATUS_LINE, &cr, ret_fault);
	if (progress != H1_DONE)
		return progress;
	*ret_fault = h1_parse_status_line(response, data, cr);
	if (*ret_fault)
		return H1_REFUSED;
	return h1_parse_fields(&response->head, cr + 2, end, &seen, ret_fault);
}

enum h1_progress h1_parse_response(const char *data, size_t len_bytes, bool to_head,
				   struct h1_response *ret_response, enum h1_fault *ret_fault)
{
	const char *end = data + MIN(len_bytes, (size_t)PENSTOCK_MAX_REQUEST_HEAD_BYTES);
	enum h1_progress progress;

	h1_head_init(&ret_response->head, data);
	progress = h1_parse_response_head(data, end, ret_response, ret_fault);
	if (progress == H1_NEED_MORE && len_bytes >= PENSTOCK_MAX_REQUEST_HEAD_BYTES) {
		*ret_fault = H1_FAULT_TOO_LARGE;
		return H1_REFUSED;
	}
	if (progress == H1_DONE)
		ret_response->head.body = h1_response_body(ret_response, to_head);
	return progress;
}
