/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Origins: those that have a name, and those that a route writes in place. What a route may write
 * is read in conf_target.c.
 */
#include <search.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf/conf_internal.h"

/* ---- The set by name ---- */

static int conf_origin_compare(const void *a_, const void *b_)
{
	const struct conf_origin *a = a_, *b = b_;

	return strcmp(a->name, b->name);
}

struct conf_origin *conf_origin_find(struct conf_context *context, const char *name)
{
	const struct conf_origin wanted = {.name = name};
	void *found = tfind(&wanted, &context->origins_by_name, conf_origin_compare);

	return found ? *(struct conf_origin **)found : NULL;
}

static bool conf_origins_grow(struct conf_context *context)
{
	struct conf *conf = context->conf;
	size_t room = context->origins_room ? context->origins_room * 2 : 8;
	struct conf_origin **origins;

	if (conf->n_origins < context->origins_room)
		return true;
	origins = conf_keep(context, room, sizeof(struct conf_origin *));
	if (!origins)
		return false;
	if (conf->n_origins)
		memcpy(origins, conf->origins, conf->n_origins * sizeof(struct conf_origin *));
	conf->origins = origins;
	context->origins_room = room;
	return true;
}

static struct conf_origin *conf_origin_add(struct conf_context *context, struct str name,
					   struct conf_mark mark)
{
	struct conf_origin *origin = conf_keep(context, 1, sizeof(*origin));

	if (!origin || !conf_origins_grow(context))
		return NULL;
	origin->name = conf_keep_text(context, name);
	if (!origin->name)
		return NULL;
	if (!tsearch(origin, &context->origins_by_name, conf_origin_compare)) {
		conf_out_of_memory(context);
		return NULL;
	}
	origin->mark = mark;
	origin->index = context->conf->n_origins;
	context->conf->origins[context->conf->n_origins++] = origin;
	return origin;
}

static void conf_origin_keep(void *origin)
{
	(void)origin; /* the snapshot's */
}

void conf_origins_done(struct conf_context *context)
{
	tdestroy(context->origins_by_name, conf_origin_keep);
	context->origins_by_name = NULL;
}

/* ---- What an origin is made of ---- */

static void conf_server_fill(struct conf_context *context, struct conf_server *server,
			     struct str text, struct conf_mark mark)
{
	struct conf_endpoint endpoint;

	if (conf_endpoint_parse(text, &endpoint))
		return; /* reported by the check */
	server->mark = mark;
	server->weight = 1;
	server->addr = endpoint.addr;
	server->is_name = endpoint.is_name;
	server->text = conf_keep_text(context, text);
	server->host = conf_keep_text(context, str_from(endpoint.host));
}

static void conf_server_fill_rest(struct conf_server *server, const struct conf_node *node)
{
	server->weight = (uint32_t)conf_number_at(node, "weight");
	server->is_backup = conf_number_at(node, "backup") != 0;
	server->max_connections = (uint32_t)conf_number_at(node, "max_connections");
}

static void conf_origin_fill_servers(struct conf_context *context, struct conf_origin *origin,
				     const struct conf_node *servers)
{
	const struct conf_node *item;
	size_t n = conf_items(servers, &item);

	origin->servers = conf_keep(context, n, sizeof(*origin->servers));
	for (; origin->servers && n; n--, item = item->next) {
		const struct conf_node *text =
		    item->kind == CONF_NODE_MAPPING ? conf_at(item, "address") : item;
		struct conf_server *server = &origin->servers[origin->n_servers];

		if (!text)
			continue;
		conf_server_fill(context, server, text->text, text->mark);
		if (item->kind == CONF_NODE_MAPPING)
			conf_server_fill_rest(server, item);
		origin->n_servers++;
	}
}

static void conf_origin_fill_tls(struct conf_context *context, struct conf_origin *origin,
				 const struct conf_node *tls)
{
	const struct conf_node *node = conf_switched(context, tls, &conf_shape_client_tls);

	if (node)
		origin->tls = conf_client_tls_make(context, node, origin->is_stream, tls->mark);
}

static const char *conf_bytes_at(struct conf_context *context, const struct conf_node *node,
				 const char *key, size_t *ret_len)
{
	const struct conf_node *value = conf_at(node, key);
	char *bytes = value ? conf_keep(context, value->text.len + 1, 1) : NULL;
	ssize_t n = bytes ? conf_bytes_parse(value->text, bytes) : -1;

	if (n < 0)
		return NULL;
	bytes[n] = 0;
	*ret_len = (size_t)n;
	return bytes;
}

static void conf_origin_fill_health(struct conf_context *context, struct conf_health *health,
				    const struct conf_node *node)
{
	const struct conf_node *eject =
	    conf_switched(context, conf_at(node, "eject"), &conf_shape_eject);

	health->check = (enum conf_check)conf_number_at(node, "check");
	health->send = conf_bytes_at(context, node, "send", &health->send_len);
	health->expect = conf_bytes_at(context, node, "expect", &health->expect_len);
	health->interval_ms = (uint32_t)conf_number_at(node, "interval");
	health->timeout_ms = (uint32_t)conf_number_at(node, "timeout");
	health->rise = (uint32_t)conf_number_at(node, "rise");
	health->fall = (uint32_t)conf_number_at(node, "fall");
	health->eject_failures = (uint32_t)conf_number_at(eject, "failures");
	health->eject_ms = (uint32_t)conf_number_at(eject, "time");
	health->eject_max_percent = (uint8_t)conf_number_at(eject, "max");
	health->panic_percent = (uint8_t)conf_number_at(node, "panic");
}

static void conf_origin_fill_connecting(struct conf_context *context, struct conf_origin *origin,
					const struct conf_node *node)
{
	const struct conf_node *limits = conf_at(node, "limits"), *source = conf_at(node, "source");

	origin->max_connections = (uint32_t)conf_number_at(limits, "connections");
	origin->queue = (uint32_t)conf_number_at(limits, "queue");
	origin->queue_timeout_ms = (uint32_t)conf_number_at(limits, "queue_timeout");
	origin->retries = (uint32_t)conf_number_at(node, "retries");
	if (source && addr_parse_host(source->text, &origin->source))
		return; /* not after the check */
	origin->slow_start_ms = (uint32_t)conf_number_at(node, "slow_start");
	origin->proxy_protocol = (enum conf_proxy_protocol)conf_number_at(node, "proxy_protocol");
	conf_socket_fill(context, &origin->socket, conf_at(node, "socket"));
}

static void conf_origin_fill_rest(struct conf_context *context, struct conf_origin *origin,
				  const struct conf_node *node)
{
	const struct conf_node *timeouts = conf_at(node, "timeouts");

	origin->balance = (enum conf_balance)conf_number_at(node, "balance");
	origin->connect_timeout_ms = (uint32_t)conf_number_at(timeouts, "connect");
	origin->response_timeout_ms = (uint32_t)conf_number_at(timeouts, "response");
	origin->keepalive_ms = (uint32_t)conf_number_at(timeouts, "keepalive");
	origin->max_idle = (uint32_t)conf_number_at(node, "max_idle");
	conf_origin_fill_health(context, &origin->health, conf_at(node, "health"));
	conf_origin_fill_connecting(context, origin, node);
}

/* ---- Identity ---- */

static void conf_print_bytes(FILE *out, const char *key, const char *bytes, size_t len)
{
	fprintf(out, "%s %s", key, bytes ? "=" : "");
	for (size_t i = 0; bytes && i < len; i++)
		fprintf(out, "%02x", (unsigned char)bytes[i]);
	fputc('\n', out);
}

static void conf_server_print(const struct conf_server *server, FILE *out)
{
	char text[ADDR_TEXT_MAX];

	if (server->is_name)
		fprintf(out, "server %s:%u", server->host, addr_port(&server->addr));
	else
		fprintf(out, "server %s", addr_format(&server->addr, text));
	fprintf(out, " %u backup=%d connections=%u\n", server->weight, server->is_backup,
		server->max_connections);
}

static void conf_health_print(const struct conf_health *health, FILE *out)
{
	fprintf(out, "check=%d interval=%u timeout=%u rise=%u fall=%u eject=%u,%u,%u panic=%u\n",
		health->check, health->interval_ms, health->timeout_ms, health->rise, health->fall,
		health->eject_failures, health->eject_ms, health->eject_max_percent,
		health->panic_percent);
	conf_print_bytes(out, "send", health->send, health->send_len);
	conf_print_bytes(out, "expect", health->expect, health->expect_len);
}

static void conf_connecting_print(const struct conf_origin *origin, FILE *out)
{
	const struct conf_socket *options = &origin->socket;
	char text[ADDR_TEXT_MAX];

	fprintf(out, "connections=%u queue=%u,%u retries=%u source=%s slow_start=%u proxy=%d\n",
		origin->max_connections, origin->queue, origin->queue_timeout_ms, origin->retries,
		addr_format_host(&origin->source, text), origin->slow_start_ms,
		origin->proxy_protocol);
	fprintf(out, "keepalive=%u,%u,%u user_timeout=%u fast_open=%d buffers=%u,%u\n",
		options->keepalive_idle_s, options->keepalive_interval_s, options->keepalive_count,
		options->user_timeout_ms, options->fast_open, options->receive_buffer_bytes,
		options->send_buffer_bytes);
}

/* One fact a line: no value holds a line end, so two origins that differ never look the same. */
static void conf_origin_print(const struct conf_origin *origin, FILE *out)
{
	fprintf(out, "%s\n%s", origin->name, origin->is_stream ? "stream\n" : "");
	for (size_t i = 0; i < origin->n_servers; i++)
		conf_server_print(&origin->servers[i], out);
	if (origin->tls)
		conf_client_tls_print(origin->tls, out);
	fprintf(out, "balance=%d connect=%u response=%u keepalive=%u max_idle=%u\n",
		origin->balance, origin->connect_timeout_ms, origin->response_timeout_ms,
		origin->keepalive_ms, origin->max_idle);
	conf_health_print(&origin->health, out);
	conf_connecting_print(origin, out);
}

static void conf_origin_identify(struct conf_context *context, struct conf_origin *origin)
{
	char *text = NULL;
	size_t len_bytes;
	FILE *out = open_memstream(&text, &len_bytes);

	if (out) {
		conf_origin_print(origin, out);
		if (fclose(out) == 0)
			origin->identity = conf_keep_text(context, (struct str){text, len_bytes});
		free(text);
	}
	if (!origin->identity)
		conf_out_of_memory(context);
}

static void conf_origin_build(struct conf_context *context, const struct conf_node *node)
{
	struct conf_origin *origin = conf_origin_find(context, node->key->text.ptr);

	if (origin) {
		conf_diag_add(context->diag, node->key->mark,
			      "origin %s is given twice; the first is on line %u",
			      CONF_QUOTE(node->key->text), origin->mark.line);
		return;
	}
	origin = conf_origin_add(context, node->key->text, node->key->mark);
	if (!origin)
		return;
	origin->is_stream = conf_number_at(node, "protocol") == CONF_PROTOCOL_TCP;
	conf_origin_fill_servers(context, origin, conf_at(node, "servers"));
	conf_origin_fill_tls(context, origin, conf_at(node, "tls"));
	conf_origin_fill_rest(context, origin, node);
	conf_origin_identify(context, origin);
}

void conf_origins_build(struct conf_context *context)
{
	const struct conf_node *origins = conf_at(context->file, "origins");

	for (const struct conf_node *node = origins ? origins->first : NULL; node;
	     node = node->next)
		conf_origin_build(context, node);
}

const struct conf_origin *conf_origin_in_place(struct conf_context *context, const char *name,
					       struct str address, struct conf_origin_kind kind,
					       struct conf_mark mark)
{
	const struct conf_node *node = conf_check_empty(context, &conf_shape_origin), *tls_node;
	struct conf_origin *origin = node ? conf_origin_add(context, str_from(name), mark) : NULL;

	if (!origin)
		return NULL;
	origin->servers = conf_keep(context, 1, sizeof(*origin->servers));
	if (!origin->servers)
		return NULL;
	origin->n_servers = 1;
	conf_server_fill(context, &origin->servers[0], address, mark);
	origin->is_stream = kind.is_stream;
	if (kind.is_tls) {
		tls_node = conf_check_empty(context, &conf_shape_client_tls);
		origin->tls = tls_node
				  ? conf_client_tls_make(context, tls_node, origin->is_stream, mark)
				  : NULL;
	}
	conf_origin_fill_rest(context, origin, node);
	conf_origin_identify(context, origin);
	return origin;
}
