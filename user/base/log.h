/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structured log lines on standard error: an event name and typed fields, written as text for a
 * terminal or the journal, or as one JSON object a line. Used by the layers conn and above only;
 * lower ones return errors. Secrets are never fields: no key material, no request or response
 * bodies, no Authorization or Cookie values, no query.
 */
#ifndef PENSTOCK_BASE_LOG_H
#define PENSTOCK_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/str.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_MAX };

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_MAX };

enum log_field_kind { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_MAX };

struct log_field {
	const char *name;
	enum log_field_kind kind;
	struct str text;
	int64_t number;
};

#define LOG_STR(name_, text_) \
	((struct log_field){.name = (name_), .kind = LOG_FIELD_STR, .text = (text_)})
#define LOG_TEXT(name_, text_) LOG_STR(name_, str_from(text_))
#define LOG_INT(name_, number_) \
	((struct log_field){.name = (name_), .kind = LOG_FIELD_INT, .number = (int64_t)(number_)})

/*
 * What suits standard error: text for a terminal and for the journal (by JOURNAL_STREAM, see
 * systemd.exec(5)), else JSON. Asks the kernel and the environment: before the sandbox.
 */
enum log_format log_format_choose(void);

/* Process-wide; before threads start, and again when a new configuration is taken. */
void log_configure(enum log_format format, enum log_level level);

bool log_is_wanted(enum log_level level);

/* One line, one write(2), from any thread. `message` is for people and is constant; what varies
 * goes in fields. */
void log_write(enum log_level level, const char *message, const struct log_field *fields,
	       size_t n_fields);

#define log_event(level, message, ...) \
	do { \
		if (log_is_wanted(level)) { \
			const struct log_field log_fields_[] = {__VA_ARGS__}; \
			log_write(level, message, log_fields_, \
				  sizeof(log_fields_) / sizeof(log_fields_[0])); \
		} \
	} while (0)

#define log_error(message, ...) log_event(LOG_LEVEL_ERROR, message, ##__VA_ARGS__)
#define log_warn(message, ...) log_event(LOG_LEVEL_WARN, message, ##__VA_ARGS__)
#define log_info(message, ...) log_event(LOG_LEVEL_INFO, message, ##__VA_ARGS__)
#define log_debug(message, ...) log_event(LOG_LEVEL_DEBUG, message, ##__VA_ARGS__)

#endif
