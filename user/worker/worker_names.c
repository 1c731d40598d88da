/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers that are host names: looked up in the main thread, told to every thread's origins and to
 * the checks. A name is followed as long as some origin of the same identity has it, over reloads.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "resolve/resolve.h"
#include "worker/worker_internal.h"

struct worker_name {
	struct list node;
	struct worker_names *names;
	char *identity; /* of the origin */
	size_t server; /* its place there */
	uint16_t port;
	bool is_wanted;
	struct resolve_name *lookup;
};

struct worker_names {
	struct resolver *resolver;
	struct list names;
	struct worker *worker;
};

struct worker_names *worker_names_new(struct worker *worker, const char *dns_servers)
{
	struct worker_names *names = calloc(1, sizeof(*names));

	if (!names)
		return NULL;
	names->worker = worker;
	list_init(&names->names);
	names->resolver = resolver_new(worker_loop(worker), dns_servers);
	if (!names->resolver) {
		free(names);
		return NULL;
	}
	return names;
}

static void name_free(struct worker_name *name)
{
	resolve_stop(name->lookup);
	list_del(&name->node);
	free(name->identity);
	free(name);
}

void worker_names_free(struct worker_names *names)
{
	if (!names)
		return;
	while (!list_is_empty(&names->names))
		name_free(container_of(names->names.next, struct worker_name, node));
	resolver_free(names->resolver);
	free(names);
}

static void name_set_port(struct addr *addr, uint16_t port)
{
	if (addr->sa.sa_family == AF_INET)
		addr->in.sin_port = htons(port);
	else
		addr->in6.sin6_port = htons(port);
}

static size_t name_put_ports(const struct worker_name *name, const struct addr *addrs,
			     size_t n_addrs, struct addr ret_addrs[WORKER_NAME_ADDRS_MAX])
{
	size_t n = MIN(n_addrs, (size_t)WORKER_NAME_ADDRS_MAX);

	for (size_t i = 0; i < n; i++) {
		ret_addrs[i] = addrs[i];
		name_set_port(&ret_addrs[i], name->port);
	}
	return n;
}

static void name_changed(void *argument, const struct addr *addrs, size_t n_addrs)
{
	struct worker_name *name = argument;
	struct addr with_port[WORKER_NAME_ADDRS_MAX];
	size_t n = name_put_ports(name, addrs, n_addrs, with_port);
	char text[ADDR_TEXT_MAX];
	int err = worker_tell_addresses(
	    name->names->worker,
	    &(struct worker_addresses){name->identity, name->server, with_port, n});

	if (err)
		log_error("new addresses could not be taken", LOG_TEXT("error", strerror(-err)));
	log_info("a server's name has new addresses",
		 LOG_TEXT("first", addr_format(&with_port[0], text)), LOG_INT("addresses", n));
}

static struct worker_name *names_find(const struct worker_names *names, const char *identity,
				      size_t server)
{
	list_for_each (node, &names->names) {
		struct worker_name *name = container_of(node, struct worker_name, node);

		if (name->server == server && strcmp(name->identity, identity) == 0)
			return name;
	}
	return NULL;
}

static int names_want(struct worker_names *names, const struct conf_origin *origin, size_t server)
{
	struct worker_name *name = names_find(names, origin->identity, server);

	if (!name) {
		name = calloc(1, sizeof(*name));
		if (!name)
			return -ENOMEM;
		list_init(&name->node);
		name->names = names;
		name->server = server;
		name->port = addr_port(&origin->servers[server].addr);
		name->identity = strdup(origin->identity);
		name->lookup = resolve_start(names->resolver, origin->servers[server].host,
					     name_changed, name);
		if (!name->identity || !name->lookup) {
			name_free(name);
			return -ENOMEM;
		}
		list_add_tail(&name->node, &names->names);
	}
	name->is_wanted = true;
	return 0;
}

int worker_names_set_hosts(struct worker_names *names, const char *text, size_t len_bytes)
{
	return resolver_set_hosts(names->resolver, text, len_bytes);
}

int worker_names_set_servers(struct worker_names *names, const char *dns_servers, const char *text,
			     size_t len_bytes)
{
	char scoped[RESOLVE_SCOPED_MAX];

	if (!dns_servers && resolve_conf_find_scoped(text, len_bytes, scoped))
		log_warn("a name server with a scope is not asked",
			 LOG_TEXT("file", BUNDLE_RESOLV_PATH), LOG_TEXT("server", scoped));
	return resolver_set_servers(names->resolver, dns_servers, text, len_bytes);
}

size_t worker_names_addrs(const struct worker_names *names, const char *identity, size_t server,
			  struct addr ret_addrs[WORKER_NAME_ADDRS_MAX])
{
	const struct worker_name *name = names_find(names, identity, server);
	const struct addr *addrs;
	size_t n_addrs;

	if (!name)
		return 0;
	addrs = resolve_addrs(name->lookup, &n_addrs);
	return name_put_ports(name, addrs, n_addrs, ret_addrs);
}

const char *worker_names_error(const struct worker_names *names, const char *identity,
			       size_t server)
{
	const struct worker_name *name = names_find(names, identity, server);

	return name ? resolve_error(name->lookup) : NULL;
}

int worker_names_apply(struct worker_names *names, const struct conf *conf)
{
	int err = 0;

	for (size_t i = 0; i < conf->n_origins; i++)
		for (size_t j = 0; j < conf->origins[i]->n_servers && !err; j++)
			if (conf->origins[i]->servers[j].is_name)
				err = names_want(names, conf->origins[i], j);
	list_for_each_safe (node, &names->names) {
		struct worker_name *name = container_of(node, struct worker_name, node);

		if (!err && !name->is_wanted)
			name_free(name);
		else
			name->is_wanted = false;
	}
	return err;
}
