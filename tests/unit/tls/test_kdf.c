/* SPDX-License-Identifier: Apache-2.0 */
/* Our key schedule of TLS 1.3 against the vectors of RFC 8448, 3, and against OpenSSL's own. */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lab.h"
#include "tls/tls_internal.h"

#define OUT_MAX 20000

struct question {
	int mode;
	const char *digest;
	const char *label;
	size_t key_len, salt_len, data_len; /* 0: not given */
	size_t out_len;
};

static unsigned char pattern[4096];

static void add_bytes(OSSL_PARAM **param, const char *name, const void *data, size_t len_bytes)
{
	if (len_bytes)
		*(*param)++ = OSSL_PARAM_construct_octet_string(name, (void *)data, len_bytes);
}

static int derive(const char *properties, const char *provider, const OSSL_PARAM *params,
		  unsigned char *ret_out, size_t len_bytes)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, properties);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	int ok;

	assert_non_null(ctx);
	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(kdf)), provider);
	ok = EVP_KDF_derive(ctx, ret_out, len_bytes, params);
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return ok;
}

static int ask(const char *properties, const char *provider, const struct question *question,
	       unsigned char *ret_out)
{
	int mode = question->mode;
	OSSL_PARAM params[8], *p = params;

	*p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
	*p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)question->digest, 0);
	add_bytes(&p, OSSL_KDF_PARAM_KEY, pattern, question->key_len);
	add_bytes(&p, OSSL_KDF_PARAM_SALT, pattern + 7, question->salt_len);
	add_bytes(&p, OSSL_KDF_PARAM_PREFIX, "tls13 ", 6);
	add_bytes(&p, OSSL_KDF_PARAM_LABEL, question->label, strlen(question->label));
	add_bytes(&p, OSSL_KDF_PARAM_DATA, pattern + 11, question->data_len);
	*p = OSSL_PARAM_construct_end();
	return derive(properties, provider, params, ret_out, question->out_len);
}

static void expect_same(const struct question *question)
{
	static unsigned char ours[OUT_MAX], theirs[OUT_MAX];

	assert_int_equal(ask("provider=default", "default", question, theirs), 1);
	assert_int_equal(ask(tls_kdf_properties(), "penstock", question, ours), 1);
	assert_memory_equal(ours, theirs, question->out_len);
}

static void secrets_are_those_of_openssl(void **state)
{
	static const struct {
		const char *name;
		size_t len_bytes;
	} digests[] = {
	    {"SHA2-256", 32}, {"SHA256", 32}, {"SHA2-384", 48}, {"SHA384", 48}, {"SHA512", 64}};
	static const char long_label[] =
	    "a label that is as long as none of TLS, so that two blocks "
	    "of the hash are needed for it and a bit of a third one";
	static const size_t outs[] = {1, 12, 16, 32, 48, 100, 255 * 32};
	static const size_t inputs[] = {0, 1, 32, 66, 133, 1024};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(digests); i++) {
		size_t len = digests[i].len_bytes;

		for (size_t j = 0; j < ARRAY_LEN(outs); j++) {
			struct question question = {EVP_KDF_HKDF_MODE_EXPAND_ONLY,
						    digests[i].name,
						    "c hs traffic",
						    len,
						    0,
						    len,
						    outs[j]};

			expect_same(&question);
			question.data_len = 0;
			question.label = long_label;
			expect_same(&question);
		}
		for (size_t j = 0; j < ARRAY_LEN(inputs); j++) {
			struct question question = {EVP_KDF_HKDF_MODE_EXTRACT_ONLY,
						    digests[i].name,
						    "derived",
						    inputs[j],
						    0,
						    0,
						    len};

			expect_same(&question);
			question.salt_len = len;
			expect_same(&question);
		}
	}
}

static void what_is_not_for_us_goes_to_openssl(void **state)
{
	struct question question = {EVP_KDF_HKDF_MODE_EXPAND_ONLY, "SHA256", "key", 300, 0, 0, 32};
	unsigned char out[32];

	(void)state;
	expect_same(&question); /* a secret longer than a block */
	question.digest = "no such digest";
	assert_int_not_equal(ask(tls_kdf_properties(), "penstock", &question, out), 1);
	question =
	    (struct question){EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, "SHA256", "key", 32, 0, 0, 32};
	assert_int_not_equal(ask(tls_kdf_properties(), "penstock", &question, out), 1);
}

static void more_than_can_be_made_is_refused(void **state)
{
	static unsigned char out[OUT_MAX];
	struct question question = {
	    EVP_KDF_HKDF_MODE_EXPAND_ONLY, "SHA256", "key", 32, 0, 0, 255 * 32 + 1};

	(void)state;
	assert_int_not_equal(ask(tls_kdf_properties(), "penstock", &question, out), 1);
	question.out_len = 32;
	question.data_len = 256;
	assert_int_not_equal(ask(tls_kdf_properties(), "penstock", &question, out), 1);
}

static void extract(const unsigned char *salt, const unsigned char *key, unsigned char *ret_out)
{
	int mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
	OSSL_PARAM params[7], *p = params;

	*p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
	*p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA2-256", 0);
	add_bytes(&p, OSSL_KDF_PARAM_KEY, key, key ? 32 : 0);
	add_bytes(&p, OSSL_KDF_PARAM_SALT, salt, salt ? 32 : 0);
	add_bytes(&p, OSSL_KDF_PARAM_PREFIX, "tls13 ", 6);
	add_bytes(&p, OSSL_KDF_PARAM_LABEL, "derived", 7);
	*p = OSSL_PARAM_construct_end();
	assert_int_equal(derive(tls_kdf_properties(), "penstock", params, ret_out, 32), 1);
}

static void expect_hex(const unsigned char *data, const char *hex)
{
	char text[65];

	for (size_t i = 0; i < 32; i++)
		snprintf(text + 2 * i, 3, "%02x", data[i]);
	assert_string_equal(text, hex);
}

static void the_vectors_of_the_rfc_are_met(void **state)
{
	static const unsigned char shared[32] = {0x8b, 0xd4, 0x05, 0x4f, 0xb5, 0x5b, 0x9d, 0x63,
						 0xfd, 0xfb, 0xac, 0xf9, 0xf0, 0x4b, 0x9f, 0x0d,
						 0x35, 0xe6, 0xd6, 0x3f, 0x53, 0x75, 0x63, 0xef,
						 0xd4, 0x62, 0x72, 0x90, 0x0f, 0x89, 0x49, 0x2d};
	unsigned char early[32], handshake[32], master[32];

	(void)state;
	extract(NULL, NULL, early);
	expect_hex(early, "33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a");
	extract(early, shared, handshake);
	expect_hex(handshake, "1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac");
	extract(handshake, NULL, master);
	expect_hex(master, "18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(secrets_are_those_of_openssl),
	    cmocka_unit_test(what_is_not_for_us_goes_to_openssl),
	    cmocka_unit_test(more_than_can_be_made_is_refused),
	    cmocka_unit_test(the_vectors_of_the_rfc_are_met),
	};

	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (unsigned char)(i * 7 + i / 256);
	lab_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
