/* SPDX-License-Identifier: Apache-2.0 */
/* The status document as metrics. What is counted, and where, is not here. */
#ifndef PENSTOCK_ADMIN_ADMIN_METRICS_H
#define PENSTOCK_ADMIN_ADMIN_METRICS_H

#include <jansson.h>
#include <stddef.h>

#include "base/compiler.h"

/*
 * In the text format of Prometheus (version 0.0.4), malloc()ed, without an end mark. What the
 * document lacks is left out. NULL: no memory.
 */
char *admin_metrics_format(const json_t *status, size_t *ret_len) MUST_CHECK;

#endif
