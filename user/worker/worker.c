/* SPDX-License-Identifier: Apache-2.0 */
/* The main thread: listens to the broker, tells who must know what changed, drains. It serves no
 * traffic. How a bundle is taken is in worker_bundle.c. */
#include "worker/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "health/health.h"
#include "relay/relay.h"
#include "stats/stats.h"
#include "worker/worker_internal.h"

struct loop *worker_loop(struct worker *worker)
{
	return worker->loop;
}

static void worker_give_up_draining(struct timer *timer)
{
	struct worker *worker = container_of(timer, struct worker, drain_timer);

	log_warn("connections were still open when the time for draining was over",
		 LOG_INT("open", stats_sum(STAT_CONNECTIONS_OPEN)));
	loop_stop(worker->loop);
}

void worker_thread_drained(void *argument)
{
	struct worker_thread *thread = argument;
	struct worker *worker = thread->worker;

	if (++worker->n_drained == worker->n_threads)
		loop_stop(worker->loop);
}

static void worker_drain(struct worker *worker)
{
	if (worker->is_draining)
		return;
	worker->is_draining = true;
	if (worker->n_threads == 0) {
		loop_stop(worker->loop);
		return;
	}
	loop_timer_arm(worker->loop, &worker->drain_timer,
		       worker->snapshot ? worker->snapshot->conf->drain_timeout_ms : 0);
	for (unsigned int i = 0; i < worker->n_threads; i++)
		worker_thread_drain(&worker->threads[i]);
}

static void worker_broker_event(struct watch *watch, uint32_t events UNUSED)
{
	struct worker *worker = container_of(watch, struct worker, bundle_watch);
	enum bundle_message message;
	struct bundle *bundle;
	int err = bundle_recv(watch->fd, &message, &bundle);

	if (err) {
		loop_unwatch(worker->loop, watch);
		log_warn("the broker is gone: serving what is open, then stopping",
			 LOG_TEXT("error", strerror(-err)));
		worker_drain(worker);
		return;
	}
	if (message == BUNDLE_MESSAGE_DRAIN && worker->is_draining)
		loop_stop(worker->loop);
	else if (message == BUNDLE_MESSAGE_DRAIN)
		worker_drain(worker);
	else if (message == BUNDLE_MESSAGE_NAMES)
		worker_take_names(worker, bundle);
	else
		worker_take_bundle(worker, bundle);
}

json_t *worker_flows(struct worker *worker)
{
	return worker_flows_json(worker->shared.flows, worker->snapshot->conf, worker->steer);
}

json_t *worker_status(struct worker *worker)
{
	struct worker_facts facts = {
	    .snapshot = worker->snapshot,
	    .steer = worker->steer,
	    .plane = worker->plane_text,
	    .uptime_ms = loop_now_ms(worker->loop) - worker->started_ms,
	    .n_threads = worker->n_threads,
	    .is_draining = worker->is_draining,
	    .health = worker->health,
	    .names = worker->names,
	};

	return worker_status_json(&facts);
}

/* Signals from a terminal go to the broker too, which decides. */
static void worker_ignore_signals(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
}

static const struct conf_origin *worker_find_origin(const struct conf *conf, const char *identity)
{
	for (size_t i = 0; i < conf->n_origins; i++)
		if (strcmp(conf->origins[i]->identity, identity) == 0)
			return conf->origins[i];
	return NULL;
}

/* All threads and the checks; the first failure is told, the others hear all the same. */
int worker_tell_addresses(struct worker *worker, const struct worker_addresses *news)
{
	const struct conf_origin *origin =
	    worker_find_origin(worker->snapshot->conf, news->identity);
	int err = origin ? worker_drains_resolved(&worker->drains, origin, news->server,
						  news->addrs, news->n_addrs)
			 : 0;

	for (unsigned int i = 0; i < worker->n_threads; i++) {
		int thread_err = worker_thread_tell(&worker->threads[i], news);

		err = err ? err : thread_err;
	}
	if (origin && !err)
		err = health_resolved(worker->health, origin, news->server, news->addrs,
				      news->n_addrs);
	return err;
}

static void worker_log_change(const struct health_change *change)
{
	if (change->is_up)
		log_info("server is up again", LOG_TEXT("origin", change->origin),
			 LOG_TEXT("server", change->server));
	else
		log_warn("server is down", LOG_TEXT("origin", change->origin),
			 LOG_TEXT("server", change->server), LOG_TEXT("why", change->why));
}

/* Connections look for themselves; the steer lane is told. */
void worker_servers_changed(struct worker *worker)
{
	int err = 0;

	if (worker->steer && worker->snapshot)
		err = steer_publish(worker->steer, worker->snapshot->conf);
	if (err)
		log_error("the steer lane could not be told", LOG_TEXT("error", strerror(-err)));
}

static void worker_server_changed(void *argument, const struct health_change *change)
{
	worker_log_change(change);
	worker_servers_changed(argument);
}

static int worker_init(struct worker *worker, int bundle_fd)
{
	int err;

	worker->bundle_watch = (struct watch){.fd = bundle_fd, .on_event = worker_broker_event};
	timer_init(&worker->drain_timer, worker_give_up_draining);
	worker_drains_init(&worker->drains);
	worker->log_format = log_format_choose();
	worker->loop = loop_new();
	if (!worker->loop)
		return -errno;
	worker->started_ms = loop_now_ms(worker->loop);
	worker->health = health_new(worker->loop, worker_server_changed, worker);
	if (!worker->health)
		return -ENOMEM;
	err = stats_thread_init();
	if (err)
		return err;
	relay_pipe_prove();
	if (relay_pipe_why_not())
		log_warn("streams are not spliced", LOG_TEXT("reason", relay_pipe_why_not()));
	err = tls_init(true);
	if (err)
		return err;
	return loop_watch_level(worker->loop, &worker->bundle_watch, EPOLLIN);
}

static void worker_done(struct worker *worker)
{
	worker->hooks->on_stopping(worker->hooks->argument);
	for (unsigned int i = 0; i < worker->n_threads; i++)
		worker_thread_stop(&worker->threads[i]);
	free(worker->threads);
	flows_free(worker->shared.flows);
	limit_table_free(worker->shared.limits);
	worker_names_free(worker->names);
	worker_drains_done(&worker->drains);
	health_free(worker->health);
	steer_free(worker->steer);
	snapshot_unref(worker->snapshot);
	free(worker->plane_text);
	loop_free(worker->loop);
}

int worker_main(int bundle_fd, const struct worker_hooks *hooks)
{
	struct worker worker = {.hooks = hooks, .streams_fd = -1};
	int err;

	worker_ignore_signals();
	err = worker_init(&worker, bundle_fd);
	if (!err)
		err = loop_run(worker.loop);
	if (err)
		log_error("worker stopped", LOG_TEXT("error", strerror(-err)));
	worker_done(&worker);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
