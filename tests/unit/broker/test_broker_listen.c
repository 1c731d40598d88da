/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets over generations: what stays keeps its sockets, what fails changes nothing. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/broker_internal.h"

#define N_THREADS 3

static struct listeners listeners;
static struct conf_diag *diag;
static size_t fds_before;
static char dir[] = "/tmp/penstock-listen-XXXXXX";

static size_t count_fds(void)
{
	DIR *fds = opendir("/proc/self/fd");
	size_t n = 0;

	while (readdir(fds))
		n++;
	closedir(fds);
	return n;
}

/* A port of 127.0.0.1 that was free a moment ago. */
static int free_port(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	close(fd);
	return ntohs(in.sin_port);
}

static struct conf *make_conf(const char *binds, const char *more)
{
	char text[2048];
	struct conf *conf;
	int n = snprintf(text, sizeof(text),
			 "listeners:\n"
			 "  - bind: [%s]\n"
			 "    routes: [{pass: \"tcp://192.0.2.1:80\"}]\n%s",
			 binds, more);

	conf = conf_parse(text, (size_t)n, "test.yaml", diag);
	if (!conf)
		fail_msg("%s", conf_diag_text(diag));
	return conf;
}

static int prepare(const char *binds)
{
	struct conf *conf = make_conf(binds, "");
	int err = listeners_prepare(&listeners, conf, 0, diag);

	conf_unref(conf);
	return err;
}

static struct bundle *bundle_of_listeners(void)
{
	struct bundle *bundle = bundle_new(1);

	assert_int_equal(listeners_add_to(&listeners, bundle), 0);
	return bundle;
}

static int cookie_of(int fd, uint64_t *ret_cookie)
{
	socklen_t len = sizeof(*ret_cookie);

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, ret_cookie, &len);
}

/* Identity of the socket of the first thread; 0: there is none. */
static uint64_t cookie(const char *bind)
{
	struct bundle *bundle = bundle_of_listeners();
	int fd = bundle_find(bundle, BUNDLE_LISTENER, bind, 0);
	uint64_t value = 0;

	if (fd >= 0)
		assert_int_equal(cookie_of(fd, &value), 0);
	bundle_free(bundle);
	return value;
}

static bool connects(const char *bind)
{
	struct addr addr;
	bool is_open;
	int fd;

	assert_int_equal(addr_parse(str_from(bind), &addr), 0);
	fd = socket(addr.sa.sa_family, SOCK_STREAM, 0);
	is_open = connect(fd, &addr.sa, addr.len) == 0;
	close(fd);
	return is_open;
}

static int set_up(void **state UNUSED)
{
	fds_before = count_fds();
	listeners_init(&listeners, N_THREADS);
	diag = conf_diag_new("test.yaml");
	return 0;
}

static int tear_down(void **state UNUSED)
{
	listeners_done(&listeners);
	conf_diag_free(diag);
	assert_int_equal(count_fds(), fds_before);
	return 0;
}

static void test_one_socket_a_thread(void **state UNUSED)
{
	struct bundle *bundle;
	char bind[64], quoted[80];

	snprintf(bind, sizeof(bind), "127.0.0.1:%d", free_port());
	snprintf(quoted, sizeof(quoted), "\"%s\"", bind);
	assert_int_equal(prepare(quoted), 0);
	listeners_commit(&listeners);
	bundle = bundle_of_listeners();
	assert_int_equal(bundle->n_entries, N_THREADS);
	for (uint32_t i = 0; i < N_THREADS; i++) {
		int fd = bundle_find(bundle, BUNDLE_LISTENER, bind, i);

		assert_true(fd >= 0);
		assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	}
	bundle_free(bundle);
	assert_true(connects(bind));
}

static void test_any_address_is_both_families(void **state UNUSED)
{
	char quoted[80], v4[64];
	int port = free_port();

	snprintf(quoted, sizeof(quoted), "\":%d\"", port);
	snprintf(v4, sizeof(v4), "127.0.0.1:%d", port);
	assert_int_equal(prepare(quoted), 0);
	listeners_commit(&listeners);
	assert_true(connects(v4));
}

static void test_kept_over_generations(void **state UNUSED)
{
	char a[64], b[64], text[200];
	uint64_t before;

	snprintf(a, sizeof(a), "127.0.0.1:%d", free_port());
	snprintf(b, sizeof(b), "127.0.0.1:%d", free_port());
	snprintf(text, sizeof(text), "\"%s\"", a);
	assert_int_equal(prepare(text), 0);
	listeners_commit(&listeners);
	before = cookie(a);

	snprintf(text, sizeof(text), "\"%s\", \"%s\"", a, b);
	assert_int_equal(prepare(text), 0);
	assert_true(cookie(b) != 0);
	listeners_undo(&listeners);
	assert_false(connects(b));
	assert_true(connects(a));

	assert_int_equal(prepare(text), 0);
	listeners_commit(&listeners);
	assert_int_equal(cookie(a), before);
	assert_true(connects(b));

	snprintf(text, sizeof(text), "\"%s\"", b);
	assert_int_equal(prepare(text), 0);
	assert_true(connects(a)); /* until it is taken */
	assert_int_equal(cookie(a), 0);
	listeners_commit(&listeners);
	assert_false(connects(a));
	assert_true(connects(b));
}

static void test_wanted_again_after_undo(void **state UNUSED)
{
	char a[64], b[64], text[200];

	snprintf(a, sizeof(a), "127.0.0.1:%d", free_port());
	snprintf(b, sizeof(b), "127.0.0.1:%d", free_port());
	snprintf(text, sizeof(text), "\"%s\"", a);
	assert_int_equal(prepare(text), 0);
	listeners_commit(&listeners);
	snprintf(text, sizeof(text), "\"%s\"", b);
	assert_int_equal(prepare(text), 0);
	listeners_undo(&listeners);
	snprintf(text, sizeof(text), "\"%s\"", a);
	assert_int_equal(prepare(text), 0);
	listeners_commit(&listeners);
	assert_true(connects(a));
}

/* Even where the stranger would share the port. */
static void test_port_in_use(void **state UNUSED)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int stranger = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
	char a[64], text[200], expected[200];
	int taken = free_port();

	in.sin_port = htons((uint16_t)taken);
	setsockopt(stranger, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes));
	assert_int_equal(bind(stranger, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(stranger, 1), 0);
	snprintf(a, sizeof(a), "127.0.0.1:%d", free_port());
	snprintf(text, sizeof(text), "\"%s\", \"127.0.0.1:%d\"", a, taken);
	assert_int_not_equal(prepare(text), 0);
	snprintf(expected, sizeof(expected),
		 "error: cannot bind 127.0.0.1:%d: Address already in use; another program", taken);
	assert_non_null(strstr(conf_diag_text(diag), expected));
	assert_non_null(strstr(conf_diag_text(diag), "test.yaml:2:"));
	assert_false(connects(a));
	close(stranger);
}

static void test_all_errors_are_told(void **state UNUSED)
{
	assert_int_not_equal(prepare("\"192.0.2.77:80\", \"192.0.2.78:80\""), 0);
	assert_int_equal(conf_diag_errors(diag), 2);
	assert_non_null(strstr(conf_diag_text(diag), "no device of this host has that address"));
}

static void unix_path(char path[108])
{
	snprintf(path, 108, "%s/s", dir);
}

/* Made by hand: the grammar does not offer them yet. */
static void test_unix(void **state UNUSED)
{
	char path[108], bind[128];
	const char *bind_text = bind;
	struct addr addr;
	struct conf_route route = {.lane = CONF_LANE_SPLICE};
	struct conf_listener listener = {.bind_texts = &bind_text,
					 .binds = &addr,
					 .n_binds = 1,
					 .routes = &route,
					 .n_routes = 1};
	struct conf conf = {.listeners = &listener, .n_listeners = 1};
	struct bundle *bundle;
	struct stat st;

	unix_path(path);
	snprintf(bind, sizeof(bind), "unix:%s", path);
	assert_int_equal(addr_parse(str_from(bind), &addr), 0);
	assert_int_equal(listeners_prepare(&listeners, &conf, 0, diag), 0);
	listeners_commit(&listeners);
	assert_true(connects(bind));
	bundle = bundle_of_listeners();
	assert_int_equal(bundle->n_entries, N_THREADS);
	bundle_free(bundle);
	assert_int_equal(stat(path, &st), 0);
	listeners_done(&listeners);
	assert_int_equal(stat(path, &st), -1);
}

static void test_steered_routes_need_no_socket(void **state UNUSED)
{
	struct conf_route route = {.lane = CONF_LANE_STEER};
	struct conf_listener listener = {.n_binds = 1, .routes = &route, .n_routes = 1};
	struct conf conf = {.listeners = &listener, .n_listeners = 1};
	struct bundle *bundle;

	assert_int_equal(listeners_prepare(&listeners, &conf, 0, diag), 0);
	bundle = bundle_of_listeners();
	assert_int_equal(bundle->n_entries, 0);
	bundle_free(bundle);
}

static void test_unix_stale_and_live(void **state UNUSED)
{
	char path[108], file[120];
	struct stat st;
	int fd;

	unix_path(path);
	fd = listen_unix(path, 0640);
	assert_true(fd >= 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(listen_unix(path, 0600), -EADDRINUSE);
	close(fd); /* nobody listens, the file stays */
	fd = listen_unix(path, 0600);
	assert_true(fd >= 0);
	close(fd);
	unlink(path);
	/* What is no socket is never removed. */
	snprintf(file, sizeof(file), "%s/file", dir);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(listen_unix(file, 0600), -EADDRINUSE);
	assert_int_equal(stat(file, &st), 0);
	unlink(file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_one_socket_a_thread),
	    TEST(test_any_address_is_both_families),
	    TEST(test_kept_over_generations),
	    TEST(test_wanted_again_after_undo),
	    TEST(test_port_in_use),
	    TEST(test_all_errors_are_told),
	    TEST(test_steered_routes_need_no_socket),
	    TEST(test_unix),
	    TEST(test_unix_stale_and_live),
	};
	int failed;

	if (!mkdtemp(dir))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
