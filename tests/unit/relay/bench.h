/* SPDX-License-Identifier: Apache-2.0 */
/* A relay between two real TCP connections on loopback, driven by the test itself. */
#ifndef TESTS_RELAY_BENCH_H
#define TESTS_RELAY_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../await.h"
#include "base/clock.h"
#include "penstock/abi.h"
#include "relay/relay.h"

/* client <-> [a relay b] <-> origin */
struct bench {
	struct loop *loop;
	int client, origin; /* the peers' ends; -1: closed */
	struct io a, b;
	struct relay relay;
	struct task task;
	enum relay_verdict verdict;
	enum close_reason reason;
};

extern struct bench bench;

/* Of the two sockets, that the loop reported. */
extern unsigned int bench_events;

/* Maps and program for sockmap; without root the calling test is skipped, with the reason. */
void bench_need_sockmap(void);

/* Nothing of any stream is left in the maps. */
void bench_expect_no_entries(void);

/* The numbers of both directions of the one stream that is in the maps. */
volatile struct splice_dir *bench_map_dirs(void);
void bench_unmap_dirs(volatile struct splice_dir *dirs);

/* Another program's sockmap: the map that its program reads from. */
void bench_start_foreign(void);
int bench_foreign_src(void);
void bench_stop_foreign(void);

/* The maps go; the next bench_need_sockmap() makes new ones. */
void bench_finish(void);
int bench_group_done(void **state);

/* The sockets alone; then the relay over them. */
void bench_connect(void);
void bench_replace_b(int fd);
void bench_relay(enum relay_engine engine, const struct conf_relay_tuning *tuning);

/* Both. Skips the test where the engine needs root. */
void bench_start(enum relay_engine engine);
void bench_stop(void);

/* Of this protocol: 0, or -errno where the kernel does not have it. The other end does not block.
 */
int connect_pair_by(int protocol, int *ret_one, int *ret_other);
void connect_pair(int *ret_one, int *ret_other);

/* Serves the loop so many times, waiting a little each time. */
void turn(int times);

/* Serves the loop until `condition` holds; fails where it never does. */
#define turn_until(condition) \
	do { \
		uint64_t turns_began_ms = clock_now_ms(); \
		while (!(condition)) { \
			assert_true(clock_now_ms() - turns_began_ms < AWAIT_MS); \
			turn(1); \
		} \
	} while (0)

unsigned char pattern(size_t at);

/* Sends `total` bytes of the pattern one way while the receiver reads `read_chunk` at a time, and
 * checks each. */
void transfer(int from, int to, size_t total, size_t read_chunk);

/* Sends a byte from the client, which the relay's socket has when this returns. */
void send_and_arrive(char byte);

/* Sends a text and receives it at the other end. */
void message(int from, int to, const char *text);

/* So many questions and answers. */
void chat(int messages);

/* The next bytes at `fd` are this text. */
void expect_text(int fd, const char *text);

/* The stream has ended at `fd`. */
void expect_end(int fd);

/* Both directions are copied, for this reason. */
void expect_copied(const char *why);

/* Closes it with RST. */
void reset(int *fd);

#endif
