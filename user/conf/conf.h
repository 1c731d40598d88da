/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: YAML text in, an immutable, reference-counted snapshot out, or every error
 * with its line and column. Pure: the text and nothing else is read; files that it names are only
 * named (see conf_each_file()), and whoever opens them reports with conf_diag_add() at the mark of
 * the reference.
 *
 * All pointers inside a snapshot live as long as the snapshot. Strings are terminated. Optional
 * strings are NULL where absent. Times are milliseconds.
 */
#ifndef PENSTOCK_CONF_CONF_H
#define PENSTOCK_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/compiler.h"
#include "base/log.h"

/* Where in the text something stands, both from 1; line 0: nowhere. */
struct conf_mark {
	uint32_t line;
	uint32_t column;
};

/* A file that the configuration names. */
struct conf_file {
	const char *path;
	struct conf_mark mark;
};

enum conf_lane { CONF_LANE_STEER, CONF_LANE_SPLICE, CONF_LANE_TERMINATE, CONF_LANE_MAX };

enum conf_transport { CONF_TRANSPORT_TCP, CONF_TRANSPORT_UDP, CONF_TRANSPORT_MAX };

enum conf_relay {
	CONF_RELAY_AUTO,
	CONF_RELAY_COPY,
	CONF_RELAY_PIPE,
	CONF_RELAY_SOCKMAP,
	CONF_RELAY_MAX
};

enum conf_kernel_tls { CONF_KERNEL_TLS_AUTO, CONF_KERNEL_TLS_OFF, CONF_KERNEL_TLS_MAX };

/* Of the whole process. */
enum conf_kernel_use { CONF_KERNEL_USE_AUTO, CONF_KERNEL_USE_OFF, CONF_KERNEL_USE_ALWAYS };

enum conf_balance {
	CONF_BALANCE_ROUND_ROBIN,
	CONF_BALANCE_LEAST_CONNECTIONS,
	CONF_BALANCE_POWER_OF_TWO,
	CONF_BALANCE_SOURCE_HASH,
	CONF_BALANCE_MAGLEV, /* by the source address, with few moves when servers come and go */
	CONF_BALANCE_MAX
};

enum conf_proxy_protocol {
	CONF_PROXY_PROTOCOL_OFF,
	CONF_PROXY_PROTOCOL_V1,
	CONF_PROXY_PROTOCOL_V2,
	CONF_PROXY_PROTOCOL_MAX
};

enum conf_check { CONF_CHECK_OFF, CONF_CHECK_TCP, CONF_CHECK_TLS, CONF_CHECK_MAX };

enum conf_hook { CONF_HOOK_AUTO, CONF_HOOK_XDP, CONF_HOOK_TC, CONF_HOOK_MAX };

struct conf_certificate {
	struct conf_file chain; /* PEM, leaf first */
	struct conf_file key; /* PEM; the same file as the chain where only one was given */
	struct conf_file passphrase; /* first line of the file; path NULL: the key has none */
	struct conf_file ocsp; /* DER; a response to staple; path NULL: none */
};

/* Versions and ciphers, as Mozilla's guide for servers names them. */
enum conf_tls_level { CONF_TLS_INTERMEDIATE, CONF_TLS_MODERN, CONF_TLS_LEVEL_MAX };

/* What is given here is stronger than the level. */
struct conf_tls_policy {
	enum conf_tls_level level;
	uint16_t min_version; /* 0x0303, 0x0304; 0: the level's */
	uint16_t max_version;
	const char *ciphers_12; /* OpenSSL's names with ':' between; NULL: the level's */
	const char *ciphers_13;
};

enum conf_client_auth {
	CONF_CLIENT_AUTH_OFF,
	CONF_CLIENT_AUTH_OPTIONAL, /* asked for; one that is shown must be good */
	CONF_CLIENT_AUTH_REQUIRED,
	CONF_CLIENT_AUTH_MAX
};

/* Headers that tell origins of a client's certificate, as bits. */
enum {
	CONF_CERT_HEADER_LEAF = 1, /* Client-Cert (RFC 9440) */
	CONF_CERT_HEADER_CHAIN = 2, /* Client-Cert-Chain (RFC 9440) */
	CONF_CERT_HEADER_FORWARDED = 4, /* X-Forwarded-Client-Cert, as Envoy has it */
};

/* Certificates of clients. */
struct conf_client_auth_rules {
	enum conf_client_auth mode;
	struct conf_file ca; /* PEM; set where the mode is not off */
	struct conf_file crl; /* PEM; path NULL: none is looked at */
	uint32_t depth; /* certificates between leaf and root, at most */
	bool tells_der; /* a route of the listener sends the certificate itself */
};

/* Session tickets. */
struct conf_tickets {
	bool on;
	struct conf_file keys; /* 80 bytes a key, the first seals; path NULL: made here, daily */
	uint32_t lifetime_s;
};

/* What a route asks of a client's certificate; each that is not NULL must match. */
struct conf_client_cert_match {
	bool is_set; /* false: the route does not look at it */
	bool verified; /* one was shown, and is good; false: none was shown */
	const char *subject; /* common name; "*.example.com" as for names */
	const char *san; /* one of the subject's alternative names: DNS (as `subject`), e-mail or
			    URI */
	const char *issuer; /* common name of the issuer */
	const char *fingerprint; /* SHA-256 of the DER form, 64 lower-case hex digits */
};

/* An address block: "192.0.2.0/24", "2001:db8::/32", or one address. Host bits are zero. */
struct conf_net {
	struct addr addr; /* port 0 */
	uint8_t prefix_len;
};

struct conf_nets {
	struct conf_net *nets;
	size_t n_nets; /* 0: none was given */
};

/* Socket options of one side; 0: the host's setting. */
struct conf_socket {
	uint32_t keepalive_idle_s; /* 0: no keep-alive probes */
	uint32_t keepalive_interval_s;
	uint32_t keepalive_count;
	uint32_t user_timeout_ms; /* TCP_USER_TIMEOUT */
	uint32_t receive_buffer_bytes; /* memory, as SO_RCVBUF tells it: twice what is asked for */
	uint32_t send_buffer_bytes;
	bool fast_open;
	uint32_t defer_accept_s; /* listeners only */
	uint32_t backlog; /* listeners only */
};

/* Connections and rates; 0: no bound. */
struct conf_source_limits {
	uint32_t connections; /* at once, per source address (IPv6: per /64) */
	uint32_t rate_per_s; /* new connections a second, per source */
	uint32_t total_rate_per_s; /* new connections a second, of the listener */
};

/* Active checks, passive ejection. */
struct conf_health {
	enum conf_check check;
	const char *send; /* after connecting; NULL: nothing. Any bytes, send_len of them */
	size_t send_len;
	const char *expect; /* the answer must begin so; NULL: connecting is enough */
	size_t expect_len;
	uint32_t interval_ms; /* with jitter of a tenth */
	uint32_t timeout_ms;
	uint32_t rise; /* good checks until a server is up again */
	uint32_t fall; /* bad checks until it is down */
	uint32_t eject_failures; /* connect failures in a row that eject; 0: never */
	uint32_t eject_ms;
	uint8_t eject_max_percent; /* of the servers */
	uint8_t panic_percent; /* fewer up than this: all are used, up or not */
};

/* TLS that clients speak with us. */
struct conf_server_tls {
	struct conf_mark mark;
	struct conf_certificate *certificates;
	size_t n_certificates; /* at least 1; the first is for names that none matches */
	enum conf_kernel_tls kernel; /* both directions, where the two below say nothing */
	enum conf_kernel_tls kernel_receive;
	enum conf_kernel_tls kernel_send;
	bool kernel_waits; /* for bulk; else the kernel has it right after the handshake */
	struct conf_tls_policy policy;
	const char **alpn; /* in our order of preference; none: no ALPN is answered */
	size_t n_alpn;
	struct conf_client_auth_rules client;
	struct conf_tickets tickets;
	bool strict_sni; /* a name that no certificate is for is refused: unrecognized_name */
	struct conf_file key_log; /* opened to append, not of conf_each_file(); path NULL: none */
	uint32_t max_handshakes; /* at once, per listener over all threads; 0: no bound */
};

#define CONF_PIN_BYTES 32

/* TLS that we speak with an origin. */
struct conf_client_tls {
	struct conf_mark mark;
	struct conf_file ca; /* PEM bundle; path NULL: the system's store */
	const char *server_name; /* sent as SNI and verified; NULL: the host of the URL or server
				    (an IP is verified as IP) */
	bool verify;
	enum conf_kernel_tls kernel;
	enum conf_kernel_tls kernel_receive;
	enum conf_kernel_tls kernel_send;
	bool kernel_waits; /* as a listener's */
	struct conf_certificate *certificate; /* that we show; NULL: none */
	uint8_t (*pins)[CONF_PIN_BYTES]; /* SHA-256 of a SubjectPublicKeyInfo (RFC 7469, 2.4) */
	size_t n_pins; /* 0: any key */
	struct conf_tls_policy policy;
	const char **alpn; /* offered, in this order */
	size_t n_alpn;
	bool sessions; /* kept, for resumption */
};

struct conf_server {
	struct conf_mark mark;
	const char *text; /* the address as written */
	const char *host; /* without port: what is verified where no server_name is given; "" of a
			     UNIX socket */
	struct addr addr; /* of a host name its port alone: len 0 */
	bool is_name; /* `host` is to be looked up, and is in lower case */
	uint32_t weight;
	bool is_backup;
	uint32_t max_connections; /* 0: no bound */
};

struct conf_origin {
	struct conf_mark mark;
	size_t index; /* in conf.origins */
	const char *name; /* unique; of an origin written in place, its URL in canonical form */
	const char *identity; /* canonical text of all that matters: equal identity, same run-time
				 state over a reload */
	struct conf_server *servers;
	size_t n_servers; /* at least 1 */
	struct conf_client_tls *tls; /* NULL: in the clear */
	bool is_stream; /* speaks no HTTP: a route with "to" carries bytes as they are */
	enum conf_balance balance;
	uint32_t connect_timeout_ms; /* connect and TLS handshake, per attempt */
	uint32_t response_timeout_ms; /* silence while a response is awaited or under way */
	uint32_t keepalive_ms; /* how long an idle connection is kept */
	uint32_t max_idle; /* idle connections kept, per thread */
	struct conf_health health;
	uint32_t max_connections; /* over all servers and threads; 0: no bound */
	uint32_t queue; /* connections that may wait for a place */
	uint32_t queue_timeout_ms;
	uint32_t retries; /* further servers that are tried before any byte was sent */
	struct addr source; /* connections come from it, port 0; len 0: the host chooses */
	uint32_t slow_start_ms; /* from up to its full share */
	enum conf_proxy_protocol proxy_protocol; /* sent to the servers */
	struct conf_socket socket;
};

struct conf_route {
	struct conf_mark mark;
	enum conf_lane lane;
	const char *sni; /* lower case; "*.example.com" matches one label; NULL: any, also none */
	const char *host; /* as sni, against the Host header without port; terminate lane only */
	const char
	    *path; /* prefix of whole segments: "/api" matches "/api" and "/api/x", not "/apix" */
	struct conf_nets sources; /* of clients, after PROXY protocol */
	struct conf_nets destinations; /* that clients connected to */
	const char **alpn; /* any of these is offered */
	size_t n_alpn;
	struct conf_client_cert_match client_cert; /* terminate lane, and TLS that ends here */
	unsigned int cert_headers; /* CONF_CERT_HEADER_... of requests; 0: none is sent */
	const struct conf_origin *origin;
	enum conf_relay relay;
	uint64_t bandwidth_bytes_per_s; /* per connection and direction; 0: no bound */
	uint64_t route_bandwidth_bytes_per_s; /* shared by the route's connections */
};

struct conf_listener {
	struct conf_mark mark;
	size_t index; /* in conf.listeners */
	const char *name; /* unique; by default the first address as written, of UDP with "/udp" */
	const char **bind_texts; /* one for each of `binds`: ranges of ports are spread out */
	struct conf_mark *bind_marks;
	const char **bind_items; /* as written, for people */
	size_t n_bind_items;
	struct addr *binds;
	size_t n_binds; /* at least 1 */
	enum conf_transport transport;
	struct conf_server_tls *tls; /* NULL: none is ended here */
	struct conf_route *routes; /* tried in this order; the first that matches wins */
	size_t n_routes; /* at least 1 */
	uint32_t max_connections; /* per listener over all threads */
	uint32_t hello_timeout_ms;
	uint32_t handshake_timeout_ms;
	uint32_t request_timeout_ms; /* for a complete request head */
	uint32_t keepalive_ms; /* between requests */
	uint32_t idle_timeout_ms; /* no byte either way: splice lane, and bodies */
	uint32_t half_closed_timeout_ms;
	struct conf_nets proxy_from; /* PROXY protocol is expected from these, and from no others */
	struct conf_nets allow; /* none given: everybody */
	struct conf_nets deny; /* stronger than `allow` */
	struct conf_source_limits limits;
	struct conf_socket socket;
};

struct conf_steer {
	enum conf_hook hook;
	const char **devices; /* NULL: those that the routes to clients and servers use */
	size_t n_devices;
	uint16_t nat_port_min;
	uint16_t nat_port_max;
	uint32_t udp_idle_s;
	uint32_t tcp_idle_s;
};

/* When a direction moves to another engine. */
struct conf_relay_tuning {
	uint64_t bulk_bytes; /* received by copying in full reads: take the pipe */
	uint32_t chat_messages; /* small messages in a row: take sockmap */
	uint32_t chat_max_bytes; /* a message that is no larger is small */
	uint32_t sockmap_window_bytes; /* redirected and not yet written: past it the daemon takes
					  over */
	bool sockmap; /* false: never */
};

struct conf {
	const char *file_name; /* for diagnostics */
	const char
	    *user; /* of the worker; NULL: "penstock", or "nobody" where there is no such user */
	uint32_t threads; /* 0: one per CPU */
	const char *runtime_dir; /* sockets of the admin and the broker */
	const char *pin_dir;
	uint32_t max_connections; /* over all listeners; 0: what the descriptor limit allows */
	uint32_t drain_timeout_ms;
	bool kernel_tls; /* false: off for all listeners and origins, which say so themselves */
	bool watch_files; /* files that are named are taken again when they change */
	bool log_format_is_auto; /* as log_format_choose() has it */
	enum log_format log_format;
	enum log_level log_level;
	bool access_log;
	const char *dns_servers; /* "192.0.2.53,[2001:db8::53]:5353"; NULL: those of the host */
	uint32_t log_interval_s; /* a line for long connections; 0: only at the end */
	struct conf_relay_tuning relay;
	struct conf_steer steer;
	struct conf_origin **origins; /* also those written in place */
	size_t n_origins;
	struct conf_listener *listeners;
	size_t n_listeners; /* at least 1 */
};

/* What is wrong, in the order of the text. */
struct conf_diag;

struct conf_diag *conf_diag_new(const char *file_name) MUST_CHECK;
void conf_diag_free(struct conf_diag *diag);

/* Adds "FILE:LINE:COLUMN: error: message". Running out of memory counts as an error too. */
void conf_diag_add(struct conf_diag *diag, struct conf_mark mark, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* As conf_diag_add(), for what works but should be looked at: it does not count as an error. */
void conf_diag_warn(struct conf_diag *diag, struct conf_mark mark, const char *format, ...)
    PRINTF_LIKE(3, 4);

size_t conf_diag_errors(const struct conf_diag *diag);
size_t conf_diag_warnings(const struct conf_diag *diag);

/* All of it, one line each, sorted by place: "FILE:LINE:COLUMN: error: …". Owned by the diag. ""
 * where clean. */
const char *conf_diag_text(struct conf_diag *diag);

/*
 * Parses `text` (any bytes). Returns a snapshot with one reference, or NULL with at least one error
 * in `diag`; warnings may be there in both cases. `file_name` is copied.
 */
struct conf *conf_parse(const char *text, size_t len_bytes, const char *file_name,
			struct conf_diag *diag) MUST_CHECK;

/*
 * As conf_parse(). Where the text has errors, calls `visit` for every file that it names
 * nevertheless: so what is wrong with those can be told at once. A non-zero return stops that.
 */
struct conf *conf_parse_files(const char *text, size_t len_bytes, const char *file_name,
			      struct conf_diag *diag,
			      int (*visit)(void *argument, const struct conf_file *file),
			      void *argument) MUST_CHECK;

struct conf *conf_ref(struct conf *conf);

/* Frees with the last reference; any thread; takes NULL. */
void conf_unref(struct conf *conf);

/* Calls `visit` for every file that the configuration names, in the order of the text; a non-zero
 * return stops and is returned. */
int conf_each_file(const struct conf *conf,
		   int (*visit)(void *argument, const struct conf_file *file), void *argument);

/* A JSON Schema (2020-12) of the grammar, for editors; made from the parser's own table.
 * malloc()ed; NULL: no memory. */
char *conf_schema(void) MUST_CHECK;

/* Ports do not matter; an IPv4-mapped IPv6 address counts as the IPv4 one; UNIX addresses are in no
 * block. */
bool conf_nets_contain(const struct conf_nets *nets, const struct addr *addr);

/* What a route asks for: "sni a.example.com alpn h2,http/1.1 source 192.0.2.0/24", or "any"; ends
 * in "…" where there is no room. Returns `text`. */
#define CONF_MATCH_TEXT_MAX 1024
const char *conf_route_format_match(const struct conf_route *route, char text[CONF_MATCH_TEXT_MAX]);

/* Bytes and no requests: "pass", or "to" an origin of streams. Such a route is final once the
 * ClientHello was seen. */
static inline bool conf_route_is_stream(const struct conf_route *route)
{
	return route->lane == CONF_LANE_SPLICE ||
	       (route->lane == CONF_LANE_TERMINATE && route->origin && route->origin->is_stream);
}

const char *conf_lane_word(enum conf_lane lane);
const char *conf_relay_word(enum conf_relay relay);

#endif
