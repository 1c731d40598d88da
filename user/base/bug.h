/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of what must hold whatever the input. BUG_ON() is always on and stops the process: use it
 * where going on would corrupt a stream or memory. DEBUG_BUG_ON() is compiled only with
 * PENSTOCK_DEBUG (tests, sanitizers). Neither is ever used for bad input or failed system calls.
 */
#ifndef PENSTOCK_BASE_BUG_H
#define PENSTOCK_BASE_BUG_H

#include "base/compiler.h"

_Noreturn void bug_report(const char *file, int line, const char *function, const char *condition);

#define BUG_ON(condition) \
	do { \
		if (UNLIKELY(condition)) \
			bug_report(__FILE__, __LINE__, __func__, #condition); \
	} while (0)

#ifdef PENSTOCK_DEBUG
#define DEBUG_BUG_ON(condition) BUG_ON(condition)
#else
#define DEBUG_BUG_ON(condition) ((void)sizeof(condition))
#endif

#endif
