/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory with one lifetime: many allocations, one free. Not thread-safe.
 * An arena holds no memory until the first allocation.
 */
#ifndef PENSTOCK_BASE_ARENA_H
#define PENSTOCK_BASE_ARENA_H

#include <stddef.h>

#include "base/compiler.h"
#include "base/str.h"

struct arena_block;

struct arena {
	struct arena_block *blocks; /* newest first */
	size_t used_bytes; /* sum of what was asked for */
	size_t limit_bytes; /* 0: none; an allocation past it fails */
};

void arena_init(struct arena *arena, size_t limit_bytes);

/* Frees everything; the arena may be used again. */
void arena_reset(struct arena *arena);

/* Zeroed memory aligned for any type; NULL where memory or the limit is out. */
void *arena_alloc(struct arena *arena, size_t len_bytes) MUST_CHECK;

/* A terminated copy; NULL where memory or the limit is out. */
char *arena_strdup(struct arena *arena, struct str text) MUST_CHECK;

#define arena_new(arena, type) ((type *)arena_alloc(arena, sizeof(type)))
#define arena_array(arena, type, n) ((type *)arena_alloc(arena, sizeof(type) * (n)))

#endif
