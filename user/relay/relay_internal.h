/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside relay/: the thread's pool of pipes. */
#ifndef PENSTOCK_RELAY_INTERNAL_H
#define PENSTOCK_RELAY_INTERNAL_H

#include "relay/relay.h"

#define RELAY_PIPE_BYTES (1 << 20)

struct relay_pipe {
	struct relay_pipe *next; /* in the pool */
	int read_fd;
	int write_fd;
	size_t size_bytes;
};

/* An empty pipe, from the pool or new; NULL where the system gives none that is worth using. */
struct relay_pipe *relay_pipe_take(void) MUST_CHECK;

/* Back to the pool. `is_empty` false: it holds bytes that nobody wants, so it is closed. Takes
 * NULL. */
void relay_pipe_give(struct relay_pipe *relay_pipe, bool is_empty);

#endif
