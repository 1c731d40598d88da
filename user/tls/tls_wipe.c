/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What OpenSSL frees while it reads a private key is wiped. By itself OpenSSL 3.0 wipes the key,
 * but not what its decoders made of the file on the way: lines of base64, and the DER form.
 */
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls_internal.h"

static _Thread_local bool wipes;

static void *wipe_malloc(size_t len_bytes, const char *file UNUSED, int line UNUSED)
{
	return malloc(len_bytes);
}

static void wipe_free(void *data, const char *file UNUSED, int line UNUSED)
{
	if (data && wipes)
		OPENSSL_cleanse(data, malloc_usable_size(data));
	free(data);
}

/* realloc() may move, and leaves what was behind. */
static void *wipe_realloc(void *data, size_t len_bytes, const char *file, int line)
{
	size_t old_bytes = data ? malloc_usable_size(data) : 0;
	void *moved;

	if (!data || !wipes)
		return realloc(data, len_bytes);
	if (len_bytes == 0) {
		wipe_free(data, file, line);
		return NULL;
	}
	if (len_bytes <= old_bytes)
		return data;
	moved = malloc(len_bytes);
	if (!moved)
		return NULL;
	memcpy(moved, data, old_bytes);
	wipe_free(data, file, line);
	return moved;
}

void tls_wipe_init(void)
{
	/* Refused where OpenSSL has memory already: a second time, or in a test. */
	CRYPTO_set_mem_functions(wipe_malloc, wipe_realloc, wipe_free);
}

void tls_wipe_begin(void)
{
	wipes = true;
}

void tls_wipe_end(void)
{
	wipes = false;
}
