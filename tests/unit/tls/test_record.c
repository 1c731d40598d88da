/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as bytes: those of RFC 8448, every form there and back, and what is not right about them.
 * That OpenSSL makes and takes the same is told by test_stream.c.
 */
#include <errno.h>
#include <linux/tls.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tls/tls_control.h"
#include "tls/tls_record.h"

#define H TLS_RECORD_HEADER_BYTES

static const struct tls_record_form forms[] = {
    {TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_128},
    {TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_256},
    {TLS_1_2_VERSION, TLS_CIPHER_CHACHA20_POLY1305},
    {TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_128},
    {TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_256},
    {TLS_1_3_VERSION, TLS_CIPHER_CHACHA20_POLY1305},
};

static const struct tls_record_form aes_13 = {TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_128};

static struct tls_direction_keys some_keys(void)
{
	struct tls_direction_keys keys = {.next_record = 0x0102030405060708};

	for (size_t i = 0; i < sizeof(keys.key); i++)
		keys.key[i] = (unsigned char)(i * 7 + 1);
	for (size_t i = 0; i < sizeof(keys.iv); i++)
		keys.iv[i] = (unsigned char)(0xf0 - i);
	return keys;
}

static void fill(unsigned char *data, size_t len_bytes)
{
	for (size_t i = 0; i < len_bytes; i++)
		data[i] = (unsigned char)(i * 31 + (i >> 8));
}

/* One part. */
static void seal(struct tls_record_form form, struct tls_direction_keys *keys, uint8_t type,
		 const void *text, size_t len_bytes, unsigned char *to)
{
	struct iovec part = {(void *)text, len_bytes};
	struct tls_source source = {.parts = &part, .n_parts = 1};

	assert_int_equal(tls_record_seal(form, keys, type, &source, len_bytes, to), 0);
}

static size_t look(struct tls_record_form form, const unsigned char *record)
{
	size_t body_bytes = 0;

	assert_int_equal(tls_record_look(form, record, &body_bytes), 0);
	return body_bytes;
}

struct vector {
	const char *key, *iv;
	uint64_t number;
	uint8_t type;
	const char *text; /* NULL: the bytes 0 to 49 */
	const char *record;
};

/* RFC 8448, 3: the application data and the alerts of both sides. */
static const struct vector vectors[] = {
    {"17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9", 0, TLS_TYPE_DATA, NULL,
     "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441"
     "e"
     "2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4"},
    {"9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984", 1, TLS_TYPE_DATA, NULL,
     "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a5"
     "9"
     "a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d"},
    {"17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9", 1, TLS_TYPE_ALERT, "0100",
     "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3"},
    {"9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984", 2, TLS_TYPE_ALERT, "0100",
     "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9"},
};

static size_t unhex(const char *hex, unsigned char *to, size_t room_bytes)
{
	size_t len_bytes;

	assert_int_equal(OPENSSL_hexstr2buf_ex(to, room_bytes, &len_bytes, hex, '\0'), 1);
	return len_bytes;
}

static void vectors_of_rfc_8448(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		const struct vector *vector = &vectors[i];
		struct tls_direction_keys keys = {.next_record = vector->number}, again;
		unsigned char text[64], expected[128], record[128];
		size_t text_bytes, record_bytes;
		struct tls_record_text got;

		unhex(vector->key, keys.key, sizeof(keys.key));
		unhex(vector->iv, keys.iv, sizeof(keys.iv));
		again = keys;
		record_bytes = unhex(vector->record, expected, sizeof(expected));
		for (size_t at = 0; at < 50; at++)
			text[at] = (unsigned char)at;
		text_bytes = vector->text ? unhex(vector->text, text, sizeof(text)) : 50;

		assert_int_equal(tls_record_size(aes_13, text_bytes), record_bytes);
		seal(aes_13, &keys, vector->type, text, text_bytes, record);
		assert_memory_equal(record, expected, record_bytes);
		assert_int_equal(
		    tls_record_open(aes_13, &again, record, look(aes_13, record), NULL, 0, &got),
		    0);
		assert_int_equal(got.type, vector->type);
		assert_int_equal(got.len_bytes, text_bytes);
		assert_memory_equal(got.data, text, text_bytes);
		assert_int_equal(keys.next_record, vector->number + 1);
		assert_int_equal(again.next_record, vector->number + 1);
	}
}

/* Text of some length in three parts, one of them empty; opened with room and without. */
static void there_and_back(struct tls_record_form form, size_t len_bytes)
{
	static unsigned char text[TLS_RECORD_MAX], record[TLS_RECORD_MAX + TLS_RECORD_EXTRA_MAX];
	static unsigned char copy[sizeof(record)], room[TLS_RECORD_MAX];
	struct tls_direction_keys ours = some_keys(), theirs = ours;
	struct iovec parts[] = {
	    {text, len_bytes / 3}, {text, 0}, {text + len_bytes / 3, len_bytes - len_bytes / 3}};
	struct tls_source source = {.parts = parts, .n_parts = 3};
	size_t size_bytes = tls_record_size(form, len_bytes);
	struct tls_record_text got;

	fill(text, len_bytes);
	for (int with_room = 0; with_room < 2; with_room++) {
		struct tls_source again = source;

		assert_int_equal(
		    tls_record_seal(form, &ours, TLS_TYPE_DATA, &again, len_bytes, record), 0);
		assert_int_equal(look(form, record), size_bytes - H);
		assert_int_equal(record[0], TLS_TYPE_DATA);
		memcpy(copy, record, size_bytes);
		assert_int_equal(tls_record_open(form, &theirs, copy, size_bytes - H, room,
						 with_room ? len_bytes : len_bytes - 1, &got),
				 0);
		assert_int_equal(got.type, TLS_TYPE_DATA);
		assert_int_equal(got.len_bytes, len_bytes);
		assert_int_equal(got.data == room, with_room);
		assert_memory_equal(got.data, text, len_bytes);
	}
}

static void every_form_there_and_back(void **state)
{
	static const size_t sizes[] = {
	    1, 15, 16, 17, 255, 1400, TLS_RECORD_MAX - 1, TLS_RECORD_MAX};

	(void)state;
	for (size_t form = 0; form < ARRAY_LEN(forms); form++)
		for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
			there_and_back(forms[form], sizes[i]);
}

static void the_type_of_empty_records_is_kept(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		struct tls_direction_keys ours = some_keys(), theirs = ours;
		unsigned char record[64];
		struct tls_record_text got;

		seal(forms[i], &ours, TLS_TYPE_HANDSHAKE, "", 0, record);
		assert_int_equal(record[0], forms[i].version == TLS_1_3_VERSION
						? TLS_TYPE_DATA
						: TLS_TYPE_HANDSHAKE);
		assert_int_equal(tls_record_open(forms[i], &theirs, record, look(forms[i], record),
						 NULL, 0, &got),
				 0);
		assert_int_equal(got.type, TLS_TYPE_HANDSHAKE);
		assert_int_equal(got.len_bytes, 0);
	}
}

/* Each byte of a record and its number are under the tag, the length by what it does. */
static void nothing_can_be_changed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		struct tls_direction_keys ours = some_keys(), theirs = ours, late;
		unsigned char record[128], copy[128], room[64];
		size_t size_bytes = tls_record_size(forms[i], 40), body_bytes;
		struct tls_record_text got;

		memset(copy, 0x5a, sizeof(copy));
		seal(forms[i], &ours, TLS_TYPE_DATA, copy, 40, record);
		for (size_t at = 0; at < size_bytes; at++) {
			if (at == 3 || at == 4)
				continue;
			memcpy(copy, record, size_bytes);
			copy[at] ^= 1;
			assert_int_equal(tls_record_open(forms[i], &theirs, copy, size_bytes - H,
							 room, sizeof(room), &got),
					 TLS_ALERT_BAD_RECORD_MAC);
			for (size_t k = 0; k < 40; k++)
				assert_int_equal(room[k], 0);
		}
		memcpy(copy, record, size_bytes);
		body_bytes = size_bytes - H - 1;
		copy[4] = (unsigned char)body_bytes;
		assert_int_equal(
		    tls_record_open(forms[i], &theirs, copy, body_bytes, room, sizeof(room), &got),
		    TLS_ALERT_BAD_RECORD_MAC);
		late = theirs;
		late.next_record++;
		memcpy(copy, record, size_bytes);
		assert_int_equal(
		    tls_record_open(forms[i], &late, copy, size_bytes - H, NULL, 0, &got),
		    TLS_ALERT_BAD_RECORD_MAC);
		/* None of that counted. */
		assert_int_equal(
		    tls_record_open(forms[i], &theirs, record, size_bytes - H, NULL, 0, &got), 0);
	}
}

static void headers_are_looked_at(void **state)
{
	static const struct {
		uint8_t header[H];
		int alert_12, alert_13; /* of AES-GCM */
	} cases[] = {
	    {{23, 3, 3, 0, 17}, TLS_ALERT_BAD_RECORD_MAC, 0},
	    {{23, 3, 3, 0, 16}, TLS_ALERT_BAD_RECORD_MAC, TLS_ALERT_BAD_RECORD_MAC},
	    {{23, 3, 3, 0, 24}, 0, 0},
	    {{23, 3, 3, 0, 0}, TLS_ALERT_BAD_RECORD_MAC, TLS_ALERT_BAD_RECORD_MAC},
	    {{23, 3, 3, 0x41, 0}, 0, 0},
	    {{23, 3, 3, 0x41, 1}, TLS_ALERT_RECORD_OVERFLOW, TLS_ALERT_RECORD_OVERFLOW},
	    {{23, 3, 3, 0xff, 0xff}, TLS_ALERT_RECORD_OVERFLOW, TLS_ALERT_RECORD_OVERFLOW},
	    {{23, 3, 1, 0, 32}, TLS_ALERT_PROTOCOL_VERSION, TLS_ALERT_PROTOCOL_VERSION},
	    {{23, 2, 3, 0, 32}, TLS_ALERT_PROTOCOL_VERSION, TLS_ALERT_PROTOCOL_VERSION},
	    {{21, 3, 3, 0, 32}, 0, TLS_ALERT_UNEXPECTED_MESSAGE},
	    {{20, 3, 3, 0, 1}, TLS_ALERT_BAD_RECORD_MAC, TLS_ALERT_UNEXPECTED_MESSAGE},
	};
	size_t body_bytes;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(tls_record_look(forms[0], cases[i].header, &body_bytes),
				 cases[i].alert_12);
		assert_int_equal(tls_record_look(forms[3], cases[i].header, &body_bytes),
				 cases[i].alert_13);
	}
}

/* What seal() never makes: the text of a TLS 1.3 record with its type and padding, as given. */
static size_t seal_inner(struct tls_direction_keys *keys, const unsigned char *inner,
			 size_t inner_bytes, unsigned char *record)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	size_t body_bytes = inner_bytes + TLS_RECORD_TAG_BYTES;
	unsigned char nonce[12];
	int n;

	memcpy(record, (unsigned char[]){23, 3, 3}, 3);
	record[3] = (unsigned char)(body_bytes >> 8);
	record[4] = (unsigned char)body_bytes;
	memcpy(nonce, keys->iv, sizeof(nonce));
	for (size_t i = 0; i < 8; i++)
		nonce[4 + i] ^= (unsigned char)(keys->next_record >> (56 - 8 * i));
	keys->next_record++;
	assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, keys->key, nonce), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, record, H), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, record + H, &n, inner, (int)inner_bytes), 1);
	assert_int_equal(EVP_EncryptFinal_ex(ctx, record + H + n, &n), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TLS_RECORD_TAG_BYTES,
					     record + H + inner_bytes),
			 1);
	EVP_CIPHER_CTX_free(ctx);
	return body_bytes;
}

static void padding_is_taken_off(void **state)
{
	static const struct {
		size_t text_bytes, padding_bytes;
		uint8_t type; /* 0: none */
		int alert;
	} cases[] = {
	    {3, 0, TLS_TYPE_DATA, 0},
	    {3, 1, TLS_TYPE_DATA, 0},
	    {0, 200, TLS_TYPE_ALERT, 0},
	    {100, 16284, TLS_TYPE_HANDSHAKE, 0},
	    {TLS_RECORD_MAX, 0, TLS_TYPE_DATA, 0},
	    {TLS_RECORD_MAX, 1, TLS_TYPE_DATA, TLS_ALERT_RECORD_OVERFLOW},
	    {TLS_RECORD_MAX + 1, 0, TLS_TYPE_DATA, TLS_ALERT_RECORD_OVERFLOW},
	    {0, 1, 0, TLS_ALERT_UNEXPECTED_MESSAGE},
	    {0, TLS_RECORD_MAX, 0, TLS_ALERT_UNEXPECTED_MESSAGE},
	};
	static unsigned char inner[TLS_RECORD_MAX + 64], room[TLS_RECORD_MAX + 64];
	static unsigned char record[TLS_RECORD_MAX + 128];

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
		size_t text_bytes = cases[i / 2].text_bytes, n = text_bytes, body_bytes;
		struct tls_direction_keys ours = some_keys(), theirs = ours;
		struct tls_record_text got;

		memset(inner, 0, sizeof(inner));
		memset(inner, 0x33, text_bytes);
		if (cases[i / 2].type)
			inner[n++] = cases[i / 2].type;
		n += cases[i / 2].padding_bytes;
		body_bytes = seal_inner(&ours, inner, n, record);
		assert_int_equal(look(aes_13, record), body_bytes);
		assert_int_equal(tls_record_open(aes_13, &theirs, record, body_bytes, room,
						 i % 2 ? sizeof(room) : 0, &got),
				 cases[i / 2].alert);
		if (cases[i / 2].alert)
			continue;
		assert_int_equal(got.type, cases[i / 2].type);
		assert_int_equal(got.len_bytes, text_bytes);
		assert_memory_equal(got.data, inner, text_bytes);
	}
}

/* RFC 5288, 3: with one key the explicit nonce is never the same. */
static void explicit_nonces_differ(void **state)
{
	struct tls_direction_keys keys = some_keys();
	unsigned char one[64], other[64];

	(void)state;
	seal(forms[0], &keys, TLS_TYPE_DATA, "x", 1, one);
	seal(forms[0], &keys, TLS_TYPE_DATA, "x", 1, other);
	assert_memory_not_equal(one + H, other + H, TLS_RECORD_NONCE_BYTES);
}

static void numbers_do_not_wrap(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		struct tls_direction_keys keys = some_keys();
		struct iovec part = {(void *)"x", 1};
		struct tls_source source = {.parts = &part, .n_parts = 1};
		unsigned char record[64];

		keys.next_record = UINT64_MAX;
		assert_int_equal(
		    tls_record_seal(forms[i], &keys, TLS_TYPE_DATA, &source, 1, record),
		    -EOVERFLOW);
	}
}

/* Two connections take turns at the thread's context, and one ends. */
static void keys_take_turns(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		struct tls_direction_keys ours[2] = {some_keys(), some_keys()}, theirs[2];
		struct tls_record_text got;
		unsigned char record[64];

		ours[1].key[15] ^= 1;
		memcpy(theirs, ours, sizeof(ours));
		for (int turn = 0; turn < 8; turn++) {
			struct tls_direction_keys *mine = &ours[turn % 2];

			seal(forms[i], mine, TLS_TYPE_DATA, "abc", 3, record);
			assert_int_equal(tls_record_open(forms[i], &theirs[turn % 2], record,
							 look(forms[i], record), NULL, 0, &got),
					 0);
			assert_memory_equal(got.data, "abc", 3);
		}
		tls_record_forget(forms[i], &ours[0]);
		tls_record_forget(forms[i], &theirs[0]);
		for (size_t at = 0; at < sizeof(ours[0]); at++)
			assert_int_equal(((unsigned char *)&ours[0])[at], 0);
		seal(forms[i], &ours[1], TLS_TYPE_DATA, "abc", 3, record);
		assert_int_equal(tls_record_open(forms[i], &theirs[1], record,
						 look(forms[i], record), NULL, 0, &got),
				 0);
		tls_record_forget(forms[i], &ours[1]);
		tls_record_forget(forms[i], &theirs[1]);
	}
}

static void sources_are_taken_in_order(void **state)
{
	struct iovec parts[] = {
	    {(void *)"", 0}, {(void *)"abc", 3}, {(void *)"", 0}, {(void *)"defg", 4}};
	struct tls_source source = {.parts = parts, .n_parts = 4};
	char to[8] = "";

	(void)state;
	assert_int_equal(tls_source_len(&source), 7);
	assert_int_equal(tls_source_take(&source, to, 2), 2);
	assert_int_equal(tls_source_len(&source), 5);
	assert_int_equal(tls_source_take(&source, NULL, 2), 2);
	assert_int_equal(tls_source_take(&source, to + 2, 9), 3);
	assert_string_equal(to, "abefg");
	assert_int_equal(tls_source_len(&source), 0);
	assert_int_equal(tls_source_take(&source, to, 1), 0);
}

static int prepare(void **state)
{
	(void)state;
	return tls_record_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(vectors_of_rfc_8448),
	    cmocka_unit_test(every_form_there_and_back),
	    cmocka_unit_test(the_type_of_empty_records_is_kept),
	    cmocka_unit_test(nothing_can_be_changed),
	    cmocka_unit_test(headers_are_looked_at),
	    cmocka_unit_test(padding_is_taken_off),
	    cmocka_unit_test(explicit_nonces_differ),
	    cmocka_unit_test(numbers_do_not_wrap),
	    cmocka_unit_test(keys_take_turns),
	    cmocka_unit_test(sources_are_taken_in_order),
	};

	return cmocka_run_group_tests_name("tls record", tests, prepare, NULL);
}
