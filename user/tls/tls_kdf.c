/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key schedule of TLS 1.3 (RFC 8446, 7.1) for OpenSSL, as a provider with this one algorithm. A
 * handshake derives some 25 secrets, and for each of them OpenSSL looks up a digest and a MAC by
 * name and builds them from a dozen allocations, which costs more than the hashing. What is hashed
 * is the same, by the same code of OpenSSL. Whatever libssl does not ask for is left to OpenSSL's
 * own. The keys of application data are kept here for the hand-over: the other way to them, the
 * lines of OpenSSL's key log, takes longer than the kernel does to be given them.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* SHA256_Init() and such: no context to be allocated */
#include <errno.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>
#include <openssl/sha.h>
#include <string.h>

#include "tls/tls_internal.h"

#define KDF_PROVIDER "penstock"
#define KDF_OTHERS "provider!=" KDF_PROVIDER
#define KDF_OURS "our.kdf" /* short: OpenSSL hashes it whenever it looks for anything */

#define DIGEST_MAX SHA384_DIGEST_LENGTH
#define BLOCK_MAX SHA512_CBLOCK
#define OPAQUE_MAX 255 /* what a length of one byte can tell */
#define INFO_MAX (2 + 1 + OPAQUE_MAX + 1 + OPAQUE_MAX)

static OSSL_PROVIDER *kdf_provider; /* until the process ends */
static EVP_KDF *kdf_others; /* OpenSSL's own; NULL: ours is not in use */

/* ---- HMAC (RFC 2104) ---- */

struct hash {
	const char *names[2];
	size_t len_bytes;
	size_t block_bytes;
	bool is_384;
};

static const struct hash hashes[] = {
    {{"SHA2-256", "SHA256"}, SHA256_DIGEST_LENGTH, SHA256_CBLOCK, false},
    {{"SHA2-384", "SHA384"}, SHA384_DIGEST_LENGTH, SHA512_CBLOCK, true},
};

union hash_state {
	SHA256_CTX sha256;
	SHA512_CTX sha512; /* SHA-384 is SHA-512 from other values on */
};

struct bytes {
	const unsigned char *data;
	size_t len_bytes;
};

static const struct hash *hash_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(hashes); i++)
		for (size_t j = 0; j < ARRAY_LEN(hashes[i].names); j++)
			if (strcmp(name, hashes[i].names[j]) == 0)
				return &hashes[i];
	return NULL;
}

static void hash_start(const struct hash *hash, union hash_state *state)
{
	if (hash->is_384)
		SHA384_Init(&state->sha512);
	else
		SHA256_Init(&state->sha256);
}

static void hash_add(const struct hash *hash, union hash_state *state, struct bytes bytes)
{
	if (!bytes.len_bytes)
		return;
	if (hash->is_384)
		SHA384_Update(&state->sha512, bytes.data, bytes.len_bytes);
	else
		SHA256_Update(&state->sha256, bytes.data, bytes.len_bytes);
}

static void hash_end(const struct hash *hash, union hash_state *state, unsigned char *ret_digest)
{
	if (hash->is_384)
		SHA384_Final(ret_digest, &state->sha512);
	else
		SHA256_Final(ret_digest, &state->sha256);
}

/* The key, changed by `with` and as long as a block, is what both hashes of an HMAC begin with. */
static void hmac_start(const struct hash *hash, union hash_state *state, struct bytes key,
		       unsigned char with)
{
	unsigned char block[BLOCK_MAX];

	memset(block, with, hash->block_bytes);
	for (size_t i = 0; i < key.len_bytes; i++)
		block[i] ^= key.data[i];
	hash_start(hash, state);
	hash_add(hash, state, (struct bytes){block, hash->block_bytes});
	OPENSSL_cleanse(block, hash->block_bytes);
}

/* Of a key no longer than a block. */
static void hmac(const struct hash *hash, struct bytes key, const struct bytes *parts,
		 size_t n_parts, unsigned char *ret_mac)
{
	unsigned char inner[DIGEST_MAX];
	union hash_state state;

	hmac_start(hash, &state, key, 0x36);
	for (size_t i = 0; i < n_parts; i++)
		hash_add(hash, &state, parts[i]);
	hash_end(hash, &state, inner);
	hmac_start(hash, &state, key, 0x5c);
	hash_add(hash, &state, (struct bytes){inner, hash->len_bytes});
	hash_end(hash, &state, ret_mac);
	OPENSSL_cleanse(&state, sizeof(state));
	OPENSSL_cleanse(inner, sizeof(inner));
}

/* ---- HKDF (RFC 5869) ---- */

/* HKDF-Expand. False where that much cannot be made. */
static bool kdf_expand(const struct hash *hash, struct bytes secret, struct bytes info,
		       unsigned char *ret_out, size_t len_bytes)
{
	unsigned char block[DIGEST_MAX];
	size_t before_bytes = 0;

	if (len_bytes > 255 * hash->len_bytes)
		return false;
	for (unsigned char number = 1; len_bytes; number++) {
		struct bytes parts[] = {{block, before_bytes}, info, {&number, 1}};
		size_t n = MIN(len_bytes, hash->len_bytes);

		hmac(hash, secret, parts, ARRAY_LEN(parts), block);
		memcpy(ret_out, block, n);
		ret_out += n;
		len_bytes -= n;
		before_bytes = hash->len_bytes;
	}
	OPENSSL_cleanse(block, sizeof(block));
	return true;
}

struct question {
	const struct hash *hash;
	int mode; /* EVP_KDF_HKDF_MODE_*; -1: not told */
	struct bytes key, salt, prefix, label, data;
};

/* HKDF-Expand-Label of RFC 8446, 7.1. */
static bool kdf_expand_label(const struct question *question, struct bytes secret,
			     struct bytes context, unsigned char *ret_out, size_t len_bytes)
{
	size_t prefix_len = question->prefix.len_bytes, label_len = question->label.len_bytes;
	unsigned char info[INFO_MAX], *end = info;

	if (prefix_len + label_len > OPAQUE_MAX || context.len_bytes > OPAQUE_MAX ||
	    len_bytes > UINT16_MAX || secret.len_bytes > question->hash->block_bytes)
		return false;
	*end++ = (unsigned char)(len_bytes >> 8);
	*end++ = (unsigned char)len_bytes;
	*end++ = (unsigned char)(prefix_len + label_len);
	end = mempcpy(end, question->prefix.data, prefix_len);
	end = mempcpy(end, question->label.data, label_len);
	*end++ = (unsigned char)context.len_bytes;
	if (context.len_bytes)
		end = mempcpy(end, context.data, context.len_bytes);
	return kdf_expand(question->hash, secret, (struct bytes){info, (size_t)(end - info)},
			  ret_out, len_bytes);
}

/* HKDF-Extract with Derive-Secret(., "derived", "") before it: the way down in the picture of RFC
 * 8446, 7.1. What is missing are zeros there. */
static bool kdf_extract(const struct question *question, unsigned char *ret_out)
{
	static const unsigned char zeros[DIGEST_MAX];
	const struct hash *hash = question->hash;
	struct bytes key =
	    question->key.data ? question->key : (struct bytes){zeros, hash->len_bytes};
	unsigned char empty[DIGEST_MAX], salt[DIGEST_MAX];
	union hash_state state;

	memset(salt, 0, sizeof(salt));
	if (question->salt.data) {
		hash_start(hash, &state);
		hash_end(hash, &state, empty);
		if (!kdf_expand_label(question, question->salt,
				      (struct bytes){empty, hash->len_bytes}, salt,
				      hash->len_bytes))
			return false;
	}
	hmac(hash, (struct bytes){salt, hash->len_bytes}, &key, 1, ret_out);
	OPENSSL_cleanse(salt, sizeof(salt));
	return true;
}

/* ---- the algorithm, as OpenSSL calls it: provider-kdf(7) ---- */

static bool kdf_read_bytes(const OSSL_PARAM *param, struct question *question)
{
	const struct {
		const char *name;
		struct bytes *to;
	} known[] = {
	    {OSSL_KDF_PARAM_KEY, &question->key},     {OSSL_KDF_PARAM_PREFIX, &question->prefix},
	    {OSSL_KDF_PARAM_LABEL, &question->label}, {OSSL_KDF_PARAM_DATA, &question->data},
	    {OSSL_KDF_PARAM_SALT, &question->salt},
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (strcmp(param->key, known[i].name) != 0)
			continue;
		*known[i].to = (struct bytes){param->data, param->data_size};
		return param->data_type == OSSL_PARAM_OCTET_STRING && param->data;
	}
	return false;
}

/* False where something is asked for that libssl does not. */
static bool kdf_read(const OSSL_PARAM params[], struct question *question)
{
	bool ok = true;

	for (const OSSL_PARAM *param = params; ok && param->key; param++) {
		if (strcmp(param->key, OSSL_KDF_PARAM_MODE) == 0)
			ok = param->data_type == OSSL_PARAM_INTEGER &&
			     OSSL_PARAM_get_int(param, &question->mode) == 1;
		else if (strcmp(param->key, OSSL_KDF_PARAM_DIGEST) == 0)
			question->hash = param->data_type == OSSL_PARAM_UTF8_STRING && param->data
					     ? hash_find(param->data)
					     : NULL;
		else
			ok = kdf_read_bytes(param, question);
	}
	return ok && question->hash && question->prefix.data && question->label.data;
}

static bool kdf_answer(const struct question *question, unsigned char *ret_key, size_t len_bytes)
{
	switch (question->mode) {
	case EVP_KDF_HKDF_MODE_EXPAND_ONLY:
		return question->key.data && kdf_expand_label(question, question->key,
							      question->data, ret_key, len_bytes);
	case EVP_KDF_HKDF_MODE_EXTRACT_ONLY:
		return len_bytes == question->hash->len_bytes && kdf_extract(question, ret_key);
	default:
		return false;
	}
}

/* ---- what is kept: the keys of application data ---- */

static _Thread_local struct tls_secrets *watched;

void tls_kdf_watch(struct tls_secrets *secrets)
{
	watched = secrets;
}

static bool is_label(const struct question *question, const char *label)
{
	return question->label.len_bytes == strlen(label) &&
	       memcmp(question->label.data, label, question->label.len_bytes) == 0;
}

/* The record key and IV that are made of a secret that is known. */
static void kdf_note_key(const struct question *question, const unsigned char *out,
			 size_t len_bytes)
{
	bool is_key = is_label(question, "key"), is_iv = is_label(question, "iv");

	for (int side = 0; (is_key || is_iv) && side < TLS_SIDE_MAX; side++) {
		struct tls_direction_keys *keys = &watched->of[side].keys;

		if (!watched->of[side].known ||
		    question->key.len_bytes != watched->of[side].len_bytes ||
		    CRYPTO_memcmp(question->key.data, watched->of[side].secret,
				  question->key.len_bytes) != 0)
			continue;
		if (is_key && len_bytes <= sizeof(keys->key)) {
			memcpy(keys->key, out, len_bytes);
			watched->of[side].key_len = len_bytes;
		} else if (is_iv && len_bytes == sizeof(keys->iv)) {
			memcpy(keys->iv, out, len_bytes);
			watched->of[side].has_iv = true;
		}
	}
}

static void kdf_note(const struct question *question, const unsigned char *out, size_t len_bytes)
{
	if (!watched || question->mode != EVP_KDF_HKDF_MODE_EXPAND_ONLY || !question->key.data)
		return;
	if (is_label(question, "c ap traffic"))
		tls_keys_note_secret(watched, TLS_SIDE_CLIENT, out, len_bytes);
	else if (is_label(question, "s ap traffic"))
		tls_keys_note_secret(watched, TLS_SIDE_SERVER, out, len_bytes);
	else
		kdf_note_key(question, out, len_bytes);
}

static int kdf_ask_others(unsigned char *ret_key, size_t len_bytes, const OSSL_PARAM params[])
{
	EVP_KDF_CTX *ctx = kdf_others ? EVP_KDF_CTX_new(kdf_others) : NULL;
	int ok = ctx ? EVP_KDF_derive(ctx, ret_key, len_bytes, params) : 0;

	EVP_KDF_CTX_free(ctx);
	return ok;
}

static int kdf_derive(void *ctx UNUSED, unsigned char *ret_key, size_t len_bytes,
		      const OSSL_PARAM params[])
{
	struct question question = {.mode = -1};

	if (kdf_read(params, &question) && kdf_answer(&question, ret_key, len_bytes)) {
		kdf_note(&question, ret_key, len_bytes);
		return 1;
	}
	return kdf_ask_others(ret_key, len_bytes, params);
}

/* libssl gives all parameters with the question: there is nothing to keep in between. */
static void *kdf_new_ctx(void *provider)
{
	return provider;
}

static void kdf_free_ctx(void *ctx UNUSED) {}

static void kdf_reset_ctx(void *ctx UNUSED) {}

/* ---- the provider: provider-base(7) ---- */

#define ENTRY(id, function) \
	{ \
		id, (void (*)(void))(function) \
	}

static const OSSL_ALGORITHM *kdf_query(void *provider UNUSED, int operation, int *ret_no_cache)
{
	static const OSSL_DISPATCH functions[] = {
	    ENTRY(OSSL_FUNC_KDF_NEWCTX, kdf_new_ctx),
	    ENTRY(OSSL_FUNC_KDF_FREECTX, kdf_free_ctx),
	    ENTRY(OSSL_FUNC_KDF_RESET, kdf_reset_ctx),
	    ENTRY(OSSL_FUNC_KDF_DERIVE, kdf_derive),
	    {0, NULL},
	};
	static const OSSL_ALGORITHM algorithms[] = {
	    {OSSL_KDF_NAME_TLS1_3_KDF, "provider=" KDF_PROVIDER "," KDF_OURS "=yes", functions,
	     NULL},
	    {NULL, NULL, NULL, NULL},
	};

	*ret_no_cache = 0;
	return operation == OSSL_OP_KDF ? algorithms : NULL;
}

static int kdf_init_provider(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *core UNUSED,
			     const OSSL_DISPATCH **ret_functions, void **ret_provider)
{
	static const OSSL_DISPATCH functions[] = {
	    ENTRY(OSSL_FUNC_PROVIDER_QUERY_OPERATION, kdf_query),
	    {0, NULL},
	};

	*ret_functions = functions;
	*ret_provider = (void *)handle;
	return 1;
}

/* Our provider in a library context. NULL: refused. */
static OSSL_PROVIDER *kdf_load(OSSL_LIB_CTX *context)
{
	if (OSSL_PROVIDER_add_builtin(context, KDF_PROVIDER, kdf_init_provider) != 1)
		return NULL;
	/* What the host's OpenSSL would load by itself it still does. */
	return OSSL_PROVIDER_try_load(context, KDF_PROVIDER, 1);
}

/* The host may ask for properties that ours does not have, such as "fips=yes". */
static bool kdf_is_taken(void)
{
	EVP_KDF *taken = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, "?" KDF_OURS);
	bool is_ours = taken && EVP_KDF_get0_provider(taken) == kdf_provider;

	EVP_KDF_free(taken);
	return is_ours;
}

void tls_kdf_init(void)
{
	if (kdf_provider)
		return;
	kdf_provider = kdf_load(NULL);
	if (kdf_provider && kdf_is_taken())
		kdf_others = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, KDF_OTHERS);
	ERR_clear_error();
}

const char *tls_kdf_properties(void)
{
	return kdf_others ? "?" KDF_OURS : NULL;
}

int tls_kdf_add(OSSL_LIB_CTX *context)
{
	return kdf_others && !kdf_load(context) ? -ENOMEM : 0;
}

bool tls_kdf_is_ours(const OSSL_PROVIDER *provider)
{
	return provider && provider == kdf_provider;
}
