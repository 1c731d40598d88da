/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bug.h"

#include <stdio.h>
#include <stdlib.h>

void bug_report(const char *file, int line, const char *function, const char *condition)
{
	fprintf(stderr, "BUG: %s:%d: %s: %s\n", file, line, function, condition);
	abort();
}
