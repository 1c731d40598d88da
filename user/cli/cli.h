/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: `penstock COMMAND`. */
#ifndef PENSTOCK_CLI_CLI_H
#define PENSTOCK_CLI_CLI_H

#include "base/compiler.h"

/* Runs the command that the arguments name. The process's exit status: 0 done, 1 failed, 2 wrong
 * usage. */
int cli_main(int argc, char **argv) MUST_CHECK;

#endif
