/* SPDX-License-Identifier: Apache-2.0 */
/* Names and their answers. How c-ares gets its sockets and its clock stands in resolve_channel.c.
 */
#include "resolve/resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "resolve/resolve_internal.h"

#define RESOLVE_MIN_TTL_S 1
#define RESOLVE_MAX_TTL_S 3600
#define RESOLVE_FIRST_RETRY_S 1
#define RESOLVE_LAST_RETRY_S 30

struct resolve_name {
	struct list node;
	struct resolver *resolver;
	char *host;
	resolve_changed *on_change;
	void *argument;
	struct timer timer;
	bool is_asking;
	bool is_stopped; /* c-ares still owes the answer: freed when it comes */
	unsigned int retry_s;
	const char *error;
	struct resolve_answer known; /* the last good answer */
};

static void resolve_free(struct resolve_name *name)
{
	free(name->host);
	free(name);
}

static int resolve_compare(const void *a, const void *b)
{
	const struct addr *one = a, *other = b;

	if (one->len != other->len)
		return one->len < other->len ? -1 : 1;
	return memcmp(&one->sa, &other->sa, one->len);
}

void resolve_answer_add(struct resolve_answer *answer, const struct addr *addr)
{
	for (size_t i = 0; i < answer->n_addrs; i++)
		if (addr_is_equal(&answer->addrs[i], addr))
			return;
	if (answer->n_addrs < RESOLVE_MAX_ADDRS)
		answer->addrs[answer->n_addrs++] = *addr;
}

static void resolve_add(struct resolve_answer *next, const struct ares_addrinfo_node *node)
{
	struct addr addr;

	if (node->ai_addrlen > sizeof(struct sockaddr_in6))
		return;
	memset(&addr, 0, sizeof(addr));
	memcpy(&addr.sa, node->ai_addr, node->ai_addrlen);
	addr.len = node->ai_addrlen;
	if (addr.sa.sa_family == AF_INET)
		addr.in.sin_port = 0;
	else
		addr.in6.sin6_port = 0;
	resolve_answer_add(next, &addr);
}

/* The addresses of an answer, and the shortest TTL. */
static unsigned int resolve_collect(struct resolve_answer *next, const struct ares_addrinfo *answer)
{
	int ttl_s = RESOLVE_MAX_TTL_S;

	next->n_addrs = 0;
	for (const struct ares_addrinfo_node *node = answer->nodes; node; node = node->ai_next) {
		resolve_add(next, node);
		ttl_s = MIN(ttl_s, node->ai_ttl);
	}
	return (unsigned int)MAX(ttl_s, RESOLVE_MIN_TTL_S);
}

static bool resolve_is_same(const struct resolve_answer *a, const struct resolve_answer *b)
{
	if (a->n_addrs != b->n_addrs)
		return false;
	for (size_t i = 0; i < a->n_addrs; i++)
		if (!addr_is_equal(&a->addrs[i], &b->addrs[i]))
			return false;
	return true;
}

/* A good answer, in any order. The name may be stopped afterwards. */
static void resolve_take(struct resolve_name *name, struct resolve_answer *next)
{
	name->error = NULL;
	name->retry_s = RESOLVE_FIRST_RETRY_S;
	qsort(next->addrs, next->n_addrs, sizeof(next->addrs[0]), resolve_compare);
	if (resolve_is_same(&name->known, next))
		return;
	name->known = *next;
	name->on_change(name->argument, name->known.addrs, name->known.n_addrs);
}

static void resolve_ask_after(struct resolve_name *name, unsigned int delay_s)
{
	loop_timer_arm(name->resolver->loop, &name->timer, delay_s * 1000ULL);
}

static void resolve_failed(struct resolve_name *name, int status)
{
	name->error = ares_strerror(status);
	resolve_ask_after(name, name->retry_s);
	name->retry_s = MIN(name->retry_s * 2, (unsigned int)RESOLVE_LAST_RETRY_S);
}

static void resolve_answered(struct resolve_name *name, const struct ares_addrinfo *answer)
{
	struct resolve_answer next;
	unsigned int ttl_s = resolve_collect(&next, answer);

	if (next.n_addrs == 0) {
		resolve_failed(name, ARES_ENODATA);
		return;
	}
	resolve_ask_after(name, ttl_s);
	resolve_take(name, &next);
}

static void resolve_answer(void *argument, int status, int timeouts UNUSED,
			   struct ares_addrinfo *answer)
{
	struct resolve_name *name = argument;

	name->is_asking = false;
	if (name->is_stopped)
		resolve_free(name);
	else if (status == ARES_ECANCELLED) /* others are asked */
		resolve_ask_after(name, 0);
	else if (status == ARES_SUCCESS)
		resolve_answered(name, answer);
	else
		resolve_failed(name, status);
	if (answer)
		ares_freeaddrinfo(answer);
}

static void resolve_ask(struct timer *timer)
{
	struct resolve_name *name = container_of(timer, struct resolve_name, timer);
	struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_flags = ARES_AI_NOSORT};
	struct resolver *resolver = name->resolver;
	struct resolve_answer next;

	resolver_find_host(resolver, name->host, &next);
	if (next.n_addrs) { /* until the hosts file is another one */
		resolve_take(name, &next);
		return;
	}
	name->is_asking = true;
	ares_getaddrinfo(resolver->channel, name->host, NULL, &hints, resolve_answer, name);
	resolver_rearm(resolver);
}

struct resolve_name *resolve_start(struct resolver *resolver, const char *host,
				   resolve_changed *on_change, void *argument)
{
	struct resolve_name *name = calloc(1, sizeof(*name));

	if (!name)
		return NULL;
	name->host = strdup(host);
	if (!name->host) {
		free(name);
		return NULL;
	}
	name->resolver = resolver;
	list_add_tail(&name->node, &resolver->names);
	name->on_change = on_change;
	name->argument = argument;
	name->retry_s = RESOLVE_FIRST_RETRY_S;
	timer_init(&name->timer, resolve_ask);
	resolve_ask_after(name, 0);
	return name;
}

void resolve_stop(struct resolve_name *name)
{
	if (!name)
		return;
	timer_cancel(&name->timer);
	list_del(&name->node);
	name->is_stopped = true;
	if (!name->is_asking)
		resolve_free(name);
}

/* Those that are asked for look again when their answer comes, or when its time is over. */
static void resolver_look_again(struct resolver *resolver)
{
	list_for_each (node, &resolver->names) {
		struct resolve_name *name = container_of(node, struct resolve_name, node);

		if (!name->is_asking)
			resolve_ask_after(name, 0);
	}
}

int resolver_set_servers(struct resolver *resolver, const char *servers, const char *system,
			 size_t system_len_bytes)
{
	char of_system[RESOLVE_SERVERS_MAX];
	int status;

	if (!servers) {
		resolve_conf_servers(system, system_len_bytes, of_system);
		servers = of_system;
	}
	if (!*servers || strcmp(servers, resolver->servers) == 0)
		return 0;
	if (strlen(servers) >= sizeof(resolver->servers))
		return -EINVAL;
	ares_cancel(resolver->channel); /* they cannot be changed while one is asked */
	status = ares_set_servers_ports_csv(resolver->channel, servers);
	resolver_look_again(resolver);
	if (status != ARES_SUCCESS)
		return status == ARES_ENOMEM ? -ENOMEM : -EINVAL;
	memcpy(resolver->servers, servers, strlen(servers) + 1);
	return 0;
}

int resolver_set_hosts(struct resolver *resolver, const char *text, size_t len_bytes)
{
	char *copy;

	if (resolver->hosts && resolver->hosts_len == len_bytes &&
	    memcmp(resolver->hosts, text, len_bytes) == 0)
		return 0;
	copy = malloc(len_bytes + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, text, len_bytes);
	free(resolver->hosts);
	resolver->hosts = copy;
	resolver->hosts_len = len_bytes;
	resolver_look_again(resolver);
	return 0;
}

const struct addr *resolve_addrs(const struct resolve_name *name, size_t *ret_n_addrs)
{
	*ret_n_addrs = name->known.n_addrs;
	return name->known.addrs;
}

const char *resolve_error(const struct resolve_name *name)
{
	return name->error;
}
