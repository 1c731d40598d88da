/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands for the broker, over a socket for root alone. The only one is "reload"; its answer comes
 * when the worker has given its own.
 */
#include <stdlib.h>
#include <string.h>

#include "base/desk.h"
#include "broker/broker_internal.h"

struct control {
	struct desk *desk;
	/* Asked for a reload that has not begun; and those whose reload is under way. */
	struct desk_client *waiting[DESK_CLIENTS_MAX];
	struct desk_client *served[DESK_CLIENTS_MAX];
	size_t n_waiting;
	size_t n_served;
	void (*on_reload)(void *argument);
	void *argument;
};

static void control_say(struct desk_client *client, const char *text)
{
	char *copy = strdup(text);

	desk_answer(client, copy, copy ? strlen(copy) : 0);
}

static void control_on_line(void *argument, struct desk_client *client, const char *line)
{
	struct control *control = argument;

	if (strcmp(line, "reload") != 0) {
		control_say(client, "unknown command; there is: reload\n");
		return;
	}
	control->waiting[control->n_waiting++] =
	    client; /* the desk has no more clients than that */
	control->on_reload(control->argument);
}

struct control *control_new(struct loop *loop, int listen_fd, void (*on_reload)(void *argument),
			    void *argument)
{
	struct control *control = calloc(1, sizeof(*control));
	const struct desk_rules rules = {.on_line = control_on_line, .argument = control};

	if (!control)
		return NULL;
	control->on_reload = on_reload;
	control->argument = argument;
	control->desk = desk_new(loop, listen_fd, &rules);
	if (!control->desk) {
		free(control);
		return NULL;
	}
	return control;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	desk_free(control->desk);
	free(control);
}

void control_begin(struct control *control)
{
	for (size_t i = 0; i < control->n_waiting; i++)
		control->served[control->n_served++] = control->waiting[i];
	control->n_waiting = 0;
}

void control_answer(struct control *control, const char *text)
{
	for (size_t i = 0; i < control->n_served; i++)
		control_say(control->served[i], text);
	control->n_served = 0;
}
