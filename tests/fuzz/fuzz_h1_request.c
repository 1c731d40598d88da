/* SPDX-License-Identifier: Apache-2.0 */
/* A request that is taken is written, and what is written is taken again and means the same. */
#include <stdlib.h>

#include "http/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_path(struct str path)
{
	char *buffer = malloc(path.len + !path.len);
	struct str meaning;

	if (buffer && h1_path_normalise(path, buffer, &meaning) == H1_FAULT_NONE) {
		check(meaning.len > 0 && *meaning.ptr == '/');
		check(!memmem(meaning.ptr, meaning.len, "//", 2));
		check(!memmem(meaning.ptr, meaning.len, "/../", 4));
		check(!memmem(meaning.ptr, meaning.len, "/./", 3));
	}
	free(buffer);
}

static void check_rewritten(const struct h1_request *request)
{
	static const struct h1_origin_facts facts = {.client = STR("192.0.2.1"),
						     .proto = STR("http")};
	char *out = malloc(h1_request_bound(request, &facts));
	struct h1_written written;
	struct h1_request again;
	enum h1_fault fault;
	size_t len;

	if (!out)
		return;
	h1_write_request(request, &facts, out, &written);
	len = written.len_bytes;
	check(len <= h1_request_bound(request, &facts));
	/* Our own lines may take it over the limits. */
	if (len <= PENSTOCK_MAX_REQUEST_HEAD_BYTES &&
	    request->head.n_fields + 5 <= PENSTOCK_MAX_HEADERS) {
		check(h1_parse_request(out, len, &again, &fault) == H1_DONE);
		check(again.head.len_bytes == len);
		check(again.head.body == request->head.body);
		check(again.head.content_length == request->head.content_length);
		check(again.method == request->method);
		check(str_is_equal(again.host, request->host));
		check(str_is_equal(again.query, request->query));
		check(!again.head.wants_close && !again.head.lists_names);
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct h1_request request;
	enum h1_fault fault = H1_FAULT_NONE;
	enum h1_progress progress =
	    h1_parse_request((const char *)data, len_bytes, &request, &fault);

	if (progress == H1_REFUSED)
		check(fault != H1_FAULT_NONE && h1_fault_status(fault) >= 400);
	if (progress != H1_DONE)
		return 0;
	check(request.head.len_bytes <= len_bytes);
	check(h1_parse_request((const char *)data, request.head.len_bytes - 1, &request, &fault) ==
	      H1_NEED_MORE);
	check(h1_parse_request((const char *)data, len_bytes, &request, &fault) == H1_DONE);
	check(h1_host_name(request.host).len > 0);
	check_path(request.path);
	check_rewritten(&request);
	return 0;
}
