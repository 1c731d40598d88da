/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generations of the configuration, offered to the worker and taken or refused. `current` is what a
 * worker has taken last; `next` was prepared and is not taken yet, and until it is, all that it
 * changed can be undone.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "broker/broker_internal.h"

/* Reads the configuration, or takes the text in force, and opens what it names into `next`. */
int broker_prepare(struct broker *broker, bool same_text, struct conf_diag *diag)
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

void broker_configure_log(const struct conf *conf)
{
	log_configure(conf->log_format_is_auto ? log_format_choose() : conf->log_format,
		      conf->log_level);
}

void broker_answer(struct broker *broker, const char *verdict, const char *text)
{
	char *answer;

	if (asprintf(&answer, "%s\n%s", verdict, text) < 0)
		return;
	control_answer(broker->control, answer);
	free(answer);
}

/* ---- offering bundles ---- */

static const struct bundle *broker_offered(const struct broker *broker)
{
	return broker->next.bundle ? broker->next.bundle : broker->current.bundle;
}

void broker_offer(struct broker *broker)
{
	int err = bundle_send(broker->child.socket_fd, broker_offered(broker));

	loop_timer_arm(broker->loop, &broker->reply_timer, BROKER_REPLY_TIMEOUT_MS);
	if (!err)
		return;
	log_error("the worker does not take its bundle", LOG_TEXT("reason", strerror(-err)));
	child_kill(&broker->child);
}

void broker_drop_next(struct broker *broker)
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
	broker_watch_names(broker);
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
		if (broker_has_names(broker->current.conf))
			broker_send_names(broker);
	}
	broker_notify_ready(broker);
}

/* Everything stays, or becomes again, as the current generation has it. */
void broker_refused(struct broker *broker, const char *text)
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

bool broker_awaits_reply(const struct broker *broker)
{
	return broker->state == BROKER_STARTING || broker->state == BROKER_OFFERING;
}

void broker_on_reply(struct broker *broker, const struct bundle_reply *reply)
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

void broker_reload(struct broker *broker)
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

void broker_on_reload(void *argument)
{
	struct broker *broker = argument;

	broker->reload_wanted = true;
	broker_reload(broker);
}

void broker_on_files(void *argument, const char *path)
{
	struct broker *broker = argument;

	log_debug("a file of the configuration has changed", LOG_TEXT("file", path));
	broker->files_changed = true;
	broker_reload(broker);
}
