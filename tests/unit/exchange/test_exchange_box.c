/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that wait: nothing is lost, doubled or reordered, and an empty box holds no memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "base/loop.h"
#include "exchange/exchange_box.h"

/* A stream that gives and takes so much at a time, and then so much no more. */
struct stub {
	struct io io;
	size_t step_bytes;
	size_t room_bytes;
	int error; /* once the room is used up; 0: -EAGAIN */
	char *sent;
	size_t sent_bytes;
	unsigned char next; /* byte to give */
};

static ssize_t stub_recv(struct io *io, void *data, size_t len_bytes)
{
	struct stub *stub = (struct stub *)io;
	size_t n = MIN(MIN(len_bytes, stub->step_bytes), stub->room_bytes);

	if (n == 0)
		return stub->error ? stub->error : -EAGAIN;
	for (size_t i = 0; i < n; i++)
		((unsigned char *)data)[i] = stub->next++;
	stub->room_bytes -= n;
	return (ssize_t)n;
}

static ssize_t stub_send(struct io *io, const struct iovec *parts, int n_parts, bool more UNUSED)
{
	struct stub *stub = (struct stub *)io;
	size_t done = 0;

	for (int i = 0; i < n_parts; i++) {
		size_t n = MIN(MIN(parts[i].iov_len, stub->room_bytes), stub->step_bytes - done);

		memcpy(stub->sent + stub->sent_bytes, parts[i].iov_base, n);
		stub->sent_bytes += n;
		stub->room_bytes -= n;
		done += n;
	}
	if (done)
		return (ssize_t)done;
	return stub->error ? stub->error : -EAGAIN;
}

static const struct io_ops stub_ops = {.name = "stub", .recv = stub_recv, .send = stub_send};

static void stub_init(struct stub *stub, size_t step_bytes, size_t room_bytes)
{
	*stub = (struct stub){
	    .io = {.ops = &stub_ops, .readable = true, .writable = true},
	    .step_bytes = step_bytes,
	    .room_bytes = room_bytes,
	    .sent = calloc(1, 4096),
	};
	assert_non_null(stub->sent);
}

static void test_inbox_keeps_the_order(void **state)
{
	struct inbox inbox = {.data = NULL};
	unsigned char put = 0, taken = 0;

	(void)state;
	for (size_t i = 0; i < 20000; i++) {
		char block[64];
		size_t n = 1 + (i * 7919) % sizeof(block);

		for (size_t k = 0; k < n; k++)
			block[k] = (char)put++;
		assert_int_equal(inbox_put(&inbox, block, n), 0);
		n = MIN((i * 104729) % 66, inbox.len_bytes);
		for (size_t k = 0; k < n; k++)
			assert_int_equal((unsigned char)inbox_bytes(&inbox)[k], taken++);
		inbox_take(&inbox, n);
	}
	inbox_take(&inbox, inbox.len_bytes);
	assert_null(inbox.data);
}

static void test_inbox_is_bounded(void **state)
{
	static char block[LOOP_SCRATCH_BYTES];
	struct inbox inbox = {.data = NULL};
	struct stub stub;

	(void)state;
	stub_init(&stub, 1, 10);
	assert_int_equal(inbox_put(&inbox, block, sizeof(block)), 0);
	assert_int_equal(inbox_put(&inbox, block, 1), -ENOBUFS);
	assert_int_equal(inbox_recv(&inbox, &stub.io), -ENOBUFS);
	inbox_take(&inbox, 1);
	assert_int_equal(inbox_recv(&inbox, &stub.io), 1);
	assert_int_equal(inbox_put(&inbox, block, 1), -ENOBUFS);
	inbox_done(&inbox);
	free(stub.sent);
}

static void test_inbox_receives(void **state)
{
	struct inbox inbox = {.data = NULL};
	struct stub stub;

	(void)state;
	stub_init(&stub, 1000, 30000);
	while (inbox_recv(&inbox, &stub.io) > 0)
		;
	assert_int_equal(inbox.len_bytes, 30000);
	for (size_t i = 0; i < inbox.len_bytes; i++)
		assert_int_equal((unsigned char)inbox_bytes(&inbox)[i], i & 0xff);
	inbox_done(&inbox);
	free(stub.sent);
}

/* Three parts, and room for any number of bytes of them at first. */
static void test_outbox_sends_all_of_it_once(void **state)
{
	const struct iovec parts[] = {{(char *)"abc", 3}, {(char *)"", 0}, {(char *)"defgh", 5}};

	(void)state;
	for (size_t room = 0; room <= 8; room++) {
		for (size_t step = 1; step <= 8; step++) {
			struct outbox outbox = {.data = NULL};
			struct stub stub;

			stub_init(&stub, step, room);
			assert_int_equal(outbox_send(&outbox, &stub.io, parts, 3, false), 0);
			assert_int_equal(outbox.len_bytes, 8 - room);
			/* What comes later waits its turn, also where there would be room. */
			assert_int_equal(outbox_send(&outbox, &stub.io, parts, 1, false), 0);
			stub.room_bytes = 100;
			stub.io.writable = true;
			assert_int_equal(outbox_flush(&outbox, &stub.io), 0);
			assert_int_equal(stub.sent_bytes, 11);
			assert_memory_equal(stub.sent, "abcdefghabc", 11);
			assert_null(outbox.data);
			free(stub.sent);
		}
	}
}

static void test_outbox_tells_errors(void **state)
{
	const struct iovec part = {(char *)"abc", 3};
	struct outbox outbox = {.data = NULL};
	struct stub stub;

	(void)state;
	stub_init(&stub, 8, 0);
	stub.error = -EPIPE;
	assert_int_equal(outbox_send(&outbox, &stub.io, &part, 1, false), -EPIPE);
	stub.room_bytes = 1;
	assert_int_equal(outbox_send(&outbox, &stub.io, &part, 1, false), -EPIPE);
	outbox_done(&outbox);
	free(stub.sent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_inbox_keeps_the_order),
	    cmocka_unit_test(test_inbox_is_bounded),
	    cmocka_unit_test(test_inbox_receives),
	    cmocka_unit_test(test_outbox_sends_all_of_it_once),
	    cmocka_unit_test(test_outbox_tells_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
