/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this folder share. The road of a text: conf_tree.c makes nodes of it,
 * conf_check.c holds them against the grammar (conf_grammar.c), conf_build.c and conf_origin.c make
 * the snapshot, conf_lint.c looks at the whole. After an error each stage goes on as far as it can,
 * so that one run shows everything that is wrong.
 */
#ifndef PENSTOCK_CONF_CONF_INTERNAL_H
#define PENSTOCK_CONF_CONF_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/compiler.h"
#include "base/str.h"
#include "conf/conf.h"

#define CONF_MAX_NODES 500000
#define CONF_MAX_DEPTH 16 /* the grammar needs less; so nothing walks deep */
#define CONF_MAX_LISTENERS 1024
#define CONF_MAX_ROUTES 1024 /* per listener: conf_lint.c compares each with each */
#define CONF_MAX_ORIGINS 4096
#define CONF_MAX_PORTS 1024 /* per listener, ranges of ports spread out */
#define CONF_MAX_BINDS 16384 /* of all listeners */
#define CONF_MAX_BYTES 1024 /* of a text that may hold any byte */
#define CONF_TLS_CIPHERS_MAX 1024 /* all names of the grammar fit */

/* As on the wire (RFC 8446, 4.2.1). */
enum conf_tls_version { CONF_TLS_1_2 = 0x0303, CONF_TLS_1_3 = 0x0304 };

/* ---- The grammar ---- */

enum conf_shape_kind {
	CONF_SHAPE_MAPPING, /* the keys of a table */
	CONF_SHAPE_NAMED, /* names of the operator's choice, each with an item */
	CONF_SHAPE_LIST,
	CONF_SHAPE_EITHER, /* one of several, told apart by being a scalar, a list or a mapping */
	CONF_SHAPE_TEXT,
	CONF_SHAPE_WORD, /* one of `words`; where "on" and "off" are among them, also true and false
			  */
	CONF_SHAPE_NUMBER, /* `min` to `max`, or one of `words` */
	CONF_SHAPE_QUANTITY, /* a number with a unit of `quantity`: `min` to `max`, or one of
				`words` */
};

struct conf_unit {
	const char *name; /* "": a bare number */
	int64_t factor;
};

struct conf_quantity {
	const char *title; /* of the schema and the manual: "duration" */
	const char *like; /* "a duration such as …": after "must be" */
	const char *hint; /* the unit to suggest, where bare numbers are not taken */
	const char *names; /* "units are ms, s, m and h" */
	const struct conf_unit *units; /* the largest first; ends with a name of NULL */
};

extern const struct conf_quantity conf_quantity_duration; /* milliseconds */
extern const struct conf_quantity conf_quantity_size; /* bytes */
extern const struct conf_quantity conf_quantity_bandwidth; /* bytes a second */
extern const struct conf_quantity conf_quantity_rate; /* a second */
extern const struct conf_quantity conf_quantity_percent;

struct conf_word {
	const char *name;
	int64_t value;
	bool not_yet;
};

struct conf_key;

struct conf_shape {
	enum conf_shape_kind kind;
	const char
	    *noun; /* "a listener", "a list of routes", "an address with a port": after "must be" */
	const char
	    *title; /* MAPPING: of one of several alike, "a listener"; NULL: its key tells enough */
	const struct conf_key *keys; /* MAPPING; ends with a name of NULL */
	const struct conf_shape *item; /* LIST, NAMED */
	size_t max_items; /* LIST, NAMED; at least one item is always asked for in a LIST */
	const struct conf_shape *scalar; /* EITHER; NULL: not so */
	const struct conf_shape *list;
	const struct conf_shape *mapping;
	const struct conf_word *words; /* WORD, NUMBER, QUANTITY; ends with a name of NULL */
	const struct conf_quantity *quantity; /* QUANTITY */
	int64_t min;
	int64_t max;
	const char
	    *pattern; /* TEXT: a regular expression for the schema, no stricter than `check` */
	bool takes_controls; /* TEXT: control characters too */
	/* TEXT, NAMED: NULL, or what is wrong with `text` (terminated), as "is …; mend". */
	const char *(*check)(struct str text);
};

struct conf_key {
	const char *name;
	const struct conf_shape *shape; /* NULL: not built yet */
	const char *fallback; /* the scalar that an absent key stands for; "": a mapping of
				 fallbacks; NULL: none */
	const char *example; /* not NULL: the key must be given, so for instance */
	const char *help; /* one sentence */
};

extern const struct conf_shape conf_shape_file;
extern const struct conf_shape conf_shape_origin;
extern const struct conf_shape conf_shape_client_tls;
extern const struct conf_shape conf_shape_keepalive;
extern const struct conf_shape conf_shape_eject;
extern const struct conf_shape conf_shape_tickets;

/* ---- Nodes of the text ---- */

enum conf_node_kind { CONF_NODE_SCALAR, CONF_NODE_LIST, CONF_NODE_MAPPING };

struct conf_node {
	enum conf_node_kind kind;
	bool is_plain; /* a scalar without quotes */
	bool has_controls; /* a scalar with control characters or line ends */
	struct conf_mark mark;
	struct str text; /* of a scalar; terminated */
	struct conf_node *key; /* of a value in a mapping */
	struct conf_node *first; /* child */
	struct conf_node *next; /* sibling */
	size_t n_children;
	int64_t number; /* set by the check: what the text means */
	const struct conf_shape
	    *shape; /* set by the check, of mappings with a table: whose keys `slots` follow */
	struct conf_node **slots; /* NULL: absent, or wrong and reported */
};

struct conf_context {
	struct conf_diag *diag;
	struct arena *scratch; /* nodes: gone after the parse */
	struct arena *keep; /* the snapshot */
	struct conf *conf; /* being built */
	const struct conf_node *file; /* the checked tree */
	void *origins_by_name; /* tsearch(3) */
	size_t origins_room; /* in conf->origins */
	size_t n_binds; /* of all listeners so far */
};

/* The root, or NULL with an error in the diag. */
struct conf_node *conf_tree_read(struct conf_context *context, struct str text) MUST_CHECK;

/* Holds `node` and all below against `shape`. False: something is wrong with the node itself, and
 * reported. */
bool conf_check(struct conf_context *context, const struct conf_shape *shape,
		struct conf_node *node);

/* The same for a shape of a single value; `label` is what messages call it. */
bool conf_check_scalar(struct conf_context *context, const struct conf_shape *shape,
		       struct conf_node *node, const char *label);

/* A mapping in which each key has its fallback. NULL: no memory, reported. */
struct conf_node *conf_check_empty(struct conf_context *context,
				   const struct conf_shape *shape) MUST_CHECK;

/* The value of a key of a checked mapping; NULL where it is absent or wrong, and where `node` is
 * NULL. */
const struct conf_node *conf_at(const struct conf_node *node, const char *key);

/* As conf_at(): what a number, word or duration means, 0 where absent. */
int64_t conf_number_at(const struct conf_node *node, const char *key);

/* As conf_at(): a copy in the snapshot, NULL where absent. */
const char *conf_text_at(struct conf_context *context, const struct conf_node *node,
			 const char *key);

/* The mark of a key's value, or of `node` where the key is absent. */
struct conf_mark conf_mark_at(const struct conf_node *node, const char *key);

/* A list's first item and number of items; a scalar or mapping stands for a list of itself. Walk by
 * the number: what follows a scalar is no item. */
size_t conf_items(const struct conf_node *node, const struct conf_node **ret_first);

/* Memory of the snapshot; NULL is reported. */
void *conf_keep(struct conf_context *context, size_t n, size_t size_bytes) MUST_CHECK;
const char *conf_keep_text(struct conf_context *context, struct str text) MUST_CHECK;

/* ---- Words and values ---- */

/* A text in quotes for a message: cut where long, control characters as \xNN. */
struct conf_quoted {
	char text[112];
};
struct conf_quoted conf_quote(struct str text);
#define CONF_QUOTE(str_) (conf_quote(str_).text)

/* The best of `offer`s so far; "" in the end where none is near. */
struct conf_nearest {
	struct str wrong;
	const char *name;
	size_t distance;
};
struct conf_nearest conf_nearest_start(struct str wrong);
void conf_nearest_offer(struct conf_nearest *nearest, const char *name);

/* "5s", "64KiB". 0, -EINVAL (no such form), -ENODATA (no unit), -ERANGE (larger than int64_t). */
int conf_quantity_parse(const struct conf_quantity *quantity, struct str text,
			int64_t *ret_number) MUST_CHECK;

/* Decimal digits alone. 0, -EINVAL or -ERANGE. */
int conf_number_parse(struct str text, int64_t *ret_number) MUST_CHECK;

/* "61000-65535". 0, -EINVAL (no such form), -ERANGE (not within 1024 to 65535), -EDOM (ends before
 * it begins). */
int conf_ports_parse(struct str text, uint16_t *ret_min, uint16_t *ret_max) MUST_CHECK;

struct conf_quantity_text {
	char text[32];
};
/* In the largest unit that needs no fraction. */
struct conf_quantity_text conf_quantity_format(const struct conf_quantity *quantity,
					       int64_t number);

/* A port, or several: "192.0.2.1:8000-8010", "[2001:db8::1]:1-5", ":80"; or a UNIX socket. */
struct conf_bind_range {
	struct addr first;
	uint32_t n_ports; /* 1 of a UNIX socket */
};

/* 0, -EINVAL (no such form), -ERANGE (port not 1 to 65535), -EDOM (ends before it begins). */
int conf_bind_parse(struct str text, struct conf_bind_range *ret_range) MUST_CHECK;

/* "db.example.com:5432", "192.0.2.1:5432", "unix:/path": a host in lower case (terminated, "" of a
 * UNIX socket), and an address unless the host is a name. 0, -EINVAL, -ERANGE as addr_parse(). */
#define CONF_HOST_MAX 256
struct conf_endpoint {
	char host[CONF_HOST_MAX];
	bool is_name;
	struct addr addr; /* of a name its port alone: len 0 */
};
int conf_endpoint_parse(struct str text, struct conf_endpoint *ret_endpoint) MUST_CHECK;

/* "192.0.2.0/24", "2001:db8::1". The host bits are left as they are. 0, -EINVAL, -ERANGE (longer
 * than its address), -EAFNOSUPPORT (IPv4 mapped into IPv6). */
int conf_net_parse(struct str text, struct conf_net *ret_net) MUST_CHECK;

/* Clears the host bits; false: there were none. */
bool conf_net_mask(struct conf_net *net);

struct conf_net_text {
	char text[ADDR_TEXT_MAX + 4];
};
struct conf_net_text conf_net_format(const struct conf_net *net);

/* Is all of the second within the first? */
bool conf_net_covers(const struct conf_net *first, const struct conf_net *second);

/* Undoes "\r", "\n", "\t", "\\" and "\xHH". `ret_bytes` has room for text.len; its length, or
 * -EINVAL. */
ssize_t conf_bytes_parse(struct str text, char *ret_bytes) MUST_CHECK;

/* "sha256/" or nothing, and 32 bytes in base64. 0 or -EINVAL. */
int conf_pin_parse(struct str text, uint8_t ret_pin[CONF_PIN_BYTES]) MUST_CHECK;

/* A letter, a digit, "-" or "_". */
bool conf_is_word_char(char c);

/* Checks of conf_shape.check. */
const char *conf_check_name(struct str text);
const char *conf_check_user(struct str text);
const char *conf_check_path(struct str text);
const char *conf_check_directory(struct str text);
const char *conf_check_device(struct str text);
const char *conf_check_ports(struct str text);
const char *conf_check_bind(struct str text);
const char *conf_check_server(struct str text);
const char *conf_check_domain(struct str text);
const char *conf_check_pattern(struct str text); /* a domain, or "*." and a domain */
const char *conf_check_prefix(struct str text);
const char *conf_check_net(struct str text);
const char *conf_check_host(struct str text); /* an address without port */
const char *conf_check_dns_server(struct str text); /* with or without a port */
const char *conf_check_alpn(struct str text);
const char *conf_check_bytes(struct str text);
const char *conf_check_pin(struct str text);
const char *conf_check_subject(struct str text);
const char *conf_check_fingerprint(struct str text);

/* ---- The snapshot ---- */

/* The mapping of a value that may also be on (each key has its fallback then) or off (NULL). */
const struct conf_node *conf_switched(struct conf_context *context, const struct conf_node *node,
				      const struct conf_shape *shape);

/* Does the key stand in the text? Its value may be wrong. */
bool conf_was_given(const struct conf_node *node, const char *key);

/* Of a network or a list of them; nothing where `node` is NULL. */
void conf_nets_fill(struct conf_context *context, struct conf_nets *nets,
		    const struct conf_node *node);

/* A key whose value is a text or a list of texts; NULL where it is absent. */
const char **conf_texts_at(struct conf_context *context, const struct conf_node *node,
			   const char *key, size_t *ret_n);

/* The file that a key names; its path is NULL where the key is absent. */
struct conf_file conf_file_at(struct conf_context *context, const struct conf_node *node,
			      const char *key);

/* Of a file name or a mapping. False: its chain was wrong, and is reported. */
bool conf_certificate_fill(struct conf_context *context, struct conf_certificate *certificate,
			   const struct conf_node *node);

/* Of a checked mapping; what only listeners have is left alone. */
void conf_socket_fill(struct conf_context *context, struct conf_socket *options,
		      const struct conf_node *node);

/* Of either side of TLS: "policy", "versions" and "ciphers" of `node`. */
void conf_tls_policy_fill(struct conf_context *context, struct conf_tls_policy *policy,
			  const struct conf_node *node);

/* The switches of a "tls" mapping, under the one for the whole process. */
enum conf_kernel_use conf_kernel_use(const struct conf_context *context);
void conf_kernel_tls_fill(struct conf_context *context, const struct conf_node *node,
			  enum conf_kernel_tls *both, enum conf_kernel_tls *receive,
			  enum conf_kernel_tls *send);

/* NULL where `node` is. What depends on the routes is for conf_server_tls_finish(), after them. */
struct conf_server_tls *conf_server_tls_build(struct conf_context *context,
					      const struct conf_node *node);
void conf_server_tls_finish(struct conf_context *context, struct conf_listener *listener,
			    const struct conf_node *node);

/* A duration, never shorter than asked for. */
uint32_t conf_seconds_at(const struct conf_node *node, const char *key);

/* The file but for its origins. Errors are in the diag. */
void conf_build_globals(struct conf_context *context);
void conf_build_listeners(struct conf_context *context);

/* The routes of a listener, with its transport where a URL tells it. */
void conf_build_routes(struct conf_context *context, struct conf_listener *listener,
		       const struct conf_node *node);

/* What a listener's keys may be together. */
void conf_check_together(struct conf_context *context, const struct conf_node *node,
			 const struct conf_listener *listener);

/* The named origins, before the listeners. */
void conf_origins_build(struct conf_context *context);
void conf_origins_done(struct conf_context *context);

/* Of checked values of conf_shape_client_auth and conf_shape_client_cert; nothing where `node` is
 * NULL. */
void conf_client_auth_fill(struct conf_context *context, struct conf_client_auth_rules *rules,
			   const struct conf_node *node);
void conf_client_cert_fill(struct conf_context *context, struct conf_client_cert_match *match,
			   const struct conf_node *node);

/* What routes tell of certificates, and those that look at some which nobody asks for. `node` is
 * the listener's; after its TLS and routes. */
void conf_client_cert_finish(struct conf_context *context, struct conf_listener *listener,
			     const struct conf_node *node);

/* Of a checked mapping of conf_shape_client_tls. NULL: no memory, reported. */
struct conf_client_tls *conf_client_tls_make(struct conf_context *context,
					     const struct conf_node *node, bool is_stream,
					     struct conf_mark mark);

/* Its part of an origin's identity, as lines. */
void conf_client_tls_print(const struct conf_client_tls *tls, FILE *out);

/* By name, or canonical URL; NULL: there is none. */
struct conf_origin *conf_origin_find(struct conf_context *context, const char *name);

/* Values of "protocol" in an origin. */
enum { CONF_PROTOCOL_HTTP1, CONF_PROTOCOL_HTTP2, CONF_PROTOCOL_TCP };

/* What the scheme of a URL tells of an origin. */
struct conf_origin_kind {
	bool is_tls;
	bool is_stream;
};

/* An origin with one server and every fallback. NULL: no memory, reported. */
const struct conf_origin *conf_origin_in_place(struct conf_context *context, const char *name,
					       struct str address, struct conf_origin_kind kind,
					       struct conf_mark mark);

/*
 * What "to", "pass" or "steer" names. `transport` is set where a URL tells it, else left. NULL:
 * reported.
 */
const struct conf_origin *conf_target_resolve(struct conf_context *context,
					      const struct conf_node *target, enum conf_lane lane,
					      enum conf_transport *transport);

/* Clashes and oddities that are seen only when everything is built. The last two want all of it
 * right. */
void conf_lint(struct conf_context *context);
void conf_lint_routes(struct conf_context *context, const struct conf_listener *listener);
void conf_lint_origins(struct conf_context *context);

/* Is every address of the second within the first? None given is all. False also where that would
 * take long to tell. */
bool conf_nets_cover(const struct conf_nets *first, const struct conf_nets *second);

void conf_out_of_memory(struct conf_context *context);

#endif
