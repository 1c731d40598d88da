/* SPDX-License-Identifier: Apache-2.0 */
/* See bench.h. */
#include "bench.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "plane/plane.h"

struct bench bench = {.client = -1, .origin = -1, .a.watch.fd = -1, .b.watch.fd = -1};

unsigned int bench_events;

static struct plane_splice *kernel_side, *foreign;

/* ---- sockmap ---- */

static int copy_of(const char *name)
{
	int fd = fcntl(plane_splice_map_fd(kernel_side, name), F_DUPFD_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

void bench_need_sockmap(void)
{
	struct plane_error error = {.text = ""};
	struct relay_sockmap_maps maps;

	if (geteuid() != 0) {
		printf("loading BPF programs needs root\n");
		skip();
	}
	if (!kernel_side && plane_splice_open(NULL, 1, &kernel_side, &error))
		fail_msg("%s", error.text);
	if (!relay_sockmap_why_not())
		return;
	maps = (struct relay_sockmap_maps){
	    .src = copy_of("splice_src"),
	    .tgt = copy_of("splice_tgt"),
	    .ids = copy_of("splice_ids"),
	    .dirs = copy_of("splice_dirs"),
	    .n_rings = 1,
	    .rings = {fcntl(plane_splice_ring_fd(kernel_side, 0), F_DUPFD_CLOEXEC, 0)},
	};
	assert_int_equal(relay_sockmap_open(&maps), 0);
}

void bench_expect_no_entries(void)
{
	static const char *const names[] = {"splice_src", "splice_tgt", "splice_ids"};
	uint64_t cookie;

	for (size_t i = 0; kernel_side && i < sizeof(names) / sizeof(names[0]); i++)
		if (bpf_map_get_next_key(plane_splice_map_fd(kernel_side, names[i]), NULL,
					 &cookie) == 0)
			fail_msg("an entry is left in %s", names[i]);
}

static int dirs_fd(void)
{
	return plane_splice_map_fd(kernel_side, "splice_dirs");
}

volatile struct splice_dir *bench_map_dirs(void)
{
	void *dirs = mmap(NULL, 2 * sizeof(struct splice_dir), PROT_READ | PROT_WRITE, MAP_SHARED,
			  dirs_fd(), 0);

	assert_ptr_not_equal(dirs, MAP_FAILED);
	return dirs;
}

void bench_unmap_dirs(volatile struct splice_dir *dirs)
{
	munmap((void *)dirs, 2 * sizeof(*dirs));
}

void bench_start_foreign(void)
{
	struct plane_error error = {.text = ""};

	if (plane_splice_open(NULL, 1, &foreign, &error))
		fail_msg("%s", error.text);
}

int bench_foreign_src(void)
{
	return plane_splice_map_fd(foreign, "splice_src");
}

void bench_stop_foreign(void)
{
	plane_splice_free(foreign);
	foreign = NULL;
}

void bench_finish(void)
{
	relay_sockmap_close();
	plane_splice_free(kernel_side);
	kernel_side = NULL;
}

int bench_group_done(void **state)
{
	(void)state;
	bench_finish();
	return 0;
}

/* ---- sockets ---- */

int connect_pair_by(int protocol, int *ret_one, int *ret_other)
{
	struct addr addr = {
	    .in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
	    .len = sizeof(struct sockaddr_in)};
	int listener = socket(AF_INET, SOCK_STREAM, protocol);

	if (listener < 0)
		return -errno;
	assert_int_equal(bind(listener, &addr.sa, addr.len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, &addr.sa, &addr.len), 0);
	*ret_one = socket(AF_INET, SOCK_STREAM, protocol);
	assert_int_equal(connect(*ret_one, &addr.sa, addr.len), 0);
	*ret_other = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	assert_true(*ret_other >= 0);
	close(listener);
	return 0;
}

void connect_pair(int *ret_one, int *ret_other)
{
	assert_int_equal(connect_pair_by(0, ret_one, ret_other), 0);
}

/* As the daemon does when a stream is over. */
static void close_sockets(void)
{
	relay_done(&bench.relay);
	loop_forget(bench.loop, &bench.a.watch);
	loop_forget(bench.loop, &bench.b.watch);
	io_close(&bench.a);
	io_close(&bench.b);
}

static void drive(void)
{
	if (bench.verdict == RELAY_OVER || bench.verdict == RELAY_BROKE)
		return;
	bench.verdict = relay_run(&bench.relay, bench.loop, &bench.reason);
	if (bench.verdict == RELAY_BUSY)
		loop_schedule(bench.loop, &bench.task);
	if (bench.verdict == RELAY_OVER)
		close_sockets();
}

static void on_io(struct watch *watch, uint32_t events)
{
	bench_events++;
	io_note_events(container_of(watch, struct io, watch), events);
	if (bench.relay.up.from)
		drive();
}

static void on_task(struct task *task)
{
	(void)task;
	drive();
}

static void on_wake(struct relay *relay)
{
	(void)relay;
	drive();
}

void bench_connect(void)
{
	int a, b;

	signal(SIGPIPE, SIG_IGN); /* as the daemon does */
	memset(&bench, 0, sizeof(bench));
	bench.loop = loop_new();
	assert_non_null(bench.loop);
	connect_pair(&bench.client, &a);
	connect_pair(&bench.origin, &b);
	io_init_plain(&bench.a, a);
	io_init_plain(&bench.b, b);
	bench.a.watch.on_event = on_io;
	bench.b.watch.on_event = on_io;
	task_init(&bench.task, on_task);
}

void bench_replace_b(int fd)
{
	io_init_plain(&bench.b, fd);
	bench.b.watch.on_event = on_io;
}

void bench_relay(enum relay_engine engine, const struct conf_relay_tuning *tuning)
{
	relay_init(&bench.relay, &bench.a, &bench.b, engine, tuning);
	bench.relay.on_wake = on_wake;
	assert_int_equal(loop_watch(bench.loop, &bench.a.watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP),
			 0);
	assert_int_equal(loop_watch(bench.loop, &bench.b.watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP),
			 0);
}

void bench_start(enum relay_engine engine)
{
	if (engine == RELAY_ENGINE_SOCKMAP)
		bench_need_sockmap();
	bench_connect();
	bench_relay(engine, NULL);
}

void bench_stop(void)
{
	relay_done(&bench.relay);
	task_cancel(&bench.task);
	loop_unwatch(bench.loop, &bench.a.watch);
	loop_unwatch(bench.loop, &bench.b.watch);
	io_close(&bench.a);
	io_close(&bench.b);
	if (bench.client >= 0)
		close(bench.client);
	if (bench.origin >= 0)
		close(bench.origin);
	relay_thread_done();
	loop_free(bench.loop);
	bench_expect_no_entries();
}

/* ---- driving ---- */

void turn(int times)
{
	for (int i = 0; i < times; i++)
		assert_int_equal(loop_run_once(bench.loop, 10), 0);
}

unsigned char pattern(size_t at)
{
	return (unsigned char)(at * 31 + at / 251);
}

void transfer(int from, int to, size_t total, size_t read_chunk)
{
	size_t sent = 0, got = 0;
	unsigned char buffer[65536];

	while (got < total) {
		size_t n = total - sent < sizeof(buffer) ? total - sent : sizeof(buffer);
		ssize_t r;

		for (size_t i = 0; i < n; i++)
			buffer[i] = pattern(sent + i);
		r = n ? send(from, buffer, n, MSG_DONTWAIT) : 0;
		if (r > 0)
			sent += (size_t)r;
		assert_int_equal(loop_run_once(bench.loop, 0), 0);
		r = recv(to, buffer, read_chunk, MSG_DONTWAIT);
		for (ssize_t i = 0; i < r; i++)
			assert_int_equal(buffer[i], pattern(got + (size_t)i));
		assert_int_not_equal(r, 0);
		if (r > 0)
			got += (size_t)r;
	}
}

void expect_text(int fd, const char *text)
{
	uint64_t began_ms = clock_now_ms();
	char buffer[256];
	size_t len = 0;

	assert_in_range(strlen(text), 1, sizeof(buffer));
	while (len < strlen(text)) {
		ssize_t n = recv(fd, buffer + len, strlen(text) - len, MSG_DONTWAIT);

		assert_int_not_equal(n, 0);
		assert_true(clock_now_ms() - began_ms < AWAIT_MS);
		if (n > 0)
			len += (size_t)n;
		else
			turn(1);
	}
	assert_memory_equal(buffer, text, len);
}

void send_and_arrive(char byte)
{
	int before, now;

	assert_int_equal(ioctl(bench.a.watch.fd, FIONREAD, &before), 0);
	assert_int_equal(send(bench.client, &byte, 1, 0), 1);
	for (int waited_ms = 0; waited_ms < AWAIT_MS; waited_ms++) {
		assert_int_equal(ioctl(bench.a.watch.fd, FIONREAD, &now), 0);
		if (now > before)
			return;
		poll(NULL, 0, 1);
	}
	fail_msg("the byte does not arrive");
}

void message(int from, int to, const char *text)
{
	assert_int_equal(send(from, text, strlen(text), MSG_DONTWAIT), strlen(text));
	expect_text(to, text);
}

void chat(int messages)
{
	for (int i = 0; i < messages; i++) {
		message(bench.client, bench.origin, "how are you?");
		message(bench.origin, bench.client, "fine.");
	}
}

void expect_end(int fd)
{
	uint64_t began_ms = clock_now_ms();
	char byte;
	ssize_t n = -1;

	while (n < 0 && clock_now_ms() - began_ms < AWAIT_MS) {
		turn(1);
		n = recv(fd, &byte, 1, MSG_DONTWAIT);
	}
	assert_int_equal(n, 0);
}

void reset(int *fd)
{
	struct linger linger = {.l_onoff = 1};

	setsockopt(*fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(*fd);
	*fd = -1;
}

void expect_copied(const char *why)
{
	assert_null(bench.relay.sockmap);
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_COPY);
	assert_string_equal(bench.relay.up.engine_reason, why);
}
