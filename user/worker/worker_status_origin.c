/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the status document that is about origins and their servers. */
#include "base/clock.h"
#include "server/server.h"
#include "worker/worker_internal.h"

static const char *status_origin_tls(const struct conf_origin *origin)
{
	if (!origin->tls)
		return "none";
	if (origin->tls->n_pins)
		return origin->tls->verify ? "verified, pinned" : "pinned, NOT VERIFIED";
	return origin->tls->verify ? "verified" : "NOT VERIFIED";
}

struct status_origin {
	const struct worker_facts *facts;
	const struct conf_origin *conf;
};

/* What is the same of a server in all threads; `text` is an address, also where it is one of a
 * name.
 */
static json_t *status_server(const struct status_origin *status, const struct conf_server *conf,
			     const struct server *server, const char *text)
{
	const struct conf_origin *origin = status->conf;
	uint64_t now_ms = clock_now_ms();
	enum server_state state = server_state(server, now_ms);
	char reason[SERVER_REASON_MAX];
	const char *why = NULL;
	struct server_counts counts;

	server_read_counts(server, &counts);
	server_read_reason(server, reason);
	if (state == SERVER_DOWN)
		why = health_error(status->facts->health, origin->identity, server_addr(server));
	else if (state == SERVER_EJECTED && *reason)
		why = reason;
	return json_pack(
	    "{s:s, s:s*, s:i, s:b, s:s, s:s*, s:I, s:i, s:I, s:I, s:I, s:s*}", "address", text,
	    "name", conf->is_name ? conf->text : NULL, "weight", (int)conf->weight, "backup",
	    conf->is_backup, "state", server_state_word(state), "why", why, "load",
	    (json_int_t)server_load(server), "share",
	    (int)server_share(server, origin->slow_start_ms, now_ms), "connects",
	    (json_int_t)counts.connects, "failures", (json_int_t)counts.failures, "ejections",
	    (json_int_t)counts.ejections, "last_failure", *reason ? reason : NULL);
}

/* A name without an address has no server yet. */
static json_t *status_unresolved(const struct status_origin *status, size_t index)
{
	const struct conf_server *conf = &status->conf->servers[index];
	const char *why = worker_names_error(status->facts->names, status->conf->identity, index);

	return json_pack("{s:s, s:s, s:i, s:b, s:s, s:s}", "address", conf->text, "name",
			 conf->text, "weight", (int)conf->weight, "backup", conf->is_backup,
			 "state", "unresolved", "why", why ? why : "no answer yet");
}

static void status_add_server(json_t *servers, const struct status_origin *status, size_t index,
			      const struct addr *addr)
{
	const struct conf_server *conf = &status->conf->servers[index];
	struct server *server = server_get(status->conf->identity, addr);
	char text[ADDR_TEXT_MAX];

	if (server)
		json_array_append_new(
		    servers, status_server(status, conf, server,
					   conf->is_name ? addr_format(addr, text) : conf->text));
	server_unref(server);
}

static void status_add_name(json_t *servers, const struct status_origin *status, size_t index)
{
	struct addr addrs[WORKER_NAME_ADDRS_MAX];
	size_t n = worker_names_addrs(status->facts->names, status->conf->identity, index, addrs);

	for (size_t i = 0; i < n; i++)
		status_add_server(servers, status, index, &addrs[i]);
	if (n == 0)
		json_array_append_new(servers, status_unresolved(status, index));
}

json_t *worker_status_origin(const struct worker_facts *facts, const struct conf_origin *origin)
{
	const struct status_origin status = {.facts = facts, .conf = origin};
	struct server_group *group = server_group_get(origin->identity);
	json_t *servers = json_array();
	json_int_t n_waiting = group ? server_group_waiting(group) : 0;

	server_group_unref(group);
	for (size_t i = 0; i < origin->n_servers; i++) {
		if (origin->servers[i].is_name)
			status_add_name(servers, &status, i);
		else
			status_add_server(servers, &status, i, &origin->servers[i].addr);
	}
	return json_pack(
	    "{s:s, s:s, s:I, s:o, s:o*, s:o*}", "name", origin->name, "tls",
	    status_origin_tls(origin), "waiting", n_waiting, "servers", servers, "certificates",
	    worker_status_origin_certificates(facts->snapshot->client_contexts[origin->index]),
	    "tls_rules", worker_status_origin_rules(origin->tls));
}
