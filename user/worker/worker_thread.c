/* SPDX-License-Identifier: Apache-2.0 */
/* One thread: its loop, its listening sockets, its connections. The main thread speaks to it only
 * by calls that wait. */
#include "worker/worker_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "relay/relay.h"
#include "stats/stats.h"
#include "tls/tls.h"

#define WORKER_ACCEPT_BATCH 64u
#define WORKER_ACCEPT_PATIENCE 4 /* batches */
#define WORKER_ACCEPT_PAUSE_MS 100

/* A function to run in a thread while the caller waits for it. */
struct worker_call {
	struct worker_thread *thread;
	void (*function)(struct worker_call *call);
	struct snapshot *snapshot;
	struct bundle *bundle;
	const struct worker_addresses *news;
	int err;
};

static void worker_thread_answer(void *argument)
{
	struct worker_call *call = argument;

	call->function(call);
	sem_post(&call->thread->answered);
}

static int worker_thread_call(struct worker_call *call)
{
	int err = loop_post(call->thread->loop, worker_thread_answer, call);

	if (err)
		return err;
	while (sem_wait(&call->thread->answered) && errno == EINTR)
		;
	return call->err;
}

static void worker_listener_unwatch(struct worker_listener *listener)
{
	if (listener->is_watched)
		loop_unwatch(listener->thread->loop, &listener->watch);
	listener->is_watched = false;
}

static void worker_listener_free(struct worker_listener *listener)
{
	worker_listener_unwatch(listener);
	list_del(&listener->node);
	close(listener->watch.fd);
	free(listener->bind_text);
	free(listener);
}

/* Without descriptors accept(2) fails at once while epoll still reports the socket: rest instead of
 * spinning. */
static void worker_pause_accept(struct worker_thread *thread, int error)
{
	uint64_t now_ms = loop_now_ms(thread->loop);

	list_for_each (node, &thread->listeners)
		worker_listener_unwatch(container_of(node, struct worker_listener, node));
	loop_timer_arm(thread->loop, &thread->accept_timer, WORKER_ACCEPT_PAUSE_MS);
	stats_inc(STAT_ACCEPT_PAUSED);
	if (thread->accept_logged_ms && now_ms - thread->accept_logged_ms < 1000)
		return;
	thread->accept_logged_ms = now_ms;
	log_warn(
	    "accepting paused: raise the descriptor limit (LimitNOFILE=) or lower max_connections",
	    LOG_TEXT("error", strerror(error)), LOG_INT("thread", thread->number));
}

/* One connection. 0, -EAGAIN where there is none, -errno where accepting has to pause. */
static int worker_accept_one(struct worker_listener *listener)
{
	struct addr peer = {.len = sizeof(peer.un)};
	int fd = accept4(listener->watch.fd, &peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		conn_accept(listener->thread->conns, listener->index, fd, &peer);
		return 0;
	}
	switch (errno) {
	case EAGAIN:
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return -errno;
	default: /* the connection died while it waited (accept(2), "Error handling") */
		return 0;
	}
}

/* Connections that wait to be accepted; WORKER_ACCEPT_BATCH where the kernel does not tell. */
static unsigned int worker_count_waiting(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		return WORKER_ACCEPT_BATCH;
	return MIN(info.tcpi_unacked, WORKER_ACCEPT_BATCH); /* so of a listener only */
}

/*
 * How many to accept now. An accept() that finds nothing makes a socket first and costs 3 us, seven
 * times as much as counting those that wait: so it is one, as one was reported, and they are
 * counted where there may be more, when the listener is ready in batch after batch.
 */
static unsigned int worker_accept_share(struct worker_listener *listener)
{
	uint64_t batch = loop_batch(listener->thread->loop);

	if (batch != listener->last_batch + 1) {
		listener->n_in_row = 0;
		listener->n_waiting = 0;
	}
	listener->last_batch = batch;
	listener->n_in_row++;
	if (listener->n_waiting > 1 || listener->n_in_row % WORKER_ACCEPT_PATIENCE == 0)
		listener->n_waiting = worker_count_waiting(listener->watch.fd);
	return MAX(listener->n_waiting, 1u);
}

static void worker_accept(struct watch *watch, uint32_t events UNUSED)
{
	struct worker_listener *listener = container_of(watch, struct worker_listener, watch);
	unsigned int share = worker_accept_share(listener);
	int err = 0;

	for (unsigned int i = 0; i < share && !err; i++)
		err = worker_accept_one(listener);
	if (err && err != -EAGAIN)
		worker_pause_accept(listener->thread, -err);
}

static void worker_listener_watch(struct worker_listener *listener)
{
	struct worker_thread *thread = listener->thread;

	if (listener->is_watched)
		return;
	if (loop_watch_level(thread->loop, &listener->watch, EPOLLIN))
		loop_timer_arm(thread->loop, &thread->accept_timer, WORKER_ACCEPT_PAUSE_MS);
	else
		listener->is_watched = true;
}

static void worker_resume_accept(struct timer *timer)
{
	struct worker_thread *thread = container_of(timer, struct worker_thread, accept_timer);

	list_for_each (node, &thread->listeners)
		worker_listener_watch(container_of(node, struct worker_listener, node));
}

/* Who is in the queue already was promised an answer. */
static void worker_listener_retire(struct worker_listener *listener)
{
	for (int i = 0; i < 65536; i++)
		if (worker_accept_one(listener))
			break;
	worker_listener_free(listener);
}

static struct worker_listener *worker_listener_find(struct worker_thread *thread,
						    const char *bind_text)
{
	list_for_each (node, &thread->listeners) {
		struct worker_listener *listener = container_of(node, struct worker_listener, node);

		if (strcmp(listener->bind_text, bind_text) == 0)
			return listener;
	}
	return NULL;
}

/* Owns `fd`. */
static struct worker_listener *worker_listener_new(struct worker_thread *thread,
						   const char *bind_text, int fd)
{
	struct worker_listener *listener = calloc(1, sizeof(*listener));

	if (listener)
		listener->bind_text = strdup(bind_text);
	if (!listener || !listener->bind_text) {
		free(listener);
		close(fd);
		return NULL;
	}
	listener->thread = thread;
	listener->watch = (struct watch){.fd = fd, .on_event = worker_accept};
	listener->is_new = true;
	list_add_tail(&listener->node, &thread->listeners);
	return listener;
}

static int worker_stage_bind(struct worker_call *call, const struct conf_listener *conf,
			     const char *bind_text)
{
	struct worker_thread *thread = call->thread;
	struct worker_listener *listener = worker_listener_find(thread, bind_text);

	if (!listener) {
		int fd = bundle_take(call->bundle, BUNDLE_LISTENER, bind_text, thread->number);

		if (fd < 0)
			return fd;
		listener = worker_listener_new(thread, bind_text, fd);
		if (!listener)
			return -ENOMEM;
	}
	listener->is_staged = true;
	listener->next_index = conf->index;
	return 0;
}

static bool worker_is_steered(const struct conf_listener *listener)
{
	return listener->routes[0].lane == CONF_LANE_STEER;
}

static int worker_stage_listeners(struct worker_call *call)
{
	const struct conf *conf = call->snapshot->conf;

	for (size_t i = 0; i < conf->n_listeners; i++) {
		const struct conf_listener *listener = &conf->listeners[i];

		if (worker_is_steered(listener))
			continue;
		for (size_t j = 0; j < listener->n_binds; j++) {
			int err = worker_stage_bind(call, listener, listener->bind_texts[j]);

			if (err)
				return err;
		}
	}
	return 0;
}

static void worker_abort_in_thread(struct worker_call *call)
{
	struct worker_thread *thread = call->thread;

	conn_lease_free(thread->staged_lease);
	thread->staged_lease = NULL;
	list_for_each_safe (node, &thread->listeners) {
		struct worker_listener *listener = container_of(node, struct worker_listener, node);

		listener->is_staged = false;
		if (listener->is_new)
			worker_listener_free(listener);
	}
}

static void worker_stage_in_thread(struct worker_call *call)
{
	call->thread->staged_lease = conn_lease_new(call->thread->conns, call->snapshot);
	call->err = call->thread->staged_lease ? worker_stage_listeners(call) : -ENOMEM;
	if (call->err)
		worker_abort_in_thread(call);
}

/* What goes retires under the old snapshot, then all that stays moves to the new one. */
static void worker_commit_in_thread(struct worker_call *call)
{
	struct worker_thread *thread = call->thread;

	list_for_each_safe (node, &thread->listeners) {
		struct worker_listener *listener = container_of(node, struct worker_listener, node);

		if (!listener->is_staged)
			worker_listener_retire(listener);
	}
	conn_thread_take(thread->conns, thread->staged_lease);
	thread->staged_lease = NULL;
	list_for_each (node, &thread->listeners) {
		struct worker_listener *listener = container_of(node, struct worker_listener, node);

		listener->index = listener->next_index;
		listener->is_staged = false;
		listener->is_new = false;
		worker_listener_watch(listener);
	}
}

int worker_thread_stage(struct worker_thread *thread, struct snapshot *snapshot,
			struct bundle *bundle)
{
	return worker_thread_call(&(struct worker_call){.thread = thread,
							.function = worker_stage_in_thread,
							.snapshot = snapshot,
							.bundle = bundle});
}

/* Posting can fail for want of memory only; a commit may not, so it waits for some. */
static void worker_thread_must_call(struct worker_thread *thread,
				    void (*function)(struct worker_call *call))
{
	while (worker_thread_call(&(struct worker_call){.thread = thread, .function = function}) ==
	       -ENOMEM)
		usleep(1000);
}

void worker_thread_commit(struct worker_thread *thread)
{
	worker_thread_must_call(thread, worker_commit_in_thread);
}

void worker_thread_abort(struct worker_thread *thread)
{
	worker_thread_must_call(thread, worker_abort_in_thread);
}

static void worker_tell_in_thread(struct worker_call *call)
{
	const struct worker_addresses *news = call->news;

	call->err = conn_thread_set_addresses(call->thread->conns, news->identity, news->server,
					      news->addrs, news->n_addrs);
}

int worker_thread_tell(struct worker_thread *thread, const struct worker_addresses *news)
{
	return worker_thread_call(&(struct worker_call){
	    .thread = thread, .function = worker_tell_in_thread, .news = news});
}

static void worker_tell_drained(void *argument)
{
	struct worker_thread *thread = argument;

	if (!thread->is_drained &&
	    !loop_post(worker_loop(thread->worker), worker_thread_drained, thread))
		thread->is_drained = true;
}

static void worker_drain_in_thread(struct worker_call *call)
{
	struct worker_thread *thread = call->thread;
	struct list *node;

	timer_cancel(&thread->accept_timer);
	while ((node = list_first(&thread->listeners)))
		worker_listener_retire(container_of(node, struct worker_listener, node));
	conn_thread_drain(thread->conns, worker_tell_drained, thread);
}

void worker_thread_drain(struct worker_thread *thread)
{
	worker_thread_must_call(thread, worker_drain_in_thread);
}

static void *worker_thread_run(void *argument)
{
	struct worker_thread *thread = argument;
	char name[16];
	int err;

	snprintf(name, sizeof(name), "penstock/%u", thread->number);
	pthread_setname_np(pthread_self(), name);
	if (thread->worker->shared.n_threads > 1)
		tls_thread_init();
	err = stats_thread_init();
	if (!err)
		err = loop_run(thread->loop);
	if (err)
		log_error("thread stopped", LOG_TEXT("error", strerror(-err)),
			  LOG_INT("thread", thread->number));
	while (!list_is_empty(&thread->listeners))
		worker_listener_free(
		    container_of(thread->listeners.next, struct worker_listener, node));
	conn_thread_free(thread->conns);
	thread->conns = NULL;
	relay_thread_done();
	return NULL;
}

int worker_thread_start(struct worker_thread *thread, struct worker *worker, unsigned int number,
			const struct conn_shared *shared)
{
	int err;

	*thread = (struct worker_thread){.worker = worker, .number = number};
	list_init(&thread->listeners);
	timer_init(&thread->accept_timer, worker_resume_accept);
	if (sem_init(&thread->answered, 0, 0))
		return -errno;
	thread->loop = loop_new();
	if (!thread->loop)
		return -errno;
	thread->conns = conn_thread_new(thread->loop, shared, number);
	if (!thread->conns)
		return -ENOMEM;
	err = pthread_create(&thread->pthread, NULL, worker_thread_run, thread);
	thread->is_started = err == 0;
	return -err;
}

static void worker_stop_in_thread(struct worker_call *call)
{
	loop_stop(call->thread->loop);
}

void worker_thread_stop(struct worker_thread *thread)
{
	if (thread->is_started) {
		worker_thread_must_call(thread, worker_stop_in_thread);
		pthread_join(thread->pthread, NULL);
	}
	thread->is_started = false;
	conn_thread_free(thread->conns);
	thread->conns = NULL;
	loop_free(thread->loop);
	thread->loop = NULL;
}
