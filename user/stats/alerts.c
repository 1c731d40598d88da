/* SPDX-License-Identifier: Apache-2.0 */
/* One set of atomics for all threads: a connection has two alerts at most, and most of them none.
 */
#include "stats/alerts.h"

#include <stdatomic.h>

static _Atomic uint64_t alerts_counted[2][ALERT_KIND_MAX]; /* received, sent */

static enum alert_kind alerts_kind(unsigned int number)
{
	static const unsigned char numbers[ALERT_KIND_MAX] = {
#define ALERT_NUMBER(name, word, number_, help) [ALERT_KIND_##name] = (number_),
	    PENSTOCK_TLS_ALERTS(ALERT_NUMBER)
#undef ALERT_NUMBER
	};
	int kind = 0;

	while (kind < ALERT_KIND_OTHER && numbers[kind] != number)
		kind++;
	return (enum alert_kind)kind;
}

void alerts_count(bool sent, unsigned int number)
{
	atomic_fetch_add_explicit(&alerts_counted[sent][alerts_kind(number)], 1,
				  memory_order_relaxed);
}

uint64_t alerts_sum(bool sent, enum alert_kind kind)
{
	return atomic_load_explicit(&alerts_counted[sent][kind], memory_order_relaxed);
}

const char *alert_kind_word(enum alert_kind kind)
{
	static const char *const words[ALERT_KIND_MAX] = {
#define ALERT_WORD(name, word, number, help) [ALERT_KIND_##name] = #word,
	    PENSTOCK_TLS_ALERTS(ALERT_WORD)
#undef ALERT_WORD
	};

	return words[kind];
}

const char *alert_kind_help(enum alert_kind kind)
{
	static const char *const helps[ALERT_KIND_MAX] = {
#define ALERT_HELP(name, word, number, help) [ALERT_KIND_##name] = (help),
	    PENSTOCK_TLS_ALERTS(ALERT_HELP)
#undef ALERT_HELP
	};

	return helps[kind];
}
