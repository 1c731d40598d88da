/* SPDX-License-Identifier: Apache-2.0 */
/* Right texts, what they become, and what is said of its parts. */
#ifndef TESTS_UNIT_CONF_SNAPSHOT_H
#define TESTS_UNIT_CONF_SNAPSHOT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf/conf.h"

/* The least; a listener of every lane; every key of streams. */
extern const char *const short_form, *const three_lanes, *const streams;

/* Fails the test where it is refused. */
struct conf *parse(const char *text);

void check_addr(const struct addr *addr, const char *wanted);
void check_mark(struct conf_mark mark, uint32_t line, uint32_t column);
void check_socket(const struct conf_socket *got, const struct conf_socket *wanted);
void check_net(const struct conf_nets *nets, size_t i, const char *addr, uint8_t prefix_len);

#endif
