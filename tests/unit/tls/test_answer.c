/* SPDX-License-Identifier: Apache-2.0 */
/* What a record that is not data is answered with, where the kernel sends and cannot take new keys:
 * a socket that is none of its TLS shows what it would be given. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tls/tls_internal.h"

/* No KeyUpdate comes before the alert: the peer would read it with a key that nobody has. */
static void test_keys_that_cannot_change_are_refused_readably(void **state)
{
	static const uint8_t alert[] = {TLS_ALERT_FATAL, TLS_ALERT_INTERNAL};
	struct tls_stream *stream = calloc(1, sizeof(*stream));
	struct io io = {.impl = stream};
	uint8_t said[16];
	int fds[2];

	(void)state;
	assert_non_null(stream);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	stream->fd = fds[0];
	stream->side = TLS_SIDE_SERVER;
	stream->in_kernel = TLS_KERNEL_SEND;
	stream->rekey = OPENSSL_zalloc(sizeof(*stream->rekey)); /* for what user space receives */
	stream->owes_key_update = true;
	assert_int_equal(tls_stream_settle_debt(stream, &io), -EPROTO);
	assert_int_equal(stream->fault, CLOSE_TLS_KEY_UPDATE);
	assert_int_equal(recv(fds[1], said, sizeof(said), MSG_DONTWAIT), sizeof(alert));
	assert_memory_equal(said, alert, sizeof(alert));
	close(fds[0]);
	close(fds[1]);
	tls_stream_free(stream);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_keys_that_cannot_change_are_refused_readably),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
