/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The privileged process: reads the configuration, opens what it names, and keeps one worker
 * supplied with bundles. It serves no client of the proxy, and obeys nothing that the worker says.
 */
#ifndef PENSTOCK_BROKER_BROKER_H
#define PENSTOCK_BROKER_BROKER_H

#include <stdint.h>

#include "base/compiler.h"
#include "bundle/bundle.h"
#include "conf/conf.h"

/* Sockets below conf->runtime_dir: the worker's for questions, and the broker's for commands. */
#define BROKER_ADMIN_SOCKET "admin.sock"
#define BROKER_CONTROL_SOCKET "broker.sock"

/* The descriptor that the worker finds its bundle socket at. */
#define BROKER_WORKER_FD 3

/* Reads and parses the file. NULL with at least one error in `diag`. */
struct conf *broker_parse(const char *config_path, struct conf_diag *diag) MUST_CHECK;

/*
 * As broker_parse(), and opens every file that it names: the part of a start that `penstock check`
 * does too. The bundle holds the text and the files. 0, or -errno with at least one error in
 * `diag`.
 */
int broker_load(const char *config_path, uint64_t generation, struct conf_diag *diag,
		struct conf **ret_conf, struct bundle **ret_bundle) MUST_CHECK;

/* Runs until told to stop. The process's exit status: 0 where it was told, 1 where it could not
 * start or go on. */
int broker_run(const char *config_path) MUST_CHECK;

#endif
