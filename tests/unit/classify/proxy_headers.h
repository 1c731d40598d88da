/* SPDX-License-Identifier: Apache-2.0 */
/* Reading PROXY protocol headers, and what was read. */
#ifndef TESTS_UNIT_CLASSIFY_PROXY_HEADERS_H
#define TESTS_UNIT_CLASSIFY_PROXY_HEADERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "classify/proxy_protocol.h"

/* From a copy of the exact size, so that ASan sees every byte too many. */
enum proxy_verdict parse(const void *data, size_t len_bytes, struct proxy_header *ret_header);

void assert_addr(const struct addr *addr, const char *text);

void assert_str(struct str got, const char *wanted);

/* NEED_MORE for every part, DONE for the whole, and the same for the whole with something behind.
 */
void check_cuts(const void *data, size_t len_bytes);

static const uint8_t inet[] = {192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 1, 0xbb};

#endif
