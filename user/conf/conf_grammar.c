/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar: every key with its type, bounds, fallback and a sentence of help, in one table. The
 * parser, the JSON Schema and the reference in penstock.yaml(5) come from it. Keys without a shape
 * have their place, but are not built.
 */
#include "conf/conf_internal.h"

#include "penstock/limits.h"

#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

/* NAME, SHAPE, FALLBACK, HELP */
#define KEY(name_, shape_, fallback_, help_) \
	{ \
		.name = (name_), .shape = &(shape_), .fallback = (fallback_), .help = (help_) \
	}
#define KEY_REQUIRED(name_, shape_, example_, help_) \
	{ \
		.name = (name_), .shape = &(shape_), .example = (example_), .help = (help_) \
	}
#define KEY_NOT_YET(name_, help_) \
	{ \
		.name = (name_), .help = (help_) \
	}
#define KEY_END \
	{ \
		.name = NULL \
	}

#define ALL_FALLBACKS "" /* the mapping with each of its keys' fallbacks */

/* ---- Values ---- */

#define DURATION(variable, min_ms, max_ms) \
	static const struct conf_shape variable = { \
	    .kind = CONF_SHAPE_DURATION, .noun = "a duration", .min = (min_ms), .max = (max_ms)}

DURATION(shape_timeout, 1, 24 * HOUR);
DURATION(shape_flow_idle, 1 * SECOND, 168 * HOUR);

#define TEXT(variable, noun_, check_, pattern_) \
	static const struct conf_shape variable = { \
	    .kind = CONF_SHAPE_TEXT, .noun = (noun_), .check = (check_), .pattern = (pattern_)}

TEXT(shape_name, "a name", conf_check_name, "^[A-Za-z0-9._-]{1,63}$");
TEXT(shape_user, "the name of a user", conf_check_user, "^[a-z_][A-Za-z0-9_-]{0,31}$");
TEXT(shape_file, "the name of a file", conf_check_path, "^.+$");
TEXT(shape_directory, "an absolute path", conf_check_directory, "^/");
TEXT(shape_device, "the name of a network device", conf_check_device, "^[^/: ]{1,15}$");
TEXT(shape_ports, "a range of ports", conf_check_ports, "^[0-9]+-[0-9]+$");
TEXT(shape_bind_text, "an address with a port", conf_check_bind, "^.*:[0-9]+$");
TEXT(shape_server_text, "an address with a port", conf_check_server, "^(unix:.+|.+:[0-9]+)$");
TEXT(shape_domain, "a domain name", conf_check_domain, "^[A-Za-z0-9._-]+$");
TEXT(shape_pattern, "a domain name or \"*.\" and a domain name", conf_check_pattern,
     "^(\\*\\.)?[A-Za-z0-9._-]+$");
TEXT(shape_prefix, "a path", conf_check_prefix, "^/[^?#*]*$");
TEXT(shape_target, "the name of an origin or a URL", conf_check_path,
     "^.+$"); /* read by conf_target_resolve() */

#define WORDS(variable, ...) \
	static const struct conf_word variable##_words[] = {__VA_ARGS__, {.name = NULL}}; \
	static const struct conf_shape variable = { \
	    .kind = CONF_SHAPE_WORD, .noun = "a word", .words = variable##_words}

WORDS(shape_switch, {"on", 1, false}, {"off", 0, false});
WORDS(shape_log_format, {"auto", LOG_FORMAT_MAX, false}, {"text", LOG_FORMAT_TEXT, false},
      {"json", LOG_FORMAT_JSON, false});
WORDS(shape_log_level, {"error", LOG_LEVEL_ERROR, false}, {"warn", LOG_LEVEL_WARN, false},
      {"info", LOG_LEVEL_INFO, false}, {"debug", LOG_LEVEL_DEBUG, false});
WORDS(shape_hook, {"auto", CONF_HOOK_AUTO, false}, {"xdp", CONF_HOOK_XDP, false},
      {"tc", CONF_HOOK_TC, false});
WORDS(shape_protocol, {"tcp", CONF_TRANSPORT_TCP, false}, {"udp", CONF_TRANSPORT_UDP, false});
WORDS(shape_kernel_tls, {"auto", CONF_KERNEL_TLS_AUTO, false}, {"off", CONF_KERNEL_TLS_OFF, false});
WORDS(shape_relay, {"auto", CONF_RELAY_AUTO, false}, {"copy", CONF_RELAY_COPY, false},
      {"pipe", CONF_RELAY_PIPE, false}, {"sockmap", 0, true});
WORDS(shape_balance, {"round_robin", CONF_BALANCE_ROUND_ROBIN, false},
      {"least_connections", 0, true}, {"power_of_two", 0, true}, {"source_hash", 0, true},
      {"maglev", 0, true});

static const struct conf_word auto_words[] = {{"auto", 0, false}, {.name = NULL}};

static const struct conf_shape shape_threads = {
    .kind = CONF_SHAPE_NUMBER,
    .noun = "a number or \"auto\"",
    .words = auto_words,
    .min = 1,
    .max = PENSTOCK_MAX_THREADS,
};
static const struct conf_shape shape_count_or_auto = {
    .kind = CONF_SHAPE_NUMBER,
    .noun = "a number or \"auto\"",
    .words = auto_words,
    .min = 1,
    .max = 10000000,
};
static const struct conf_shape shape_count = {
    .kind = CONF_SHAPE_NUMBER,
    .noun = "a number",
    .min = 1,
    .max = 10000000,
};
static const struct conf_shape shape_max_idle = {
    .kind = CONF_SHAPE_NUMBER,
    .noun = "a number",
    .min = 0,
    .max = 65535,
};
static const struct conf_shape shape_weight = {
    .kind = CONF_SHAPE_NUMBER,
    .noun = "a number",
    .min = 1,
    .max = 256,
};

/* ---- process, log, steer ---- */

static const struct conf_key process_keys[] = {
    KEY("user", shape_user, NULL,
	"The user that the worker runs as; without it \"penstock\", or \"nobody\" where there is "
	"no such user."),
    KEY("threads", shape_threads, "auto", "Worker threads; auto is one per CPU."),
    KEY("runtime_dir", shape_directory, "/run/penstock",
	"Where the sockets of a running penstock are."),
    KEY("pin_dir", shape_directory, "/sys/fs/bpf/penstock",
	"Where the steer lane's maps, programs and links are pinned; on a bpf file system."),
    KEY("max_connections", shape_count_or_auto, "auto",
	"Client connections over all listeners; auto is what the limit of open files allows."),
    KEY("drain_timeout", shape_timeout, "30s",
	"How long open connections may go on after SIGTERM."),
    KEY_NOT_YET("cpus", "CPUs that the threads are bound to."),
    KEY_END,
};
static const struct conf_shape shape_process = {
    .kind = CONF_SHAPE_MAPPING, .noun = "a mapping", .keys = process_keys};

static const struct conf_key log_keys[] = {
    KEY("format", shape_log_format, "auto",
	"Text for people, or one JSON object a line; auto is text today."),
    KEY("level", shape_log_level, "info", "The least important level that is written."),
    KEY("access", shape_switch, "on", "A line for each request and each connection that ended."),
    KEY_NOT_YET("interval", "How often a long connection is logged while it lasts."),
    KEY_END,
};
static const struct conf_shape shape_log = {
    .kind = CONF_SHAPE_MAPPING, .noun = "a mapping", .keys = log_keys};

static const struct conf_shape shape_device_list = {
    .kind = CONF_SHAPE_LIST, .noun = "a list of devices", .item = &shape_device, .max_items = 256};
static const struct conf_shape shape_devices = {
    .kind = CONF_SHAPE_EITHER,
    .noun = "a list of devices, or \"auto\"",
    .scalar = &shape_device,
    .list = &shape_device_list,
};

static const struct conf_key steer_keys[] = {
    KEY("hook", shape_hook, "auto",
	"Where packets are taken: xdp is the driver's hook, tc comes later and works on each "
	"device; auto chooses per device."),
    KEY("devices", shape_devices, "auto",
	"Network devices; auto takes those that the host's routes to clients and servers use."),
    KEY("nat_ports", shape_ports, "61000-65535",
	"Ports that the node speaks to servers from; nothing else on the host may use them."),
    KEY("udp_idle", shape_flow_idle, "60s",
	"A UDP flow that is silent for longer may be replaced."),
    KEY("tcp_idle", shape_flow_idle, "2h", "A TCP flow that is silent for longer may be replaced."),
    KEY_NOT_YET("mode", "nat or dsr: whether answers come back through the node."),
    KEY_NOT_YET("bans", "Sources whose packets are dropped."),
    KEY_NOT_YET("admit", "Rates and sources that are let in."),
    KEY_END,
};
static const struct conf_shape shape_steer = {
    .kind = CONF_SHAPE_MAPPING, .noun = "a mapping", .keys = steer_keys};

/* ---- listeners ---- */

static const struct conf_key certificate_keys[] = {
    KEY_REQUIRED("chain", shape_file, "/etc/penstock/site.pem",
		 "PEM file with the certificate and those between it and the root, leaf first."),
    KEY("key", shape_file, NULL,
	"PEM file with the private key; without it the file of the chain."),
    KEY_NOT_YET("passphrase", "File with the passphrase of the key."),
    KEY_NOT_YET("ocsp", "File with an OCSP response to staple."),
    KEY_END,
};
static const struct conf_shape shape_certificate_mapping = {.kind = CONF_SHAPE_MAPPING,
							    .noun = "a certificate",
							    .title = "a certificate",
							    .keys = certificate_keys};
static const struct conf_shape shape_certificate = {
    .kind = CONF_SHAPE_EITHER,
    .noun = "a file name, or a mapping with \"chain\" and \"key\"",
    .scalar = &shape_file,
    .mapping = &shape_certificate_mapping,
};
static const struct conf_shape shape_certificates = {
    .kind = CONF_SHAPE_LIST,
    .noun = "a list of certificates",
    .item = &shape_certificate,
    .max_items = 1024,
};

static const struct conf_key server_tls_keys[] = {
    KEY_REQUIRED("certificates", shape_certificates, "[/etc/penstock/site.pem]",
		 "The certificates, chosen by the name that the client asks for; the first is for "
		 "all other names."),
    KEY("kernel", shape_kernel_tls, "auto", "Whether the kernel may do the records (kTLS)."),
    KEY_NOT_YET("policy", "modern, intermediate or explicit: versions and ciphers."),
    KEY_NOT_YET("versions", "TLS versions that are spoken."),
    KEY_NOT_YET("ciphers", "Ciphers that are spoken."),
    KEY_NOT_YET("alpn", "Application protocols that are offered."),
    KEY_NOT_YET("client", "Certificates of clients: ca, require, crl, depth."),
    KEY_NOT_YET("tickets", "Keys of session tickets."),
    KEY_NOT_YET("strict_sni", "Whether names that no certificate is for are refused."),
    KEY_NOT_YET("key_log", "File for the session keys, for debugging."),
    KEY_END,
};
static const struct conf_shape shape_server_tls = {
    .kind = CONF_SHAPE_MAPPING, .noun = "a mapping with \"certificates\"", .keys = server_tls_keys};

static const struct conf_key listener_timeout_keys[] = {
    KEY("hello", shape_timeout, "5s", "For a complete ClientHello, where routes need it."),
    KEY("handshake", shape_timeout, "10s", "For the TLS handshake with the client."),
    KEY("request", shape_timeout, "10s", "For a complete request head."),
    KEY("keepalive", shape_timeout, "60s", "Between two requests of a connection."),
    KEY("idle", shape_timeout, "5m",
	"Without a byte in either direction, while passing or in a body."),
    KEY("half_closed", shape_timeout, "30s", "For the other side to end after one side has."),
    KEY_END,
};
static const struct conf_shape shape_listener_timeouts = {
    .kind = CONF_SHAPE_MAPPING, .noun = "a mapping of durations", .keys = listener_timeout_keys};

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
    KEY("to", shape_target, NULL,
	"Requests go to this origin: a name, or http:// or https:// with an address and port. TLS "
	"and HTTP end here."),
    KEY("pass", shape_target, NULL,
	"Bytes go to this origin as they are: a name, or tcp:// with an address and port."),
    KEY("steer", shape_target, NULL,
	"Packets go to this origin within the kernel: a name, or udp:// or tcp:// with an IPv4 "
	"address and port."),
    KEY("relay", shape_relay, "auto", "How bytes are carried; auto chooses. Only with \"pass\"."),
    KEY_NOT_YET("redirect", "Answer with a redirect."),
    KEY_NOT_YET("respond", "Answer with a fixed status and text."),
    KEY_NOT_YET("source", "Addresses of clients."),
    KEY_NOT_YET("destination", "Addresses that clients connect to."),
    KEY_NOT_YET("alpn", "Application protocols that a TLS client offers."),
    KEY_NOT_YET("method", "Methods of requests."),
    KEY_NOT_YET("header", "Headers of requests."),
    KEY_NOT_YET("query", "Query parameters of requests."),
    KEY_NOT_YET("cookie", "Cookies of requests."),
    KEY_NOT_YET("client_cert", "Fields of the client's certificate."),
    KEY_NOT_YET("rewrite", "Changes to the path of a request."),
    KEY_NOT_YET("request_headers", "Changes to the headers of requests."),
    KEY_NOT_YET("response_headers", "Changes to the headers of responses."),
    KEY_NOT_YET("timeouts", "Timeouts of this route alone."),
    KEY_NOT_YET("limits", "Bounds of connections, rates and bandwidth."),
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
static const struct conf_shape shape_routes = {.kind = CONF_SHAPE_LIST,
					       .noun = "a list of routes",
					       .item = &shape_route,
					       .max_items = CONF_MAX_ROUTES};

static const struct conf_shape shape_bind_list = {.kind = CONF_SHAPE_LIST,
						  .noun = "a list of addresses",
						  .item = &shape_bind_text,
						  .max_items = 256};
static const struct conf_shape shape_bind = {
    .kind = CONF_SHAPE_EITHER,
    .noun = "an address with a port, or a list of them",
    .scalar = &shape_bind_text,
    .list = &shape_bind_list,
};

static const struct conf_key listener_keys[] = {
    KEY("name", shape_name, NULL,
	"What logs and status call it; without it the first address of \"bind\"."),
    KEY_REQUIRED(
	"bind", shape_bind, "\":443\"",
	"One address with port or several; without an address all of the host, IPv4 and IPv6."),
    KEY("protocol", shape_protocol, "tcp",
	"udp is for steer routes only, which may leave it to their URL."),
    KEY("tls", shape_server_tls, NULL,
	"TLS ends here, for the routes with \"to\"; without it they are plain HTTP."),
    KEY("max_connections", shape_count, "10000", "Client connections at once, over all threads."),
    KEY("timeouts", shape_listener_timeouts, ALL_FALLBACKS, "How long clients may take."),
    KEY_REQUIRED("routes", shape_routes, "[{to: \"http://127.0.0.1:8080\"}]",
		 "Tried in this order; the first that matches wins."),
    KEY_NOT_YET("proxy_protocol", "PROXY protocol from these networks."),
    KEY_NOT_YET("limits", "Bounds of connections and rates, per source too."),
    KEY_NOT_YET("access", "Networks that are let in or refused."),
    KEY_NOT_YET("http", "Bounds of requests, and protocol versions."),
    KEY_NOT_YET("socket", "Backlog, Fast Open, keep-alive and other socket options."),
    KEY_END,
};
static const struct conf_shape shape_listener = {
    .kind = CONF_SHAPE_MAPPING, .noun = "a listener", .title = "a listener", .keys = listener_keys};
static const struct conf_shape shape_listeners = {
    .kind = CONF_SHAPE_LIST,
    .noun = "a list of listeners",
    .item = &shape_listener,
    .max_items = CONF_MAX_LISTENERS,
};

/* ---- origins ---- */

static const struct conf_key server_keys[] = {
    KEY_REQUIRED("address", shape_server_text, "\"192.0.2.1:8200\"",
		 "An IPv4 or IPv6 address with port, or \"unix:\" and a path."),
    KEY("weight", shape_weight, "1", "Its share of the connections, against the others'."),
    KEY_NOT_YET("name", "What logs and status call it."),
    KEY_NOT_YET("backup", "Used only when all others are down."),
    KEY_NOT_YET("max_connections", "Connections at once."),
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
static const struct conf_shape shape_servers = {
    .kind = CONF_SHAPE_LIST,
    .noun = "a list of servers",
    .item = &shape_server,
    .max_items = PENSTOCK_MAX_SERVERS,
};

static const struct conf_key client_tls_keys[] = {
    KEY("ca", shape_file, NULL, "PEM file with the roots to trust; without it the system's store."),
    KEY("server_name", shape_domain, NULL,
	"The name that is asked for and verified; without it the server's address is verified."),
    KEY("verify", shape_switch, "on",
	"Off takes any certificate: whoever is on the way can read and change all."),
    KEY("kernel", shape_kernel_tls, "auto", "Whether the kernel may do the records (kTLS)."),
    KEY_NOT_YET("certificate", "The certificate that we show."),
    KEY_NOT_YET("pins", "Digests of public keys, one of which must be the origin's."),
    KEY_NOT_YET("policy", "Versions and ciphers."),
    KEY_NOT_YET("alpn", "Application protocols that are offered."),
    KEY_END,
};
const struct conf_shape conf_shape_client_tls = {
    .kind = CONF_SHAPE_MAPPING, .noun = "a mapping", .keys = client_tls_keys};
static const struct conf_shape shape_client_tls = {
    .kind = CONF_SHAPE_EITHER,
    .noun = "on, off or a mapping",
    .scalar = &shape_switch,
    .mapping = &conf_shape_client_tls,
};

static const struct conf_key origin_timeout_keys[] = {
    KEY("connect", shape_timeout, "5s", "For a connection and the TLS handshake, per attempt."),
    KEY("response", shape_timeout, "60s", "Silence while a response is awaited or under way."),
    KEY("keepalive", shape_timeout, "60s", "How long an idle connection is kept."),
    KEY_END,
};
static const struct conf_shape shape_origin_timeouts = {
    .kind = CONF_SHAPE_MAPPING, .noun = "a mapping of durations", .keys = origin_timeout_keys};

static const struct conf_key origin_keys[] = {
    KEY_REQUIRED("servers", shape_servers, "[\"192.0.2.1:8200\"]",
		 "The servers; each can do the same."),
    KEY("tls", shape_client_tls, "off", "TLS toward the servers for routes with \"to\", verified."),
    KEY("balance", shape_balance, "round_robin", "How a server is chosen."),
    KEY("timeouts", shape_origin_timeouts, ALL_FALLBACKS, "How long servers may take."),
    KEY("max_idle", shape_max_idle, "32", "Idle connections that are kept, per thread."),
    KEY_NOT_YET("health", "Checks that take a server out and in."),
    KEY_NOT_YET("limits", "Connections at once, and a queue for the others."),
    KEY_NOT_YET("retries", "How often another server is tried."),
    KEY_NOT_YET("source", "Address that connections come from."),
    KEY_NOT_YET("protocol", "http1 or http2."),
    KEY_NOT_YET("proxy_protocol", "PROXY protocol toward the servers."),
    KEY_NOT_YET("slow_start", "How long a server takes to its full share."),
    KEY_NOT_YET("resolve", "How host names are looked up."),
    KEY_END,
};
const struct conf_shape conf_shape_origin = {
    .kind = CONF_SHAPE_MAPPING, .noun = "an origin", .title = "an origin", .keys = origin_keys};

static const struct conf_shape shape_origins = {
    .kind = CONF_SHAPE_NAMED,
    .noun = "a mapping from names to origins",
    .item = &conf_shape_origin,
    .max_items = CONF_MAX_ORIGINS,
    .check = conf_check_name,
    .pattern = "^[A-Za-z0-9._-]{1,63}$",
};

/* ---- The file ---- */

static const struct conf_key file_keys[] = {
    KEY("process", shape_process, ALL_FALLBACKS, "The processes as a whole."),
    KEY("log", shape_log, ALL_FALLBACKS, "What is written to standard error."),
    KEY("steer", shape_steer, ALL_FALLBACKS, "The steer lane as a whole."),
    KEY_REQUIRED("listeners", shape_listeners,
		 "[{bind: \":80\", routes: [{to: \"http://127.0.0.1:8080\"}]}]",
		 "Where clients come in."),
    KEY("origins", shape_origins, NULL, "Groups of servers by name, for the routes."),
    KEY_NOT_YET("policies", "Rules for TLS by name."),
    KEY_NOT_YET("networks", "Lists of addresses by name."),
    KEY_NOT_YET("resolver", "How host names are looked up."),
    KEY_NOT_YET("cache", "Where responses are kept."),
    KEY_NOT_YET("metrics", "Where metrics and the status page are."),
    KEY_END,
};
const struct conf_shape conf_shape_file = {
    .kind = CONF_SHAPE_MAPPING, .noun = "a mapping", .title = "the file", .keys = file_keys};
