/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar of listeners and their routes. How it is read: conf_grammar_internal.h.
 */
#include "conf/conf_grammar_internal.h"

static const struct conf_key listener_timeout_keys[] = {
    KEY("hello", conf_shape_timeout, "5s",
	"For a complete ClientHello, where routes need it, and for a PROXY protocol header, where "
	"one "
	"is due."),
    KEY("handshake", conf_shape_timeout, "10s", "For the TLS handshake with the client."),
    KEY("request", conf_shape_timeout, "10s", "For a complete request head."),
    KEY("keepalive", conf_shape_timeout, "60s", "Between two requests of a connection."),
    KEY("idle", conf_shape_timeout, "5m",
	"Without a byte in either direction, while passing or in a body."),
    KEY("half_closed", conf_shape_timeout, "30s", "For the other side to end after one side has."),
    KEY_END,
};
static MAPPING(shape_listener_timeouts, "a mapping of durations", listener_timeout_keys);

/* ---- routes ---- */

static QUANTITY(shape_bandwidth, conf_quantity_bandwidth, "a bandwidth", 1024, 1LL << 40);

static const struct conf_key route_limit_keys[] = {
    KEY("bandwidth", shape_bandwidth, NULL,
	"Bytes a second of each connection, in each direction."),
    KEY("total_bandwidth", shape_bandwidth, NULL,
	"Bytes a second of all connections of this route, in each direction."),
    KEY_END,
};
static MAPPING(shape_route_limits, "a mapping", route_limit_keys);

static TEXT(shape_pattern, "a domain name or \"*.\" and a domain name", conf_check_pattern,
	    "^(\\*\\.)?[A-Za-z0-9._-]+$");
static TEXT(shape_prefix, "a path", conf_check_prefix, "^/[^?#*]*$");
static TEXT(shape_target, "the name of an origin or a URL", conf_check_path,
	    "^.+$"); /* read by conf_target_resolve() */
static WORDS(shape_relay, {"auto", CONF_RELAY_AUTO, false}, {"copy", CONF_RELAY_COPY, false},
	     {"pipe", CONF_RELAY_PIPE, false}, {"sockmap", CONF_RELAY_SOCKMAP, false});

static const struct conf_key route_keys[] = {
    KEY("host", shape_pattern, NULL,
	"The host that a request asks for, without port; \"*.example.com\" is any one label before "
	"it. Only with \"to\"."),
    KEY("path", shape_prefix, NULL,
	"How the path of a request begins, in whole segments: \"/api\" takes \"/api/x\" too, "
	"\"/apix\" not. Only with \"to\"."),
    KEY("sni", shape_pattern, NULL,
	"The name that a TLS client asks for, as in \"host\". With \"pass\", and with \"to\" where "
	"TLS ends here."),
    KEY("alpn", conf_shape_alpn, NULL,
	"Protocols, one of which a TLS client must offer, such as h2. As \"sni\" in all else."),
    KEY("source", conf_shape_nets, NULL,
	"Networks of clients; of a client behind a trusted PROXY protocol, its own address."),
    KEY("destination", conf_shape_nets, NULL,
	"Networks of the addresses of this host that clients connect to."),
    KEY("client_cert", conf_shape_client_cert, NULL,
	"What the client's certificate must be: on is any that the listener takes, off is none, a "
	"mapping asks for its names. Only where TLS ends here."),
    KEY("client_cert_headers", conf_shape_route_cert_headers, NULL,
	"Headers that tell the origin of the client's certificate, in place of the listener's "
	"\"headers\"; off is none. Only with requests."),
    KEY("to", shape_target, NULL,
	"Requests go to this origin: a name, or http:// or https:// with an address and port. TLS "
	"and HTTP end here. With tcp:// or tls://, or a name of \"protocol: tcp\", only TLS ends: "
	"the "
	"bytes within go on as they are."),
    KEY("pass", shape_target, NULL,
	"Bytes go to this origin as they are: a name, or tcp:// with an address and port."),
    KEY("steer", shape_target, NULL,
	"Packets go to this origin within the kernel: a name, or udp:// or tcp:// with an IPv4 "
	"address and port."),
    KEY("relay", shape_relay, "auto",
	"How bytes are carried; auto chooses. With \"pass\", and with \"to\" a stream."),
    KEY("limits", shape_route_limits, ALL_FALLBACKS, "Bounds of bandwidth, as for \"relay\"."),
    KEY_NOT_YET("redirect", "Answer with a redirect."),
    KEY_NOT_YET("respond", "Answer with a fixed status and text."),
    KEY_NOT_YET("method", "Methods of requests."),
    KEY_NOT_YET("header", "Headers of requests."),
    KEY_NOT_YET("query", "Query parameters of requests."),
    KEY_NOT_YET("cookie", "Cookies of requests."),
    KEY_NOT_YET("rewrite", "Changes to the path of a request."),
    KEY_NOT_YET("request_headers", "Changes to the headers of requests."),
    KEY_NOT_YET("response_headers", "Changes to the headers of responses."),
    KEY_NOT_YET("timeouts", "Timeouts of this route alone."),
    KEY_NOT_YET("retries", "When a request is tried again."),
    KEY_NOT_YET("cache", "Responses that are kept."),
    KEY_NOT_YET("compress", "Responses that are compressed."),
    KEY_NOT_YET("auth", "Who may send requests."),
    KEY_NOT_YET("proxy_protocol", "PROXY protocol toward the origin."),
    KEY_NOT_YET("kernel", "Which offloads may be used."),
    KEY_END,
};
static const struct conf_shape shape_route = {
    .kind = CONF_SHAPE_MAPPING, .noun = "a route", .title = "a route", .keys = route_keys};
static LIST(shape_routes, shape_route, "a list of routes", CONF_MAX_ROUTES);

/* ---- listeners ---- */

static const struct conf_key proxy_protocol_keys[] = {
    KEY_REQUIRED("from", conf_shape_nets, "\"192.0.2.0/24\"",
		 "Networks of the proxies in front; each of their connections must begin with a "
		 "header, and nobody else's may."),
    KEY_END,
};
static MAPPING(shape_proxy_protocol, "a mapping with \"from\"", proxy_protocol_keys);

static const struct conf_key access_keys[] = {
    KEY("allow", conf_shape_nets, NULL, "Only these networks are let in; without it all are."),
    KEY("deny", conf_shape_nets, NULL,
	"These networks are refused, also where \"allow\" has them."),
    KEY_END,
};
static MAPPING(shape_access, "a mapping", access_keys);

static const struct conf_key per_source_keys[] = {
    KEY("connections", conf_shape_count, NULL, "Connections at once."),
    KEY("rate", conf_shape_rate, NULL, "New connections a second."),
    KEY_END,
};
static MAPPING(shape_per_source, "a mapping", per_source_keys);

static const struct conf_key listener_limit_keys[] = {
    KEY("rate", conf_shape_rate, NULL,
	"New connections a second, from all clients together; those past it are closed."),
    KEY("per_source", shape_per_source, ALL_FALLBACKS,
	"Bounds of one client: an IPv4 address, or the /64 of an IPv6 address."),
    KEY_END,
};
static MAPPING(shape_listener_limits, "a mapping", listener_limit_keys);

static NUMBER(shape_backlog, 1, 65535);
static DURATION(shape_defer_accept, 1 * SECOND, 1 * HOUR);

static const struct conf_key listener_socket_keys[] = {
    KEY("backlog", shape_backlog, "4096",
	"Connections that may wait to be taken; net.core.somaxconn bounds it too."),
    KEY("fast_open", conf_shape_switch, "off",
	"TCP Fast Open: data in the first packet of clients that were here before."),
    KEY("defer_accept", shape_defer_accept, NULL,
	"Connections are taken when their first byte came, or after this time; not for protocols "
	"in which the server speaks first."),
    KEY("keepalive", conf_shape_keepalive_either, "off",
	"Probes that find clients which are gone; on is a mapping of defaults."),
    KEY("user_timeout", conf_shape_user_timeout, NULL,
	"A connection ends when what was sent is not acknowledged for so long."),
    KEY("receive_buffer", conf_shape_buffer, NULL,
	"Memory for what came on a connection and was not passed on yet; without it what "
	"net.ipv4.tcp_rmem allows."),
    KEY("send_buffer", conf_shape_buffer, NULL,
	"Memory for what was sent on a connection and not acknowledged yet; without it what "
	"net.ipv4.tcp_wmem allows."),
    KEY_END,
};
static MAPPING(shape_listener_socket, "a mapping", listener_socket_keys);

static TEXT(shape_bind_text, "an address with a port", conf_check_bind,
	    "^(unix:/.+|.*:[0-9]+(-[0-9]+)?)$");
static WORDS(shape_protocol, {"tcp", CONF_TRANSPORT_TCP, false},
	     {"udp", CONF_TRANSPORT_UDP, false});
static LIST(shape_bind_list, shape_bind_text, "a list of addresses", 256);
static ONE_OR_MORE(shape_bind, "an address with a port, or a list of them", shape_bind_text,
		   shape_bind_list);

static const struct conf_key listener_keys[] = {
    KEY("name", conf_shape_name, NULL,
	"What logs and status call it; without it the first address of \"bind\"."),
    KEY_REQUIRED(
	"bind", shape_bind, "\":443\"",
	"One address with port or several; without an address all of the host, IPv4 and IPv6. "
	"Also a range of ports, \"192.0.2.1:8000-8010\", and \"unix:\" with a path."),
    KEY("protocol", shape_protocol, "tcp",
	"udp is for steer routes only, which may leave it to their URL."),
    KEY("tls", conf_shape_server_tls, NULL,
	"TLS ends here, for the routes with \"to\"; without it they take what is not encrypted."),
    KEY("max_connections", conf_shape_count, "10000",
	"Client connections at once, over all threads."),
    KEY("timeouts", shape_listener_timeouts, ALL_FALLBACKS, "How long clients may take."),
    KEY_REQUIRED("routes", shape_routes, "[{to: \"http://127.0.0.1:8080\"}]",
		 "Tried in this order; the first that matches wins."),
    KEY("proxy_protocol", shape_proxy_protocol, NULL,
	"The PROXY protocol, by which a proxy in front tells who its client is."),
    KEY("access", shape_access, ALL_FALLBACKS, "Networks of clients that are let in or refused."),
    KEY("limits", shape_listener_limits, ALL_FALLBACKS, "Bounds of connections and rates."),
    KEY("socket", shape_listener_socket, ALL_FALLBACKS, "Options of the sockets of clients."),
    KEY_NOT_YET("http", "Bounds of requests, and protocol versions."),
    KEY_END,
};
static const struct conf_shape shape_listener = {
    .kind = CONF_SHAPE_MAPPING, .noun = "a listener", .title = "a listener", .keys = listener_keys};
LIST(conf_shape_listeners, shape_listener, "a list of listeners", CONF_MAX_LISTENERS);
