/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration is taken whole or not at all: who is asked in which order, and who is told when
 * one of them fails. Threads, checks and the steer lane are fakes that write down what they hear.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "worker/worker_internal.h"

static char heard[512];
static const char *failing; /* the word of the one that fails */

static int hear(const char *word)
{
	size_t len = strlen(heard);

	snprintf(heard + len, sizeof(heard) - len, "%s%s", len ? " " : "", word);
	return failing && strcmp(word, failing) == 0 ? -ENOMEM : 0;
}

static int hear_thread(const char *word, const struct worker_thread *thread)
{
	char text[32];

	snprintf(text, sizeof(text), "%s-%u", word, thread->number);
	return hear(text);
}

/* ---- fakes ---- */

int worker_thread_start(struct worker_thread *thread, struct worker *worker, unsigned int number,
			const struct conn_shared *shared)
{
	(void)thread, (void)worker, (void)number, (void)shared;
	return -ENOSYS;
}

void worker_thread_stop(struct worker_thread *thread)
{
	(void)thread;
}

int worker_thread_stage(struct worker_thread *thread, struct snapshot *snapshot,
			struct bundle *bundle)
{
	(void)snapshot, (void)bundle;
	return hear_thread("stage", thread);
}

void worker_thread_commit(struct worker_thread *thread)
{
	(void)hear_thread("commit", thread);
}

void worker_thread_abort(struct worker_thread *thread)
{
	(void)hear_thread("abort", thread);
}

int worker_thread_tell(struct worker_thread *thread, const struct worker_addresses *news)
{
	(void)thread, (void)news;
	return 0;
}

void worker_thread_drain(struct worker_thread *thread)
{
	(void)thread;
}

int health_stage(struct health *health, const struct snapshot *snapshot)
{
	(void)health, (void)snapshot;
	return hear("checks-stage");
}

void health_commit(struct health *health, struct snapshot *snapshot)
{
	(void)health, (void)snapshot;
	(void)hear("checks-commit");
}

void health_abort(struct health *health)
{
	(void)health;
	(void)hear("checks-abort");
}

struct steer *steer_new(const struct steer_maps *maps, struct loop *loop)
{
	(void)maps, (void)loop;
	return NULL;
}

bool steer_is_wanted(const struct conf *conf)
{
	(void)conf;
	return true;
}

int steer_publish(struct steer *steer, struct conf *conf)
{
	(void)steer, (void)conf;
	return hear("publish");
}

struct worker_names *worker_names_new(struct worker *worker, const char *dns_servers)
{
	(void)worker, (void)dns_servers;
	return NULL;
}

int worker_names_set_hosts(struct worker_names *names, const char *text, size_t len_bytes)
{
	(void)names, (void)text, (void)len_bytes;
	return 0;
}

int worker_names_set_servers(struct worker_names *names, const char *dns_servers, const char *text,
			     size_t len_bytes)
{
	(void)names, (void)dns_servers, (void)text, (void)len_bytes;
	return 0;
}

size_t worker_names_addrs(const struct worker_names *names, const char *identity, size_t server,
			  struct addr ret_addrs[WORKER_NAME_ADDRS_MAX])
{
	(void)names, (void)identity, (void)server, (void)ret_addrs;
	return 0;
}

const char *worker_names_error(const struct worker_names *names, const char *identity,
			       size_t server)
{
	(void)names, (void)identity, (void)server;
	return NULL;
}

void worker_names_free(struct worker_names *names)
{
	(void)names;
}

int worker_names_apply(struct worker_names *names, const struct conf *conf)
{
	(void)names, (void)conf;
	return hear("names");
}

void worker_drains_init(struct worker_drains *drains)
{
	(void)drains;
}

void worker_drains_done(struct worker_drains *drains)
{
	(void)drains;
}

int worker_drains_stage(struct worker_drains *drains, const struct worker_names *names,
			const struct conf *conf)
{
	(void)drains, (void)names, (void)conf;
	return hear("drains");
}

void worker_drains_settle(struct worker_drains *drains, const struct conf *conf)
{
	(void)drains, (void)conf;
	(void)hear("drains-settle");
}

int worker_drains_resolved(struct worker_drains *drains, const struct conf_origin *origin,
			   size_t server, const struct addr *addrs, size_t n_addrs)
{
	(void)drains, (void)origin, (void)server, (void)addrs, (void)n_addrs;
	return 0;
}

json_t *worker_drain_server(struct worker *worker, const char *origin, const char *server,
			    bool is_on)
{
	(void)worker, (void)origin, (void)server, (void)is_on;
	return NULL;
}

struct snapshot *snapshot_new(struct conf *conf, uint64_t generation, const struct tls_files *files,
			      struct conf_diag *diag)
{
	(void)conf, (void)generation, (void)files, (void)diag;
	return NULL;
}

void snapshot_unref(struct snapshot *snapshot)
{
	(void)snapshot;
}

/* ---- the tests ---- */

static int apply(const char *who_fails)
{
	struct worker_thread threads[2] = {{.number = 0}, {.number = 1}};
	struct conf conf = {.file_name = "f"}, old_conf = {.file_name = "old"};
	struct snapshot snapshot = {.conf = &conf}, old = {.conf = &old_conf};
	struct bundle bundle = {.n_entries = 0};
	char steer;
	struct worker worker = {.threads = threads,
				.n_threads = 2,
				.snapshot = &old,
				.steer = (struct steer *)(void *)&steer};
	int err;

	heard[0] = 0;
	failing = who_fails;
	err = worker_apply(&worker, &bundle, &snapshot);
	assert_ptr_equal(worker.snapshot, err ? &old : &snapshot);
	return err;
}

static void test_all_are_staged_before_any_switches(void **state)
{
	(void)state;
	assert_int_equal(apply(NULL), 0);
	assert_string_equal(heard, "drains stage-0 stage-1 checks-stage publish commit-0 commit-1 "
				   "checks-commit drains-settle names");
}

static void test_thread_that_fails(void **state)
{
	(void)state;
	assert_int_equal(apply("stage-1"), -ENOMEM);
	assert_string_equal(heard, "drains stage-0 stage-1 abort-0");
}

/* What the steer lane publishes is in force at once, so it is not asked before all others agreed.
 */
static void test_checks_that_fail_leave_the_steer_lane_alone(void **state)
{
	(void)state;
	assert_int_equal(apply("checks-stage"), -ENOMEM);
	assert_string_equal(heard, "drains stage-0 stage-1 checks-stage abort-1 abort-0");
}

static void test_steer_lane_that_fails_takes_the_checks_back(void **state)
{
	(void)state;
	assert_int_equal(apply("publish"), -ENOMEM);
	assert_string_equal(
	    heard, "drains stage-0 stage-1 checks-stage publish checks-abort abort-1 abort-0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_all_are_staged_before_any_switches),
	    cmocka_unit_test(test_thread_that_fails),
	    cmocka_unit_test(test_checks_that_fail_leave_the_steer_lane_alone),
	    cmocka_unit_test(test_steer_lane_that_fails_takes_the_checks_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
