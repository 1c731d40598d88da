/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_MAX 4096
/* A value is cut, and a further field left out, while there is still room to end the line properly.
 */
#define LOG_VALUE_RESERVE 32
#define LOG_FIELD_RESERVE 128

struct line {
	size_t len;
	char text[LOG_LINE_MAX];
};

static _Atomic enum log_format log_format = LOG_FORMAT_TEXT;
static _Atomic enum log_level log_level = LOG_LEVEL_INFO;

static const char *const log_level_names[LOG_LEVEL_MAX] = {"error", "warn", "info", "debug"};

static bool log_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;
	char *end;

	if (!stream)
		return false;
	device = strtoull(stream, &end, 10);
	if (*end != ':')
		return false;
	inode = strtoull(end + 1, &end, 10);
	return *end == 0 && fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device &&
	       st.st_ino == inode;
}

enum log_format log_format_choose(void)
{
	return isatty(STDERR_FILENO) || log_is_journal() ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON;
}

void log_configure(enum log_format format, enum log_level level)
{
	atomic_store(&log_format, format);
	atomic_store(&log_level, level);
}

bool log_is_wanted(enum log_level level)
{
	return level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

/* Two bytes stay free for the end of the line. */
static PRINTF_LIKE(2, 3) void line_add(struct line *line, const char *format, ...)
{
	size_t room = sizeof(line->text) - 2 - line->len;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line->text + line->len, room, format, args);
	va_end(args);
	if (n > 0)
		line->len += (size_t)n < room ? (size_t)n : room - 1;
}

/* The escapes of RFC 8259 for all that is not plain ASCII: a terminal that shows the line can then
 * not be told to reorder or hide any of it. A byte that is not UTF-8 is written as the code point
 * of its value. */
static void line_add_quoted(struct line *line, struct str text)
{
	line_add(line, "\"");
	for (size_t i = 0, len; i < text.len && line->len < LOG_LINE_MAX - LOG_VALUE_RESERVE;
	     i += len) {
		uint32_t c;

		len = utf8_decode((struct str){text.ptr + i, text.len - i}, &c);
		if (len == 0) {
			c = (unsigned char)text.ptr[i];
			len = 1;
		}
		if (c == '"' || c == '\\')
			line_add(line, "\\%c", (char)c);
		else if (c >= 0x10000)
			line_add(line, "\\u%04x\\u%04x", 0xd7c0 + (c >> 10), 0xdc00 + (c & 0x3ff));
		else if (c < 0x20 || c >= 0x7f)
			line_add(line, "\\u%04x", c);
		else
			line_add(line, "%c", (char)c);
	}
	line_add(line, "\"");
}

static bool log_needs_quotes(struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=')
			return true;
	}
	return text.len == 0;
}

static void log_format_text(struct line *line, enum log_level level, const char *message,
			    const struct log_field *fields, size_t n_fields)
{
	line_add(line, "%-5s %s", log_level_names[level], message);
	for (size_t i = 0; i < n_fields && line->len < LOG_LINE_MAX - LOG_FIELD_RESERVE; i++) {
		line_add(line, " %s=", fields[i].name);
		if (fields[i].kind == LOG_FIELD_INT)
			line_add(line, "%" PRId64, fields[i].number);
		else if (log_needs_quotes(fields[i].text))
			line_add_quoted(line, fields[i].text);
		else
			line_add(line, STR_FMT, STR_ARG(fields[i].text));
	}
}

static void log_format_json(struct line *line, enum log_level level, const char *message,
			    const struct log_field *fields, size_t n_fields)
{
	struct timespec now;
	struct tm utc;
	char stamp[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	line_add(line, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"message\":", stamp,
		 now.tv_nsec / 1000000, log_level_names[level]);
	line_add_quoted(line, str_from(message));
	for (size_t i = 0; i < n_fields && line->len < LOG_LINE_MAX - LOG_FIELD_RESERVE; i++) {
		line_add(line, ",\"%s\":", fields[i].name);
		if (fields[i].kind == LOG_FIELD_INT)
			line_add(line, "%" PRId64, fields[i].number);
		else
			line_add_quoted(line, fields[i].text);
	}
	line_add(line, "}");
}

void log_write(enum log_level level, const char *message, const struct log_field *fields,
	       size_t n_fields)
{
	struct line line;
	ssize_t written;

	line.len = 0;
	if (atomic_load_explicit(&log_format, memory_order_relaxed) == LOG_FORMAT_JSON)
		log_format_json(&line, level, message, fields, n_fields);
	else
		log_format_text(&line, level, message, fields, n_fields);
	line.text[line.len++] = '\n';
	written = write(STDERR_FILENO, line.text, line.len);
	(void)written; /* nobody is left to be told */
}
