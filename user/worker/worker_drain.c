/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers that the operator took out of service. What choosing looks at is in struct server, for
 * all lanes; here is who wanted it, so that it holds over reloads and for addresses that a name
 * gets later.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/server.h"
#include "worker/worker_internal.h"

/* What was asked for. */
struct drain_mark {
	struct list node;
	char *origin; /* its name */
	char *server; /* as the configuration has it, or an address of a name */
	struct list held;
};

/* A server that is drained for it. */
struct drain_held {
	struct list node;
	struct server *server;
	char *identity; /* of the origin */
};

void worker_drains_init(struct worker_drains *drains)
{
	list_init(&drains->marks);
}

static void held_free(struct drain_held *held)
{
	list_del(&held->node);
	server_unref(held->server);
	free(held->identity);
	free(held);
}

static void mark_free(struct drain_mark *mark)
{
	while (!list_is_empty(&mark->held))
		held_free(container_of(mark->held.next, struct drain_held, node));
	list_del(&mark->node);
	free(mark->origin);
	free(mark->server);
	free(mark);
}

void worker_drains_done(struct worker_drains *drains)
{
	while (!list_is_empty(&drains->marks))
		mark_free(container_of(drains->marks.next, struct drain_mark, node));
}

static struct drain_mark *mark_new(struct worker_drains *drains, const char *origin,
				   const char *server)
{
	struct drain_mark *mark = calloc(1, sizeof(*mark));

	if (!mark)
		return NULL;
	list_init(&mark->held);
	list_add_tail(&mark->node, &drains->marks);
	mark->origin = strdup(origin);
	mark->server = strdup(server);
	if (mark->origin && mark->server)
		return mark;
	mark_free(mark);
	return NULL;
}

static struct drain_mark *mark_find(const struct worker_drains *drains, const char *origin,
				    const char *server)
{
	list_for_each (node, &drains->marks) {
		struct drain_mark *mark = container_of(node, struct drain_mark, node);

		if (strcmp(mark->origin, origin) == 0 && strcmp(mark->server, server) == 0)
			return mark;
	}
	return NULL;
}

static struct drain_held *mark_find_held(const struct drain_mark *mark, const struct server *server)
{
	list_for_each (node, &mark->held) {
		struct drain_held *held = container_of(node, struct drain_held, node);

		if (held->server == server)
			return held;
	}
	return NULL;
}

static int mark_hold(struct drain_mark *mark, const char *identity, const struct addr *addr)
{
	struct drain_held *held = calloc(1, sizeof(*held));

	if (!held)
		return -ENOMEM;
	list_init(&held->node);
	held->server = server_get(identity, addr);
	held->identity = strdup(identity);
	if (!held->server || !held->identity) {
		held_free(held);
		return -ENOMEM;
	}
	if (mark_find_held(mark, held->server)) {
		held_free(held);
		return 0;
	}
	list_add_tail(&held->node, &mark->held);
	server_set_drained(held->server, true);
	return 0;
}

/* Its address and its name may both have been asked for. */
static void mark_let_go(struct worker_drains *drains, struct drain_mark *mark,
			struct drain_held *held)
{
	bool is_wanted = false;

	list_for_each (node, &drains->marks) {
		struct drain_mark *other = container_of(node, struct drain_mark, node);

		is_wanted |= other != mark && mark_find_held(other, held->server);
	}
	if (!is_wanted)
		server_set_drained(held->server, false);
	held_free(held);
}

/* ---- what a mark means in a configuration ---- */

static bool mark_names(const struct drain_mark *mark, const struct conf_server *conf,
		       const struct addr *addr)
{
	char text[ADDR_TEXT_MAX];

	return strcmp(mark->server, conf->text) == 0 ||
	       strcmp(mark->server, addr_format(addr, text)) == 0;
}

static int mark_hold_addrs(struct drain_mark *mark, const struct conf_origin *origin,
			   const struct conf_server *conf, const struct addr *addrs, size_t n_addrs)
{
	int err = 0;

	for (size_t i = 0; i < n_addrs && !err; i++)
		if (mark_names(mark, conf, &addrs[i]))
			err = mark_hold(mark, origin->identity, &addrs[i]);
	return err;
}

static int mark_hold_origin(struct drain_mark *mark, const struct worker_names *names,
			    const struct conf_origin *origin)
{
	struct addr addrs[WORKER_NAME_ADDRS_MAX];
	int err = 0;

	for (size_t i = 0; i < origin->n_servers && !err; i++) {
		const struct conf_server *conf = &origin->servers[i];
		size_t n_addrs = 1;

		addrs[0] = conf->addr;
		if (conf->is_name)
			n_addrs = worker_names_addrs(names, origin->identity, i, addrs);
		err = mark_hold_addrs(mark, origin, conf, addrs, n_addrs);
	}
	return err;
}

static const struct conf_origin *conf_find_origin(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->n_origins; i++)
		if (strcmp(conf->origins[i]->name, name) == 0)
			return conf->origins[i];
	return NULL;
}

static bool origin_has_server(const struct conf_origin *origin, const char *text)
{
	for (size_t i = 0; i < origin->n_servers; i++)
		if (strcmp(origin->servers[i].text, text) == 0)
			return true;
	return false;
}

int worker_drains_stage(struct worker_drains *drains, const struct worker_names *names,
			const struct conf *conf)
{
	int err = 0;

	list_for_each (node, &drains->marks) {
		struct drain_mark *mark = container_of(node, struct drain_mark, node);
		const struct conf_origin *origin = conf_find_origin(conf, mark->origin);

		if (origin && !err)
			err = mark_hold_origin(mark, names, origin);
	}
	return err;
}

void worker_drains_settle(struct worker_drains *drains, const struct conf *conf)
{
	list_for_each_safe (node, &drains->marks) {
		struct drain_mark *mark = container_of(node, struct drain_mark, node);
		const struct conf_origin *origin = conf_find_origin(conf, mark->origin);

		list_for_each_safe (held_node, &mark->held) {
			struct drain_held *held = container_of(held_node, struct drain_held, node);

			if (!origin || strcmp(origin->identity, held->identity) != 0)
				mark_let_go(drains, mark, held);
		}
		if (list_is_empty(&mark->held) &&
		    !(origin && origin_has_server(origin, mark->server)))
			mark_free(mark);
	}
}

int worker_drains_resolved(struct worker_drains *drains, const struct conf_origin *origin,
			   size_t server, const struct addr *addrs, size_t n_addrs)
{
	int err = 0;

	list_for_each (node, &drains->marks) {
		struct drain_mark *mark = container_of(node, struct drain_mark, node);

		if (!err && strcmp(mark->origin, origin->name) == 0)
			err =
			    mark_hold_addrs(mark, origin, &origin->servers[server], addrs, n_addrs);
	}
	return err;
}

/* ---- the command ---- */

static json_t *drain_refuse_origin(const struct conf *conf)
{
	json_t *known = json_array();

	for (size_t i = 0; i < conf->n_origins; i++)
		json_array_append_new(known, json_string(conf->origins[i]->name));
	return json_pack("{s:s, s:o}", "error", "no origin has this name", "known", known);
}

static json_t *drain_refuse_server(const struct conf_origin *origin)
{
	json_t *known = json_array();

	for (size_t i = 0; i < origin->n_servers; i++)
		json_array_append_new(known, json_string(origin->servers[i].text));
	return json_pack("{s:s, s:o}", "error", "the origin has no such server", "known", known);
}

static json_t *drain_refuse_undo(const struct worker_drains *drains, const char *origin)
{
	json_t *known = json_array();

	list_for_each (node, &drains->marks) {
		struct drain_mark *mark = container_of(node, struct drain_mark, node);

		if (strcmp(mark->origin, origin) == 0)
			json_array_append_new(known, json_string(mark->server));
	}
	return json_pack("{s:s, s:o}", "error", "the server is not drained", "known", known);
}

/* Servers of the origin that may get connections, as far as this is the operator's choice. */
static json_int_t drain_count_others(const struct worker_names *names,
				     const struct conf_origin *origin)
{
	struct addr addrs[WORKER_NAME_ADDRS_MAX];
	json_int_t n = 0;

	for (size_t i = 0; i < origin->n_servers; i++) {
		size_t n_addrs = 1;

		addrs[0] = origin->servers[i].addr;
		if (origin->servers[i].is_name)
			n_addrs = worker_names_addrs(names, origin->identity, i, addrs);
		for (size_t j = 0; j < n_addrs; j++) {
			struct server *server = server_get(origin->identity, &addrs[j]);

			n += !server || server_state(server, clock_now_ms()) != SERVER_DRAINED;
			server_unref(server);
		}
	}
	return n;
}

static json_int_t mark_count_open(const struct drain_mark *mark)
{
	json_int_t n = 0;

	list_for_each (node, &mark->held)
		n += server_load(container_of(node, struct drain_held, node)->server);
	return n;
}

/* Whoever waits for a place of this origin looks again. */
static void drain_tell_waiting(const struct conf_origin *origin)
{
	struct server_group *group = server_group_get(origin->identity);

	if (group)
		server_group_tell(group);
	server_group_unref(group);
}

static void mark_undo(struct worker_drains *drains, struct drain_mark *mark)
{
	list_for_each_safe (node, &mark->held)
		mark_let_go(drains, mark, container_of(node, struct drain_held, node));
	mark_free(mark);
}

/* As it was asked for: NULL and errno 0 where the origin has no such server. */
static struct drain_mark *drain_mark_server(struct worker *worker, const struct conf_origin *origin,
					    const char *server)
{
	struct worker_drains *drains = &worker->drains;
	struct drain_mark *mark = mark_new(drains, origin->name, server);

	errno = ENOMEM;
	if (!mark)
		return NULL;
	if (mark_hold_origin(mark, worker->names, origin)) {
		mark_undo(drains, mark);
		errno = ENOMEM;
		return NULL;
	}
	if (list_is_empty(&mark->held) && !origin_has_server(origin, server)) {
		mark_free(mark);
		errno = 0;
		return NULL;
	}
	return mark;
}

json_t *worker_drain_server(struct worker *worker, const char *origin_name, const char *server,
			    bool is_on)
{
	const struct conf_origin *origin = conf_find_origin(worker->snapshot->conf, origin_name);
	struct drain_mark *mark = mark_find(&worker->drains, origin_name, server);
	json_int_t n_open;

	if (!origin)
		return drain_refuse_origin(worker->snapshot->conf);
	if (!mark && !is_on)
		return origin_has_server(origin, server) || !list_is_empty(&worker->drains.marks)
			   ? drain_refuse_undo(&worker->drains, origin_name)
			   : drain_refuse_server(origin);
	if (!mark)
		mark = drain_mark_server(worker, origin, server);
	if (!mark)
		return errno ? NULL : drain_refuse_server(origin);
	n_open = mark_count_open(mark);
	if (!is_on) {
		mark_undo(&worker->drains, mark);
		drain_tell_waiting(origin);
	}
	log_info(is_on ? "server is drained, as was asked for" : "server is in service again",
		 LOG_TEXT("origin", origin_name), LOG_TEXT("server", server));
	worker_servers_changed(worker);
	return json_pack("{s:s, s:s, s:b, s:I, s:I}", "origin", origin_name, "server", server,
			 "drained", is_on, "open", n_open, "others",
			 drain_count_others(worker->names, origin));
}
