/* SPDX-License-Identifier: Apache-2.0 */
#include "flows/flows.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "penstock/limits.h"

#define FLOWS_NO_SLOT UINT32_MAX
#define FLOWS_BYTES (sizeof(struct stream_value) * PENSTOCK_MAX_STREAMS)

/* A thread's range as a list of free slots, by index; the last one given is the next one taken. */
struct flows_range {
	_Alignas(64) uint32_t first_free;
	uint64_t next_id;
};

struct flows {
	struct stream_value *slots;
	unsigned int n_threads;
	uint32_t *next_free; /* by slot */
	struct flows_range ranges[];
};

static void flows_fill_ranges(struct flows *flows)
{
	uint32_t share = PENSTOCK_MAX_STREAMS / flows->n_threads;

	for (unsigned int thread = 0; thread < flows->n_threads; thread++) {
		uint32_t first = thread * share;

		for (uint32_t i = first; i < first + share; i++)
			flows->next_free[i] = i + 1 < first + share ? i + 1 : FLOWS_NO_SLOT;
		flows->ranges[thread].first_free = first;
		flows->ranges[thread].next_id = thread + 1;
	}
}

struct flows *flows_new(int map_fd, unsigned int n_threads)
{
	size_t size_bytes = sizeof(struct flows) + n_threads * sizeof(struct flows_range);
	struct flows *flows = aligned_alloc(64, (size_bytes + 63) & ~(size_t)63);
	int flags = map_fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
	int err;

	if (!flows)
		return NULL;
	memset(flows, 0, size_bytes);
	flows->n_threads = n_threads;
	flows->next_free = calloc(PENSTOCK_MAX_STREAMS, sizeof(*flows->next_free));
	flows->slots = mmap(NULL, FLOWS_BYTES, PROT_READ | PROT_WRITE, flags, map_fd, 0);
	if (!flows->next_free || flows->slots == MAP_FAILED) {
		err = errno;
		flows->slots = NULL;
		flows_free(flows);
		errno = err;
		return NULL;
	}
	if (map_fd >= 0)
		memset(flows->slots, 0, FLOWS_BYTES);
	flows_fill_ranges(flows);
	return flows;
}

void flows_free(struct flows *flows)
{
	if (!flows)
		return;
	if (flows->slots)
		munmap(flows->slots, FLOWS_BYTES);
	free(flows->next_free);
	free(flows);
}

struct stream_value *flows_take(struct flows *flows, unsigned int thread)
{
	struct flows_range *range = &flows->ranges[thread];
	uint32_t index = range->first_free;
	struct stream_value *slot;

	if (index == FLOWS_NO_SLOT)
		return NULL;
	range->first_free = flows->next_free[index];
	slot = &flows->slots[index];
	slot->id = range->next_id;
	range->next_id += flows->n_threads;
	return slot;
}

void flows_give(struct flows *flows, unsigned int thread, struct stream_value *slot)
{
	struct flows_range *range = &flows->ranges[thread];
	uint32_t index;

	if (!slot)
		return;
	index = flows_index(flows, slot);
	memset(slot, 0, sizeof(*slot));
	flows->next_free[index] = range->first_free;
	range->first_free = index;
}

uint32_t flows_index(const struct flows *flows, const struct stream_value *slot)
{
	return (uint32_t)(slot - flows->slots);
}

bool flows_read(const struct flows *flows, uint32_t index, struct stream_value *ret_value)
{
	if (index >= PENSTOCK_MAX_STREAMS || flows->slots[index].id == 0)
		return false;
	*ret_value = flows->slots[index];
	/* Given back while it was copied. */
	atomic_thread_fence(memory_order_acquire);
	return ret_value->id != 0 && flows->slots[index].id == ret_value->id;
}
