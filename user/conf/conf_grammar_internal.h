/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the tables of the grammar are written, and the shapes that more than one of them has:
 * conf_grammar.c has the file, conf_grammar_listener.c, conf_grammar_origin.c and
 * conf_grammar_tls.c what is below.
 */
#ifndef PENSTOCK_CONF_CONF_GRAMMAR_INTERNAL_H
#define PENSTOCK_CONF_CONF_GRAMMAR_INTERNAL_H

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

#define QUANTITY(variable, quantity_, noun_, min_, max_) \
	const struct conf_shape variable = {.kind = CONF_SHAPE_QUANTITY, \
					    .noun = (noun_), \
					    .quantity = &(quantity_), \
					    .min = (min_), \
					    .max = (max_)}
#define DURATION(variable, min_, max_) \
	QUANTITY(variable, conf_quantity_duration, "a duration", min_, max_)

/* Or "off", which is 0. */
#define DURATION_OR_OFF(variable, min_, max_) \
	const struct conf_shape variable = {.kind = CONF_SHAPE_QUANTITY, \
					    .noun = "a duration, or off", \
					    .quantity = &conf_quantity_duration, \
					    .words = conf_words_off, \
					    .min = (min_), \
					    .max = (max_)}

#define NUMBER(variable, min_, max_) \
	const struct conf_shape variable = { \
	    .kind = CONF_SHAPE_NUMBER, .noun = "a number", .min = (min_), .max = (max_)}

#define TEXT(variable, noun_, check_, pattern_) \
	const struct conf_shape variable = { \
	    .kind = CONF_SHAPE_TEXT, .noun = (noun_), .check = (check_), .pattern = (pattern_)}

#define WORDS(variable, ...) \
	const struct conf_shape variable = { \
	    .kind = CONF_SHAPE_WORD, \
	    .noun = "a word", \
	    .words = (const struct conf_word[]){__VA_ARGS__, {.name = NULL}}}

#define LIST(variable, item_, noun_, max_items_) \
	const struct conf_shape variable = { \
	    .kind = CONF_SHAPE_LIST, .noun = (noun_), .item = &(item_), .max_items = (max_items_)}

#define MAPPING(variable, noun_, keys_) \
	const struct conf_shape variable = { \
	    .kind = CONF_SHAPE_MAPPING, .noun = (noun_), .keys = (keys_)}

/* One item, or a list of them. */
#define ONE_OR_MORE(variable, noun_, item_, list_) \
	const struct conf_shape variable = { \
	    .kind = CONF_SHAPE_EITHER, .noun = (noun_), .scalar = &(item_), .list = &(list_)}

/* Off, on for every fallback, or a mapping. */
#define SWITCH_OR_MAPPING(variable, mapping_) \
	const struct conf_shape variable = {.kind = CONF_SHAPE_EITHER, \
					    .noun = "on, off or a mapping", \
					    .scalar = &conf_shape_switch, \
					    .mapping = &(mapping_)}

extern const struct conf_word conf_words_off[];
extern const struct conf_shape conf_shape_switch;
extern const struct conf_shape conf_shape_kernel_tls;
extern const struct conf_shape conf_shape_kernel_tls_either;
extern const struct conf_shape conf_shape_timeout;
extern const struct conf_shape conf_shape_name;
extern const struct conf_shape conf_shape_path;
extern const struct conf_shape conf_shape_count;
extern const struct conf_shape conf_shape_rate;
extern const struct conf_shape conf_shape_nets;
extern const struct conf_shape conf_shape_alpn;
extern const struct conf_shape conf_shape_certificate;
extern const struct conf_shape conf_shape_client_auth;
extern const struct conf_shape conf_shape_client_cert;
extern const struct conf_shape conf_shape_route_cert_headers;
extern const struct conf_shape conf_shape_keepalive_either;
extern const struct conf_shape conf_shape_user_timeout;
extern const struct conf_shape conf_shape_buffer;

/* Of TLS, on either side. */
extern const struct conf_shape conf_shape_tls_level;
extern const struct conf_shape conf_shape_tls_versions;
extern const struct conf_shape conf_shape_tls_ciphers;
extern const struct conf_shape conf_shape_server_tls;

/* What conf_tls_policy_fill() reads. */
#define TLS_POLICY_KEYS \
	KEY("policy", conf_shape_tls_level, "intermediate", \
	    "Versions and ciphers as Mozilla's guide names them: modern is TLS 1.3 alone, " \
	    "intermediate is TLS 1.2 too."), \
	    KEY("versions", conf_shape_tls_versions, NULL, \
		"TLS versions that are spoken; stronger than \"policy\"."), \
	    KEY("ciphers", conf_shape_tls_ciphers, NULL, \
		"Ciphers by OpenSSL's names, the preferred first; a version of which none is " \
		"named keeps those of \"policy\".")

/* Of the file. */
extern const struct conf_shape conf_shape_listeners;
extern const struct conf_shape conf_shape_origins;

#endif
