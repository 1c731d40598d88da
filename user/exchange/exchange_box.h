/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that could not go on at once. Shared inside exchange/. Both hold no memory while they are
 * empty.
 */
#ifndef PENSTOCK_EXCHANGE_BOX_H
#define PENSTOCK_EXCHANGE_BOX_H

#include <stddef.h>

#include "base/compiler.h"
#include "base/io.h"
#include "base/str.h"

/* Received and not yet used; at most LOOP_SCRATCH_BYTES. */
struct inbox {
	char *data;
	size_t start; /* of what is left, in data */
	size_t len_bytes;
	size_t size_bytes;
};

static inline char *inbox_bytes(const struct inbox *inbox)
{
	return inbox->data + inbox->start;
}

/* 0, -ENOMEM, -ENOBUFS past the bound. */
int inbox_put(struct inbox *inbox, const char *data, size_t len_bytes) MUST_CHECK;

/* What is received next follows what is there. As io_recv(); -ENOMEM, -ENOBUFS too. */
ssize_t inbox_recv(struct inbox *inbox, struct io *io) MUST_CHECK;

void inbox_take(struct inbox *inbox, size_t len_bytes);
void inbox_done(struct inbox *inbox);

/* Given to be sent, and not yet taken by the stream. Bounded by what one outbox_send() is given. */
struct outbox {
	char *data;
	size_t start;
	size_t len_bytes;
};

/* Sends, and keeps what the stream does not take, after what is kept already. 0, -ENOMEM, or what
 * io_send() says. */
int outbox_send(struct outbox *outbox, struct io *to, const struct iovec *parts, int n_parts,
		bool more) MUST_CHECK;

/* Sends what is kept, as far as it goes. 0 or what io_send() says. */
int outbox_flush(struct outbox *outbox, struct io *to) MUST_CHECK;

void outbox_done(struct outbox *outbox);

#endif
