/* SPDX-License-Identifier: Apache-2.0 */
/* Bundles in memory and over a socket pair, with honest and with broken packets; no descriptor may
 * be lost. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "bundle/bundle.h"

#define PACKETS_MAX 8

/* What bundle_send() and bundle_reply_send() put on the wire, to be sent again with changes. */
struct packet {
	char data[80000];
	size_t len;
	int fds[64];
	size_t n_fds;
};

static struct packet packets[PACKETS_MAX];
static size_t n_packets;
static int pair[2];
static size_t fds_before;

static size_t count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void make_pair(void)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

static void close_pair(void)
{
	if (pair[0] >= 0)
		close(pair[0]);
	if (pair[1] >= 0)
		close(pair[1]);
	pair[0] = pair[1] = -1;
}

static int set_up(void **state)
{
	(void)state;
	fds_before = count_fds();
	n_packets = 0;
	make_pair();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_packets; i++)
		for (size_t j = 0; j < packets[i].n_fds; j++)
			close(packets[i].fds[j]);
	close_pair();
	assert_int_equal(count_fds(), fds_before);
	return 0;
}

/* Reads what was sent to pair[1] until the sender's end. */
static void capture(void)
{
	shutdown(pair[0], SHUT_WR);
	for (n_packets = 0; n_packets < PACKETS_MAX; n_packets++) {
		struct packet *packet = &packets[n_packets];
		char control[CMSG_SPACE(sizeof(packet->fds))];
		struct iovec part = {packet->data, sizeof(packet->data)};
		struct msghdr message = {.msg_iov = &part,
					 .msg_iovlen = 1,
					 .msg_control = control,
					 .msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(pair[1], &message, 0);
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);

		assert_true(n >= 0);
		if (n == 0)
			break;
		packet->len = (size_t)n;
		packet->n_fds = 0;
		if (c) {
			packet->n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(packet->fds, CMSG_DATA(c), packet->n_fds * sizeof(int));
		}
	}
	close_pair();
	make_pair();
}

static void replay_one(const struct packet *packet, size_t n_fds)
{
	char control[CMSG_SPACE(65 * sizeof(int))] = {0};
	struct iovec part = {(void *)packet->data, packet->len};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (n_fds) {
		struct cmsghdr *c = (struct cmsghdr *)(void *)control;

		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		for (size_t i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &pair[0], sizeof(int));
	}
	assert_int_equal(sendmsg(pair[0], &message, 0), (ssize_t)packet->len);
}

/* Sends all captured packets, and what bundle_recv() says of them. */
static int replay(void)
{
	enum bundle_message message;
	struct bundle *bundle = NULL;
	int err;

	for (size_t i = 0; i < n_packets; i++)
		replay_one(&packets[i], packets[i].n_fds);
	shutdown(pair[0], SHUT_WR);
	err = bundle_recv(pair[1], &message, &bundle);
	bundle_free(bundle);
	close_pair();
	make_pair();
	return err;
}

static struct bundle *make_bundle(size_t n_files)
{
	struct bundle *bundle = bundle_new(7);
	char name[32];

	assert_non_null(bundle);
	assert_int_equal(bundle_add_data(bundle, BUNDLE_CONFIG, "/etc/p.yaml", "a: 1\n", 5), 0);
	for (size_t i = 1; i < n_files; i++) {
		snprintf(name, sizeof(name), "/file/%zu", i);
		assert_int_equal(bundle_add_data(bundle, BUNDLE_FILE, name, name, strlen(name)), 0);
	}
	return bundle;
}

static void test_find_and_take(void **state)
{
	struct bundle *bundle = make_bundle(3);
	int fd;

	(void)state;
	assert_int_equal(bundle_find(bundle, BUNDLE_FILE, "/file/9", 0), -ENOENT);
	assert_int_equal(bundle_find(bundle, BUNDLE_MAP, "/file/1", 0), -ENOENT);
	assert_int_equal(bundle_find(bundle, BUNDLE_FILE, "/file/1", 1), -ENOENT);
	assert_string_equal(bundle_first(bundle, BUNDLE_CONFIG)->name, "/etc/p.yaml");
	assert_null(bundle_first(bundle, BUNDLE_ADMIN));
	fd = bundle_take(bundle, BUNDLE_FILE, "/file/1", 0);
	assert_true(fd >= 0);
	assert_int_equal(bundle_find(bundle, BUNDLE_FILE, "/file/1", 0), -ENOENT);
	assert_int_equal(bundle_take(bundle, BUNDLE_FILE, "/file/1", 0), -ENOENT);
	bundle_free(bundle);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
}

static void test_add_owns_the_descriptor_on_failure(void **state)
{
	struct bundle *bundle = bundle_new(1);
	char name[BUNDLE_NAME_MAX + 2];

	(void)state;
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = 0;
	assert_int_equal(bundle_add(bundle, BUNDLE_FILE, name, 0, dup(0)), -ENAMETOOLONG);
	name[BUNDLE_NAME_MAX] = 0;
	assert_int_equal(bundle_add(bundle, BUNDLE_FILE, name, 0, dup(0)), 0);
	bundle_free(bundle);
}

static void test_data_is_sealed(void **state)
{
	struct bundle *bundle = make_bundle(1);
	int fd = bundle_find(bundle, BUNDLE_CONFIG, "/etc/p.yaml", 0);

	(void)state;
	assert_int_equal(pwrite(fd, "b", 1, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(errno, EPERM);
	bundle_free(bundle);
}

static void test_read_bounds(void **state)
{
	struct bundle *bundle = bundle_new(1);
	char *big = malloc(100000), *data = NULL;
	size_t len = 0;
	int fd, pipe_fds[2];

	(void)state;
	memset(big, 'x', 100000);
	assert_int_equal(bundle_add_data(bundle, BUNDLE_FILE, "big", big, 100000), 0);
	assert_int_equal(bundle_add_data(bundle, BUNDLE_FILE, "empty", "", 0), 0);
	fd = bundle_find(bundle, BUNDLE_FILE, "big", 0);
	lseek(fd, 5, SEEK_SET);
	assert_int_equal(bundle_read(fd, 100000, &data, &len), 0);
	assert_int_equal(len, 100000);
	assert_memory_equal(data, big, len);
	assert_int_equal(data[len], 0);
	free(data);
	data = NULL;
	assert_int_equal(bundle_read(fd, 99999, &data, &len), -EFBIG);
	assert_null(data);
	assert_int_equal(bundle_read(bundle_find(bundle, BUNDLE_FILE, "empty", 0), 0, &data, &len),
			 0);
	assert_int_equal(len, 0);
	assert_string_equal(data, "");
	free(data);
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(bundle_read(pipe_fds[0], 10, &data, &len), -EINVAL);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	bundle_free(bundle);
	free(big);
}

/* 150 descriptors need three packets. */
static void test_round_trip(void **state)
{
	struct bundle *sent = make_bundle(150), *got = NULL;
	enum bundle_message message;
	char *data;
	size_t len;

	(void)state;
	assert_int_equal(bundle_add(sent, BUNDLE_LISTENER, ":443", 3, dup(pair[0])), 0);
	assert_int_equal(bundle_send(pair[0], sent), 0);
	assert_int_equal(bundle_recv(pair[1], &message, &got), 0);
	assert_int_equal(message, BUNDLE_MESSAGE_BUNDLE);
	assert_int_equal(got->generation, 7);
	assert_int_equal(got->n_entries, 151);
	assert_int_equal(
	    bundle_read(bundle_find(got, BUNDLE_FILE, "/file/149", 0), 100, &data, &len), 0);
	assert_string_equal(data, "/file/149");
	free(data);
	assert_true(bundle_find(got, BUNDLE_LISTENER, ":443", 3) >= 0);
	for (size_t i = 0; i < got->n_entries; i++)
		assert_int_equal(fcntl(got->entries[i].fd, F_GETFD), FD_CLOEXEC);
	bundle_free(sent);
	bundle_free(got);
}

static void test_longest_names_fit(void **state)
{
	struct bundle *sent = bundle_new(1), *got = NULL;
	enum bundle_message message;
	char name[BUNDLE_NAME_MAX + 1];

	(void)state;
	memset(name, 'n', sizeof(name));
	name[BUNDLE_NAME_MAX] = 0;
	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal(bundle_add(sent, BUNDLE_FILE, name, i, dup(pair[0])), 0);
	assert_int_equal(bundle_send(pair[0], sent), 0);
	assert_int_equal(bundle_recv(pair[1], &message, &got), 0);
	assert_true(bundle_find(got, BUNDLE_FILE, name, 63) >= 0);
	bundle_free(sent);
	bundle_free(got);
}

/* Files alone, which are told from a configuration. */
static void test_names(void **state)
{
	struct bundle *sent = bundle_new(0), *got;
	enum bundle_message message;

	(void)state;
	assert_int_equal(bundle_add(sent, BUNDLE_FILE, BUNDLE_HOSTS_PATH, 0,
				    open("/dev/null", O_RDONLY | O_CLOEXEC)),
			 0);
	assert_int_equal(bundle_send_names(pair[0], sent), 0);
	assert_int_equal(bundle_recv(pair[1], &message, &got), 0);
	assert_int_equal(message, BUNDLE_MESSAGE_NAMES);
	assert_int_equal(got->n_entries, 1);
	assert_true(bundle_find(got, BUNDLE_FILE, BUNDLE_HOSTS_PATH, 0) >= 0);
	bundle_free(sent);
	bundle_free(got);
}

static void test_drain_and_end(void **state)
{
	enum bundle_message message;
	struct bundle *got;

	(void)state;
	assert_int_equal(bundle_send_drain(pair[0]), 0);
	assert_int_equal(bundle_recv(pair[1], &message, &got), 0);
	assert_int_equal(message, BUNDLE_MESSAGE_DRAIN);
	assert_null(got);
	close(pair[0]);
	pair[0] = -1;
	assert_int_equal(bundle_recv(pair[1], &message, &got), -EPIPE);
	assert_int_equal(bundle_send_drain(pair[1]), -EPIPE);
}

static void capture_bundle(size_t n_files)
{
	struct bundle *bundle = make_bundle(n_files);

	assert_int_equal(bundle_send(pair[0], bundle), 0);
	bundle_free(bundle);
	capture();
}

/* A byte set to 0xff anywhere is refused, or changes only the generation, an index or a letter of a
 * name. */
static void test_every_byte_broken(void **state)
{
	size_t refused = 0;

	(void)state;
	capture_bundle(3);
	assert_int_equal(replay(), 0);
	for (size_t i = 0; i < n_packets; i++) {
		for (size_t j = 0; j < packets[i].len; j++) {
			char before = packets[i].data[j];
			int err;

			packets[i].data[j] = (char)0xff;
			err = replay();
			packets[i].data[j] = before;
			assert_true(err == 0 || err == -EPROTO || err == -EPIPE);
			refused += err != 0;
		}
	}
	/* Of the head: magic, message, entries (4 + 4 + 8); of each entry: kind and length (4 + 4).
	 */
	assert_int_equal(refused, 16 + 3 * 8);
}

static void test_every_truncation(void **state)
{
	(void)state;
	capture_bundle(3);
	for (size_t i = 0; i < n_packets; i++) {
		size_t len = packets[i].len;

		for (packets[i].len = 0; packets[i].len < len; packets[i].len++)
			assert_true(replay() < 0);
		packets[i].data[len] = 'x';
		packets[i].len = len + 1;
		assert_int_equal(replay(), -EPROTO);
		packets[i].len = len;
	}
}

static void test_zero_byte_in_name(void **state)
{
	(void)state;
	capture_bundle(1);
	packets[1].data[packets[1].len - 1] = 0;
	assert_int_equal(replay(), -EPROTO);
}

static void test_wrong_number_of_descriptors(void **state)
{
	enum bundle_message message;
	struct bundle *got;

	(void)state;
	capture_bundle(3);
	for (size_t n_fds = 0; n_fds <= 65; n_fds++) {
		if (n_fds == 3)
			continue;
		replay_one(&packets[0], 0);
		replay_one(&packets[1], n_fds);
		assert_int_equal(bundle_recv(pair[1], &message, &got), -EPROTO);
	}
	replay_one(&packets[0], 1);
	assert_int_equal(bundle_recv(pair[1], &message, &got), -EPROTO);
}

static void test_more_entries_than_announced(void **state)
{
	(void)state;
	capture_bundle(3);
	/* n_entries stands behind magic, message and generation */
	packets[0].data[16] = 2;
	assert_int_equal(replay(), -EPROTO);
}

static void test_reply_round_trip(void **state)
{
	struct bundle_reply sent = {.generation = 9, .taken = false}, got;

	(void)state;
	strcpy(sent.text, "p.yaml:1:2: error: \x1b[31mno\n\xc3\xa4");
	assert_int_equal(bundle_reply_send(pair[1], &sent), 0);
	assert_int_equal(bundle_reply_recv(pair[0], &got), 0);
	assert_int_equal(got.generation, 9);
	assert_false(got.taken);
	assert_string_equal(got.text, "p.yaml:1:2: error: ?[31mno\n\xc3\xa4");
	memset(sent.text, 'x', sizeof(sent.text));
	sent.taken = true;
	assert_int_equal(bundle_reply_send(pair[1], &sent), 0);
	assert_int_equal(bundle_reply_recv(pair[0], &got), 0);
	assert_true(got.taken);
	assert_int_equal(strlen(got.text), BUNDLE_REPLY_MAX - 1);
}

static int replay_reply(const struct packet *packet, size_t n_fds)
{
	struct bundle_reply reply;

	replay_one(packet, n_fds);
	return bundle_reply_recv(pair[1], &reply);
}

static void test_reply_broken(void **state)
{
	struct bundle_reply reply = {.generation = 1, .taken = true, .text = "ok"};
	struct packet *packet = &packets[0];
	size_t len, refused = 0;

	(void)state;
	assert_int_equal(bundle_reply_send(pair[0], &reply), 0);
	capture();
	len = packet->len;
	assert_int_equal(replay_reply(packet, 0), 0);
	assert_int_equal(replay_reply(packet, 3), -EPROTO);
	for (size_t i = 0; i < len; i++) {
		char before = packet->data[i];

		packet->data[i] = (char)0xff;
		refused += replay_reply(packet, 0) == -EPROTO;
		packet->data[i] = before;
	}
	assert_int_equal(refused, 4 + 4 + 8);
	for (packet->len = 1; packet->len < len; packet->len++)
		assert_int_equal(replay_reply(packet, 0), -EPROTO);
	packet->len = sizeof(packet->data);
	assert_int_equal(replay_reply(packet, 0), -EPROTO);
	close(pair[0]);
	pair[0] = -1;
	assert_int_equal(bundle_reply_recv(pair[1], &reply), -EPIPE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_find_and_take),
	    TEST(test_add_owns_the_descriptor_on_failure),
	    TEST(test_data_is_sealed),
	    TEST(test_read_bounds),
	    TEST(test_round_trip),
	    TEST(test_longest_names_fit),
	    TEST(test_names),
	    TEST(test_drain_and_end),
	    TEST(test_every_byte_broken),
	    TEST(test_every_truncation),
	    TEST(test_zero_byte_in_name),
	    TEST(test_wrong_number_of_descriptors),
	    TEST(test_more_entries_than_announced),
	    TEST(test_reply_round_trip),
	    TEST(test_reply_broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
