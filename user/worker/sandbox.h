/* SPDX-License-Identifier: Apache-2.0 */
/* Gives up, for the whole process and for good, what the worker must not be able to do. */
#ifndef PENSTOCK_WORKER_SANDBOX_H
#define PENSTOCK_WORKER_SANDBOX_H

#include "base/compiler.h"

struct sandbox_error {
	char text[256];
};

/*
 * Before threads start: groups, gid and uid of `user` (only where we are root), no capability in
 * any set, no_new_privs, not dumpable, and a seccomp filter that knows only the system calls of the
 * worker: others fail with EPERM. Opening files is one of them: what the process reads by path
 * (OpenSSL's configuration, the time zone) it reads before. `user` NULL: "penstock", or "nobody"
 * where there is no such user. 0 or -errno; after a failure the process may be locked in half and
 * must end.
 */
int sandbox_enter(const char *user, struct sandbox_error *ret_error) MUST_CHECK;

#endif
