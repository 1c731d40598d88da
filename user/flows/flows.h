/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live table of spliced streams: one slot each in a pinned, memory-mapped BPF array, so that
 * bpftool and `penstock flows` read while the stream runs, and counting costs a store. Each thread
 * owns a range of slots.
 */
#ifndef PENSTOCK_FLOWS_FLOWS_H
#define PENSTOCK_FLOWS_FLOWS_H

#include <jansson.h>
#include <stdint.h>

#include "base/compiler.h"
#include "penstock/abi.h"

struct flows;

/* Maps the array `map_fd` of struct stream_value (-1: a private table, which nobody else sees).
 * NULL and errno. */
struct flows *flows_new(int map_fd, unsigned int n_threads) MUST_CHECK;
void flows_free(struct flows *flows);

/* A zeroed slot of the thread's range, in use from now on; NULL: all are taken (the stream goes on
 * without). */
struct stream_value *flows_take(struct flows *flows, unsigned int thread);

/* Its index in the map. */
uint32_t flows_index(const struct flows *flows, const struct stream_value *slot);

/* Zeroed and free. Takes NULL. */
void flows_give(struct flows *flows, unsigned int thread, struct stream_value *slot);

/* [{"client", "origin", "listener", "lane", "engine_up", …, "bytes_up", "bytes_down", "age_s",
 * "idle_s", "why"}]. */
json_t *flows_list(const struct flows *flows) MUST_CHECK;

#endif
