/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside relay/: the thread's pool of pipes, and the sockmap engine. */
#ifndef PENSTOCK_RELAY_INTERNAL_H
#define PENSTOCK_RELAY_INTERNAL_H

#include "base/list.h"
#include "penstock/abi.h"
#include "relay/relay.h"

#define RELAY_PIPE_BYTES (1 << 20)
/* What one direction may move before others have their turn. */
#define RELAY_SHARE_BYTES (1 << 20)

struct relay_pipe {
	struct relay_pipe *next; /* in the pool */
	int read_fd;
	int write_fd;
	size_t size_bytes;
};

/* An empty pipe, from the pool or new; NULL where the system gives none that is worth using. */
struct relay_pipe *relay_pipe_take(void) MUST_CHECK;

/* No slot is free, whatever the bytes in them. */
bool relay_pipe_is_full(const struct relay_pipe *relay_pipe);

/* Back to the pool. `is_empty` false: it holds bytes that nobody wants, so it is closed. Takes
 * NULL. */
void relay_pipe_give(struct relay_pipe *relay_pipe, bool is_empty);

/* ---- relay_tide.c ---- */

/* A wake-up brings so much, or more where the stream is fast. The socket's receive buffer is made
 * to hold twice that. */
#define RELAY_TIDE_BYTES (256 << 10)
#define RELAY_TIDE_MAX_BYTES RELAY_PIPE_BYTES

/* SO_RCVLOWAT, by which setting the kernel looks for bytes that wait, too. */
void relay_set_low_water(int fd, int bytes);

/* The direction's socket and pipe are empty: it may sleep until much has come, where that pays. */
void relay_tide_begin(struct relay_dir *dir, struct loop *loop);

/* The socket's low-water mark is set. */
bool relay_tide_is_high(const struct relay_dir *dir);

/* For a stream that brought so much in a tick of the timers: a quarter of it at most, so that no
 * portion is long in coming, within the bounds above. */
uint32_t relay_tide_portion_bytes(uint64_t tick_bytes);

/* Having spliced so much from the socket, it waits for the next portion: what comes meanwhile is no
 * portion yet. */
bool relay_tide_took_all(const struct relay_dir *dir, size_t n_bytes);

/* The direction is woken by every byte again. */
void relay_tide_done(struct relay_dir *dir);

void relay_tide_thread_done(void);

/* ---- relay_end.c ---- */

/* Passes the end of the sender's stream on, once. `other_shut`: the other direction has ended, so
 * the sockets are closed next. */
enum relay_progress relay_pass_end(struct relay_dir *dir, bool *shut, bool other_shut) MUST_CHECK;

/* `progress` is what the direction failed with: from now on there are last words only. */
void relay_note_failure(struct relay *relay, struct relay_dir *dir, enum relay_progress progress);

/* Frees what it keeps of that. */
void relay_last_done(struct relay *relay);

/* As relay_run(), after a failure was noted. */
enum relay_verdict relay_say_last_words(struct relay *relay, struct loop *loop,
					enum close_reason *ret_reason) MUST_CHECK;

/* ---- relay_dir.c ---- */

/* Sends what was read into scratch, keeps what the receiver does not take. RELAY_LIMIT: all of it
 * was sent. */
enum relay_progress relay_dir_deliver(struct relay_dir *dir, const char *data,
				      size_t len_bytes) MUST_CHECK;

/* Sends what is kept. RELAY_LIMIT: nothing is kept any more. */
enum relay_progress relay_dir_flush_kept(struct relay_dir *dir) MUST_CHECK;

/* ---- sockmap: the engine ---- */

/* One direction while the kernel has it. Its counts begin with the insert. */
struct relay_carried {
	struct relay_sockmap *stream;
	struct splice_dir *shared; /* in the map */
	uint64_t cookie; /* of the sender's socket */
	uint64_t from_base; /* bytes that had been read from the sender's socket before */
	uint64_t to_base; /* and written to the receiver's */
	uint64_t received_base; /* relay_dir.received_bytes before */
	uint64_t delivered_base;
	uint64_t read_bytes; /* of those passed */
	uint64_t sent_bytes; /* of those read */
	uint64_t written_bytes; /* to the receiver's socket, as last seen */
	uint64_t counted_bytes; /* of those, by the kernel, as stats know */
	unsigned int retries;
	bool is_source; /* the program sees what arrives */
	bool is_flushed; /* until consumed is published: all that was redirected is written */
	/* of the watchdog */
	uint64_t watched_redirected;
	uint64_t watched_written;
	uint64_t moved_ms;
};

struct relay_sockmap {
	struct relay *relay;
	struct loop *loop;
	struct sockmap_slot *slot;
	struct timer timer;
	struct relay_carried dirs[2]; /* up, down */
	bool is_quiet; /* the loop reports ends and errors only */
	bool wants_retry;
	bool is_leaving;
	bool is_resting; /* leaving because nothing is said */
	bool is_broken; /* the kernel has lost or keeps bytes */
	const char *why_leaving;
	uint64_t retry_ms;
	uint64_t active_ms; /* when user space last moved bytes */
	uint64_t looked_ms;
	uint64_t look_pause_ms;
	uint32_t watched_segments;
	unsigned int lags; /* lately */
};

/* ---- relay_sockmap_enter.c ---- */

/*
 * Puts both directions into the sockmap. 0; -EAGAIN: not now; -errno with `ret_why`: not at all.
 * Nothing has changed then.
 */
int relay_sockmap_enter(struct relay *relay, struct loop *loop, const char **ret_why) MUST_CHECK;

/* What was inserted as targets goes again. */
void relay_sockmap_forget(struct relay_sockmap *stream);

/* ---- relay_sockmap.c ---- */

/* relay_dir_pump() of a direction that is in it. */
enum relay_progress relay_sockmap_pump(struct relay_dir *dir, struct loop *loop) MUST_CHECK;

/* Takes it out and frees it, once nothing is on its way through the kernel. 0; -EAGAIN: not now,
 * and from now on all bytes come to user space. */
int relay_sockmap_leave(struct relay_sockmap *stream) MUST_CHECK;

/* The ios are closed next. */
void relay_sockmap_done(struct relay *relay);

/* ---- relay_sockmap_counts.c ---- */

/*
 * Bytes that were ever written to a socket. An acknowledgement between the two calls makes the sum
 * too small, never too large; `is_exact` reads again until there was none. 0 or -errno.
 */
int sockmap_socket_written(int fd, bool is_exact, uint64_t *ret_bytes) MUST_CHECK;

/* Bytes that were ever read from it, and those that wait. */
int sockmap_socket_taken(int fd, uint64_t *ret_taken_bytes, int *ret_unread_bytes) MUST_CHECK;

/* All bytes before the FIN; -EAGAIN: the FIN has not come. */
int sockmap_socket_received_all(int fd, uint64_t *ret_bytes) MUST_CHECK;

/* What it failed with, as -errno. */
int sockmap_socket_error(const struct io *io);

/* NULL: it is plain TCP. Else why a sockmap does not take it. */
const char *sockmap_socket_why_not(const struct io *io);

/* What the program left to us, and what it handed over. */
uint64_t carried_passed(const struct relay_carried *carried);
uint64_t carried_redirected(const struct relay_carried *carried);

/* Tells the program what we took. A full barrier follows: see splice_pass(). */
void carried_publish(struct relay_carried *carried);

/* Nothing that was passed is still to be relayed. */
bool carried_is_idle(const struct relay_dir *dir);

/* Bytes that were written to the receiver's socket since the insert; `is_exact` as above. 0 or
 * -errno. */
int carried_written(const struct relay_dir *dir, bool is_exact, uint64_t *ret_bytes) MUST_CHECK;

/* The direction's counts, from what carried_written() said. */
void carried_note_written(struct relay_dir *dir, uint64_t written_bytes);

/* What is handed over and what we sent, all of it written by the receiver? -EAGAIN: not yet. */
int carried_flush(struct relay_dir *dir) MUST_CHECK;

/* Brings the direction's byte counts up to date. */
void carried_count(struct relay_dir *dir);

/* Received by the sender's socket, but never seen by the program, or lost by it. 0 or -errno. */
int carried_missing(const struct relay_dir *dir, uint64_t *ret_bytes) MUST_CHECK;

/* Has the kernel look for bytes that wait. */
void carried_kick(const struct relay_dir *dir);

/* ---- relay_sockmap_policy.c: events, when to leave, the watchdog ---- */

void relay_sockmap_expire(struct timer *timer);

/* A direction of the stream had bytes passed to it. */
void relay_sockmap_event(struct relay_sockmap *stream);

/* After both directions were pumped. The relay may have left the sockmap afterwards. True: pump
 * again from a task. */
bool relay_sockmap_settle(struct relay *relay, struct loop *loop) MUST_CHECK;

void relay_sockmap_refresh(struct relay *relay);
uint64_t relay_sockmap_active_ms(const struct relay *relay);

/* ---- relay_sockmap_maps.c: the maps, slots in them, and events ---- */

/* A place for one stream in splice_dirs: two directions. */
struct sockmap_slot {
	struct list node; /* while it is free */
	struct relay_sockmap *stream; /* NULL: free */
	uint32_t index;
	uint32_t generation;
	uint64_t freed_ms;
};

/* The calling thread's; NULL: none is free. */
struct sockmap_slot *sockmap_slot_take(struct loop *loop, struct relay_sockmap *stream) MUST_CHECK;

/* Its directions must no longer be found in splice_ids. */
void sockmap_slot_give(struct sockmap_slot *slot, uint64_t now_ms);

struct splice_dir *sockmap_slot_dir(const struct sockmap_slot *slot, unsigned int direction);

/* Makes the direction as new, in the map and for events. */
void sockmap_slot_start(const struct sockmap_slot *slot, unsigned int direction,
			uint32_t window_bytes);

/* Elements of the maps: 0 or -errno. Removing what is not there is right. */
int sockmap_put_id(uint64_t cookie, const struct sockmap_slot *slot,
		   unsigned int direction) MUST_CHECK;
int sockmap_put_target(uint64_t cookie, int fd) MUST_CHECK;
int sockmap_put_source(uint64_t cookie, int fd) MUST_CHECK;
void sockmap_remove_id(uint64_t cookie);
void sockmap_remove_target(uint64_t cookie);
void sockmap_remove_source(uint64_t cookie);

/* For new relays, for good. `why` is constant. */
void sockmap_turn_off(const char *why);

void sockmap_thread_done(void);

#endif
