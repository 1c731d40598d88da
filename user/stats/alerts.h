/* SPDX-License-Identifier: Apache-2.0 */
/* Alerts of TLS with clients, counted by kind over all threads. */
#ifndef PENSTOCK_STATS_ALERTS_H
#define PENSTOCK_STATS_ALERTS_H

#include <stdbool.h>
#include <stdint.h>

#include "penstock/reasons.h"

/* By its number on the wire; one without a name counts as ALERT_KIND_OTHER. Any thread. */
void alerts_count(bool sent, unsigned int number);

uint64_t alerts_sum(bool sent, enum alert_kind kind);

const char *alert_kind_word(enum alert_kind kind);
const char *alert_kind_help(enum alert_kind kind);

#endif
