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

/* The host of "192.0.2.1:80", "[2001:db8::1]:80"; of a UNIX socket there is none. */
static struct str conf_server_host(struct str text)
{
	const char *colon = memrchr(text.ptr, ':', text.len);
	struct str host = {text.ptr, (size_t)(colon - text.ptr)};

	if (str_starts_with(text, STR("unix:")))
		return STR("");
	if (host.len > 2 && host.ptr[0] == '[')
		host = (struct str){host.ptr + 1, host.len - 2};
	return host;
}

static void conf_server_fill(struct conf_context *context, struct conf_server *server,
			     struct str text, struct conf_mark mark)
{
	if (addr_parse(text, &server->addr))
		return; /* reported by the check */
	server->mark = mark;
	server->weight = 1;
	server->text = conf_keep_text(context, text);
	server->host = conf_keep_text(context, conf_server_host(text));
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
			server->weight = (uint32_t)conf_number_at(item, "weight");
		origin->n_servers++;
	}
}

static struct conf_client_tls *conf_client_tls_make(struct conf_context *context,
						    const struct conf_node *node,
						    struct conf_mark mark)
{
	struct conf_client_tls *tls = conf_keep(context, 1, sizeof(*tls));

	if (!tls)
		return NULL;
	tls->mark = mark;
	tls->ca.path = conf_text_at(context, node, "ca");
	tls->ca.mark = conf_mark_at(node, "ca");
	tls->server_name = conf_text_at(context, node, "server_name");
	tls->verify = conf_number_at(node, "verify") != 0;
	tls->kernel = (enum conf_kernel_tls)conf_number_at(node, "kernel");
	return tls;
}

static void conf_origin_fill_tls(struct conf_context *context, struct conf_origin *origin,
				 const struct conf_node *tls)
{
	const struct conf_node *node = tls;

	if (!tls || (tls->kind == CONF_NODE_SCALAR && !tls->number))
		return;
	if (tls->kind == CONF_NODE_SCALAR)
		node = conf_check_empty(context, &conf_shape_client_tls);
	if (node)
		origin->tls = conf_client_tls_make(context, node, tls->mark);
}

static void conf_origin_fill_rest(struct conf_origin *origin, const struct conf_node *node)
{
	const struct conf_node *timeouts = conf_at(node, "timeouts");

	origin->balance = (enum conf_balance)conf_number_at(node, "balance");
	origin->connect_timeout_ms = (uint32_t)conf_number_at(timeouts, "connect");
	origin->response_timeout_ms = (uint32_t)conf_number_at(timeouts, "response");
	origin->keepalive_ms = (uint32_t)conf_number_at(timeouts, "keepalive");
	origin->max_idle = (uint32_t)conf_number_at(node, "max_idle");
}

/* One fact a line: no value holds a line end, so two origins that differ never look the same. */
static void conf_origin_print(const struct conf_origin *origin, FILE *out)
{
	char text[ADDR_TEXT_MAX];

	fprintf(out, "%s\n", origin->name);
	for (size_t i = 0; i < origin->n_servers; i++)
		fprintf(out, "server %s %u\n", addr_format(&origin->servers[i].addr, text),
			origin->servers[i].weight);
	if (origin->tls)
		fprintf(out, "tls verify=%d kernel=%d\nca %s\nserver_name %s\n",
			origin->tls->verify, origin->tls->kernel,
			origin->tls->ca.path ? origin->tls->ca.path : "",
			origin->tls->server_name ? origin->tls->server_name : "");
	fprintf(out, "balance=%d connect=%u response=%u keepalive=%u max_idle=%u\n",
		origin->balance, origin->connect_timeout_ms, origin->response_timeout_ms,
		origin->keepalive_ms, origin->max_idle);
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
	conf_origin_fill_servers(context, origin, conf_at(node, "servers"));
	conf_origin_fill_tls(context, origin, conf_at(node, "tls"));
	conf_origin_fill_rest(origin, node);
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
					       struct str address, bool is_tls,
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
	if (is_tls) {
		tls_node = conf_check_empty(context, &conf_shape_client_tls);
		origin->tls = tls_node ? conf_client_tls_make(context, tls_node, mark) : NULL;
	}
	conf_origin_fill_rest(origin, node);
	conf_origin_identify(context, origin);
	return origin;
}
