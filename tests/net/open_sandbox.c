/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sandbox with open doors, for the daemon under sanitizers: the leak checker looks at its own
 * process as a debugger does, which the real sandbox forbids. Never part of the product.
 */
#include "worker/sandbox.h"

int sandbox_enter(const char *user, struct sandbox_error *ret_error)
{
	(void)user;
	ret_error->text[0] = 0;
	return 0;
}
