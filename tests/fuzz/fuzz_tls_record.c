/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of a peer. First byte: version, cipher, whether the caller has room, and whether the rest
 * is what is in the records, which are sealed here first (so that what is behind the tag is
 * reached) or the bytes as they come from the wire.
 */
#include <linux/tls.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls_control.h"
#include "tls/tls_record.h"

#define H TLS_RECORD_HEADER_BYTES

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static struct tls_direction_keys some_keys(void)
{
	return (struct tls_direction_keys){.key = {1, 2, 3}, .iv = {4, 5, 6}, .next_record = 7};
}

static const EVP_CIPHER *cipher_of(uint16_t cipher)
{
	return cipher == TLS_CIPHER_AES_GCM_128	  ? EVP_aes_128_gcm()
	       : cipher == TLS_CIPHER_AES_GCM_256 ? EVP_aes_256_gcm()
						  : EVP_chacha20_poly1305();
}

/* Opens what stands in memory of just that size; false: nothing more may come. */
static bool take(struct tls_record_form form, struct tls_direction_keys *keys,
		 const uint8_t *record, size_t body_bytes, size_t room_bytes)
{
	uint8_t *copy = malloc(H + body_bytes), *room = malloc(room_bytes ? room_bytes : 1);
	uint64_t number = keys->next_record;
	struct tls_record_text text;
	int alert;

	check(copy && room);
	memcpy(copy, record, H + body_bytes);
	alert = tls_record_open(form, keys, copy, body_bytes, room, room_bytes, &text);
	if (!alert) {
		const uint8_t *start = text.data == room ? room : copy;
		size_t size_bytes = text.data == room ? room_bytes : H + body_bytes;

		check(text.data >= start && text.len_bytes <= TLS_RECORD_MAX);
		check((size_t)(text.data - start) + text.len_bytes <= size_bytes);
		check(keys->next_record == number + 1);
		check(form.version == TLS_1_3_VERSION || text.type == record[0]);
	}
	check(alert >= 0);
	check(alert != TLS_ALERT_BAD_RECORD_MAC || keys->next_record == number);
	free(copy);
	free(room);
	return !alert;
}

/* As the stream cuts them. */
static void take_all(struct tls_record_form form, const uint8_t *data, size_t len_bytes,
		     size_t room_bytes)
{
	struct tls_direction_keys keys = some_keys();

	while (len_bytes >= H) {
		size_t body_bytes = 0;

		if (tls_record_look(form, data, &body_bytes))
			return;
		check(body_bytes <= TLS_RECORD_BODY_MAX && body_bytes >= TLS_RECORD_TAG_BYTES);
		if (len_bytes - H < body_bytes || !take(form, &keys, data, body_bytes, room_bytes))
			return;
		data += H + body_bytes;
		len_bytes -= H + body_bytes;
	}
}

/* One TLS 1.3 record whose tag is right, with any bytes in it. */
static void seal_and_take(struct tls_record_form form, const uint8_t *inner, size_t inner_bytes,
			  size_t room_bytes)
{
	size_t body_bytes = inner_bytes + TLS_RECORD_TAG_BYTES;
	uint8_t *record = malloc(H + body_bytes), nonce[12];
	struct tls_direction_keys keys = some_keys();
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n;

	check(record && ctx);
	memcpy(record, (uint8_t[]){TLS_TYPE_DATA, 3, 3}, 3);
	record[3] = (uint8_t)(body_bytes >> 8);
	record[4] = (uint8_t)body_bytes;
	memcpy(nonce, keys.iv, sizeof(nonce));
	nonce[11] ^= (uint8_t)keys.next_record;
	check(EVP_EncryptInit_ex(ctx, cipher_of(form.cipher), NULL, keys.key, nonce) == 1);
	check(EVP_EncryptUpdate(ctx, NULL, &n, record, H) == 1);
	check(EVP_EncryptUpdate(ctx, record + H, &n, inner, (int)inner_bytes) == 1);
	check(EVP_EncryptFinal_ex(ctx, record + H + inner_bytes, &n) == 1);
	check(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TLS_RECORD_TAG_BYTES,
				  record + H + inner_bytes) == 1);
	EVP_CIPHER_CTX_free(ctx);
	if (!tls_record_look(form, record, &body_bytes))
		take(form, &keys, record, body_bytes, room_bytes);
	free(record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	static const uint16_t ciphers[] = {TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256,
					   TLS_CIPHER_CHACHA20_POLY1305};
	struct tls_record_form form;
	size_t room_bytes;

	if (!len_bytes || tls_record_init())
		return 0;
	form.version = data[0] & 1 ? TLS_1_3_VERSION : TLS_1_2_VERSION;
	form.cipher = ciphers[(data[0] >> 1) % 3];
	room_bytes = data[0] & 0x40 ? TLS_RECORD_MAX : data[0] & 0x20 ? 10 : 0;
	if ((data[0] & 0x80) && form.version == TLS_1_3_VERSION && len_bytes > 1 &&
	    len_bytes < TLS_RECORD_BODY_MAX)
		seal_and_take(form, data + 1, len_bytes - 1, room_bytes);
	else
		take_all(form, data + 1, len_bytes - 1, room_bytes);
	return 0;
}
