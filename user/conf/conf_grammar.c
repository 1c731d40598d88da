/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar: every key with its type, bounds, fallback and a sentence of help, in one table, of
 * which this is the top. The parser, the JSON Schema and the reference in penstock.yaml(5) come
 * from it. Keys without a shape have their place, but are not built.
 */
#include "conf/conf_grammar_internal.h"

#define MANY 10000000

/* ---- Values ---- */

const struct conf_word conf_words_off[] = {{"off", 0, false}, {.name = NULL}};

DURATION(conf_shape_timeout, 1, 24 * HOUR);
static DURATION(shape_flow_idle, 1 * SECOND, 168 * HOUR);
static DURATION_OR_OFF(shape_log_interval, 1 * SECOND, 24 * HOUR);

TEXT(conf_shape_name, "a name", conf_check_name, "^[A-Za-z0-9._-]{1,63}$");
TEXT(conf_shape_path, "the name of a file", conf_check_path, "^.+$");
static TEXT(shape_user, "the name of a user", conf_check_user, "^[a-z_][A-Za-z0-9_-]{0,31}$");
static TEXT(shape_directory, "an absolute path", conf_check_directory, "^/");
static TEXT(shape_device, "the name of a network device", conf_check_device, "^[^/: ]{1,15}$");
static TEXT(shape_ports, "a range of ports", conf_check_ports, "^[0-9]+-[0-9]+$");
static TEXT(shape_net, "a network", conf_check_net, "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$");

WORDS(conf_shape_switch, {"on", 1, false}, {"off", 0, false});
WORDS(conf_shape_kernel_tls, {"auto", CONF_KERNEL_TLS_AUTO, false},
      {"off", CONF_KERNEL_TLS_OFF, false});

static WORDS(shape_kernel_use, {"auto", CONF_KERNEL_USE_AUTO, false},
	     {"off", CONF_KERNEL_USE_OFF, false}, {"always", CONF_KERNEL_USE_ALWAYS, false});

static const struct conf_key kernel_tls_keys[] = {
    KEY("receive", conf_shape_kernel_tls, "auto", "Records of the other side."),
    KEY("send", conf_shape_kernel_tls, "auto", "Records of ours."),
    KEY_END,
};
static MAPPING(shape_kernel_tls_mapping, "a mapping", kernel_tls_keys);
const struct conf_shape conf_shape_kernel_tls_either = {
    .kind = CONF_SHAPE_EITHER,
    .noun = "auto, off, or a mapping with \"receive\" and \"send\"",
    .scalar = &conf_shape_kernel_tls,
    .mapping = &shape_kernel_tls_mapping,
};

static WORDS(shape_log_format, {"auto", LOG_FORMAT_MAX, false}, {"text", LOG_FORMAT_TEXT, false},
	     {"json", LOG_FORMAT_JSON, false});
static WORDS(shape_log_level, {"error", LOG_LEVEL_ERROR, false}, {"warn", LOG_LEVEL_WARN, false},
	     {"info", LOG_LEVEL_INFO, false}, {"debug", LOG_LEVEL_DEBUG, false});
static WORDS(shape_hook, {"auto", CONF_HOOK_AUTO, false}, {"xdp", CONF_HOOK_XDP, false},
	     {"tc", CONF_HOOK_TC, false});

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
    .max = MANY,
};
NUMBER(conf_shape_count, 1, MANY);
QUANTITY(conf_shape_rate, conf_quantity_rate, "a rate", 1, MANY);

static LIST(shape_nets_list, shape_net, "a list of networks", 4096);
ONE_OR_MORE(conf_shape_nets, "a network, or a list of them", shape_net, shape_nets_list);
static LIST(shape_devices_list, shape_device, "a list of devices", 256);
static ONE_OR_MORE(shape_devices, "a list of devices, or \"auto\"", shape_device,
		   shape_devices_list);

static TEXT(shape_alpn_name, "the name of a protocol", conf_check_alpn, "^[!-~]{1,255}$");
static LIST(shape_alpn_list, shape_alpn_name, "a list of protocols", 16);
ONE_OR_MORE(conf_shape_alpn, "the name of a protocol, or a list of them", shape_alpn_name,
	    shape_alpn_list);

/* ---- Socket options of both sides ---- */

/* tcp(7): the kernel takes up to 32767 s and 127 probes. */
static DURATION(shape_keepalive_time, 1 * SECOND, 32767 * SECOND);
static NUMBER(shape_keepalive_count, 1, 127);
DURATION(conf_shape_user_timeout, 1, 24 * HOUR);
QUANTITY(conf_shape_buffer, conf_quantity_size, "a size", 65536, 1LL << 30);

static const struct conf_key keepalive_keys[] = {
    KEY("idle", shape_keepalive_time, "60s", "Silence until the first probe."),
    KEY("interval", shape_keepalive_time, "10s", "Between two probes that nobody answered."),
    KEY("count", shape_keepalive_count, "3",
	"So many probes without an answer end the connection."),
    KEY_END,
};
MAPPING(conf_shape_keepalive, "a mapping", keepalive_keys);
SWITCH_OR_MAPPING(conf_shape_keepalive_either, conf_shape_keepalive);

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
    KEY("drain_timeout", conf_shape_timeout, "30s",
	"How long open connections may go on after SIGTERM."),
    KEY("watch_files", conf_shape_switch, "off",
	"Whether files that the configuration names (certificates, keys, authorities) are taken "
	"again when they change, as by a reload of the same text."),
    KEY("kernel_tls", shape_kernel_use, "auto",
	"When the kernel gets the TLS records of a connection that it may have: with the first "
	"bulk, always (right after the handshake), or never, whatever listeners and origins say."),
    KEY_NOT_YET("cpus", "CPUs that the threads are bound to."),
    KEY_END,
};
static MAPPING(shape_process, "a mapping", process_keys);

static const struct conf_key log_keys[] = {
    KEY("format", shape_log_format, "auto",
	"Text for people, or one JSON object a line; auto is text where standard error is a "
	"terminal or the journal."),
    KEY("level", shape_log_level, "info", "The least important level that is written."),
    KEY("access", conf_shape_switch, "on",
	"A line for each request and each connection that ended."),
    KEY("interval", shape_log_interval, "off",
	"How often a long connection is logged while it lasts; off is only when it ended."),
    KEY_END,
};
static MAPPING(shape_log, "a mapping", log_keys);

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
static MAPPING(shape_steer, "a mapping", steer_keys);

/* ---- relay ---- */

static QUANTITY(shape_bulk, conf_quantity_size, "a size", 1, 1LL << 40);
static QUANTITY(shape_chat_bytes, conf_quantity_size, "a size", 1, 65536);
static QUANTITY(shape_window, conf_quantity_size, "a size", 65536, 1LL << 30);

static const struct conf_key relay_keys[] = {
    KEY("bulk", shape_bulk, "64KiB",
	"A direction that brought so much without a pause moves from copying to a pipe."),
    KEY("chat_messages", conf_shape_count, "8",
	"A connection moves to sockmap after so many small messages in a row."),
    KEY("chat_bytes", shape_chat_bytes, "16KiB", "A message that is no larger is small."),
    KEY("window", shape_window, "1MiB",
	"What sockmap may have on its way in a direction; past it the process takes over until "
	"the receiver has caught up."),
    KEY("sockmap", conf_shape_switch, "on",
	"Off: no connection is relayed by sockmap, whatever its route says."),
    KEY_END,
};
static MAPPING(shape_relay, "a mapping", relay_keys);

/* ---- resolver ---- */

static TEXT(shape_dns_server, "the address of a name server", conf_check_dns_server, "^.+$");
static LIST(shape_dns_servers_list, shape_dns_server, "a list of addresses", 8);
static ONE_OR_MORE(shape_dns_servers, "an address, or a list of them", shape_dns_server,
		   shape_dns_servers_list);

static const struct conf_key resolver_keys[] = {
    KEY("servers", shape_dns_servers, NULL,
	"Name servers, asked in this order; without them those of /etc/resolv.conf, also when that "
	"changes, but for those with a scope (fe80::1%eth0). Its search domains and options are "
	"those of when penstock starts."),
    KEY_END,
};
static const struct conf_shape shape_resolver = {
    .kind = CONF_SHAPE_MAPPING, .noun = "a mapping with \"servers\"", .keys = resolver_keys};

/* ---- The file ---- */

static const struct conf_key file_keys[] = {
    KEY("process", shape_process, ALL_FALLBACKS, "The processes as a whole."),
    KEY("log", shape_log, ALL_FALLBACKS, "What is written to standard error."),
    KEY("relay", shape_relay, ALL_FALLBACKS,
	"When a direction of the splice lane moves to another engine."),
    KEY("steer", shape_steer, ALL_FALLBACKS, "The steer lane as a whole."),
    KEY_REQUIRED("listeners", conf_shape_listeners,
		 "[{bind: \":80\", routes: [{to: \"http://127.0.0.1:8080\"}]}]",
		 "Where clients come in."),
    KEY("origins", conf_shape_origins, NULL, "Groups of servers by name, for the routes."),
    KEY("resolver", shape_resolver, NULL, "How host names of servers are looked up."),
    KEY_NOT_YET("policies", "Rules for TLS by name."),
    KEY_NOT_YET("networks", "Lists of addresses by name."),
    KEY_NOT_YET("cache", "Where responses are kept."),
    KEY_NOT_YET("metrics", "Where metrics and the status page are."),
    KEY_END,
};
const struct conf_shape conf_shape_file = {
    .kind = CONF_SHAPE_MAPPING, .noun = "a mapping", .title = "the file", .keys = file_keys};
