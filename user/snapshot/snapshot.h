/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One configuration in force: the parsed text and what was built from it, shared by all threads,
 * immutable, reference-counted. A connection keeps the snapshot that it started with.
 */
#ifndef PENSTOCK_SNAPSHOT_SNAPSHOT_H
#define PENSTOCK_SNAPSHOT_SNAPSHOT_H

#include <stdint.h>

#include "base/compiler.h"
#include "conf/conf.h"
#include "stats/tally.h"
#include "tls/tls.h"

struct snapshot {
	uint64_t generation;
	struct conf *conf;
	struct tls_server_ctx **server_contexts; /* by listener index; NULL: no TLS */
	struct tls_client_ctx **client_contexts; /* by origin index; NULL: no TLS */
	struct tally ***tallies; /* by listener index, then by place of the route */
};

/*
 * Builds everything or nothing: NULL with errors in `diag`. Takes over the caller's reference on
 * `conf` in both cases.
 */
struct snapshot *snapshot_new(struct conf *conf, uint64_t generation, const struct tls_files *files,
			      struct conf_diag *diag) MUST_CHECK;

struct snapshot *snapshot_ref(struct snapshot *snapshot);

/* Frees with the last reference; any thread; takes NULL. */
void snapshot_unref(struct snapshot *snapshot);

struct tally *snapshot_tally(const struct snapshot *snapshot, const struct conf_listener *listener,
			     const struct conf_route *route);

#endif
