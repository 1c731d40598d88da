/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's life: it offers generations of the configuration to a worker, replaces a worker that
 * dies, and stops both. `current` is what a worker has taken last; `next` was prepared and is not
 * taken yet, and until it is, all that it changed can be undone.
 */
#include "broker/broker.h"

#include <errno.h>
#include <inttypes.h>
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

#define BROKER_REPLY_TIMEOUT_MS 30000
#define BROKER_KILL_GRACE_MS 2000
#define BROKER_BACKOFF_MIN_MS 100
#define BROKER_BACKOFF_MAX_MS 10000
#define BROKER_SHORT_LIFE_MS 10000
#define BROKER_SHORT_LIVES_MAX 6

enum broker_state {
	BROKER_STARTING, /* a fresh worker was offered a bundle: RUNNING, or the end */
	BROKER_RUNNING, /* until a reload (OFFERING), or the worker's death (BACKOFF) */
	BROKER_OFFERING, /* a running worker was offered the next bundle: RUNNING, or BACKOFF */
	BROKER_BACKOFF, /* no worker, the listeners stay open: STARTING after a while */
	BROKER_DRAINING, /* told to stop: the end when the worker has ended */
};

struct broker {
	const char *config_path;
	enum broker_state state;
	bool is_ending; /* the loop is told to stop */
	int exit_status;
	struct loop *loop;
	struct watch signal_watch;
	struct watch child_watch; /* fd -1: not watched */
	struct timer reply_timer;
	struct timer restart_timer;
	struct timer kill_timer;
	struct host host;
	struct control *control;
	struct child child;
	unsigned int short_lives; /* workers in a row that died young */
	uint64_t last_number; /* of the newest bundle */
	bool reload_wanted;
	bool files_changed; /* a reload of the same text is wanted */
	struct file_watch *file_watch;
	struct generation current;
	struct generation next; /* conf NULL: nothing is on offer */
	struct conf_diag *next_diag; /* its warnings */
};

/* Reads the configuration, or takes the text in force, and opens what it names into `next`. */
static int broker_prepare(struct broker *broker, bool same_text, struct conf_diag *diag)
{
	int err = generation_prepare(&broker->host, broker->config_path, broker->last_number + 1,
				     &broker->current, same_text, diag, &broker->next);

	if (!err)
		broker->last_number++;
	return err;
}

/* ---- what is told ---- */

static void broker_notify_ready(const struct broker *broker)
{
	notify("READY=1\nMAINPID=%d\nSTATUS=generation %" PRIu64, getpid(),
	       broker->current.bundle->generation);
}

static void broker_notify_reloading(void)
{
	notify("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_now_us());
}

static void broker_configure_log(const struct conf *conf)
{
	log_configure(conf->log_format_is_auto ? log_format_choose() : conf->log_format,
		      conf->log_level);
}

/* "taken N" and the warnings, or "refused" and the reasons, to whoever asked for this reload. */
static void broker_answer(struct broker *broker, const char *verdict, const char *text)
{
	char *answer;

	if (asprintf(&answer, "%s\n%s", verdict, text) < 0)
		return;
	control_answer(broker->control, answer);
	free(answer);
}

static void broker_stop(struct broker *broker, int exit_status)
{
	broker->exit_status = exit_status;
	broker->is_ending = true;
	loop_stop(broker->loop);
}

/* ---- offering bundles ---- */

static const struct bundle *broker_offered(const struct broker *broker)
{
	return broker->next.bundle ? broker->next.bundle : broker->current.bundle;
}

static void broker_offer(struct broker *broker)
{
	int err = bundle_send(broker->child.socket_fd, broker_offered(broker));

	loop_timer_arm(broker->loop, &broker->reply_timer, BROKER_REPLY_TIMEOUT_MS);
	if (!err)
		return;
	log_error("the worker does not take its bundle", LOG_TEXT("reason", strerror(-err)));
	child_kill(&broker->child);
}

static void broker_drop_next(struct broker *broker)
{
	generation_free(&broker->next);
	if (broker->next_diag)
		conf_diag_free(broker->next_diag);
	broker->next_diag = NULL;
}

/* Files can be taken by hand where they cannot be watched. */
static void broker_watch_files(struct broker *broker)
{
	int err;

	file_watch_clear(broker->file_watch);
	if (!broker->current.conf->watch_files)
		return;
	err = file_watch_set(broker->file_watch, broker->current.bundle);
	if (err)
		log_warn("the files of the configuration cannot be watched",
			 LOG_TEXT("reason", strerror(-err)));
}

/* `next` becomes `current`, and what only the old one needed goes. */
static void broker_commit(struct broker *broker)
{
	listeners_commit(&broker->host.listeners);
	broker_plane_settle(broker->host.plane, broker->next.conf);
	broker_configure_log(broker->next.conf);
	generation_free(&broker->current);
	broker->current = broker->next;
	broker->next = (struct generation){0};
	broker_watch_files(broker);
}

static void broker_report_taken(struct broker *broker, const char *worker_text)
{
	char *warnings = text_merge(conf_diag_text(broker->next_diag), worker_text);
	char verdict[40];

	if (warnings)
		log_lines(LOG_LEVEL_WARN, "configuration", warnings);
	log_info("configuration taken", LOG_INT("generation", broker->current.bundle->generation));
	snprintf(verdict, sizeof(verdict), "taken %" PRIu64, broker->current.bundle->generation);
	broker_answer(broker, verdict, warnings ? warnings : "");
	free(warnings);
}

static void broker_taken(struct broker *broker, const char *worker_text)
{
	broker->state = BROKER_RUNNING;
	if (broker->next.conf) {
		broker_commit(broker);
		broker_report_taken(broker, worker_text);
		broker_drop_next(broker);
	} else {
		log_info("a new worker serves",
			 LOG_INT("generation", broker->current.bundle->generation));
	}
	broker_notify_ready(broker);
}

/* Everything stays, or becomes again, as the current generation has it. */
static void broker_refused(struct broker *broker, const char *text)
{
	listeners_undo(&broker->host.listeners);
	broker_plane_settle(broker->host.plane, broker->current.conf);
	broker_drop_next(broker);
	log_lines(LOG_LEVEL_ERROR, "configuration refused", text);
	broker_answer(broker, "refused", text);
	if (broker->state == BROKER_OFFERING) {
		broker->state = BROKER_RUNNING;
		broker_notify_ready(broker);
	}
}

static bool broker_awaits_reply(const struct broker *broker)
{
	return broker->state == BROKER_STARTING || broker->state == BROKER_OFFERING;
}

static void broker_on_reply(struct broker *broker, const struct bundle_reply *reply)
{
	/* It may have answered before it heard that it shall drain. */
	if (broker->state == BROKER_DRAINING)
		return;
	if (!broker_awaits_reply(broker) ||
	    reply->generation != broker_offered(broker)->generation) {
		log_error("the worker answers what nobody asked");
		child_kill(&broker->child);
		return;
	}
	timer_cancel(&broker->reply_timer);
	if (reply->taken) {
		broker_taken(broker, reply->text);
	} else if (broker->state == BROKER_OFFERING) {
		broker_refused(broker, reply->text);
	} else {
		fputs(reply->text, stderr);
		broker_stop(broker, EXIT_FAILURE);
	}
}

/* ---- reload ---- */

static void broker_reload(struct broker *broker)
{
	bool same_text = !broker->reload_wanted;
	struct conf_diag *diag;

	if ((same_text && !broker->files_changed) || broker->state != BROKER_RUNNING)
		return;
	broker->reload_wanted = false;
	broker->files_changed = false;
	if (!same_text)
		control_begin(broker->control);
	broker_notify_reloading();
	broker->state = BROKER_OFFERING;
	diag = conf_diag_new(broker->config_path);
	if (!diag) {
		broker_refused(broker, "no memory\n");
		return;
	}
	if (broker_prepare(broker, same_text, diag)) {
		broker_refused(broker, conf_diag_text(diag));
		conf_diag_free(diag);
		return;
	}
	broker->next_diag = diag;
	broker_offer(broker);
}

static void broker_on_reload(void *argument)
{
	struct broker *broker = argument;

	broker->reload_wanted = true;
	broker_reload(broker);
}

static void broker_on_files(void *argument, const char *path)
{
	struct broker *broker = argument;

	log_debug("a file of the configuration has changed", LOG_TEXT("file", path));
	broker->files_changed = true;
	broker_reload(broker);
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

static void broker_on_restart(struct timer *timer)
{
	struct broker *broker = container_of(timer, struct broker, restart_timer);

	if (broker_start_worker(broker))
		broker_stop(broker, EXIT_FAILURE);
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
	generation_free(&broker->current);
	listeners_done(&broker->host.listeners);
	if (!has_worker || bundle_send_drain(broker->child.socket_fd))
		broker_stop(broker, EXIT_SUCCESS);
	else
		loop_timer_arm(broker->loop, &broker->kill_timer,
			       timeout_ms + BROKER_KILL_GRACE_MS);
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
		notify("STOPPING=1");
		log_info("stopping at once");
		broker_stop(broker, EXIT_SUCCESS);
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
	return broker->control && broker->file_watch ? 0 : -ENOMEM;
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
