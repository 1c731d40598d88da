/* SPDX-License-Identifier: Apache-2.0 */
/* Where the bytes are cut changes nothing: whole, and cut every so many bytes as the first one
 * says. */
#include <stdlib.h>

#include "http/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static void check(bool holds)
{
	if (!holds)
		abort();
}

struct outcome {
	enum h1_progress progress;
	char *payload;
	size_t payload_len;
	size_t taken;
};

static void decode(const char *data, size_t len, size_t piece, struct outcome *outcome)
{
	struct h1_chunked chunked = {0};
	enum h1_fault fault = H1_FAULT_NONE;

	for (size_t at = 0; at < len && outcome->progress == H1_NEED_MORE; at += piece) {
		size_t n = MIN(piece, len - at), taken = 0;
		char *copy = malloc(n);
		struct str payload = {NULL, 0};

		if (!copy)
			abort();
		memcpy(copy, data + at, n);
		outcome->progress = h1_chunked_decode(&chunked, copy, n, &payload, &taken, &fault);
		if (outcome->progress == H1_REFUSED) {
			check(fault != H1_FAULT_NONE);
		} else {
			check(payload.len <= taken && taken <= n);
			check(outcome->progress == H1_DONE || taken == n);
			memcpy(outcome->payload + outcome->payload_len, payload.ptr, payload.len);
			outcome->payload_len += payload.len;
			outcome->taken += taken;
		}
		free(copy);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct outcome whole = {.progress = H1_NEED_MORE}, cut = {.progress = H1_NEED_MORE};
	const char *text = (const char *)data + 1;

	if (len_bytes < 2)
		return 0;
	whole.payload = malloc(len_bytes);
	cut.payload = malloc(len_bytes);
	if (whole.payload && cut.payload) {
		decode(text, len_bytes - 1, len_bytes - 1, &whole);
		decode(text, len_bytes - 1, (size_t)data[0] + 1, &cut);
		check(whole.progress == cut.progress);
		if (whole.progress != H1_REFUSED) {
			check(whole.taken == cut.taken && whole.payload_len == cut.payload_len);
			check(!memcmp(whole.payload, cut.payload, whole.payload_len));
		}
	}
	free(whole.payload);
	free(cut.payload);
	return 0;
}
