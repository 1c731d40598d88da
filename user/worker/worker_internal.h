/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside worker/: threads and the listeners that they accept from. */
#ifndef PENSTOCK_WORKER_INTERNAL_H
#define PENSTOCK_WORKER_INTERNAL_H

#include <pthread.h>
#include <semaphore.h>

#include "base/log.h"
#include "bundle/bundle.h"
#include "conn/conn.h"
#include "health/health.h"
#include "snapshot/snapshot.h"
#include "steer/steer.h"
#include "worker/worker.h"

/* One listening socket of one thread. */
struct worker_listener {
	struct list node;
	struct watch watch;
	struct worker_thread *thread;
	char *bind_text;
	size_t index; /* of the listener in the thread's current snapshot */
	size_t next_index; /* in the staged one */
	bool is_staged; /* the staged snapshot has it */
	bool is_new; /* came with the staged bundle */
	bool is_watched;
	uint64_t last_batch; /* in which it was ready */
	unsigned int n_in_row; /* batches in which it was, up to that one */
	unsigned int n_waiting; /* when they were last counted */
};

struct worker_thread {
	struct worker *worker;
	unsigned int number;
	pthread_t pthread;
	bool is_started;
	struct loop *loop;
	struct conn_thread *conns;
	struct list listeners;
	struct conn_lease *staged_lease;
	struct timer accept_timer; /* armed while accepting is paused */
	uint64_t accept_logged_ms;
	bool is_drained;
	sem_t answered; /* posted when a worker_thread_call() is done */
};

/* Starts the thread with an empty loop. 0 or -errno. */
int worker_thread_start(struct worker_thread *thread, struct worker *worker, unsigned int number,
			const struct conn_shared *shared) MUST_CHECK;

/* Stops and joins it, closes what it holds. Right for one that was never started. */
void worker_thread_stop(struct worker_thread *thread);

/* Two phases, from the main thread: stage in all threads, then commit in all or abort in all. */
int worker_thread_stage(struct worker_thread *thread, struct snapshot *snapshot,
			struct bundle *bundle) MUST_CHECK;
void worker_thread_commit(struct worker_thread *thread);
void worker_thread_abort(struct worker_thread *thread);

/* News of a host name, told to this thread. 0 or -errno. */
struct worker_addresses {
	const char *identity; /* of the origin */
	size_t server;
	const struct addr *addrs;
	size_t n_addrs;
};

int worker_thread_tell(struct worker_thread *thread,
		       const struct worker_addresses *news) MUST_CHECK;

/* No more accepting; calls worker_thread_drained() in the main thread when nothing is left. */
void worker_thread_drain(struct worker_thread *thread);

struct worker_names;

/*
 * Of worker_drain.c: servers that the operator took out of service. A mark is by names, so it holds
 * for an origin that a reload changed, too, as long as that server is in it; a restart forgets all.
 */
struct worker_drains {
	struct list marks;
};

void worker_drains_init(struct worker_drains *drains);
void worker_drains_done(struct worker_drains *drains);

/* Marks the servers of a configuration before anybody chooses among them. 0 or -ENOMEM. */
int worker_drains_stage(struct worker_drains *drains, const struct worker_names *names,
			const struct conf *conf) MUST_CHECK;

/* This configuration is in force: what it does not have is forgotten. */
void worker_drains_settle(struct worker_drains *drains, const struct conf *conf);

/* A server that is a host name has these addresses now. 0 or -ENOMEM. */
int worker_drains_resolved(struct worker_drains *drains, const struct conf_origin *origin,
			   size_t server, const struct addr *addrs, size_t n_addrs) MUST_CHECK;

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
	struct worker_drains drains;
	char *plane_text;
	uint64_t started_ms;
	struct timer drain_timer;
	enum log_format log_format; /* where the configuration leaves it open */
	bool is_draining;
	bool is_locked_in;
};

/* Of worker.c. */
struct loop *worker_loop(struct worker *worker);
void worker_thread_drained(void *argument);
/* A server's state is another one: tells those who do not look by themselves. */
void worker_servers_changed(struct worker *worker);

/* Of worker_status.c. */
struct worker_facts {
	const struct snapshot *snapshot;
	struct steer *steer; /* NULL: nothing is steered */
	const char *plane; /* JSON text; NULL */
	uint64_t uptime_ms;
	unsigned int n_threads;
	bool is_draining;
	const struct health *health;
	const struct worker_names *names;
};

/* Of worker_bundle.c. Takes the bundle over, and answers the broker. */
void worker_take_bundle(struct worker *worker, struct bundle *bundle);

/* /etc/hosts and /etc/resolv.conf have changed. Takes the bundle over. */
void worker_take_names(struct worker *worker, struct bundle *bundle);

/* Has it served from now on, in all threads and lanes; 0, or -errno and nothing has changed. Takes
 * the caller's reference over where it is taken. */
int worker_apply(struct worker *worker, struct bundle *bundle,
		 struct snapshot *snapshot) MUST_CHECK;

int worker_tell_addresses(struct worker *worker, const struct worker_addresses *news) MUST_CHECK;

/* Of worker_names.c: host names of servers. `dns_servers` as resolver_new() has it. NULL and errno.
 */
struct worker_names *worker_names_new(struct worker *worker, const char *dns_servers) MUST_CHECK;
void worker_names_free(struct worker_names *names);

/* Follows the names of this configuration from now on. 0 or -ENOMEM: it may follow fewer or more
 * than wanted. */
int worker_names_apply(struct worker_names *names, const struct conf *conf) MUST_CHECK;

/* /etc/hosts, as it is from now on. 0 or -ENOMEM: it stays as it was. */
int worker_names_set_hosts(struct worker_names *names, const char *text,
			   size_t len_bytes) MUST_CHECK;

/* As resolver_set_servers() has it. */
int worker_names_set_servers(struct worker_names *names, const char *dns_servers, const char *text,
			     size_t len_bytes) MUST_CHECK;

/* The addresses that this server of the origin, which is a name, has now; how many. */
#define WORKER_NAME_ADDRS_MAX 64
size_t worker_names_addrs(const struct worker_names *names, const char *identity, size_t server,
			  struct addr ret_addrs[WORKER_NAME_ADDRS_MAX]);

/* Why that server of the origin could not be looked up; NULL: it could, or the first answer is
 * awaited. */
const char *worker_names_error(const struct worker_names *names, const char *identity,
			       size_t server);

/* Of worker_flows.c. */
json_t *worker_flows_json(const struct flows *flows, const struct conf *conf,
			  struct steer *steer) MUST_CHECK;

/* Of worker_status_tls.c. All are NULL, and so left out, where there is nothing to tell. */
json_t *worker_status_certificates(const struct tls_server_ctx *context);
json_t *worker_status_tls_rules(const struct conf_server_tls *conf,
				const struct tls_server_ctx *context);
json_t *worker_status_origin_rules(const struct conf_client_tls *conf);

/* A list, as worker_status_certificates() has it. */
json_t *worker_status_origin_certificates(const struct tls_client_ctx *context);

/* Of worker_status_origin.c. */
json_t *worker_status_origin(const struct worker_facts *facts,
			     const struct conf_origin *origin) MUST_CHECK;

json_t *worker_status_json(const struct worker_facts *facts) MUST_CHECK;

#endif
