/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealing and opening. A cipher context is ten times as large as a key, and to put a key into it
 * costs little beside a record. So silent connections hold keys only, and each thread has one
 * context of each cipher and direction, which serves whoever comes: many records of one connection
 * need the key once.
 */
#include "tls/tls_record.h"

#include <errno.h>
#include <linux/tls.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "tls/tls_control.h"

#define NONCE_BYTES 12
#define AAD_MAX 13
#define INNER_TYPE_BYTES 1

enum record_cipher { CIPHER_AES_128, CIPHER_AES_256, CIPHER_CHACHA, CIPHER_MAX };
enum record_direction { DIRECTION_OPEN, DIRECTION_SEAL, DIRECTION_MAX };

/* A context and the key that is in it. */
struct engine {
	EVP_CIPHER_CTX *ctx;
	unsigned char key[32];
};

struct engines {
	struct engine of[CIPHER_MAX][DIRECTION_MAX];
};

static EVP_CIPHER *ciphers[CIPHER_MAX];
static pthread_key_t engines_key;
static _Thread_local struct engines *engines;

size_t tls_source_len(const struct tls_source *source)
{
	size_t len_bytes = 0;

	for (int i = 0; i < source->n_parts; i++)
		len_bytes += source->parts[i].iov_len;
	return len_bytes - source->offset;
}

/* The front that lies in one piece, at most `len_bytes`; passed over. */
static const unsigned char *source_piece(struct tls_source *source, size_t len_bytes, size_t *ret_n)
{
	const unsigned char *piece =
	    (const unsigned char *)source->parts[0].iov_base + source->offset;

	*ret_n = MIN(len_bytes, source->parts[0].iov_len - source->offset);
	source->offset += *ret_n;
	if (source->offset == source->parts[0].iov_len) {
		source->parts++;
		source->n_parts--;
		source->offset = 0;
	}
	return piece;
}

size_t tls_source_take(struct tls_source *source, void *to, size_t len_bytes)
{
	size_t done = 0, n;

	while (done < len_bytes && source->n_parts) {
		const unsigned char *piece = source_piece(source, len_bytes - done, &n);

		if (to && n)
			memcpy((unsigned char *)to + done, piece, n);
		done += n;
	}
	return done;
}

static void engines_free(void *all)
{
	struct engines *old = all;

	for (int i = 0; i < CIPHER_MAX * DIRECTION_MAX; i++)
		EVP_CIPHER_CTX_free(old->of[i / DIRECTION_MAX][i % DIRECTION_MAX].ctx);
	OPENSSL_clear_free(old, sizeof(*old));
}

int tls_record_init(void)
{
	static const char *const names[CIPHER_MAX] = {"AES-128-GCM", "AES-256-GCM",
						      "ChaCha20-Poly1305"};

	if (ciphers[0])
		return 0;
	if (pthread_key_create(&engines_key, engines_free))
		return -ENOTSUP;
	for (int i = 0; i < CIPHER_MAX; i++) {
		ciphers[i] = EVP_CIPHER_fetch(NULL, names[i], NULL);
		if (!ciphers[i])
			return -ENOTSUP;
	}
	return 0;
}

static enum record_cipher cipher_of(struct tls_record_form form)
{
	switch (form.cipher) {
	case TLS_CIPHER_AES_GCM_128:
		return CIPHER_AES_128;
	case TLS_CIPHER_AES_GCM_256:
		return CIPHER_AES_256;
	default:
		return CIPHER_CHACHA;
	}
}

static size_t key_len(struct tls_record_form form)
{
	return form.cipher == TLS_CIPHER_AES_GCM_128 ? 16 : 32;
}

static bool is_13(struct tls_record_form form)
{
	return form.version == TLS_1_3_VERSION;
}

/* Of the nonce that each record carries. */
static size_t nonce_len(struct tls_record_form form)
{
	return is_13(form) || form.cipher == TLS_CIPHER_CHACHA20_POLY1305 ? 0
									  : TLS_RECORD_NONCE_BYTES;
}

static bool engines_make(void)
{
	engines = OPENSSL_zalloc(sizeof(*engines));
	if (engines && pthread_setspecific(engines_key, engines)) {
		OPENSSL_free(engines);
		engines = NULL;
	}
	return engines;
}

/* A context with this key in it; NULL: no memory, or the cipher refuses. */
static EVP_CIPHER_CTX *engine_get(struct tls_record_form form,
				  const struct tls_direction_keys *keys,
				  enum record_direction direction)
{
	enum record_cipher cipher = cipher_of(form);
	struct engine *engine;
	const EVP_CIPHER *fresh = NULL;

	if (!engines && !engines_make())
		return NULL;
	engine = &engines->of[cipher][direction];
	if (!engine->ctx) {
		engine->ctx = EVP_CIPHER_CTX_new();
		fresh = ciphers[cipher];
		if (!engine->ctx)
			return NULL;
	} else if (memcmp(engine->key, keys->key, key_len(form)) == 0) {
		return engine->ctx;
	}
	if (EVP_CipherInit_ex(engine->ctx, fresh, NULL, keys->key, NULL,
			      direction == DIRECTION_SEAL) != 1) {
		EVP_CIPHER_CTX_free(engine->ctx);
		engine->ctx = NULL;
		OPENSSL_cleanse(engine->key, sizeof(engine->key));
		return NULL;
	}
	memcpy(engine->key, keys->key, key_len(form));
	return engine->ctx;
}

void tls_record_forget(struct tls_record_form form, struct tls_direction_keys *keys)
{
	static const struct tls_direction_keys none;

	for (int direction = 0; engines && direction < DIRECTION_MAX; direction++) {
		const struct engine *engine = &engines->of[cipher_of(form)][direction];

		if (engine->ctx && memcmp(engine->key, keys->key, key_len(form)) == 0 &&
		    !engine_get(form, &none, (enum record_direction)direction))
			ERR_clear_error(); /* it is gone, then */
	}
	OPENSSL_cleanse(keys, sizeof(*keys));
}

static void put_number(unsigned char *to, uint64_t number)
{
	for (size_t i = 0; i < sizeof(number); i++)
		to[i] = (unsigned char)(number >> (56 - 8 * i));
}

/* `carried`: the record's own part of the nonce, where it has one. */
static void make_nonce(struct tls_record_form form, const struct tls_direction_keys *keys,
		       const unsigned char *carried, unsigned char nonce[NONCE_BYTES])
{
	unsigned char number[8];

	memcpy(nonce, keys->iv, NONCE_BYTES);
	if (nonce_len(form)) {
		memcpy(nonce + NONCE_BYTES - TLS_RECORD_NONCE_BYTES, carried,
		       TLS_RECORD_NONCE_BYTES);
		return;
	}
	put_number(number, keys->next_record);
	for (size_t i = 0; i < sizeof(number); i++)
		nonce[NONCE_BYTES - sizeof(number) + i] ^= number[i];
}

/* What is authenticated beside the text: the header, in TLS 1.2 with the number before it and the
 * length of the text. */
static int make_aad(struct tls_record_form form, const struct tls_direction_keys *keys,
		    const unsigned char *header, size_t text_bytes, unsigned char aad[AAD_MAX])
{
	if (is_13(form)) {
		memcpy(aad, header, TLS_RECORD_HEADER_BYTES);
		return TLS_RECORD_HEADER_BYTES;
	}
	put_number(aad, keys->next_record);
	memcpy(aad + 8, header, 3);
	aad[11] = (unsigned char)(text_bytes >> 8);
	aad[12] = (unsigned char)text_bytes;
	return AAD_MAX;
}

/* Nonce and header are in: what follows is text. */
static bool engine_begin(EVP_CIPHER_CTX *ctx, struct tls_record_form form,
			 const struct tls_direction_keys *keys, const unsigned char *record,
			 size_t text_bytes)
{
	unsigned char nonce[NONCE_BYTES], aad[AAD_MAX];
	int aad_len = make_aad(form, keys, record, text_bytes, aad), n;

	make_nonce(form, keys, record + TLS_RECORD_HEADER_BYTES, nonce);
	return EVP_CipherInit_ex(ctx, NULL, NULL, NULL, nonce, -1) == 1 &&
	       EVP_CipherUpdate(ctx, NULL, &n, aad, aad_len) == 1;
}

static bool engine_crypt(EVP_CIPHER_CTX *ctx, unsigned char *to, const unsigned char *from,
			 size_t len_bytes)
{
	int n;

	return !len_bytes ||
	       (EVP_CipherUpdate(ctx, to, &n, from, (int)len_bytes) == 1 && (size_t)n == len_bytes);
}

size_t tls_record_size(struct tls_record_form form, size_t len_bytes)
{
	return TLS_RECORD_HEADER_BYTES + nonce_len(form) + len_bytes +
	       (is_13(form) ? INNER_TYPE_BYTES : 0) + TLS_RECORD_TAG_BYTES;
}

static bool seal_text(EVP_CIPHER_CTX *ctx, struct tls_source *source, size_t len_bytes,
		      unsigned char *to)
{
	size_t done = 0, n;

	while (done < len_bytes) {
		const unsigned char *piece = source_piece(source, len_bytes - done, &n);

		if (!engine_crypt(ctx, to + done, piece, n))
			return false;
		done += n;
	}
	return true;
}

int tls_record_seal(struct tls_record_form form, struct tls_direction_keys *keys, uint8_t type,
		    struct tls_source *source, size_t len_bytes, unsigned char *to)
{
	size_t body_bytes = tls_record_size(form, len_bytes) - TLS_RECORD_HEADER_BYTES;
	size_t inner_bytes = is_13(form) ? INNER_TYPE_BYTES : 0;
	unsigned char *text = to + TLS_RECORD_HEADER_BYTES + nonce_len(form);
	EVP_CIPHER_CTX *ctx;
	int n;

	BUG_ON(len_bytes > TLS_RECORD_MAX || len_bytes > tls_source_len(source));
	if (keys->next_record == UINT64_MAX)
		return -EOVERFLOW;
	ctx = engine_get(form, keys, DIRECTION_SEAL);
	if (!ctx)
		return -ENOMEM;
	to[0] = is_13(form) ? TLS_TYPE_DATA : type;
	to[1] = 3;
	to[2] = 3;
	to[3] = (unsigned char)(body_bytes >> 8);
	to[4] = (unsigned char)body_bytes;
	if (nonce_len(form)) /* no two are the same: RFC 5288, 3 */
		put_number(to + TLS_RECORD_HEADER_BYTES, keys->next_record);
	if (!engine_begin(ctx, form, keys, to, len_bytes) ||
	    !seal_text(ctx, source, len_bytes, text) ||
	    !engine_crypt(ctx, text + len_bytes, &type, inner_bytes) ||
	    EVP_CipherFinal_ex(ctx, text + len_bytes + inner_bytes, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TLS_RECORD_TAG_BYTES,
				text + len_bytes + inner_bytes) != 1)
		return -EIO;
	keys->next_record++;
	return 0;
}

int tls_record_look(struct tls_record_form form, const unsigned char *header,
		    size_t *ret_body_bytes)
{
	size_t body_bytes = (size_t)header[3] << 8 | header[4];

	if (is_13(form) && header[0] != TLS_TYPE_DATA)
		return TLS_ALERT_UNEXPECTED_MESSAGE;
	if (header[1] != 3 || header[2] != 3)
		return TLS_ALERT_PROTOCOL_VERSION;
	if (body_bytes > TLS_RECORD_BODY_MAX)
		return TLS_ALERT_RECORD_OVERFLOW;
	if (body_bytes <
	    nonce_len(form) + TLS_RECORD_TAG_BYTES + (is_13(form) ? (size_t)INNER_TYPE_BYTES : 0))
		return TLS_ALERT_BAD_RECORD_MAC;
	*ret_body_bytes = body_bytes;
	return 0;
}

/* The last byte that is not zero is the type, the zeros behind it are padding (RFC 8446, 5.4). */
static int open_inner(struct tls_record_text *text, unsigned char last)
{
	if (last) {
		text->type = last;
		return text->len_bytes > TLS_RECORD_MAX ? TLS_ALERT_RECORD_OVERFLOW : 0;
	}
	if (text->len_bytes > TLS_RECORD_MAX)
		return TLS_ALERT_RECORD_OVERFLOW;
	while (text->len_bytes && !text->data[text->len_bytes - 1])
		text->len_bytes--;
	if (!text->len_bytes)
		return TLS_ALERT_UNEXPECTED_MESSAGE;
	text->type = text->data[--text->len_bytes];
	return 0;
}

int tls_record_open(struct tls_record_form form, struct tls_direction_keys *keys,
		    unsigned char *record, size_t body_bytes, unsigned char *to, size_t room_bytes,
		    struct tls_record_text *ret_text)
{
	size_t inner_bytes = is_13(form) ? INNER_TYPE_BYTES : 0;
	size_t len_bytes = body_bytes - nonce_len(form) - TLS_RECORD_TAG_BYTES - inner_bytes;
	unsigned char *sealed = record + TLS_RECORD_HEADER_BYTES + nonce_len(form);
	unsigned char *text = len_bytes <= room_bytes ? to : sealed, last = 0, nothing[1];
	EVP_CIPHER_CTX *ctx = engine_get(form, keys, DIRECTION_OPEN);
	int n;

	if (!ctx)
		return -ENOMEM;
	if (!engine_begin(ctx, form, keys, record, len_bytes) ||
	    !engine_crypt(ctx, text, sealed, len_bytes) ||
	    !engine_crypt(ctx, &last, sealed + len_bytes, inner_bytes) ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TLS_RECORD_TAG_BYTES,
				sealed + len_bytes + inner_bytes) != 1)
		return -EIO;
	if (EVP_CipherFinal_ex(ctx, nothing, &n) != 1) {
		ERR_clear_error();
		memset(text, 0, len_bytes); /* nobody shall use it */
		return TLS_ALERT_BAD_RECORD_MAC;
	}
	keys->next_record++;
	*ret_text =
	    (struct tls_record_text){.type = record[0], .data = text, .len_bytes = len_bytes};
	if (is_13(form))
		return open_inner(ret_text, last);
	return len_bytes > TLS_RECORD_MAX ? TLS_ALERT_RECORD_OVERFLOW : 0;
}
