/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's life: it starts a worker, replaces one that dies, and stops both. What it offers to
 * the worker is in broker_reload.c. */
#include "broker/broker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "broker/broker_internal.h"

#define BROKER_KILL_GRACE_MS 2000
#define BROKER_BACKOFF_MIN_MS 100
#define BROKER_BACKOFF_MAX_MS 10000
#define BROKER_SHORT_LIFE_MS 10000
#define BROKER_SHORT_LIVES_MAX 6

void broker_stop(struct broker *broker, int exit_status)
{
	broker->exit_status = exit_status;
	broker->is_ending = true;
	loop_stop(broker->loop);
}

/* ---- the worker's life ---- */

static void broker_unwatch_child(struct broker *broker)
{
	if (broker->child_watch.fd < 0)
		return;
	loop_unwatch(broker->loop, &broker->child_watch);
	close(broker->child_watch.fd);
	broker->child_watch.fd = -1;
}

/* The end of the socket is left to SIGCHLD, which tells more. */
static void broker_on_child_event(struct watch *watch, uint32_t events)
{
	struct broker *broker = container_of(watch, struct broker, child_watch);
	struct bundle_reply reply;
	int err;

	if (!(events & EPOLLIN)) {
		loop_unwatch(broker->loop, watch);
		return;
	}
	err = bundle_reply_recv(watch->fd, &reply);
	if (!err)
		broker_on_reply(broker, &reply);
	else if (err == -EPIPE)
		loop_unwatch(broker->loop, watch);
	else
		child_kill(&broker->child);
	broker_reload(broker);
}

static int broker_start_worker(struct broker *broker)
{
	int err = child_start(&broker->child);

	if (err) {
		log_error("cannot start the worker", LOG_TEXT("reason", strerror(-err)));
		return err;
	}
	broker->child_watch =
	    (struct watch){.fd = broker->child.socket_fd, .on_event = broker_on_child_event};
	err = loop_watch_level(broker->loop, &broker->child_watch, EPOLLIN);
	if (err)
		return err;
	broker->state = BROKER_STARTING;
	broker_offer(broker);
	return 0;
}

static uint64_t broker_backoff_ms(const struct broker *broker)
{
	uint64_t delay = BROKER_BACKOFF_MIN_MS;

	for (unsigned int i = 1; i < broker->short_lives && delay < BROKER_BACKOFF_MAX_MS; i++)
		delay *= 2;
	return MIN(delay, BROKER_BACKOFF_MAX_MS);
}

/* Connections wait in the listeners meanwhile; the broker holds them. */
static void broker_restart_later(struct broker *broker)
{
	uint64_t lived_ms = clock_now_ms() - broker->child.started_ms;

	broker->short_lives = lived_ms < BROKER_SHORT_LIFE_MS ? broker->short_lives + 1 : 0;
	if (broker->short_lives > BROKER_SHORT_LIVES_MAX) {
		log_error("the worker dies again and again; giving up",
			  LOG_INT("times", broker->short_lives));
		broker_stop(broker, EXIT_FAILURE);
		return;
	}
	broker->state = BROKER_BACKOFF;
	loop_timer_arm(broker->loop, &broker->restart_timer, broker_backoff_ms(broker));
}

/* A worker that cannot be started counts as one that died at once. */
static void broker_on_restart(struct timer *timer)
{
	struct broker *broker = container_of(timer, struct broker, restart_timer);

	if (!broker_start_worker(broker))
		return;
	if (broker->child.pid > 0) {
		child_kill(&broker->child);
		return;
	}
	broker->child.started_ms = clock_now_ms();
	broker_restart_later(broker);
}

/* A worker may refuse and end at once: its last word counts more than how it ended. */
static void broker_hear_last_word(struct broker *broker)
{
	struct bundle_reply reply;

	if (broker_awaits_reply(broker) && !bundle_reply_recv(broker->child_watch.fd, &reply))
		broker_on_reply(broker, &reply);
}

static void broker_on_child_end(struct broker *broker, int status)
{
	char end[64];

	broker_hear_last_word(broker);
	if (broker->is_ending)
		return;
	child_describe_end(status, end);
	broker_unwatch_child(broker);
	timer_cancel(&broker->reply_timer);
	if (broker->state == BROKER_DRAINING) {
		log_info("stopped", LOG_TEXT("worker", end));
		broker_stop(broker, EXIT_SUCCESS);
		return;
	}
	log_error("the worker died", LOG_TEXT("how", end));
	if (!broker->current.conf) {
		broker_stop(broker, EXIT_FAILURE);
		return;
	}
	if (broker->state == BROKER_OFFERING)
		broker_refused(broker, "the worker died over it\n");
	broker_restart_later(broker);
}

static void broker_on_reply_timeout(struct timer *timer)
{
	struct broker *broker = container_of(timer, struct broker, reply_timer);

	log_error("the worker does not answer", LOG_INT("timeout_ms", BROKER_REPLY_TIMEOUT_MS));
	child_kill(&broker->child);
}

/* ---- stopping ---- */

static void broker_on_kill(struct timer *timer)
{
	struct broker *broker = container_of(timer, struct broker, kill_timer);

	log_warn("the worker did not drain in time");
	child_kill(&broker->child);
}

/*
 * Our copies of the listeners are closed first: the worker then closes the last ones when it has
 * served their queues, and nobody connects to a queue that is served no more.
 */
static void broker_drain(struct broker *broker)
{
	uint64_t timeout_ms = broker->current.conf ? broker->current.conf->drain_timeout_ms : 0;
	bool has_worker = broker->state != BROKER_BACKOFF && broker->current.conf;

	if (broker->state == BROKER_DRAINING)
		return;
	broker->state = BROKER_DRAINING;
	notify("STOPPING=1\nSTATUS=draining");
	log_info("draining", LOG_INT("timeout_ms", timeout_ms));
	timer_cancel(&broker->reply_timer);
	control_begin(broker->control);
	broker_answer(broker, "refused", "penstock is stopping\n");
	broker_drop_next(broker);
	file_watch_clear(broker->file_watch);
	file_watch_clear(broker->names_watch);
	generation_free(&broker->current);
	listeners_done(&broker->host.listeners);
	if (!has_worker || bundle_send_drain(broker->child.socket_fd))
		broker_stop(broker, EXIT_SUCCESS);
	else
		loop_timer_arm(broker->loop, &broker->kill_timer,
			       timeout_ms + BROKER_KILL_GRACE_MS);
}

/* The worker has the time to say what it was doing. Told twice to drain it ends at once. */
static void broker_stop_at_once(struct broker *broker)
{
	log_info("stopping at once");
	broker_drain(broker);
	if (broker->is_ending)
		return;
	if (bundle_send_drain(broker->child.socket_fd))
		broker_stop(broker, EXIT_SUCCESS);
	else
		loop_timer_arm(broker->loop, &broker->kill_timer, BROKER_KILL_GRACE_MS);
}

static void broker_on_signal(struct broker *broker, uint32_t number)
{
	int status;

	switch (number) {
	case SIGHUP:
		broker_on_reload(broker);
		break;
	case SIGTERM:
		broker_drain(broker);
		break;
	case SIGINT:
		broker_stop_at_once(broker);
		break;
	case SIGCHLD:
		if (child_has_ended(&broker->child, &status))
			broker_on_child_end(broker, status);
		break;
	default:
		break;
	}
}

static void broker_on_signals(struct watch *watch, uint32_t events UNUSED)
{
	struct broker *broker = container_of(watch, struct broker, signal_watch);
	struct signalfd_siginfo info;

	while (read(watch->fd, &info, sizeof(info)) == sizeof(info))
		broker_on_signal(broker, info.ssi_signo);
}

/* ---- start and end ---- */

static int broker_watch_signals(struct broker *broker)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	broker->signal_watch = (struct watch){.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
					      .on_event = broker_on_signals};
	if (broker->signal_watch.fd < 0)
		return -errno;
	return loop_watch(broker->loop, &broker->signal_watch, EPOLLIN);
}

static int broker_init(struct broker *broker, const char *config_path)
{
	*broker = (struct broker){.config_path = config_path,
				  .exit_status = EXIT_FAILURE,
				  .signal_watch.fd = -1,
				  .child_watch.fd = -1};
	host_init(&broker->host);
	timer_init(&broker->reply_timer, broker_on_reply_timeout);
	timer_init(&broker->restart_timer, broker_on_restart);
	timer_init(&broker->kill_timer, broker_on_kill);
	umask(022);
	raise_open_files();
	broker->loop = loop_new();
	return broker->loop ? broker_watch_signals(broker) : -errno;
}

static void broker_done(struct broker *broker)
{
	if (broker->child.pid > 0) {
		child_kill(&broker->child);
		waitpid(broker->child.pid, NULL, 0);
	}
	if (broker->loop)
		broker_unwatch_child(broker);
	broker_drop_next(broker);
	generation_free(&broker->current);
	control_free(broker->control);
	file_watch_free(broker->file_watch);
	file_watch_free(broker->names_watch);
	host_done(&broker->host);
	if (broker->signal_watch.fd >= 0)
		close(broker->signal_watch.fd);
	loop_free(broker->loop);
}

/* The first generation; its errors go to standard error as they are, for there is no log format
 * yet. */
static int broker_prepare_start(struct broker *broker)
{
	struct conf_diag *diag = conf_diag_new(broker->config_path);
	int err;

	if (!diag)
		return -ENOMEM;
	err = broker_prepare(broker, false, diag);
	if (err) {
		fputs(conf_diag_text(diag), stderr);
		conf_diag_free(diag);
		return err;
	}
	broker->next_diag = diag;
	broker_configure_log(broker->next.conf);
	if (geteuid() != 0)
		log_warn("not started as root: the worker has no user of its own");
	broker->control =
	    control_new(broker->loop, broker->host.runtime.control_fd, broker_on_reload, broker);
	broker->file_watch = file_watch_new(broker->loop, broker_on_files, broker);
	broker->names_watch = file_watch_new(broker->loop, broker_on_names, broker);
	return broker->control && broker->file_watch && broker->names_watch ? 0 : -ENOMEM;
}

/* What could not be started was told already. */
static int broker_start(struct broker *broker, const char *config_path)
{
	int err = broker_init(broker, config_path);

	if (err) {
		log_error("cannot start", LOG_TEXT("reason", strerror(-err)));
		return err;
	}
	err = broker_prepare_start(broker);
	return err ? err : broker_start_worker(broker);
}

int broker_run(const char *config_path)
{
	struct broker broker;
	int err = broker_start(&broker, config_path);

	if (!err) {
		err = loop_run(broker.loop);
		if (err)
			log_error("cannot go on", LOG_TEXT("reason", strerror(-err)));
	}
	broker_done(&broker);
	return err ? EXIT_FAILURE : broker.exit_status;
}
