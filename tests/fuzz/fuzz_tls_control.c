/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that are not data, one after another: first byte whose side we are on and which version,
 * then for each record its type, its length and its bytes. Where handshake messages are cut into
 * records changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "tls/tls_control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* From memory that ends with the record. */
static struct tls_control_verdict take(struct tls_control *control, uint8_t type,
				       const uint8_t *data, size_t len_bytes)
{
	uint8_t *copy = malloc(len_bytes ? len_bytes : 1);
	struct tls_control_verdict verdict;

	if (!copy)
		abort();
	memcpy(copy, data, len_bytes);
	verdict = tls_control_take(control, type, copy, len_bytes);
	free(copy);
	check(verdict.word < TLS_CONTROL_WORD_MAX);
	check((verdict.word == TLS_CONTROL_REFUSE) == (verdict.why != NULL));
	check(control->n_head <= sizeof(control->head));
	check(control->left_bytes <= TLS_CONTROL_TICKET_MAX || verdict.word == TLS_CONTROL_REFUSE);
	check(control->n_in_row <= TLS_CONTROL_ROW_MAX || verdict.word == TLS_CONTROL_REFUSE);
	if (verdict.word == TLS_CONTROL_REKEY || verdict.word == TLS_CONTROL_REKEY_BOTH)
		check(control->is_13 && control->n_head == 0 && control->left_bytes == 0);
	if (verdict.word == TLS_CONTROL_DECLINE)
		check(!control->is_13);
	return verdict;
}

static bool is_over(enum tls_control_word word)
{
	return word == TLS_CONTROL_CLOSED || word == TLS_CONTROL_FAILED ||
	       word == TLS_CONTROL_REFUSE;
}

/* A handshake record in two parts says in the end what it says as one, but where it asks for
 * something at once. */
static void check_cut(const struct tls_control *before, const uint8_t *data, size_t len_bytes,
		      enum tls_control_word whole)
{
	struct tls_control control = *before;
	size_t first = len_bytes / 2;
	struct tls_control_verdict verdict;

	if (len_bytes < 2 || control.n_in_row + 2 > TLS_CONTROL_ROW_MAX)
		return;
	verdict = take(&control, TLS_TYPE_HANDSHAKE, data, first);
	if (verdict.word != TLS_CONTROL_PASS)
		return;
	verdict = take(&control, TLS_TYPE_HANDSHAKE, data + first, len_bytes - first);
	check(verdict.word == whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct tls_control control = {0};

	if (!len_bytes)
		return 0;
	control.is_13 = data[0] & 1;
	control.is_client = data[0] & 2;
	data++;
	len_bytes--;
	while (len_bytes >= 2) {
		struct tls_control before = control;
		struct tls_control_verdict verdict;
		size_t n = data[1];
		uint8_t type = data[0];

		data += 2;
		len_bytes -= 2;
		n = MIN(n, len_bytes);
		if (type == TLS_TYPE_DATA)
			tls_control_note_data(&control);
		verdict = type == TLS_TYPE_DATA
			      ? (struct tls_control_verdict){.word = TLS_CONTROL_PASS}
			      : take(&control, type, data, n);
		if (type == TLS_TYPE_HANDSHAKE)
			check_cut(&before, data, n, verdict.word);
		if (is_over(verdict.word))
			return 0;
		data += n;
		len_bytes -= n;
	}
	return 0;
}
