/* SPDX-License-Identifier: Apache-2.0 */
/* Checks against sockets on loopback. The snapshot is a fake: only its configuration is looked at.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "health/health.h"
#include "server/server.h"

static int snapshot_refs;

/* Of the sanitizer, which tests always have. */
void *__interceptor_calloc(size_t n, size_t size);
void *calloc(size_t n, size_t size);

static int callocs_left = -1; /* -1: any number */

void *calloc(size_t n, size_t size)
{
	if (callocs_left == 0)
		return NULL;
	callocs_left -= callocs_left > 0;
	return __interceptor_calloc(n, size);
}

struct snapshot *snapshot_new(struct conf *conf, uint64_t generation, const struct tls_files *files,
			      struct conf_diag *diag)
{
	(void)conf, (void)generation, (void)files, (void)diag;
	return NULL;
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
	snapshot_refs++;
	return snapshot;
}

void snapshot_unref(struct snapshot *snapshot)
{
	snapshot_refs -= snapshot != NULL;
}

struct tally *snapshot_tally(const struct snapshot *snapshot, const struct conf_listener *listener,
			     const struct conf_route *route)
{
	(void)snapshot, (void)listener, (void)route;
	return NULL;
}

struct fixture {
	struct loop *loop;
	struct health *health;
	struct snapshot snapshot;
	struct conf conf;
	struct conf_origin origin;
	struct conf_origin *origins[1];
	struct conf_server server;
	struct tls_client_ctx *contexts[1];
	int listener;
	struct server *known;
};

static struct {
	int ups, downs;
	char why[200];
} seen;

static int apply(struct health *health, struct snapshot *snapshot)
{
	int err = health_stage(health, snapshot);

	if (!err)
		health_commit(health, snapshot);
	return err;
}

static void on_change(void *argument, const struct health_change *change)
{
	assert_ptr_equal(argument, &seen);
	assert_string_equal(change->origin, "o");
	seen.ups += change->is_up;
	seen.downs += !change->is_up;
	snprintf(seen.why, sizeof(seen.why), "%s", change->why);
}

static int listen_at(struct addr *addr)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, &addr->sa, addr->len), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, &addr->sa, &addr->len), 0);
	return fd;
}

static void setup(struct fixture *fixture, const char *identity)
{
	memset(&seen, 0, sizeof(seen));
	*fixture = (struct fixture){.loop = loop_new()};
	fixture->server.addr =
	    (struct addr){.in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
			  .len = sizeof(struct sockaddr_in)};
	fixture->listener = listen_at(&fixture->server.addr);
	fixture->origin = (struct conf_origin){.name = "o",
					       .identity = identity,
					       .servers = &fixture->server,
					       .n_servers = 1,
					       .health = {.check = CONF_CHECK_TCP,
							  .interval_ms = 20,
							  .timeout_ms = 100,
							  .rise = 2,
							  .fall = 3}};
	fixture->origins[0] = &fixture->origin;
	fixture->conf = (struct conf){.origins = fixture->origins, .n_origins = 1};
	fixture->snapshot =
	    (struct snapshot){.conf = &fixture->conf, .client_contexts = fixture->contexts};
	fixture->health = health_new(fixture->loop, on_change, &seen);
	fixture->known = server_get(identity, &fixture->server.addr);
	assert_non_null(fixture->health);
	assert_int_equal(apply(fixture->health, &fixture->snapshot), 0);
}

static void teardown(struct fixture *fixture)
{
	health_free(fixture->health);
	assert_int_equal(snapshot_refs, 0);
	server_unref(fixture->known);
	if (fixture->listener >= 0)
		close(fixture->listener);
	loop_free(fixture->loop);
}

/* Runs the loop while a server behind the listener answers each connection with `answer`. */
static void serve_until(struct fixture *fixture, const char *answer, const int *count)
{
	for (int i = 0; i < 2000 && *count == 0; i++) {
		int fd = fixture->listener < 0 ? -1 : accept(fixture->listener, NULL, NULL);

		assert_int_equal(loop_run_once(fixture->loop, 5), 0);
		if (fd >= 0 && answer)
			assert_int_equal(send(fd, answer, strlen(answer), MSG_NOSIGNAL),
					 strlen(answer));
		assert_int_equal(loop_run_once(fixture->loop, 0), 0);
		if (fd >= 0)
			close(fd);
	}
	assert_int_equal(*count, 1);
}

static enum server_state state_now(const struct fixture *fixture)
{
	return server_state(fixture->known, loop_now_ms(fixture->loop));
}

static void test_refusing_server_goes_down_and_comes_back(void **state)
{
	struct server_counts counts;
	struct fixture fixture;

	(void)state;
	setup(&fixture, "refusing");
	close(fixture.listener);
	fixture.listener = -1;
	serve_until(&fixture, NULL, &seen.downs);
	assert_int_equal(state_now(&fixture), SERVER_DOWN);
	assert_string_equal(seen.why, "Connection refused");
	server_read_counts(fixture.known, &counts);
	assert_int_equal(counts.checks_bad, 3);
	fixture.listener = listen_at(&fixture.server.addr);
	serve_until(&fixture, NULL, &seen.ups);
	assert_int_equal(state_now(&fixture), SERVER_UP);
	server_read_counts(fixture.known, &counts);
	assert_int_equal(counts.checks_good, 2);
	teardown(&fixture);
}

static void test_answer_must_begin_as_expected(void **state)
{
	struct fixture fixture;

	(void)state;
	setup(&fixture, "answer");
	fixture.origin.health.expect = "220 ready";
	fixture.origin.health.expect_len = 9;
	serve_until(&fixture, "550 no", &seen.downs);
	assert_string_equal(seen.why, "the answer is not what is expected");
	serve_until(&fixture, "220 ready, what is it?", &seen.ups);
	teardown(&fixture);
}

static void test_silent_server_times_out(void **state)
{
	struct fixture fixture;
	struct addr addr;

	(void)state;
	setup(&fixture, "silent");
	fixture.origin.health.expect = "x";
	fixture.origin.health.expect_len = 1;
	addr = fixture.server.addr;
	for (int i = 0; i < 2000 && !seen.downs; i++)
		assert_int_equal(loop_run_once(fixture.loop, 5), 0);
	assert_string_equal(seen.why, "no answer in time");
	assert_string_equal(health_error(fixture.health, "silent", &addr), "no answer in time");
	teardown(&fixture);
}

static void test_reload_goes_on_where_it_was(void **state)
{
	struct fixture fixture;
	struct snapshot next;

	(void)state;
	setup(&fixture, "reload");
	close(fixture.listener);
	fixture.listener = -1;
	serve_until(&fixture, NULL, &seen.downs);
	next = fixture.snapshot;
	assert_int_equal(apply(fixture.health, &next), 0);
	assert_int_equal(state_now(&fixture), SERVER_DOWN);
	/* An origin that is not checked any more is forgotten, with a check under way. */
	fixture.origin.health.check = CONF_CHECK_OFF;
	assert_int_equal(apply(fixture.health, &fixture.snapshot), 0);
	assert_null(health_error(fixture.health, "reload", &fixture.server.addr));
	teardown(&fixture);
}

static void test_names_are_checked_at_their_addresses(void **state)
{
	struct fixture fixture;
	struct addr addr;

	(void)state;
	setup(&fixture, "names");
	addr = fixture.server.addr;
	fixture.server.is_name = true;
	fixture.origin.identity = "name";
	assert_int_equal(apply(fixture.health, &fixture.snapshot), 0);
	close(fixture.listener);
	fixture.listener = -1;
	assert_int_equal(health_resolved(fixture.health, &fixture.origin, 0, &addr, 1), 0);
	serve_until(&fixture, NULL, &seen.downs);
	assert_non_null(health_error(fixture.health, "name", &addr));
	assert_int_equal(apply(fixture.health, &fixture.snapshot), 0);
	assert_non_null(health_error(fixture.health, "name", &addr));
	assert_int_equal(health_resolved(fixture.health, &fixture.origin, 0, NULL, 0), 0);
	assert_null(health_error(fixture.health, "name", &addr));
	teardown(&fixture);
}

/* A second origin, whose servers nobody knows yet. */
static void add_origin(struct fixture *fixture, struct conf_origin *origin,
		       struct conf_server *servers, size_t n_servers, struct conf *ret_conf)
{
	static struct conf_origin *origins[2];

	*origin = fixture->origin;
	origin->identity = "added";
	origin->servers = servers;
	origin->n_servers = n_servers;
	for (size_t i = 0; i < n_servers; i++) {
		servers[i] = fixture->server;
		servers[i].addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)i);
	}
	origins[0] = &fixture->origin;
	origins[1] = origin;
	*ret_conf = (struct conf){.origins = origins, .n_origins = 2};
}

static void count_server(void *argument, const struct server *server)
{
	(void)server;
	++*(int *)argument;
}

static int servers_of(const char *identity)
{
	int n = 0;

	server_each(identity, count_server, &n);
	return n;
}

/* Wherever memory runs out, what was checked before is checked on, and nothing else. */
static void test_no_memory_changes_nothing(void **state)
{
	struct fixture fixture;
	struct conf_origin origin;
	struct conf_server servers[3];
	struct conf conf;
	struct snapshot next;
	int failures = 0, err = -1;

	(void)state;
	setup(&fixture, "no memory");
	add_origin(&fixture, &origin, servers, 3, &conf);
	next = (struct snapshot){.conf = &conf, .client_contexts = fixture.contexts};
	for (int allowed = 0; err; allowed++) {
		callocs_left = allowed;
		err = health_stage(fixture.health, &next);
		callocs_left = -1;
		if (err == 0)
			break;
		failures++;
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(servers_of("added"), 0);
	}
	assert_int_equal(failures, 6); /* three times a target and its server */
	assert_int_equal(servers_of("added"), 3);
	/* It was for something else that the change did not come about. */
	health_abort(fixture.health);
	assert_int_equal(servers_of("added"), 0);
	assert_int_equal(snapshot_refs, 1);
	close(fixture.listener);
	fixture.listener = -1;
	serve_until(&fixture, NULL, &seen.downs);
	assert_int_equal(state_now(&fixture), SERVER_DOWN);
	teardown(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_refusing_server_goes_down_and_comes_back),
	    cmocka_unit_test(test_answer_must_begin_as_expected),
	    cmocka_unit_test(test_silent_server_times_out),
	    cmocka_unit_test(test_reload_goes_on_where_it_was),
	    cmocka_unit_test(test_names_are_checked_at_their_addresses),
	    cmocka_unit_test(test_no_memory_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
