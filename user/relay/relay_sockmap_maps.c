/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The maps of the sockmap engine as this process holds them: opened once, shared out in slots to
 * the threads that come, each with a ring of events. What a stream does there is in
 * relay_sockmap.c.
 */
#include "relay/relay_internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A program that runs on another processor may still write to the counts of a direction that it
 * found just before it was removed; it is over long before this. */
#define SOCKMAP_SLOT_REST_MS 20

/* Slots are made as they are needed, this many at once. */
#define SOCKMAP_SLOT_BLOCK 64U

struct sockmap_block {
	struct sockmap_block *next;
	struct sockmap_slot slots[SOCKMAP_SLOT_BLOCK];
};

struct sockmap_thread {
	struct loop *loop;
	struct watch ring_watch;
	struct ring_buffer *ring;
	bool has_ring;
	uint32_t number; /* the ring's */
	uint32_t first_index;
	uint32_t n_slots; /* made so far */
	uint32_t max_slots;
	struct sockmap_slot **by_place; /* max_slots, index less first_index */
	struct sockmap_block *blocks;
	struct list free_slots; /* the one that was freed first is first */
};

#define SOCKMAP_DIRS_BYTES (2 * (size_t)PENSTOCK_MAX_SPLICE_STREAMS * sizeof(struct splice_dir))

_Static_assert(PENSTOCK_MAX_THREADS <= 64, "sockmap_rings_taken has 64 bits");

static struct relay_sockmap_maps sockmap_maps;
static struct splice_dir *sockmap_dirs; /* NULL: not opened */
static char sockmap_refusal[256];
static _Atomic(const char *) sockmap_off = "no program for it was loaded";
static _Atomic(const char *) sockmap_alarm;
static _Atomic uint64_t sockmap_rings_taken; /* bit per ring: a thread has it */
static _Thread_local struct sockmap_thread *sockmap_own;
static _Thread_local bool sockmap_own_failed;

/* ---- the process ---- */

static void sockmap_close_maps(const struct relay_sockmap_maps *maps)
{
	close(maps->src);
	close(maps->tgt);
	close(maps->ids);
	close(maps->dirs);
	for (unsigned int i = 0; i < maps->n_rings; i++)
		close(maps->rings[i]);
}

/* A worker that died left the cookies of its sockets; the sockets themselves left with it. */
static void sockmap_purge_ids(int ids_fd)
{
	uint64_t cookie;

	while (bpf_map_get_next_key(ids_fd, NULL, &cookie) == 0)
		if (bpf_map_delete_elem(ids_fd, &cookie))
			return;
}

int relay_sockmap_open(const struct relay_sockmap_maps *maps)
{
	void *dirs;

	if (sockmap_dirs || maps->n_rings == 0) {
		sockmap_close_maps(maps);
		return -EINVAL;
	}
	dirs = mmap(NULL, SOCKMAP_DIRS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, maps->dirs, 0);
	if (dirs == MAP_FAILED) {
		int err = -errno;

		sockmap_close_maps(maps);
		return err;
	}
	sockmap_purge_ids(maps->ids);
	sockmap_maps = *maps;
	sockmap_dirs = dirs;
	atomic_store(&sockmap_off, NULL);
	return 0;
}

void relay_sockmap_refuse(const char *why)
{
	if (sockmap_dirs || sockmap_refusal[0])
		return;
	snprintf(sockmap_refusal, sizeof(sockmap_refusal), "%s", why);
	atomic_store(&sockmap_off, sockmap_refusal);
}

const char *relay_sockmap_why_not(void)
{
	return atomic_load_explicit(&sockmap_off, memory_order_relaxed);
}

void sockmap_turn_off(const char *why)
{
	const char *on = NULL;

	if (atomic_compare_exchange_strong(&sockmap_off, &on, why))
		atomic_store(&sockmap_alarm, why);
}

const char *relay_sockmap_take_alarm(void)
{
	if (LIKELY(!atomic_load_explicit(&sockmap_alarm, memory_order_relaxed)))
		return NULL;
	return atomic_exchange(&sockmap_alarm, NULL);
}

void relay_sockmap_close(void)
{
	sockmap_thread_done();
	if (!sockmap_dirs)
		return;
	munmap(sockmap_dirs, SOCKMAP_DIRS_BYTES);
	sockmap_dirs = NULL;
	sockmap_close_maps(&sockmap_maps);
	sockmap_refusal[0] = '\0';
	atomic_store(&sockmap_off, "no program for it was loaded");
	atomic_store(&sockmap_alarm, NULL);
}

/* ---- events ---- */

/* "generation, place, direction": an event of a stream that has gone finds nobody. */
static uint64_t sockmap_event_id(const struct sockmap_slot *slot, unsigned int direction)
{
	return (uint64_t)slot->generation << 32 | (uint64_t)slot->index << 1 | direction;
}

static int sockmap_on_record(void *argument, void *data, size_t len_bytes)
{
	const struct sockmap_thread *thread = argument;
	const struct splice_event *event = data;
	struct sockmap_slot *slot;
	uint32_t place;

	if (len_bytes < sizeof(*event))
		return 0;
	place = (uint32_t)event->id / 2 - thread->first_index;
	slot = place < thread->n_slots ? thread->by_place[place] : NULL;
	if (slot && slot->stream && slot->generation == event->id >> 32)
		relay_sockmap_event(slot->stream);
	return 0;
}

static void sockmap_on_ring(struct watch *watch, uint32_t events UNUSED)
{
	struct sockmap_thread *thread = container_of(watch, struct sockmap_thread, ring_watch);

	ring_buffer__consume(thread->ring);
}

/* ---- the thread ---- */

static void sockmap_thread_free(struct sockmap_thread *thread)
{
	struct sockmap_block *next;

	ring_buffer__free(thread->ring);
	if (thread->has_ring)
		atomic_fetch_and(&sockmap_rings_taken, ~(UINT64_C(1) << thread->number));
	for (; thread->blocks; thread->blocks = next) {
		next = thread->blocks->next;
		free(thread->blocks);
	}
	free(thread->by_place);
	free(thread);
}

static int sockmap_take_ring(uint32_t *ret_number)
{
	for (uint32_t i = 0; i < sockmap_maps.n_rings; i++) {
		uint64_t bit = UINT64_C(1) << i;

		if (!(atomic_fetch_or(&sockmap_rings_taken, bit) & bit)) {
			*ret_number = i;
			return 0;
		}
	}
	return -ENOSPC;
}

static int sockmap_thread_start(struct sockmap_thread *thread, struct loop *loop)
{
	uint32_t share = PENSTOCK_MAX_SPLICE_STREAMS / sockmap_maps.n_rings;

	thread->loop = loop;
	if (sockmap_take_ring(&thread->number))
		return -ENOSPC;
	thread->has_ring = true;
	thread->first_index = thread->number * share;
	thread->max_slots = share;
	list_init(&thread->free_slots);
	thread->by_place = calloc(share, sizeof(struct sockmap_slot *));
	if (!thread->by_place)
		return -ENOMEM;
	thread->ring =
	    ring_buffer__new(sockmap_maps.rings[thread->number], sockmap_on_record, thread, NULL);
	if (!thread->ring)
		return -errno;
	thread->ring_watch =
	    (struct watch){.fd = sockmap_maps.rings[thread->number], .on_event = sockmap_on_ring};
	return loop_watch_level(loop, &thread->ring_watch, EPOLLIN);
}

/* NULL: this thread has no sockmap. */
static struct sockmap_thread *sockmap_thread(struct loop *loop)
{
	struct sockmap_thread *thread;

	if (LIKELY(sockmap_own != NULL) || sockmap_own_failed)
		return sockmap_own;
	thread = calloc(1, sizeof(*thread));
	if (thread && sockmap_thread_start(thread, loop)) {
		sockmap_thread_free(thread);
		thread = NULL;
	}
	sockmap_own_failed = !thread;
	sockmap_own = thread;
	return thread;
}

void sockmap_thread_done(void)
{
	if (sockmap_own) {
		loop_unwatch(sockmap_own->loop, &sockmap_own->ring_watch);
		sockmap_thread_free(sockmap_own);
	}
	sockmap_own = NULL;
	sockmap_own_failed = false;
}

/* ---- slots ---- */

static void sockmap_make_slots(struct sockmap_thread *thread)
{
	struct sockmap_block *block = calloc(1, sizeof(*block));
	uint32_t n_new;

	if (!block)
		return;
	block->next = thread->blocks;
	thread->blocks = block;
	n_new = MIN(thread->max_slots - thread->n_slots, SOCKMAP_SLOT_BLOCK);
	for (uint32_t i = n_new; i-- > 0;) { /* so that the first comes first */
		struct sockmap_slot *slot = &block->slots[i];

		slot->index = thread->first_index + thread->n_slots + i;
		thread->by_place[thread->n_slots + i] = slot;
		list_add_head(&slot->node, &thread->free_slots);
	}
	thread->n_slots += n_new;
}

struct sockmap_slot *sockmap_slot_take(struct loop *loop, struct relay_sockmap *stream)
{
	struct sockmap_thread *thread = sockmap_thread(loop);
	struct sockmap_slot *slot;
	uint64_t now_ms = loop_now_ms(loop);

	for (int attempt = 0; thread && attempt < 2; attempt++) {
		struct list *node = list_first(&thread->free_slots);

		slot = node ? container_of(node, struct sockmap_slot, node) : NULL;
		if (slot && (!slot->freed_ms || now_ms - slot->freed_ms >= SOCKMAP_SLOT_REST_MS)) {
			list_del(&slot->node);
			slot->generation++;
			slot->stream = stream;
			return slot;
		}
		if (thread->n_slots < thread->max_slots)
			sockmap_make_slots(thread);
	}
	return NULL;
}

void sockmap_slot_give(struct sockmap_slot *slot, uint64_t now_ms)
{
	slot->stream = NULL;
	slot->freed_ms = now_ms;
	list_add_tail(&slot->node, &sockmap_own->free_slots);
}

struct splice_dir *sockmap_slot_dir(const struct sockmap_slot *slot, unsigned int direction)
{
	return &sockmap_dirs[2 * slot->index + direction];
}

void sockmap_slot_start(const struct sockmap_slot *slot, unsigned int direction,
			uint32_t window_bytes)
{
	*sockmap_slot_dir(slot, direction) = (struct splice_dir){
	    .id = sockmap_event_id(slot, direction),
	    .window_bytes = window_bytes,
	    .ring = sockmap_own->number,
	};
}

/* ---- elements ---- */

int sockmap_put_id(uint64_t cookie, const struct sockmap_slot *slot, unsigned int direction)
{
	uint32_t index = 2 * slot->index + direction;

	return bpf_map_update_elem(sockmap_maps.ids, &cookie, &index, BPF_ANY) ? -errno : 0;
}

static int sockmap_put_socket(int map_fd, uint64_t cookie, int fd)
{
	uint64_t value = (uint64_t)fd;

	return bpf_map_update_elem(map_fd, &cookie, &value, BPF_ANY) ? -errno : 0;
}

int sockmap_put_target(uint64_t cookie, int fd)
{
	return sockmap_put_socket(sockmap_maps.tgt, cookie, fd);
}

int sockmap_put_source(uint64_t cookie, int fd)
{
	return sockmap_put_socket(sockmap_maps.src, cookie, fd);
}

void sockmap_remove_id(uint64_t cookie)
{
	bpf_map_delete_elem(sockmap_maps.ids, &cookie);
}

void sockmap_remove_target(uint64_t cookie)
{
	bpf_map_delete_elem(sockmap_maps.tgt, &cookie);
}

void sockmap_remove_source(uint64_t cookie)
{
	bpf_map_delete_elem(sockmap_maps.src, &cookie);
}
