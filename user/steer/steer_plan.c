/* SPDX-License-Identifier: Apache-2.0 */
/* From a snapshot to what the maps should say. Asks the kernel for nothing but its address toward
 * each server. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/server.h"
#include "steer/steer_internal.h"

#define PLAN_MAX_ENTRIES 1024 /* of one server set, after weighting */

/*
 * The address that this host speaks to a server from. Connecting a UDP socket sends nothing; it
 * makes the kernel choose the route and with it the address, which needs no privilege.
 */
static int plan_nat_addr(const struct addr *server, uint8_t ret_addr[4])
{
	struct sockaddr_in local;
	socklen_t len_bytes = sizeof(local);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, &server->sa, server->len) ||
	    getsockname(fd, (struct sockaddr *)&local, &len_bytes))
		err = -errno;
	else
		memcpy(ret_addr, &local.sin_addr, 4);
	close(fd);
	return err;
}

static uint32_t greatest_divisor(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static uint32_t plan_weight(const struct conf_server *server)
{
	return server->weight ? server->weight : 1;
}

/* What all weights are divided by, so that a set stays small. */
static uint32_t plan_weight_unit(const struct conf_origin *origin)
{
	uint64_t sum = 0;
	uint32_t unit = 0;

	for (size_t i = 0; i < origin->n_servers; i++) {
		unit = greatest_divisor(plan_weight(&origin->servers[i]), unit);
		sum += plan_weight(&origin->servers[i]);
	}
	if (unit == 0)
		return 1;
	if (sum / unit > PLAN_MAX_ENTRIES / 2)
		unit = (uint32_t)(sum / (PLAN_MAX_ENTRIES / 2)) + 1;
	return unit;
}

/* Which servers get new flows: those that are up or, in panic, all that are not drained; of these
 * the backups only where there is no other. */
static void plan_choose(const struct conf_origin *origin, uint64_t now_ms, bool *is_chosen,
			bool *ret_has_ejected)
{
	enum server_state states[PENSTOCK_MAX_SERVERS] = {SERVER_UP};
	struct server_census census = {0};
	bool is_panic, backups = true;

	*ret_has_ejected = false;
	for (size_t i = 0; i < origin->n_servers; i++) {
		struct server *server = server_get(origin->identity, &origin->servers[i].addr);

		states[i] = server ? server_state(server, now_ms) : SERVER_UP;
		server_census_add(&census, states[i], origin->servers[i].is_backup);
		*ret_has_ejected |= states[i] == SERVER_EJECTED;
		server_unref(server);
	}
	is_panic = server_census_is_panic(&census, origin->health.panic_percent);
	for (size_t i = 0; i < origin->n_servers; i++) {
		is_chosen[i] = states[i] == SERVER_UP || (is_panic && states[i] != SERVER_DRAINED);
		backups &= !is_chosen[i] || origin->servers[i].is_backup;
	}
	for (size_t i = 0; i < origin->n_servers; i++)
		is_chosen[i] &= origin->servers[i].is_backup == backups;
}

/* Each server as often as its weight says, and at least once. */
static int plan_servers(const struct conf_origin *origin, struct steer_service *service)
{
	uint32_t unit = plan_weight_unit(origin);
	bool is_chosen[PENSTOCK_MAX_SERVERS];
	uint16_t n = 0;

	plan_choose(origin, clock_now_ms(), is_chosen, &service->has_ejected);
	service->servers = calloc(PLAN_MAX_ENTRIES, sizeof(*service->servers));
	if (!service->servers)
		return -ENOMEM;
	for (size_t i = 0; i < origin->n_servers; i++) {
		const struct conf_server *server = &origin->servers[i];
		uint32_t times = MAX(plan_weight(server) / unit, 1u);
		struct server_value value = {.port = addr_port(&server->addr)};
		int err;

		if (server->addr.sa.sa_family != AF_INET)
			return -EAFNOSUPPORT;
		memcpy(value.addr, &server->addr.in.sin_addr, 4);
		err = plan_nat_addr(&server->addr, value.nat_addr);
		if (err)
			return err;
		for (; is_chosen[i] && times > 0 && n < PLAN_MAX_ENTRIES; times--)
			service->servers[n++] = value;
	}
	service->value.n_servers = n;
	return 0;
}

static int plan_service(const struct conf *conf, const struct conf_listener *listener,
			const struct addr *bind, struct steer_service *service)
{
	const struct conf_origin *origin = listener->routes[0].origin;

	if (bind->sa.sa_family != AF_INET || bind->in.sin_addr.s_addr == INADDR_ANY)
		return -EAFNOSUPPORT;
	memcpy(service->key.addr, &bind->in.sin_addr, 4);
	service->key.port = addr_port(bind);
	service->key.protocol =
	    listener->transport == CONF_TRANSPORT_UDP ? IPPROTO_UDP : IPPROTO_TCP;
	service->value.nat_port_min = conf->steer.nat_port_min;
	service->value.nat_port_max = conf->steer.nat_port_max;
	service->value.udp_idle_s = conf->steer.udp_idle_s;
	service->value.tcp_idle_s = conf->steer.tcp_idle_s;
	service->name = strdup(listener->name);
	service->origin = strdup(origin->name);
	if (!service->name || !service->origin)
		return -ENOMEM;
	return plan_servers(origin, service);
}

static bool listener_steers(const struct conf_listener *listener)
{
	return listener->n_routes > 0 && listener->routes[0].lane == CONF_LANE_STEER;
}

bool steer_is_wanted(const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_listeners; i++)
		if (listener_steers(&conf->listeners[i]))
			return true;
	return false;
}

static bool plan_has_twins(const struct steer_plan *plan)
{
	for (size_t i = 0; i < plan->n_services; i++)
		for (size_t k = i + 1; k < plan->n_services; k++)
			if (memcmp(&plan->services[i].key, &plan->services[k].key,
				   sizeof(struct service_key)) == 0)
				return true;
	return false;
}

static size_t plan_count(const struct conf *conf)
{
	size_t n = 0;

	for (size_t i = 0; i < conf->n_listeners; i++)
		if (listener_steers(&conf->listeners[i]))
			n += conf->listeners[i].n_binds;
	return n;
}

int steer_plan_make(const struct conf *conf, struct steer_plan *ret_plan)
{
	struct steer_plan plan = {.services = NULL};
	size_t n_services = plan_count(conf);
	int err = 0;

	if (n_services > PENSTOCK_MAX_STEER_SERVICES)
		return -E2BIG;
	plan.services = calloc(n_services + 1, sizeof(*plan.services));
	if (!plan.services)
		return -ENOMEM;
	for (size_t i = 0; i < conf->n_listeners && !err; i++) {
		const struct conf_listener *listener = &conf->listeners[i];

		for (size_t k = 0; listener_steers(listener) && k < listener->n_binds && !err; k++)
			err = plan_service(conf, listener, &listener->binds[k],
					   &plan.services[plan.n_services++]);
	}
	if (!err && plan_has_twins(&plan))
		err = -EEXIST;
	if (err)
		steer_plan_done(&plan);
	else
		*ret_plan = plan;
	return err;
}

void steer_plan_done(struct steer_plan *plan)
{
	for (size_t i = 0; i < plan->n_services; i++) {
		free(plan->services[i].name);
		free(plan->services[i].origin);
		free(plan->services[i].servers);
	}
	free(plan->services);
	*plan = (struct steer_plan){.services = NULL};
}
