/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL's memory. It allocates and frees some hundred small blocks a handshake, and a few large
 * ones for each record, so each thread keeps a bounded number of those that were freed. And what is
 * freed while a private key is read is wiped: OpenSSL 3.0 itself wipes the key, but not what its
 * decoders made of the file on the way, which is lines of base64, and the DER form. Every block is
 * malloc()'s, whichever thread it comes back from.
 */
#include <malloc.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "tls/tls_internal.h"

/* Class N has blocks of 16 * N + 8 bytes or a little more, as glibc makes them. */
#define CLASSES 65
#define CLASS_BYTES(number) (16 * (number) + 8)
#define CLASS_KEPT_BYTES 4096 /* of each class */
#define LARGE_MIN (CLASS_BYTES(CLASSES - 1) + 1)
#define LARGE_MAX (20 * 1024) /* a record with its frame */
#define LARGE_KEPT 8

struct block {
	struct block *next;
	const void *owner; /* the memory that keeps it, as long as it does */
};

struct memory {
	struct block *kept[CLASSES];
	uint16_t n_left[CLASSES]; /* how many more may be kept */
	struct {
		void *data;
		size_t len_bytes; /* 0: none */
	} large[LARGE_KEPT];
	unsigned int next_large;
	bool is_set_up;
	bool wipes;
};

static _Thread_local struct memory memory;
static pthread_key_t memory_key;
static bool keeps_blocks; /* there is a key */

_Static_assert(sizeof(struct block) <= CLASS_BYTES(1), "a kept block holds its link");

/* ---- blocks that are kept ---- */

/* At the thread's end, and again where others free something after that. */
static void memory_release(void *argument)
{
	struct memory *own = argument;

	for (size_t i = 0; i < CLASSES; i++)
		for (struct block *block; (block = own->kept[i]);) {
			own->kept[i] = block->next;
			free(block);
		}
	for (size_t i = 0; i < LARGE_KEPT; i++)
		free(own->large[i].data);
	memset(own->large, 0, sizeof(own->large));
	own->is_set_up = false;
}

static bool memory_set_up(struct memory *own)
{
	if (!keeps_blocks || pthread_setspecific(memory_key, own))
		return false;
	for (size_t i = 1; i < CLASSES; i++)
		own->n_left[i] = (uint16_t)(CLASS_KEPT_BYTES / CLASS_BYTES(i));
	own->is_set_up = true;
	return true;
}

static void *memory_take_large(struct memory *own, size_t len_bytes)
{
	for (size_t i = 0; i < LARGE_KEPT; i++) {
		void *data = own->large[i].data;

		if (own->large[i].len_bytes < len_bytes ||
		    own->large[i].len_bytes > len_bytes + len_bytes / 8)
			continue;
		own->large[i].data = NULL;
		own->large[i].len_bytes = 0;
		return data;
	}
	return malloc(len_bytes);
}

/* One that nobody asks for any more gives way. */
static void memory_keep_large(struct memory *own, void *data, size_t len_bytes)
{
	size_t at = 0;

	while (at < LARGE_KEPT && own->large[at].data)
		at++;
	if (at == LARGE_KEPT) {
		at = own->next_large++ % LARGE_KEPT;
		free(own->large[at].data);
	}
	own->large[at].data = data;
	own->large[at].len_bytes = len_bytes;
}

static void *memory_take(struct memory *own, size_t len_bytes)
{
	size_t number = len_bytes > CLASS_BYTES(1) ? (len_bytes + 7) / 16 : 1;
	struct block *block;

	if (number >= CLASSES)
		return memory_take_large(own, len_bytes);
	block = own->kept[number];
	if (!block)
		return malloc(CLASS_BYTES(number));
	own->kept[number] = block->next;
	own->n_left[number]++;
	block->owner = NULL;
	return block;
}

static bool memory_has(const struct memory *own, size_t number, const struct block *wanted)
{
	for (const struct block *block = own->kept[number]; block; block = block->next)
		if (block == wanted)
			return true;
	return false;
}

static void memory_keep(struct memory *own, void *data)
{
	size_t len_bytes = malloc_usable_size(data), number = (len_bytes - 8) / 16;
	struct block *block = data;

	if (len_bytes < CLASS_BYTES(1) || len_bytes > LARGE_MAX) {
		free(data);
	} else if (len_bytes >= LARGE_MIN) {
		memory_keep_large(own, data, len_bytes);
	} else if (!own->n_left[number]) {
		free(data);
	} else {
		BUG_ON(block->owner == own && memory_has(own, number, block)); /* freed twice */
		block->next = own->kept[number];
		block->owner = own;
		own->kept[number] = block;
		own->n_left[number]--;
	}
}

/* ---- as OpenSSL calls it ---- */

static void *openssl_malloc(size_t len_bytes, const char *file UNUSED, int line UNUSED)
{
	return keeps_blocks ? memory_take(&memory, len_bytes) : malloc(len_bytes);
}

static void openssl_free(void *data, const char *file UNUSED, int line UNUSED)
{
	struct memory *own = &memory;

	if (!data)
		return;
	if (own->wipes)
		OPENSSL_cleanse(data, malloc_usable_size(data));
	if (own->is_set_up || memory_set_up(own))
		memory_keep(own, data);
	else
		free(data);
}

/* realloc() may move, and leaves what was behind. */
static void *openssl_realloc(void *data, size_t len_bytes, const char *file, int line)
{
	size_t old_bytes = data ? malloc_usable_size(data) : 0;
	void *moved;

	if (!data || !memory.wipes)
		return realloc(data, len_bytes);
	if (len_bytes == 0) {
		openssl_free(data, file, line);
		return NULL;
	}
	if (len_bytes <= old_bytes)
		return data;
	moved = malloc(len_bytes);
	if (!moved)
		return NULL;
	memcpy(moved, data, old_bytes);
	openssl_free(data, file, line);
	return moved;
}

void tls_memory_init(bool keeps)
{
	if (keeps && !keeps_blocks)
		keeps_blocks = pthread_key_create(&memory_key, memory_release) == 0;
	/* Refused where OpenSSL has memory already: a second time, or in a test. */
	CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free);
}

void tls_wipe_begin(void)
{
	memory.wipes = true;
}

void tls_wipe_end(void)
{
	memory.wipes = false;
}
