/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside resolve/. */
#ifndef PENSTOCK_RESOLVE_INTERNAL_H
#define PENSTOCK_RESOLVE_INTERNAL_H

#include <ares.h>

#include "resolve/resolve.h"

#define RESOLVER_MAX_SOCKETS 32
#define RESOLVE_MAX_ADDRS 64
#define RESOLVE_SERVERS_MAX 512

struct resolver_socket {
	struct watch watch; /* fd -1: free */
	struct resolver *resolver;
};

struct resolver {
	struct loop *loop;
	ares_channel channel;
	struct timer timer; /* of c-ares' own timeouts */
	struct resolver_socket sockets[RESOLVER_MAX_SOCKETS];
	struct list names;
	char *hosts; /* the text of /etc/hosts; NULL: there is none */
	size_t hosts_len;
	char servers[RESOLVE_SERVERS_MAX]; /* that were set; "": those that c-ares found */
};

struct resolve_answer {
	size_t n_addrs;
	struct addr addrs[RESOLVE_MAX_ADDRS];
};

/* One that is there already, or has no room, is left out. */
void resolve_answer_add(struct resolve_answer *answer, const struct addr *addr);

/* What is known without DNS: of the hosts file, or since it is this host. */
void resolver_find_host(const struct resolver *resolver, const char *host,
			struct resolve_answer *ret_answer);

/* The name servers of a resolv.conf(5), as ares_set_servers_ports_csv(3) takes them; "" where there
 * are none. Those that do not fit are left out. */
void resolve_conf_servers(const char *text, size_t len_bytes,
			  char ret_servers[RESOLVE_SERVERS_MAX]);

/* After each call into c-ares: when it wants to be called again. */
void resolver_rearm(struct resolver *resolver);

#endif
