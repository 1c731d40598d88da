/* SPDX-License-Identifier: Apache-2.0 */
/* Takes a bundle whole or not at all: what can fail comes first and is taken back, then all switch.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/log.h"
#include "penstock/limits.h"
#include "relay/relay.h"
#include "worker/sandbox.h"
#include "worker/worker_internal.h"

/* Descriptors that are not connections': listeners, maps, logs, pools of pipes. */
#define WORKER_SPARE_DESCRIPTORS 512

/* Sources whose connections and rates are remembered at once. */
#define WORKER_LIMITED_SOURCES 65536

static int worker_find_file(void *argument, const char *path)
{
	return bundle_find(argument, BUNDLE_FILE, path, 0);
}

static int worker_find_log(void *argument, const char *path)
{
	return bundle_find(argument, BUNDLE_LOG, path, 0);
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
	const struct bundle_entry *entry = bundle_first(bundle, BUNDLE_CONFIG);
	struct tls_files files = {
	    .find = worker_find_file, .find_log = worker_find_log, .argument = bundle};
	struct conf *conf;
	size_t len_bytes;
	char *text;
	int err = -ENOENT;

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
	const struct bundle_entry *entry = bundle_first(bundle, BUNDLE_CONFIG);

	return entry ? entry->name : "configuration";
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

static void worker_close_maps(const struct steer_maps *maps)
{
	const int fds[] = {maps->services, maps->servers, maps->flows, maps->counters};

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
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
	if (worker->steer)
		return 0;
	worker_close_maps(&maps); /* the next bundle brings them again */
	return -ENOMEM;
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

static int worker_publish(struct worker *worker, struct bundle *bundle, struct conf *conf)
{
	int err = worker_start_steer(worker, bundle);

	if (err)
		return err;
	if (!worker->steer)
		return steer_is_wanted(conf) ? -ENOENT : 0;
	return steer_publish(worker->steer, conf);
}

/* All or nothing. The steer lane comes last: what it publishes is in force at once. */
static int worker_stage(struct worker *worker, struct snapshot *snapshot, struct bundle *bundle)
{
	unsigned int staged = 0;
	int err = worker_drains_stage(&worker->drains, worker->names, snapshot->conf);

	while (staged < worker->n_threads && !err) {
		err = worker_thread_stage(&worker->threads[staged], snapshot, bundle);
		if (!err)
			staged++;
	}
	if (!err)
		err = health_stage(worker->health, snapshot);
	if (!err) {
		err = worker_publish(worker, bundle, snapshot->conf);
		if (err)
			health_abort(worker->health);
	}
	while (err && staged > 0)
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

/* "" where the host has no such file. NULL: it could not be read, reported. */
static char *worker_read_names_file(const struct bundle *bundle, const char *path, size_t *ret_len)
{
	int fd = bundle_find(bundle, BUNDLE_FILE, path, 0);
	char *text = NULL;
	int err = 0;

	*ret_len = 0;
	if (fd >= 0)
		err = bundle_read(fd, PENSTOCK_MAX_CONFIG_BYTES, &text, ret_len);
	else
		text = strdup("");
	if (text)
		return text;
	log_warn("a file is not read: host names of servers are looked up as before",
		 LOG_TEXT("file", path), LOG_TEXT("error", strerror(err ? -err : ENOMEM)));
	return NULL;
}

static void worker_set_names(struct worker *worker, const struct bundle *bundle,
			     const struct conf *conf)
{
	size_t hosts_len, resolv_len;
	char *hosts = worker_read_names_file(bundle, BUNDLE_HOSTS_PATH, &hosts_len);
	char *resolv = worker_read_names_file(bundle, BUNDLE_RESOLV_PATH, &resolv_len);
	int err = worker_names_set_servers(worker->names, conf->dns_servers, resolv ? resolv : "",
					   resolv_len);

	if (err)
		log_error("the name servers stay as they were", LOG_TEXT("error", strerror(-err)));
	err = hosts ? worker_names_set_hosts(worker->names, hosts, hosts_len) : 0;
	if (err)
		log_error(BUNDLE_HOSTS_PATH " stays as it was", LOG_TEXT("error", strerror(-err)));
	free(hosts);
	free(resolv);
}

void worker_take_names(struct worker *worker, struct bundle *bundle)
{
	if (worker->snapshot)
		worker_set_names(worker, bundle, worker->snapshot->conf);
	bundle_free(bundle);
}

static void worker_follow_names(struct worker *worker, struct bundle *bundle,
				const struct conf *conf)
{
	worker_set_names(worker, bundle, conf);
	if (worker_names_apply(worker->names, conf))
		log_error("not all host names of servers are looked up: out of memory");
}

static void worker_commit(struct worker *worker, struct snapshot *snapshot, struct bundle *bundle)
{
	for (unsigned int i = 0; i < worker->n_threads; i++)
		worker_thread_commit(&worker->threads[i]);
	health_commit(worker->health, snapshot);
	snapshot_unref(worker->snapshot);
	worker->snapshot = snapshot;
	worker_drains_settle(&worker->drains, snapshot->conf);
	worker_keep_plane(worker, bundle);
	worker_follow_names(worker, bundle, snapshot->conf);
	log_configure(snapshot->conf->log_format_is_auto ? worker->log_format
							 : snapshot->conf->log_format,
		      snapshot->conf->log_level);
}

int worker_apply(struct worker *worker, struct bundle *bundle, struct snapshot *snapshot)
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

void worker_take_bundle(struct worker *worker, struct bundle *bundle)
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
