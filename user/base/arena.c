/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>

#define ARENA_BLOCK_BYTES 4096

struct arena_block {
	struct arena_block *next;
	size_t used_bytes;
	size_t size_bytes;
	alignas(max_align_t) char data[];
};

void arena_init(struct arena *arena, size_t limit_bytes)
{
	*arena = (struct arena){.limit_bytes = limit_bytes};
}

void arena_reset(struct arena *arena)
{
	struct arena_block *next;

	for (struct arena_block *block = arena->blocks; block; block = next) {
		next = block->next;
		free(block);
	}
	arena->blocks = NULL;
	arena->used_bytes = 0;
}

static struct arena_block *arena_grow(struct arena *arena, size_t len_bytes)
{
	size_t size_bytes = MAX(len_bytes, ARENA_BLOCK_BYTES - sizeof(struct arena_block));
	struct arena_block *block = calloc(1, sizeof(*block) + size_bytes);

	if (!block)
		return NULL;
	block->size_bytes = size_bytes;
	block->next = arena->blocks;
	arena->blocks = block;
	return block;
}

void *arena_alloc(struct arena *arena, size_t len_bytes)
{
	const size_t mask = alignof(max_align_t) - 1;
	struct arena_block *block = arena->blocks;
	void *ret;

	if (len_bytes > SIZE_MAX / 2)
		return NULL;
	len_bytes = (len_bytes + mask) & ~mask;
	if (arena->limit_bytes &&
	    len_bytes > arena->limit_bytes - MIN(arena->limit_bytes, arena->used_bytes))
		return NULL;
	if (!block || block->size_bytes - block->used_bytes < len_bytes)
		block = arena_grow(arena, len_bytes);
	if (!block)
		return NULL;
	ret = block->data + block->used_bytes;
	block->used_bytes += len_bytes;
	arena->used_bytes += len_bytes;
	return ret;
}

char *arena_strdup(struct arena *arena, struct str text)
{
	char *copy = arena_alloc(arena, text.len + 1);

	if (copy && text.len)
		memcpy(copy, text.ptr, text.len);
	return copy;
}
