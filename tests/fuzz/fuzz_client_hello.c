/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verdict on a part never contradicts the verdict on more of it, and what is read keeps its
 * promises.
 */
#include <stdlib.h>

#include "classify/classify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_hello(const struct client_hello *hello)
{
	size_t len = strnlen(hello->sni, sizeof(hello->sni)), at = 0;

	check(len < sizeof(hello->sni));
	check(!strstr(hello->sni, "..") && hello->sni[0] != '.');
	check(len == 0 || hello->sni[len - 1] != '.');
	for (size_t i = 0; i < len; i++)
		check(hello->sni[i] > ' ' && hello->sni[i] < 0x7f &&
		      ascii_lower(hello->sni[i]) == hello->sni[i]);
	check(hello->alpn_len_bytes <= sizeof(hello->alpn));
	while (at < hello->alpn_len_bytes) {
		check(hello->alpn[at] > 0);
		at += hello->alpn[at] + 1u;
	}
	check(at == hello->alpn_len_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct client_hello hello, part_hello;
	enum classify_verdict verdict = classify_client_hello(data, len_bytes, &hello);
	/* A place to cut that depends on the input, so that the fuzzer can move it. */
	size_t cut = len_bytes ? data[len_bytes - 1] * len_bytes / 256 : 0;
	enum classify_verdict part = classify_client_hello(data, cut, &part_hello);

	check(part == CLASSIFY_NEED_MORE || part == verdict);
	if (part == CLASSIFY_CLIENT_HELLO)
		check(strcmp(part_hello.sni, hello.sni) == 0);
	if (part == CLASSIFY_NEED_MORE)
		check(classify_needed_bytes(data, cut) > cut);
	if (part == CLASSIFY_NEED_MORE && verdict == CLASSIFY_CLIENT_HELLO)
		check(classify_needed_bytes(data, cut) <= len_bytes);
	if (verdict == CLASSIFY_CLIENT_HELLO)
		check_hello(&hello);
	return 0;
}
