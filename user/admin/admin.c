/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of the runtime socket: each answers with a JSON document, or metrics made of it. */
#include "admin/admin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin_metrics.h"
#include "base/desk.h"

struct admin {
	struct desk *desk;
	int listen_fd;
	struct admin_handlers handlers;
};

/* What stands behind the name of the command: one word, and the rest; "" where nothing does. */
struct admin_words {
	const char *first;
	const char *rest;
};

struct admin_command {
	const char *name;
	bool takes_words;
	json_t *(*run)(const struct admin_handlers *handlers, struct admin_words words);
	char *(*format)(const json_t *document, size_t *ret_len);
};

static json_t *admin_run_status(const struct admin_handlers *handlers,
				struct admin_words words UNUSED)
{
	return handlers->status(handlers->argument);
}

static json_t *admin_run_flows(const struct admin_handlers *handlers,
			       struct admin_words words UNUSED)
{
	return handlers->flows(handlers->argument);
}

/* ORIGIN SERVER; the path of a UNIX socket may hold blanks, the name of an origin does not. */
static json_t *admin_set_drained(const struct admin_handlers *handlers, struct admin_words words,
				 bool is_on)
{
	if (!*words.first || !*words.rest)
		return json_pack("{s:s}", "error", "an origin and one of its servers are needed");
	return handlers->drain(handlers->argument, words.first, words.rest, is_on);
}

static json_t *admin_run_drain(const struct admin_handlers *handlers, struct admin_words words)
{
	return admin_set_drained(handlers, words, true);
}

static json_t *admin_run_undrain(const struct admin_handlers *handlers, struct admin_words words)
{
	return admin_set_drained(handlers, words, false);
}

/* A document as text with the end of a line. NULL: no memory. */
static char *admin_format(const json_t *document, size_t *ret_len)
{
	char *text = json_dumps(document, JSON_COMPACT);

	if (!text)
		return NULL;
	*ret_len = strlen(text);
	text[(*ret_len)++] = '\n'; /* in the place of the end mark */
	return text;
}

static const struct admin_command admin_commands[] = {
    {"status", false, admin_run_status, admin_format},
    {"metrics", false, admin_run_status, admin_metrics_format},
    {"flows", false, admin_run_flows, admin_format},
    {"drain", true, admin_run_drain, admin_format},
    {"undrain", true, admin_run_undrain, admin_format},
};

static json_t *admin_run_unknown(void)
{
	json_t *names = json_array();

	for (size_t i = 0; i < ARRAY_LEN(admin_commands); i++)
		json_array_append_new(names, json_string(admin_commands[i].name));
	return json_pack("{s:s, s:o}", "error", "unknown command", "commands", names);
}

/* Ends `text` at its first blank; what stands behind that. */
static char *admin_cut(char *text)
{
	char *blank = strchr(text, ' ');

	if (!blank)
		return text + strlen(text);
	*blank = 0;
	return blank + 1;
}

/* NULL: there is none of this name that takes this. */
static const struct admin_command *admin_find(const char *name, bool has_words)
{
	for (size_t i = 0; i < ARRAY_LEN(admin_commands); i++)
		if (strcmp(admin_commands[i].name, name) == 0)
			return has_words && !admin_commands[i].takes_words ? NULL
									   : &admin_commands[i];
	return NULL;
}

/* NULL: no memory. */
static char *admin_run(const struct admin_handlers *handlers, char *line, size_t *ret_len)
{
	bool has_words = strchr(line, ' ') != NULL;
	char *first = admin_cut(line);
	const struct admin_words words = {.first = first, .rest = admin_cut(first)};
	const struct admin_command *command = admin_find(line, has_words);
	json_t *document = command ? command->run(handlers, words) : admin_run_unknown();
	char *text = NULL;

	if (document)
		text =
		    command ? command->format(document, ret_len) : admin_format(document, ret_len);
	json_decref(document);
	return text;
}

static void admin_on_line(void *argument, struct desk_client *client, const char *line)
{
	struct admin *admin = argument;
	char *copy = strdup(line);
	char *answer = NULL;
	size_t len = 0;

	if (copy)
		answer = admin_run(&admin->handlers, copy, &len);
	free(copy);
	desk_answer(client, answer, len);
}

struct admin *admin_new(struct loop *loop, int listen_fd, const struct admin_handlers *handlers)
{
	struct admin *admin = calloc(1, sizeof(*admin));
	const struct desk_rules rules = {.on_line = admin_on_line, .argument = admin};

	if (admin) {
		admin->listen_fd = listen_fd;
		admin->handlers = *handlers;
		admin->desk = desk_new(loop, listen_fd, &rules);
	}
	if (!admin || !admin->desk) {
		int err = errno;

		close(listen_fd);
		free(admin);
		errno = err;
		return NULL;
	}
	return admin;
}

void admin_free(struct admin *admin)
{
	if (!admin)
		return;
	desk_free(admin->desk);
	close(admin->listen_fd);
	free(admin);
}
