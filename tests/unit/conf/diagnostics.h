/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact diagnostics: what is wrong, where, and the mend. "f" is the name of the file. Each
 * test_diagnostics_*.c has tables of texts and of what is said of them.
 */
#ifndef TESTS_UNIT_CONF_DIAGNOSTICS_H
#define TESTS_UNIT_CONF_DIAGNOSTICS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf/conf.h"

#define TEXT(literal) literal, sizeof(literal) - 1

#define BIND "listeners:\n  - bind: \":80\"\n"
#define ROUTES "routes: [{to: \"http://127.0.0.1:1\"}]"
#define SERVERS(list) \
	"origins:\n  o: {servers: [" list "]}\nlisteners: [{bind: \":80\", routes: [{to: o}]}]\n"
#define ORIGIN(keys) \
	"origins:\n  o: {servers: [\"192.0.2.1:1\"], " keys \
	"}\nlisteners: [{bind: \":80\", routes: [{to: o}]}]\n"
#define TWO(keys) \
	"origins:\n  o: {servers: [\"192.0.2.1:1\", \"192.0.2.2:1\"], " keys \
	"}\nlisteners: [{bind: \":80\", routes: [{to: o}]}]\n"
#define STEERED(keys) \
	"origins: {o: {servers: [\"192.0.2.9:1\"]" keys \
	"}}\nlisteners: [{bind: \"192.0.2.1:53\", routes: [{steer: o}]}]\n"
#define STEERING(keys) \
	"listeners:\n  - bind: \"192.0.2.1:53\"\n    routes: [{steer: \"udp://192.0.2.9:53\"}]\n" \
	"    " keys "\n"
#define WEB BIND "    " ROUTES "\n" /* right as it stands */

struct row {
	const char *name;
	const char *text;
	size_t len_bytes;
	const char *diagnostics;
};

/* Fails where not exactly these diagnostics are given, or the text is refused and ought not to be.
 */
void check_row(const struct row *row, bool is_refused);

#define check_rows(rows, is_refused) check_rows_in(rows, ARRAY_LEN(rows), is_refused)
void check_rows_in(const struct row *rows, size_t n, bool is_refused);

#endif
