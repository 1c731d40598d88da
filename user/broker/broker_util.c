/* SPDX-License-Identifier: Apache-2.0 */
/* Diagnostics of several lines, and the limit of open files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "broker/broker_internal.h"

#define OPEN_FILES_WANTED 1048576

void log_lines(enum log_level level, const char *message, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");

		if (len)
			log_event(level, message, LOG_STR("text", ((struct str){text, len})));
		text += len + (text[len] == '\n');
	}
}

static bool text_has_line(const char *text, const char *line, size_t len)
{
	for (; *text; text += strcspn(text, "\n"), text += *text == '\n')
		if (strcspn(text, "\n") == len && memcmp(text, line, len) == 0)
			return true;
	return false;
}

char *text_merge(const char *ours, const char *theirs)
{
	size_t len = strlen(ours);
	char *merged = malloc(len + strlen(theirs) + 2);

	if (!merged)
		return NULL;
	memcpy(merged, ours, len);
	while (*theirs) {
		size_t line = strcspn(theirs, "\n");

		if (line && !text_has_line(ours, theirs, line)) {
			memcpy(merged + len, theirs, line);
			len += line;
			merged[len++] = '\n';
		}
		theirs += line + (theirs[line] == '\n');
	}
	merged[len] = 0;
	return merged;
}

void raise_open_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	if (limit.rlim_max < OPEN_FILES_WANTED) {
		const struct rlimit wanted = {OPEN_FILES_WANTED, OPEN_FILES_WANTED};

		if (setrlimit(RLIMIT_NOFILE, &wanted) == 0)
			return;
	}
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		log_warn("cannot raise the limit of open files",
			 LOG_TEXT("reason", strerror(errno)));
}
