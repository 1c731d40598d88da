/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live table of open connections: one slot each in a BPF array that is pinned and mapped into
 * memory, so that bpftool and `penstock flows` read while a stream runs, and counting costs a
 * store. Each thread owns a range of slots; taking and giving are for that thread only.
 */
#ifndef PENSTOCK_FLOWS_FLOWS_H
#define PENSTOCK_FLOWS_FLOWS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "penstock/abi.h"

struct flows;

/*
 * Maps the array `map_fd` of PENSTOCK_MAX_STREAMS struct stream_value and empties it; -1: a private
 * table that bpftool cannot see. The descriptor stays the caller's. NULL and errno.
 */
struct flows *flows_new(int map_fd, unsigned int n_threads) MUST_CHECK;

/* Takes NULL. */
void flows_free(struct flows *flows);

/* A zeroed slot with an id, the thread's until it is given back; NULL: all are taken (the stream
 * goes on without). */
struct stream_value *flows_take(struct flows *flows, unsigned int thread);

/* Takes NULL. */
void flows_give(struct flows *flows, unsigned int thread, struct stream_value *slot);

/* Its place in the array. */
uint32_t flows_index(const struct flows *flows, const struct stream_value *slot);

/*
 * A copy of what stands in place `index`, if a stream is there. Other threads write meanwhile, so
 * numbers may be of slightly different moments. False: free, or past the end.
 */
bool flows_read(const struct flows *flows, uint32_t index, struct stream_value *ret_value);

#endif
