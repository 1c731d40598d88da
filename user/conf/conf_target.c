/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What "to", "pass" and "steer" name: an origin, or a URL that stands for one with a single server.
 */
#include <stdio.h>

#include "conf/conf_internal.h"

struct conf_scheme {
	const char *name;
	enum conf_lane lane;
	uint16_t port; /* where the URL has none; 0: it must */
	bool is_tls;
	enum conf_transport transport;
	bool is_stream;
};

static const struct conf_scheme conf_schemes[] = {
    {"http", CONF_LANE_TERMINATE, 80, false, CONF_TRANSPORT_TCP, false},
    {"https", CONF_LANE_TERMINATE, 443, true, CONF_TRANSPORT_TCP, false},
    {"tcp", CONF_LANE_TERMINATE, 0, false, CONF_TRANSPORT_TCP, true},
    {"tls", CONF_LANE_TERMINATE, 0, true, CONF_TRANSPORT_TCP, true},
    {"tcp", CONF_LANE_SPLICE, 0, false, CONF_TRANSPORT_TCP, true},
    {"udp", CONF_LANE_STEER, 0, false, CONF_TRANSPORT_UDP, true},
    {"tcp", CONF_LANE_STEER, 0, false, CONF_TRANSPORT_TCP, true},
};

static const char *const conf_lane_schemes[] = {
    [CONF_LANE_TERMINATE] = "http://, https://, tcp:// or tls://",
    [CONF_LANE_SPLICE] = "tcp://",
    [CONF_LANE_STEER] = "udp:// or tcp://",
};

/* An address or host name with the port that its scheme implies. */
struct conf_authority {
	char text[CONF_HOST_MAX + sizeof(":65535")];
};

static const struct conf_scheme *conf_scheme_find(struct conf_context *context,
						  const struct conf_node *target,
						  enum conf_lane lane, struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(conf_schemes); i++) {
		const struct conf_scheme *scheme = &conf_schemes[i];

		if (scheme->lane == lane && str_is_equal_nocase(str_from(scheme->name), name))
			return scheme;
	}
	if (lane == CONF_LANE_SPLICE && str_is_equal_nocase(STR("tls"), name)) {
		conf_diag_add(context->diag, target->mark,
			      "%s: \"pass\" leaves bytes as they are; use tcp://, or \"to\" where "
			      "they are to be encrypted",
			      CONF_QUOTE(target->text));
		return NULL;
	}
	conf_diag_add(context->diag, target->mark, "%s: \"%s\" takes %s, or the name of an origin",
		      CONF_QUOTE(target->text), target->key->text.ptr, conf_lane_schemes[lane]);
	return NULL;
}

/* Cuts what follows the authority of an http URL. NULL, or what is wrong. */
static const char *conf_url_cut(struct str *rest)
{
	size_t len = 0;

	while (len < rest->len && rest->ptr[len] != '/' && rest->ptr[len] != '?' &&
	       rest->ptr[len] != '#')
		len++;
	if (len < rest->len && !(len + 1 == rest->len && rest->ptr[len] == '/'))
		return "has a path or query: changing those is not built yet; end it after the "
		       "port";
	rest->len = len;
	return len && memchr(rest->ptr, '@', len) ? "has a user name; leave it out" : NULL;
}

static bool conf_lacks_port(struct str authority)
{
	struct addr addr;

	if (authority.len > 2 && authority.ptr[0] == '[' && authority.ptr[authority.len - 1] == ']')
		return true;
	if (addr_parse_host(authority, &addr) == 0)
		return addr.sa.sa_family == AF_INET;
	return authority.len && !memchr(authority.ptr, ':', authority.len);
}

/* False: not an address with a port, and reported. */
static bool conf_authority_read(struct conf_context *context, const struct conf_node *target,
				const struct conf_scheme *scheme, struct str rest,
				struct conf_authority *ret_authority)
{
	const char *wrong = scheme->is_stream ? NULL : conf_url_cut(&rest);

	if (!wrong && rest.len > sizeof(ret_authority->text) - sizeof(":65535"))
		wrong = "is longer than an address";
	if (wrong) {
		conf_diag_add(context->diag, target->mark, "%s %s", CONF_QUOTE(target->text),
			      wrong);
		return false;
	}
	snprintf(ret_authority->text, sizeof(ret_authority->text), STR_FMT, STR_ARG(rest));
	if (scheme->port && conf_lacks_port(rest))
		snprintf(ret_authority->text, sizeof(ret_authority->text), STR_FMT ":%u",
			 STR_ARG(rest), scheme->port);
	wrong = conf_check_server(str_from(ret_authority->text));
	if (wrong)
		conf_diag_add(context->diag, target->mark, "%s: %s %s", CONF_QUOTE(target->text),
			      CONF_QUOTE(rest), wrong);
	return !wrong;
}

static const struct conf_origin *conf_target_url(struct conf_context *context,
						 const struct conf_node *target,
						 enum conf_lane lane, size_t scheme_len,
						 enum conf_transport *transport)
{
	const char *text = target->text.ptr;
	struct str rest = {text + scheme_len + 3, target->text.len - scheme_len - 3};
	const struct conf_scheme *scheme =
	    conf_scheme_find(context, target, lane, (struct str){text, scheme_len});
	char name[sizeof("https://") + sizeof(struct conf_authority)], address[ADDR_TEXT_MAX];
	struct conf_endpoint endpoint;
	const struct conf_origin *origin;
	struct conf_authority authority;
	struct conf_origin_kind kind;

	if (!scheme || !conf_authority_read(context, target, scheme, rest, &authority) ||
	    conf_endpoint_parse(str_from(authority.text), &endpoint))
		return NULL;
	*transport = scheme->transport;
	if (endpoint.is_name)
		snprintf(name, sizeof(name), "%s://%s:%u", scheme->name, endpoint.host,
			 addr_port(&endpoint.addr));
	else
		snprintf(name, sizeof(name), "%s://%s", scheme->name,
			 addr_format(&endpoint.addr, address));
	origin = conf_origin_find(context, name);
	if (origin)
		return origin;
	kind = (struct conf_origin_kind){.is_tls = scheme->is_tls, .is_stream = scheme->is_stream};
	return conf_origin_in_place(context, name, str_from(authority.text), kind, target->mark);
}

static void conf_complain_target(struct conf_context *context, const struct conf_node *target,
				 enum conf_lane lane)
{
	struct conf_nearest nearest = conf_nearest_start(target->text);

	/* Nobody reads so many suggestions, and each looks at all origins. */
	for (size_t i = 0; i < context->conf->n_origins && conf_diag_errors(context->diag) < 100;
	     i++)
		conf_nearest_offer(&nearest, context->conf->origins[i]->name);
	if (memchr(target->text.ptr, ':', target->text.len))
		conf_diag_add(context->diag, target->mark, "%s has no scheme; begin it with %s",
			      CONF_QUOTE(target->text), conf_lane_schemes[lane]);
	else if (conf_check_name(target->text))
		conf_diag_add(context->diag, target->mark,
			      "%s is neither a URL nor the name of an origin",
			      CONF_QUOTE(target->text));
	else if (nearest.name)
		conf_diag_add(context->diag, target->mark,
			      "no origin has the name %s; did you mean \"%s\"?",
			      CONF_QUOTE(target->text), nearest.name);
	else
		conf_diag_add(
		    context->diag, target->mark,
		    "no origin has the name %s; give it under \"origins\", or write a URL with %s",
		    CONF_QUOTE(target->text), conf_lane_schemes[lane]);
}

const struct conf_origin *conf_target_resolve(struct conf_context *context,
					      const struct conf_node *target, enum conf_lane lane,
					      enum conf_transport *transport)
{
	const char *colon = strstr(target->text.ptr, "://");
	const struct conf_origin *origin;

	if (colon)
		return conf_target_url(context, target, lane, (size_t)(colon - target->text.ptr),
				       transport);
	origin = conf_origin_find(context, target->text.ptr);
	if (!origin)
		conf_complain_target(context, target, lane);
	return origin;
}
