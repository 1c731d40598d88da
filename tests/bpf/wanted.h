/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations for tests, from YAML text through the parser. */
#ifndef TESTS_BPF_WANTED_H
#define TESTS_BPF_WANTED_H

#include "conf/conf.h"

/* With a folder of pins of this process's own. The caller unrefs it; a text that is wrong fails the
 * test. */
struct conf *wanted(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The folder of pins. */
const char *wanted_pin_dir(void);

/* A TCP service at 198.51.100.1:80 for the server at 203.0.113.2:8080; `steer`: the inside of that
 * mapping. */
struct conf *wanted_service(const char *steer);

#endif
