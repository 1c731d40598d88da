/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main thread: takes bundles whole or not at all, publishes the steer lane, drains. It serves
 * no traffic.
 */
#include "worker/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/log.h"
#include "health/health.h"
#include "penstock/limits.h"
#include "relay/relay.h"
#include "stats/stats.h"
#include "worker/sandbox.h"
#include "worker/worker_internal.h"

/* Descriptors that are not connections': listeners, maps, logs, pools of pipes. */
#define WORKER_SPARE_DESCRIPTORS 512

/* Sources whose connections and rates are remembered at once. */
#define WORKER_LIMITED_SOURCES 65536

struct worker {
	struct loop *loop;
	const struct worker_hooks *hooks;
	struct watch bundle_watch;
	struct worker_thread *threads;
	struct conn_shared shared;
	int streams_fd; /* the map of the live table; -1: none came */
	unsigned int n_threads;
	unsigned int n_drained;
	struct snapshot *snapshot; /* in force; NULL before the first bundle */
	struct steer *steer;
	struct health *health;
	struct worker_names *names;
	char *plane_text;
	uint64_t started_ms;
	struct timer drain_timer;
	enum log_format log_format; /* where the configuration leaves it open */
	bool is_draining;
	bool is_locked_in;
};

struct loop *worker_loop(struct worker *worker)
{
	return worker->loop;
}

static int worker_find_file(void *argument, const char *path)
{
	return bundle_find(argument, BUNDLE_FILE, path, 0);
}

/*
 * For good, with the first configuration: it says which user. All before is code that reads nothing
 * but what the broker has read; all after, certificates and clients first, is locked in.
 */
static int worker_lock_in(struct worker *worker, const struct conf *conf, struct conf_diag *diag)
{
	struct sandbox_error error;
	int err;

	if (worker->is_locked_in)
		return 0;
	/* While /etc/resolv.conf can be read. */
	worker->names = worker_names_new(worker, conf->dns_servers);
	if (!worker->names) {
		conf_diag_add(diag, (struct conf_mark){0}, "cannot look up host names: %s",
			      strerror(errno));
		return -EINVAL;
	}
	err = sandbox_enter(conf->user, &error);
	if (err)
		conf_diag_add(diag, (struct conf_mark){0},
			      "the worker cannot give up its privileges: %s", error.text);
	worker->is_locked_in = err == 0;
	return err;
}

/* The configuration of a bundle with all that is built from it; NULL with errors in `diag`. */
static struct snapshot *worker_read_snapshot(struct worker *worker, struct bundle *bundle,
					     struct conf_diag *diag)
{
	const struct bundle_entry *entry = NULL;
	struct tls_files files = {.find = worker_find_file, .argument = bundle};
	struct conf *conf;
	size_t len_bytes;
	char *text;
	int err = -ENOENT;

	for (size_t i = 0; i < bundle->n_entries; i++)
		if (bundle->entries[i].kind == BUNDLE_CONFIG)
			entry = &bundle->entries[i];
	if (entry)
		err = bundle_read(entry->fd, PENSTOCK_MAX_CONFIG_BYTES, &text, &len_bytes);
	if (err) {
		conf_diag_add(diag, (struct conf_mark){0}, "cannot read the configuration: %s",
			      strerror(-err));
		return NULL;
	}
	conf = conf_parse(text, len_bytes, entry->name, diag);
	free(text);
	if (!conf || worker_lock_in(worker, conf, diag)) {
		conf_unref(conf);
		return NULL;
	}
	return snapshot_new(conf, bundle->generation, &files, diag);
}

static const char *worker_config_name(const struct bundle *bundle)
{
	for (size_t i = 0; i < bundle->n_entries; i++)
		if (bundle->entries[i].kind == BUNDLE_CONFIG)
			return bundle->entries[i].name;
	return "configuration";
}

/*
 * The broker makes one socket per thread: their number says how many threads there are. Where only
 * packets are steered it has made none yet, and counts as is done here for those that a reload
 * brings.
 */
static unsigned int worker_count_threads(const struct bundle *bundle, const struct conf *conf)
{
	uint32_t n_threads = 0;

	for (size_t i = 0; i < bundle->n_entries; i++)
		if (bundle->entries[i].kind == BUNDLE_LISTENER)
			n_threads = MAX(n_threads, bundle->entries[i].index + 1);
	if (n_threads == 0)
		n_threads = conf->threads ? conf->threads : cpu_count();
	return MIN(n_threads, PENSTOCK_MAX_THREADS);
}

/* A connection takes two descriptors; what remains is for pipes and the rest. */
static size_t worker_max_connections(const struct conf *conf)
{
	struct rlimit limit = {.rlim_cur = 1024};
	size_t possible;

	getrlimit(RLIMIT_NOFILE, &limit);
	possible = limit.rlim_cur > 2 * WORKER_SPARE_DESCRIPTORS
		       ? (limit.rlim_cur - WORKER_SPARE_DESCRIPTORS) / 2
		       : limit.rlim_cur / 4;
	return conf->max_connections ? MIN(conf->max_connections, possible) : possible;
}

static int worker_start_threads(struct worker *worker, const struct conf *conf,
				unsigned int n_threads)
{
	struct conn_shared *shared = &worker->shared;

	shared->n_threads = n_threads;
	shared->max_connections = MAX(worker_max_connections(conf) / n_threads, (size_t)1);
	shared->flows = flows_new(worker->streams_fd, n_threads);
	shared->limits = limit_table_new(WORKER_LIMITED_SOURCES);
	worker->threads = calloc(n_threads, sizeof(*worker->threads));
	if (!worker->threads || !shared->flows || !shared->limits)
		return -ENOMEM;
	for (; worker->n_threads < n_threads; worker->n_threads++) {
		struct worker_thread *thread = &worker->threads[worker->n_threads];
		int err = worker_thread_start(thread, worker, worker->n_threads, shared);

		if (err) {
			worker_thread_stop(thread);
			return err;
		}
	}
	return 0;
}

/* The maps come with the first bundle that steers, and stay the worker's. */
static int worker_start_steer(struct worker *worker, struct bundle *bundle)
{
	struct steer_maps maps;

	if (worker->steer || bundle_find(bundle, BUNDLE_MAP, "services", 0) < 0)
		return 0;
	maps.services = bundle_take(bundle, BUNDLE_MAP, "services", 0);
	maps.servers = bundle_take(bundle, BUNDLE_MAP, "servers", 0);
	maps.flows = bundle_take(bundle, BUNDLE_MAP, "flows", 0);
	maps.counters = bundle_take(bundle, BUNDLE_MAP, "counters", 0);
	worker->steer = steer_new(&maps, worker->loop);
	return worker->steer ? 0 : -ENOMEM;
}

/* The maps come with the first bundle whose routes may use them, and stay the worker's. Without
 * them streams are relayed in user space. */
static void worker_start_sockmap(struct bundle *bundle)
{
	struct relay_sockmap_maps maps = {.n_rings = 0};
	size_t len_bytes;
	char *why;
	int fd = bundle_find(bundle, BUNDLE_PLANE, "splice", 0);

	if (fd >= 0 && !bundle_read(fd, PENSTOCK_MAX_CONFIG_BYTES, &why, &len_bytes)) {
		relay_sockmap_refuse(why);
		free(why);
	}
	if (!relay_sockmap_why_not() || bundle_find(bundle, BUNDLE_MAP, "splice_src", 0) < 0)
		return;
	maps.src = bundle_take(bundle, BUNDLE_MAP, "splice_src", 0);
	maps.tgt = bundle_take(bundle, BUNDLE_MAP, "splice_tgt", 0);
	maps.ids = bundle_take(bundle, BUNDLE_MAP, "splice_ids", 0);
	maps.dirs = bundle_take(bundle, BUNDLE_MAP, "splice_dirs", 0);
	for (; maps.n_rings < PENSTOCK_MAX_THREADS; maps.n_rings++) {
		maps.rings[maps.n_rings] =
		    bundle_take(bundle, BUNDLE_MAP, "splice_ring", maps.n_rings);
		if (maps.rings[maps.n_rings] < 0)
			break;
	}
	if (relay_sockmap_open(&maps))
		relay_sockmap_refuse("the maps of the sockmap cannot be mapped into memory");
}

static int worker_publish(struct worker *worker, struct bundle *bundle, const struct conf *conf)
{
	int err = worker_start_steer(worker, bundle);

	if (err)
		return err;
	if (!worker->steer)
		return steer_is_wanted(conf) ? -ENOENT : 0;
	return steer_publish(worker->steer, conf);
}

/* All threads, or none. */
static int worker_stage(struct worker *worker, struct snapshot *snapshot, struct bundle *bundle)
{
	unsigned int staged = 0;
	int err = 0;

	while (staged < worker->n_threads && !err) {
		err = worker_thread_stage(&worker->threads[staged], snapshot, bundle);
		if (!err)
			staged++;
	}
	if (!err)
		err = worker_publish(worker, bundle, snapshot->conf);
	if (!err)
		err = health_apply(worker->health, snapshot);
	if (!err)
		return 0;
	while (staged > 0)
		worker_thread_abort(&worker->threads[--staged]);
	return err;
}

static void worker_keep_plane(struct worker *worker, struct bundle *bundle)
{
	int fd = bundle_find(bundle, BUNDLE_PLANE, "plane", 0);
	size_t len_bytes;
	char *text;

	if (fd < 0 || bundle_read(fd, PENSTOCK_MAX_CONFIG_BYTES, &text, &len_bytes))
		return;
	free(worker->plane_text);
	worker->plane_text = text;
}

static void worker_commit(struct worker *worker, struct snapshot *snapshot, struct bundle *bundle)
{
	for (unsigned int i = 0; i < worker->n_threads; i++)
		worker_thread_commit(&worker->threads[i]);
	snapshot_unref(worker->snapshot);
	worker->snapshot = snapshot;
	worker_keep_plane(worker, bundle);
	if (worker_names_apply(worker->names, snapshot->conf))
		log_error("not all host names of servers are looked up: out of memory");
	log_configure(snapshot->conf->log_format_is_auto ? worker->log_format
							 : snapshot->conf->log_format,
		      snapshot->conf->log_level);
}

static int worker_apply(struct worker *worker, struct bundle *bundle, struct snapshot *snapshot)
{
	int err = 0;

	if (worker->streams_fd < 0)
		worker->streams_fd = bundle_take(bundle, BUNDLE_MAP, "streams", 0);
	worker_start_sockmap(bundle);
	if (!worker->threads)
		err = worker_start_threads(worker, snapshot->conf,
					   worker_count_threads(bundle, snapshot->conf));
	if (!err)
		err = worker_stage(worker, snapshot, bundle);
	if (!err)
		worker_commit(worker, snapshot, bundle);
	return err;
}

static void worker_start_admin(struct worker *worker, struct bundle *bundle)
{
	int fd = bundle_take(bundle, BUNDLE_ADMIN, "admin", 0);

	if (fd >= 0)
		worker->hooks->on_started(worker->hooks->argument, worker, worker->loop, fd);
}

static void worker_take_bundle(struct worker *worker, struct bundle *bundle)
{
	struct bundle_reply reply = {.generation = bundle->generation};
	struct conf_diag *diag = conf_diag_new(worker_config_name(bundle));
	struct snapshot *snapshot = diag ? worker_read_snapshot(worker, bundle, diag) : NULL;
	bool is_first = !worker->snapshot;
	int err = 0;

	if (snapshot) {
		err = worker_apply(worker, bundle, snapshot);
		reply.taken = err == 0;
		if (err)
			snapshot_unref(snapshot);
	}
	if (err)
		snprintf(reply.text, sizeof(reply.text),
			 "the worker could not apply the configuration: %s", strerror(-err));
	else
		snprintf(reply.text, sizeof(reply.text), "%s",
			 diag ? conf_diag_text(diag) : "out of memory");
	conf_diag_free(diag);
	if (reply.taken && is_first)
		worker_start_admin(worker, bundle);
	if (bundle_reply_send(worker->bundle_watch.fd, &reply))
		log_error("cannot answer the broker");
	bundle_free(bundle);
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
	if (message == BUNDLE_MESSAGE_DRAIN)
		worker_drain(worker);
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
	int err = 0;

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
static void worker_server_changed(void *argument, const struct health_change *change)
{
	struct worker *worker = argument;
	int err = 0;

	worker_log_change(change);
	if (worker->steer && worker->snapshot)
		err = steer_publish(worker->steer, worker->snapshot->conf);
	if (err)
		log_error("the steer lane could not be told", LOG_TEXT("error", strerror(-err)));
}

static int worker_init(struct worker *worker, int bundle_fd)
{
	int err;

	worker->bundle_watch = (struct watch){.fd = bundle_fd, .on_event = worker_broker_event};
	timer_init(&worker->drain_timer, worker_give_up_draining);
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
