/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar of origins: servers, health, TLS toward them. How it is read:
 * conf_grammar_internal.h.
 */
#include "conf/conf_grammar_internal.h"

/* ---- servers ---- */

static TEXT(shape_server_text, "an address with a port", conf_check_server,
	    "^(unix:.+|.+:[0-9]+)$");
static NUMBER(shape_weight, 1, 256);

static const struct conf_key server_keys[] = {
    KEY_REQUIRED("address", shape_server_text, "\"192.0.2.1:8200\"",
		 "An IPv4 or IPv6 address or a host name, with port, or \"unix:\" and a path."),
    KEY("weight", shape_weight, "1", "Its share of the connections, against the others'."),
    KEY("backup", conf_shape_switch, "off", "Used only when all that are none are down."),
    KEY("max_connections", conf_shape_count, NULL,
	"Connections at once, over all threads; without it any number."),
    KEY_NOT_YET("name", "What logs and status call it."),
    KEY_END,
};
static const struct conf_shape shape_server_mapping = {
    .kind = CONF_SHAPE_MAPPING, .noun = "a server", .title = "a server", .keys = server_keys};
static const struct conf_shape shape_server = {
    .kind = CONF_SHAPE_EITHER,
    .noun = "an address with a port, or a mapping with \"address\"",
    .scalar = &shape_server_text,
    .mapping = &shape_server_mapping,
};
static LIST(shape_servers, shape_server, "a list of servers", PENSTOCK_MAX_SERVERS);

/* ---- TLS with servers ---- */

static TEXT(shape_domain, "a domain name", conf_check_domain, "^[A-Za-z0-9._-]+$");

static TEXT(shape_pin, "the digest of a public key", conf_check_pin,
	    "^(sha256/)?[A-Za-z0-9+/]{43}=$");
static LIST(shape_pin_list, shape_pin, "a list of digests", 32);
static ONE_OR_MORE(shape_pins, "the digest of a public key, or a list of them", shape_pin,
		   shape_pin_list);

static const struct conf_key client_tls_keys[] = {
    KEY("ca", conf_shape_path, NULL,
	"PEM file with the roots to trust; without it the system's store."),
    KEY("server_name", shape_domain, NULL,
	"The name that is asked for and verified; without it the server's address is verified."),
    KEY("verify", conf_shape_switch, "on",
	"Off takes any certificate: whoever is on the way can read and change all."),
    KEY("certificate", conf_shape_certificate, NULL,
	"The certificate that is shown to servers which ask for one."),
    KEY("pins", shape_pins, NULL,
	"SHA-256 digests of public keys (SubjectPublicKeyInfo) in base64, after \"sha256/\" or "
	"bare. One of them must be the key of the server's certificate or, where it is verified, "
	"of one above it. Also asked for with \"verify: off\"."),
    TLS_POLICY_KEYS,
    KEY("alpn", conf_shape_alpn, NULL,
	"Application protocols that are offered; without it http/1.1 where requests are sent, else "
	"none."),
    KEY("sessions", conf_shape_switch, "on",
	"Whether a server's TLS sessions are kept, so that later handshakes with it are short."),
    KEY("kernel", conf_shape_kernel_tls_either, "auto",
	"Whether the kernel may do the records (kTLS), or for each direction on its own."),
    KEY_END,
};
MAPPING(conf_shape_client_tls, "a mapping", client_tls_keys);
static SWITCH_OR_MAPPING(shape_client_tls, conf_shape_client_tls);

/* ---- health ---- */

static WORDS(shape_check, {"off", CONF_CHECK_OFF, false}, {"tcp", CONF_CHECK_TCP, false},
	     {"tls", CONF_CHECK_TLS, false});
static DURATION(shape_interval, 100, 1 * HOUR);
static NUMBER(shape_row, 1, 1000);
static QUANTITY(shape_share, conf_quantity_percent, "a share", 0, 100);
static const struct conf_shape shape_bytes = {
    .kind = CONF_SHAPE_TEXT,
    .noun = "a text",
    .check = conf_check_bytes,
    .pattern = ".",
    .takes_controls = true,
};

static const struct conf_key eject_keys[] = {
    KEY("failures", shape_row, "5", "Connections in a row that could not be made."),
    KEY("time", conf_shape_timeout, "10s", "How long the server is left out."),
    KEY("max", shape_share, "50%", "The share of the servers that may be out so at once."),
    KEY_END,
};
MAPPING(conf_shape_eject, "a mapping", eject_keys);
static SWITCH_OR_MAPPING(shape_eject_either, conf_shape_eject);

static const struct conf_key health_keys[] = {
    KEY("check", shape_check, "off",
	"tcp connects to each server, tls makes a TLS handshake too, off leaves servers alone."),
    KEY("send", shape_bytes, NULL,
	"What a check sends; \\r, \\n, \\t, \\\\ and \\xHH are single bytes."),
    KEY("expect", shape_bytes, NULL,
	"How the answer must begin, written as in \"send\"; without it no answer is awaited."),
    KEY("interval", shape_interval, "5s", "From one check to the next, give or take a tenth."),
    KEY("timeout", shape_interval, "2s", "For a whole check."),
    KEY("rise", shape_row, "2", "Good checks in a row that bring a server back."),
    KEY("fall", shape_row, "3", "Bad checks in a row that take a server out."),
    KEY("eject", shape_eject_either, "on",
	"Servers to which connections fail are left out for a while; on is a mapping of "
	"defaults."),
    KEY("panic", shape_share, "1%",
	"Where a smaller share of the servers is up, all are used, up or not. 1% is for when none "
	"is up, 0% is never."),
    KEY_END,
};
static MAPPING(shape_health, "a mapping", health_keys);

/* ---- origins ---- */

static NUMBER(shape_max_idle, 0, 65535);
static NUMBER(shape_queue, 0, 1000000);
static NUMBER(shape_retries, 0, 16);
static TEXT(shape_address, "an address", conf_check_host, "^[0-9A-Fa-f:.]+$");
static DURATION_OR_OFF(shape_slow_start, 1, 1 * HOUR);

static WORDS(shape_protocol, {"http1", CONF_PROTOCOL_HTTP1, false},
	     {"http2", CONF_PROTOCOL_HTTP2, true}, {"tcp", CONF_PROTOCOL_TCP, false});
static WORDS(shape_balance, {"round_robin", CONF_BALANCE_ROUND_ROBIN, false},
	     {"least_connections", CONF_BALANCE_LEAST_CONNECTIONS, false},
	     {"power_of_two", CONF_BALANCE_POWER_OF_TWO, false},
	     {"source_hash", CONF_BALANCE_SOURCE_HASH, false},
	     {"maglev", CONF_BALANCE_MAGLEV, false});
static WORDS(shape_proxy_protocol, {"off", CONF_PROXY_PROTOCOL_OFF, false},
	     {"v1", CONF_PROXY_PROTOCOL_V1, false}, {"v2", CONF_PROXY_PROTOCOL_V2, false});

static const struct conf_key origin_limit_keys[] = {
    KEY("connections", conf_shape_count, NULL,
	"Connections at once to all servers, over all threads; without it any number."),
    KEY("queue", shape_queue, "0", "Clients that may wait for a place; others are closed."),
    KEY("queue_timeout", conf_shape_timeout, "5s", "How long a client may wait."),
    KEY_END,
};
static MAPPING(shape_origin_limits, "a mapping", origin_limit_keys);

static const struct conf_key origin_socket_keys[] = {
    KEY("fast_open", conf_shape_switch, "off",
	"TCP Fast Open: data in the first packet, to servers that agreed before."),
    KEY("keepalive", conf_shape_keepalive_either, "off",
	"Probes that find servers which are gone; on is a mapping of defaults."),
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
static MAPPING(shape_origin_socket, "a mapping", origin_socket_keys);

static const struct conf_key origin_timeout_keys[] = {
    KEY("connect", conf_shape_timeout, "5s",
	"For a connection and the TLS handshake, per attempt."),
    KEY("response", conf_shape_timeout, "60s", "Silence while a response is awaited or under way."),
    KEY("keepalive", conf_shape_timeout, "60s", "How long an idle connection is kept."),
    KEY_END,
};
static MAPPING(shape_origin_timeouts, "a mapping of durations", origin_timeout_keys);

static const struct conf_key origin_keys[] = {
    KEY_REQUIRED("servers", shape_servers, "[\"192.0.2.1:8200\"]",
		 "The servers; each can do the same."),
    KEY("protocol", shape_protocol, "http1",
	"What routes with \"to\" speak with the servers: requests, or with tcp bytes as they are."),
    KEY("tls", shape_client_tls, "off", "TLS toward the servers for routes with \"to\", verified."),
    KEY("balance", shape_balance, "round_robin", "How a server is chosen."),
    KEY("timeouts", shape_origin_timeouts, ALL_FALLBACKS, "How long servers may take."),
    KEY("max_idle", shape_max_idle, "32", "Idle connections that are kept, per thread."),
    KEY("health", shape_health, ALL_FALLBACKS, "What takes a server out and back in."),
    KEY("limits", shape_origin_limits, ALL_FALLBACKS,
	"Connections at once, and a queue for the others."),
    KEY("retries", shape_retries, "2",
	"Further servers that are tried for a connection, before any byte was sent."),
    KEY("source", shape_address, NULL,
	"The address of this host that connections come from; without it the host chooses."),
    KEY("slow_start", shape_slow_start, "off",
	"How long a server that came back takes to its full share."),
    KEY("proxy_protocol", shape_proxy_protocol, "off",
	"Tells servers who the client is, in this version of the PROXY protocol."),
    KEY("socket", shape_origin_socket, ALL_FALLBACKS, "Options of the sockets to servers."),
    KEY_NOT_YET("resolve", "How host names are looked up."),
    KEY_END,
};
const struct conf_shape conf_shape_origin = {
    .kind = CONF_SHAPE_MAPPING, .noun = "an origin", .title = "an origin", .keys = origin_keys};

const struct conf_shape conf_shape_origins = {
    .kind = CONF_SHAPE_NAMED,
    .noun = "a mapping from names to origins",
    .item = &conf_shape_origin,
    .max_items = CONF_MAX_ORIGINS,
    .check = conf_check_name,
    .pattern = "^[A-Za-z0-9._-]{1,63}$",
};
