/* SPDX-License-Identifier: Apache-2.0 */
/* How many processors this process may use: the default number of threads, in the broker and the
 * worker alike. */
#ifndef PENSTOCK_BASE_CPU_H
#define PENSTOCK_BASE_CPU_H

#include <sched.h>
#include <stdint.h>

#include "penstock/limits.h"

/* 1 to PENSTOCK_MAX_THREADS. By affinity, so it is the same inside the worker's sandbox, where /sys
 * is out of reach. */
static inline uint32_t cpu_count(void)
{
	cpu_set_t set;
	int n;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	n = CPU_COUNT(&set);
	if (n < 1)
		return 1;
	return n > PENSTOCK_MAX_THREADS ? PENSTOCK_MAX_THREADS : (uint32_t)n;
}

#endif
