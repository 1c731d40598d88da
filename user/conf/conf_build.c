/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checked tree -> the snapshot: globals and listeners. Routes are in conf_route.c.
 */
#include <stdio.h>

#include "conf/conf_internal.h"

/* ---- Globals ---- */

static void conf_build_process(struct conf_context *context, const struct conf_node *node)
{
	struct conf *conf = context->conf;

	conf->user = conf_text_at(context, node, "user");
	conf->threads = (uint32_t)conf_number_at(node, "threads");
	conf->runtime_dir = conf_text_at(context, node, "runtime_dir");
	conf->pin_dir = conf_text_at(context, node, "pin_dir");
	conf->max_connections = (uint32_t)conf_number_at(node, "max_connections");
	conf->watch_files = conf_number_at(node, "watch_files") != 0;
	conf->drain_timeout_ms = (uint32_t)conf_number_at(node, "drain_timeout");
	conf->kernel_tls = conf_number_at(node, "kernel_tls") != CONF_KERNEL_USE_OFF;
}

static void conf_build_log(struct conf_context *context, const struct conf_node *node)
{
	int64_t format = conf_number_at(node, "format");

	context->conf->log_format_is_auto = format == LOG_FORMAT_MAX;
	context->conf->log_format =
	    format == LOG_FORMAT_MAX ? LOG_FORMAT_TEXT : (enum log_format)format;
	context->conf->log_level = (enum log_level)conf_number_at(node, "level");
	context->conf->access_log = conf_number_at(node, "access") != 0;
	context->conf->log_interval_s = conf_seconds_at(node, "interval");
}

static void conf_build_relay(struct conf_context *context, const struct conf_node *node)
{
	struct conf_relay_tuning *relay = &context->conf->relay;

	relay->bulk_bytes = (uint64_t)conf_number_at(node, "bulk");
	relay->chat_messages = (uint32_t)conf_number_at(node, "chat_messages");
	relay->chat_max_bytes = (uint32_t)conf_number_at(node, "chat_bytes");
	relay->sockmap_window_bytes = (uint32_t)conf_number_at(node, "window");
	relay->sockmap = conf_number_at(node, "sockmap") != 0;
}

static void conf_build_devices(struct conf_context *context, struct conf_steer *steer,
			       const struct conf_node *devices)
{
	const struct conf_node *item;
	size_t n = conf_items(devices, &item);

	if (!devices ||
	    (devices->kind == CONF_NODE_SCALAR && str_is_equal(devices->text, STR("auto"))))
		return;
	steer->devices = conf_keep(context, n, sizeof(*steer->devices));
	for (; steer->devices && n; n--, item = item->next)
		steer->devices[steer->n_devices++] = conf_keep_text(context, item->text);
}

/* As c-ares takes them: separated by commas, IPv6 in brackets where a port may follow. */
static void conf_build_resolver(struct conf_context *context, const struct conf_node *node)
{
	char list[8 * ADDR_TEXT_MAX] = "";
	const struct conf_node *item;
	size_t len = 0;

	for (size_t n = conf_items(conf_at(node, "servers"), &item); n; n--, item = item->next) {
		int written = snprintf(list + len, sizeof(list) - len, "%s" STR_FMT, len ? "," : "",
				       STR_ARG(item->text));

		len = MIN(len + (size_t)written, sizeof(list) - 1);
	}
	if (len)
		context->conf->dns_servers = conf_keep_text(context, str_from(list));
}

static void conf_build_steer(struct conf_context *context, const struct conf_node *node)
{
	struct conf_steer *steer = &context->conf->steer;
	const struct conf_node *ports = conf_at(node, "nat_ports");

	steer->hook = (enum conf_hook)conf_number_at(node, "hook");
	conf_build_devices(context, steer, conf_at(node, "devices"));
	if (ports && conf_ports_parse(ports->text, &steer->nat_port_min, &steer->nat_port_max))
		return; /* not after the check */
	steer->udp_idle_s = conf_seconds_at(node, "udp_idle");
	steer->tcp_idle_s = conf_seconds_at(node, "tcp_idle");
}

void conf_build_globals(struct conf_context *context)
{
	conf_build_process(context, conf_at(context->file, "process"));
	conf_build_log(context, conf_at(context->file, "log"));
	conf_build_relay(context, conf_at(context->file, "relay"));
	conf_build_steer(context, conf_at(context->file, "steer"));
	if (conf_at(context->file, "resolver"))
		conf_build_resolver(context, conf_at(context->file, "resolver"));
}

/* ---- Listeners ---- */

/* False: more than there may be, reported. */
static bool conf_count_binds(struct conf_context *context, const struct conf_node *bind,
			     size_t *ret_n)
{
	struct conf_bind_range range;
	const struct conf_node *item;
	size_t n_binds = 0;

	for (size_t n = conf_items(bind, &item); n; n--, item = item->next) {
		if (conf_bind_parse(item->text, &range))
			return false; /* not after the check */
		n_binds += range.n_ports;
	}
	context->n_binds += n_binds;
	if (n_binds > CONF_MAX_PORTS)
		conf_diag_add(context->diag, bind->mark,
			      "\"bind\" has %zu ports; at most %d are taken", n_binds,
			      CONF_MAX_PORTS);
	else if (context->n_binds > CONF_MAX_BINDS)
		conf_diag_add(context->diag, bind->mark,
			      "more addresses and ports than all listeners together may have (%d)",
			      CONF_MAX_BINDS);
	else
		*ret_n = n_binds;
	return n_binds <= CONF_MAX_PORTS && context->n_binds <= CONF_MAX_BINDS;
}

static void conf_add_bind(struct conf_context *context, struct conf_listener *listener,
			  const struct addr *addr, struct str text, struct conf_mark mark)
{
	listener->binds[listener->n_binds] = *addr;
	listener->bind_marks[listener->n_binds] = mark;
	listener->bind_texts[listener->n_binds++] = conf_keep_text(context, text);
}

/* Each port of a range as if it stood there alone: "192.0.2.1:8000-8001" is "192.0.2.1:8000" and
 * "192.0.2.1:8001". */
static void conf_add_binds(struct conf_context *context, struct conf_listener *listener,
			   const struct conf_node *item)
{
	const char *colon = memrchr(item->text.ptr, ':', item->text.len);
	struct conf_bind_range range;
	char text[ADDR_TEXT_MAX + sizeof(":65535")];

	if (conf_bind_parse(item->text, &range))
		return; /* not after the check */
	if (range.n_ports == 1)
		return conf_add_bind(context, listener, &range.first, item->text, item->mark);
	for (uint32_t port = addr_port(&range.first); range.n_ports; range.n_ports--, port++) {
		range.first.in.sin_port = htons((uint16_t)port); /* where IPv6 has it too */
		snprintf(text, sizeof(text), "%.*s:%u", (int)(colon - item->text.ptr),
			 item->text.ptr, port);
		conf_add_bind(context, listener, &range.first, str_from(text), item->mark);
	}
}

static void conf_build_binds(struct conf_context *context, struct conf_listener *listener,
			     const struct conf_node *bind)
{
	const struct conf_node *item;
	size_t n_items = conf_items(bind, &item), n = 0;

	if (!bind || !conf_count_binds(context, bind, &n))
		return;
	listener->binds = conf_keep(context, n, sizeof(*listener->binds));
	listener->bind_texts = conf_keep(context, n, sizeof(*listener->bind_texts));
	listener->bind_marks = conf_keep(context, n, sizeof(*listener->bind_marks));
	listener->bind_items = conf_keep(context, n_items, sizeof(*listener->bind_items));
	if (!listener->binds || !listener->bind_texts || !listener->bind_marks ||
	    !listener->bind_items)
		return;
	for (; listener->n_bind_items < n_items; item = item->next) {
		listener->bind_items[listener->n_bind_items++] =
		    conf_keep_text(context, item->text);
		conf_add_binds(context, listener, item);
	}
}

static void conf_build_timeouts(struct conf_listener *listener, const struct conf_node *node)
{
	const struct conf_node *timeouts = conf_at(node, "timeouts");

	listener->max_connections = (uint32_t)conf_number_at(node, "max_connections");
	listener->hello_timeout_ms = (uint32_t)conf_number_at(timeouts, "hello");
	listener->handshake_timeout_ms = (uint32_t)conf_number_at(timeouts, "handshake");
	listener->request_timeout_ms = (uint32_t)conf_number_at(timeouts, "request");
	listener->keepalive_ms = (uint32_t)conf_number_at(timeouts, "keepalive");
	listener->idle_timeout_ms = (uint32_t)conf_number_at(timeouts, "idle");
	listener->half_closed_timeout_ms = (uint32_t)conf_number_at(timeouts, "half_closed");
}

/* Who is let in, and how often. */
static void conf_build_admission(struct conf_context *context, struct conf_listener *listener,
				 const struct conf_node *node)
{
	const struct conf_node *access = conf_at(node, "access"), *limits = conf_at(node, "limits"),
			       *per_source = conf_at(limits, "per_source");

	conf_nets_fill(context, &listener->proxy_from,
		       conf_at(conf_at(node, "proxy_protocol"), "from"));
	conf_nets_fill(context, &listener->allow, conf_at(access, "allow"));
	conf_nets_fill(context, &listener->deny, conf_at(access, "deny"));
	listener->limits.total_rate_per_s = (uint32_t)conf_number_at(limits, "rate");
	listener->limits.connections = (uint32_t)conf_number_at(per_source, "connections");
	listener->limits.rate_per_s = (uint32_t)conf_number_at(per_source, "rate");
}

static void conf_build_socket(struct conf_context *context, struct conf_listener *listener,
			      const struct conf_node *node)
{
	conf_socket_fill(context, &listener->socket, node);
	listener->socket.backlog = (uint32_t)conf_number_at(node, "backlog");
	listener->socket.defer_accept_s = conf_seconds_at(node, "defer_accept");
}

/* A TCP and a UDP service often share an address, so the latter is marked. */
static const char *conf_listener_default_name(struct conf_context *context,
					      const struct conf_listener *listener,
					      const struct conf_node *bind)
{
	const struct conf_node *first;
	char name[ADDR_TEXT_MAX + sizeof("-65535/udp")];

	if (conf_items(bind, &first) == 0)
		return NULL;
	snprintf(name, sizeof(name), STR_FMT "%s", STR_ARG(first->text),
		 listener->transport == CONF_TRANSPORT_UDP ? "/udp" : "");
	return conf_keep_text(context, str_from(name));
}

static void conf_build_listener(struct conf_context *context, struct conf_listener *listener,
				const struct conf_node *node)
{
	listener->mark = node->mark;
	listener->transport = (enum conf_transport)conf_number_at(node, "protocol");
	conf_build_binds(context, listener, conf_at(node, "bind"));
	listener->tls = conf_server_tls_build(context, conf_at(node, "tls"));
	conf_build_timeouts(listener, node);
	conf_build_admission(context, listener, node);
	conf_build_socket(context, listener, conf_at(node, "socket"));
	conf_build_routes(context, listener, node);
	conf_server_tls_finish(context, listener, conf_at(node, "tls"));
	conf_client_cert_finish(context, listener, node);
	listener->name = conf_text_at(context, node, "name");
	if (!listener->name)
		listener->name =
		    conf_listener_default_name(context, listener, conf_at(node, "bind"));
	conf_check_together(context, node, listener);
}

void conf_build_listeners(struct conf_context *context)
{
	struct conf *conf = context->conf;
	const struct conf_node *item;
	size_t n = conf_items(conf_at(context->file, "listeners"), &item);

	conf->listeners = conf_keep(context, n, sizeof(*conf->listeners));
	if (!conf->listeners)
		return;
	for (; conf->n_listeners < n; item = item->next) {
		conf->listeners[conf->n_listeners].index = conf->n_listeners;
		conf_build_listener(context, &conf->listeners[conf->n_listeners++], item);
	}
}
