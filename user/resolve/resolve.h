/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host names to addresses, by DNS through c-ares on an event loop. Asks again when the TTL is over,
 * and keeps the last good answer while nobody answers. What a hosts file says goes before DNS; it
 * is given as text, since files are out of the reach of the process that asks. Never blocks.
 */
#ifndef PENSTOCK_RESOLVE_RESOLVE_H
#define PENSTOCK_RESOLVE_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/compiler.h"
#include "base/loop.h"

struct resolver;
struct resolve_name;

/*
 * `servers`: "192.0.2.53,[2001:db8::53]:5353"; NULL: those of /etc/resolv.conf, which is read now,
 * for its search domains too, so this may be called before files are out of reach. NULL and errno.
 */
struct resolver *resolver_new(struct loop *loop, const char *servers) MUST_CHECK;

/*
 * Other name servers: `servers` as resolver_new() has them; NULL: those of `system`, the text of a
 * resolv.conf(5), or where that names none, the ones that are asked now. Where they are others all
 * names are looked up anew. 0, -ENOMEM, or -EINVAL: nothing changed.
 */
int resolver_set_servers(struct resolver *resolver, const char *servers, const char *system,
			 size_t system_len_bytes) MUST_CHECK;

/* The first name server of a resolv.conf(5) with a scope, as "fe80::1%eth0": c-ares does not take
 * those, so they are not asked. False: there is none. */
#define RESOLVE_SCOPED_MAX 64
bool resolve_conf_find_scoped(const char *text, size_t len_bytes,
			      char ret_server[RESOLVE_SCOPED_MAX]) MUST_CHECK;

/* The text of a hosts file, which is copied: names that it has, or had, are looked up anew. 0 or
 * -ENOMEM (nothing changed). */
int resolver_set_hosts(struct resolver *resolver, const char *text, size_t len_bytes) MUST_CHECK;

/* After its names are stopped. Takes NULL. */
void resolver_free(struct resolver *resolver);

/* Sorted, without doubles, port 0; never empty. May stop the name. */
typedef void resolve_changed(void *argument, const struct addr *addrs, size_t n_addrs);

/* Looks a name up again and again. `on_change` comes from the loop, never from inside. NULL: no
 * memory. */
struct resolve_name *resolve_start(struct resolver *resolver, const char *host,
				   resolve_changed *on_change, void *argument) MUST_CHECK;

/* Takes NULL. */
void resolve_stop(struct resolve_name *name);

/* The last good answer, as it was told; none: `*ret_n_addrs` is 0. */
const struct addr *resolve_addrs(const struct resolve_name *name, size_t *ret_n_addrs);

/* Why the last question was not answered; NULL where it was, or while the first is under way. */
const char *resolve_error(const struct resolve_name *name);

#endif
