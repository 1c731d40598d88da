/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread's event loop: epoll, edge-triggered, each descriptor registered once for its whole
 * life, many events a wait, a timing wheel, and a mailbox that other threads may post to.
 * Everything else is for the owning thread only.
 */
#ifndef PENSTOCK_BASE_LOOP_H
#define PENSTOCK_BASE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/compiler.h"
#include "base/list.h"
#include "base/timer.h"

/* Bytes of the scratch buffer (see loop_scratch()). */
#define LOOP_SCRATCH_BYTES 65536

struct loop;

struct watch {
	int fd;
	/* EPOLL* bits. May remove any watch, this one too, and free what holds it. */
	void (*on_event)(struct watch *watch, uint32_t events);
};

/* NULL and errno where the kernel or memory refuses. */
struct loop *loop_new(void) MUST_CHECK;

/* Closes the loop's own descriptors, not those watched. Takes NULL. */
void loop_free(struct loop *loop);

/* `events` without EPOLLET, which is added. The watch stays the caller's. 0 or -errno. */
int loop_watch(struct loop *loop, struct watch *watch, uint32_t events) MUST_CHECK;

/* As loop_watch(), level-triggered: for listeners, which must not be drained before others are
 * served. */
int loop_watch_level(struct loop *loop, struct watch *watch, uint32_t events) MUST_CHECK;

/* Other events for a watch of loop_watch(); what is the case already is reported again. 0 or
 * -errno.
 */
int loop_rewatch(struct loop *loop, struct watch *watch, uint32_t events) MUST_CHECK;

/* Before the descriptor is closed. Events of it that were fetched already are dropped. */
void loop_unwatch(struct loop *loop, struct watch *watch);

/*
 * As loop_unwatch() for a descriptor that is closed right after, nobody having a duplicate of it:
 * the kernel then forgets it by itself, which saves a system call.
 */
void loop_forget(struct loop *loop, struct watch *watch);

/* Runs until loop_stop(). 0 or -errno. */
int loop_run(struct loop *loop) MUST_CHECK;

/* Fetches and serves one batch; waits at most `max_wait_ms` (-1: until something happens). 0 or
 * -errno. */
int loop_run_once(struct loop *loop, int max_wait_ms) MUST_CHECK;

void loop_stop(struct loop *loop);

/* The time at which the current batch was fetched; the clock of all timers of this loop. */
uint64_t loop_now_ms(const struct loop *loop);

/* The number of the current batch; the next one's is one more. */
uint64_t loop_batch(const struct loop *loop);

/* `delay_ms` from loop_now_ms(), never earlier. */
void loop_timer_arm(struct loop *loop, struct timer *timer, uint64_t delay_ms);

/*
 * LOOP_SCRATCH_BYTES of the thread's own, offset from the page start against 4 KiB aliasing. Its
 * contents are good until control returns to the loop or to another module that may read into it.
 */
char *loop_scratch(struct loop *loop);

/* Work that a callback leaves for the end of the batch, so that one busy stream does not starve the
 * others. */
struct task {
	struct list node; /* list_init() before first use */
	void (*run)(struct task *task); /* may schedule it again, and may free what holds it */
};

void task_init(struct task *task, void (*run)(struct task *task));

/* Once per batch however often it is asked for; the loop does not sleep while tasks wait. */
void loop_schedule(struct loop *loop, struct task *task);

/* Also right for a task that is not scheduled. */
void task_cancel(struct task *task);

/* Runs `function(argument)` in the loop's thread, in the order of posting. From any thread. 0 or
 * -ENOMEM. */
int loop_post(struct loop *loop, void (*function)(void *argument), void *argument) MUST_CHECK;

#endif
