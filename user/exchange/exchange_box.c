/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange/exchange_box.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/loop.h"

#define INBOX_FIRST_BYTES 2048

/* Room for at least one byte more after what is there, and for `want_bytes` if the bound allows. */
static int inbox_grow(struct inbox *inbox, size_t want_bytes)
{
	size_t size_bytes = MAX(inbox->size_bytes, (size_t)INBOX_FIRST_BYTES);
	char *data;

	if (inbox->len_bytes + want_bytes > LOOP_SCRATCH_BYTES)
		return -ENOBUFS;
	while (size_bytes < inbox->len_bytes + want_bytes)
		size_bytes *= 2;
	if (inbox->start) {
		memmove(inbox->data, inbox_bytes(inbox), inbox->len_bytes);
		inbox->start = 0;
	}
	if (size_bytes == inbox->size_bytes)
		return 0;
	data = realloc(inbox->data, size_bytes);
	if (!data)
		return -ENOMEM;
	inbox->data = data;
	inbox->size_bytes = size_bytes;
	return 0;
}

int inbox_put(struct inbox *inbox, const char *data, size_t len_bytes)
{
	int err = 0;

	if (len_bytes == 0)
		return 0;
	if (inbox->start + inbox->len_bytes + len_bytes > inbox->size_bytes)
		err = inbox_grow(inbox, len_bytes);
	if (err)
		return err;
	memcpy(inbox_bytes(inbox) + inbox->len_bytes, data, len_bytes);
	inbox->len_bytes += len_bytes;
	return 0;
}

ssize_t inbox_recv(struct inbox *inbox, struct io *io)
{
	size_t end = inbox->start + inbox->len_bytes;
	ssize_t n;

	if (end == inbox->size_bytes) {
		int err = inbox_grow(inbox, 1);

		if (err)
			return err;
		end = inbox->len_bytes;
	}
	n = io_recv(io, inbox->data + end, inbox->size_bytes - end);
	if (n > 0)
		inbox->len_bytes += (size_t)n;
	return n;
}

void inbox_take(struct inbox *inbox, size_t len_bytes)
{
	DEBUG_BUG_ON(len_bytes > inbox->len_bytes);
	inbox->start += len_bytes;
	inbox->len_bytes -= len_bytes;
	if (inbox->len_bytes == 0)
		inbox_done(inbox);
}

void inbox_done(struct inbox *inbox)
{
	free(inbox->data);
	*inbox = (struct inbox){.data = NULL};
}

static int outbox_keep(struct outbox *outbox, const struct iovec *parts, int n_parts,
		       size_t sent_bytes, size_t total_bytes)
{
	size_t kept_bytes = outbox->start + outbox->len_bytes;
	char *data = realloc(outbox->data, kept_bytes + total_bytes - sent_bytes);
	char *to;

	if (!data)
		return -ENOMEM;
	to = data + kept_bytes;
	outbox->data = data;
	outbox->len_bytes += total_bytes - sent_bytes;
	for (int i = 0; i < n_parts; i++) {
		size_t skip = MIN(sent_bytes, parts[i].iov_len);

		memcpy(to, (const char *)parts[i].iov_base + skip, parts[i].iov_len - skip);
		to += parts[i].iov_len - skip;
		sent_bytes -= skip;
	}
	return 0;
}

int outbox_send(struct outbox *outbox, struct io *to, const struct iovec *parts, int n_parts,
		bool more)
{
	size_t total_bytes = 0;
	ssize_t n = 0;
	int err;

	for (int i = 0; i < n_parts; i++)
		total_bytes += parts[i].iov_len;
	if (total_bytes == 0)
		return 0;
	if (to->writable && outbox->len_bytes == 0)
		n = io_send(to, parts, n_parts, more);
	if (n == -EAGAIN)
		n = 0;
	if (n < 0)
		return (int)n;
	if ((size_t)n == total_bytes)
		return 0;
	err = outbox_keep(outbox, parts, n_parts, (size_t)n, total_bytes);
	return err ? err : outbox_flush(outbox, to);
}

int outbox_flush(struct outbox *outbox, struct io *to)
{
	while (outbox->len_bytes) {
		struct iovec part = {outbox->data + outbox->start, outbox->len_bytes};
		ssize_t n;

		if (!to->writable)
			return 0;
		n = io_send(to, &part, 1, false);
		if (n == -EAGAIN)
			return 0;
		if (n < 0)
			return (int)n;
		outbox->start += (size_t)n;
		outbox->len_bytes -= (size_t)n;
	}
	outbox_done(outbox);
	return 0;
}

void outbox_done(struct outbox *outbox)
{
	free(outbox->data);
	*outbox = (struct outbox){.data = NULL};
}
