/* SPDX-License-Identifier: Apache-2.0 */
/* A response that is taken is written, and what is written ends where the original does. The first
 * byte says whether it answers HEAD. */
#include <stdlib.h>

#include "http/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_rewritten(const struct h1_response *response, bool to_head)
{
	struct h1_reply_facts facts = {.chunked = response->head.body == H1_BODY_CHUNKED,
				       .close = response->head.body == H1_BODY_UNTIL_CLOSE};
	char *out = malloc(h1_response_bound(response));
	struct h1_response again;
	enum h1_fault fault;
	size_t len;

	if (!out)
		return;
	len = h1_write_response(response, &facts, out);
	check(len <= h1_response_bound(response));
	if (len <= PENSTOCK_MAX_REQUEST_HEAD_BYTES &&
	    response->head.n_fields + 2 <= PENSTOCK_MAX_HEADERS) {
		check(h1_parse_response(out, len, to_head, &again, &fault) == H1_DONE);
		check(again.head.len_bytes == len);
		check(again.status == response->status);
		check(again.head.body == response->head.body);
		check(again.head.wants_close == facts.close);
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct h1_response response;
	enum h1_fault fault = H1_FAULT_NONE;
	enum h1_progress progress;
	bool to_head;

	if (len_bytes == 0)
		return 0;
	to_head = data[0] & 1;
	progress =
	    h1_parse_response((const char *)data + 1, len_bytes - 1, to_head, &response, &fault);
	if (progress == H1_REFUSED)
		check(fault != H1_FAULT_NONE);
	if (progress == H1_DONE) {
		check(response.head.len_bytes <= len_bytes - 1);
		check_rewritten(&response, to_head);
	}
	return 0;
}
