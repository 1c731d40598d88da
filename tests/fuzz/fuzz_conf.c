/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes: a snapshot that keeps its promises, or at least one error in a line of its own.
 */
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_server(const struct conf_server *server)
{
	check(server->weight && server->host && server->text);
	check(server->is_name == (server->addr.len == 0));
	check(!addr_port(&server->addr) == (server->addr.sa.sa_family == AF_UNIX));
	check(!server->host[0] == (server->addr.sa.sa_family == AF_UNIX));
}

static void check_health(const struct conf_health *health)
{
	check(health->check < CONF_CHECK_MAX && health->interval_ms && health->timeout_ms);
	check(health->rise && health->fall && health->panic_percent <= 100);
	check(!health->eject_failures == !health->eject_ms && health->eject_max_percent <= 100);
	check(!health->send == !health->send_len && !health->expect == !health->expect_len);
}

static void check_socket(const struct conf_socket *options)
{
	check(!options->keepalive_idle_s == !options->keepalive_count &&
	      !options->keepalive_idle_s == !options->keepalive_interval_s);
}

/* No host bits. */
static void check_nets(const struct conf_nets *nets)
{
	check(!nets->nets == !nets->n_nets);
	for (size_t i = 0; i < nets->n_nets; i++) {
		const struct conf_net *net = &nets->nets[i];
		bool is_ipv4 = net->addr.sa.sa_family == AF_INET;
		const uint8_t *bytes = is_ipv4 ? (const uint8_t *)&net->addr.in.sin_addr
					       : net->addr.in6.sin6_addr.s6_addr;

		check(net->addr.len && net->prefix_len <= (is_ipv4 ? 32 : 128));
		for (unsigned int bit = net->prefix_len; bit < (is_ipv4 ? 32 : 128); bit++)
			check(!(bytes[bit / 8] & 0x80 >> bit % 8));
	}
}

static void check_origin(const struct conf *conf, const struct conf_origin *origin)
{
	check(conf->origins[origin->index] == origin);
	check(origin->name && origin->identity && origin->n_servers);
	for (size_t i = 0; i < origin->n_servers; i++)
		check_server(&origin->servers[i]);
	check_health(&origin->health);
	check_socket(&origin->socket);
	check(origin->connect_timeout_ms && origin->response_timeout_ms && origin->keepalive_ms);
}

static void check_listener(const struct conf *conf, const struct conf_listener *listener)
{
	check(&conf->listeners[listener->index] == listener);
	check(listener->name && listener->n_binds && listener->n_routes);
	check(!listener->tls || listener->tls->n_certificates);
	check(listener->hello_timeout_ms && listener->idle_timeout_ms && listener->max_connections);
	check_socket(&listener->socket);
	check_nets(&listener->proxy_from);
	check_nets(&listener->allow);
	check_nets(&listener->deny);
	check(listener->n_binds <= 1024 && listener->socket.backlog);
	for (size_t i = 0; i < listener->n_binds; i++)
		check(listener->binds[i].len && listener->bind_texts[i]);
	for (size_t i = 0; i < listener->n_routes; i++) {
		const struct conf_route *route = &listener->routes[i];

		check(route->lane < CONF_LANE_MAX && route->origin);
		check(conf->origins[route->origin->index] == route->origin);
		check(route->lane == CONF_LANE_TERMINATE || (!route->host && !route->path));
		check(route->lane != CONF_LANE_STEER || listener->n_routes == 1);
		check(!route->alpn == !route->n_alpn && route->relay < CONF_RELAY_MAX);
		check_nets(&route->sources);
		check_nets(&route->destinations);
	}
}

static void check_conf(const struct conf *conf)
{
	check(conf->n_listeners && conf->runtime_dir && conf->pin_dir);
	for (size_t i = 0; i < conf->n_listeners; i++)
		check_listener(conf, &conf->listeners[i]);
	for (size_t i = 0; i < conf->n_origins; i++)
		check_origin(conf, conf->origins[i]);
}

/* Each line is of the file and says what it is. */
static void check_text(const char *text, size_t n_messages)
{
	size_t n_lines = 0;

	for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
		check(strchr(line, '\n') != NULL);
		check(strncmp(line, "f:", 2) == 0);
		n_lines++;
	}
	check(n_messages > 1000 ? n_lines == 1001 : n_lines == n_messages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct conf_diag *diag = conf_diag_new("f");
	struct conf *conf;

	if (!diag)
		return 0;
	conf = conf_parse((const char *)data, len_bytes, "f", diag);
	check(!conf == (conf_diag_errors(diag) > 0));
	check_text(conf_diag_text(diag), conf_diag_errors(diag) + conf_diag_warnings(diag));
	if (conf)
		check_conf(conf);
	conf_unref(conf);
	conf_diag_free(diag);
	return 0;
}
