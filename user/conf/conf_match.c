/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a route asks for, in words, for people: `penstock check`, the status.
 */
#include <stdarg.h>
#include <stdio.h>

#include "conf/conf_internal.h"

#define MATCH_MORE "…"
#define MATCH_ROOM (CONF_MATCH_TEXT_MAX - sizeof(MATCH_MORE) + 1)

struct conf_match_text {
	char *text;
	size_t len;
};

static PRINTF_LIKE(2, 3) void conf_match_add(struct conf_match_text *match, const char *format, ...)
{
	size_t room = MATCH_ROOM - match->len;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(match->text + match->len, room, format, args);
	va_end(args);
	match->len += MIN((size_t)MAX(n, 0), room - 1);
	if ((size_t)MAX(n, 0) >= room)
		memcpy(match->text + match->len, MATCH_MORE, sizeof(MATCH_MORE));
}

static void conf_match_add_text(struct conf_match_text *match, const char *key, const char *value)
{
	if (value)
		conf_match_add(match, "%s%s %s", match->len ? " " : "", key, value);
}

static void conf_match_add_nets(struct conf_match_text *match, const char *key,
				const struct conf_nets *nets)
{
	for (size_t i = 0; i < nets->n_nets; i++)
		if (i == 0)
			conf_match_add_text(match, key, conf_net_format(&nets->nets[i]).text);
		else
			conf_match_add(match, ",%s", conf_net_format(&nets->nets[i]).text);
}

static void conf_match_add_client_cert(struct conf_match_text *match,
				       const struct conf_client_cert_match *cert)
{
	if (!cert->is_set)
		return;
	if (!cert->subject && !cert->san && !cert->issuer && !cert->fingerprint)
		conf_match_add_text(match, "client_cert", cert->verified ? "on" : "off");
	conf_match_add_text(match, "client_cert subject", cert->subject);
	conf_match_add_text(match, "client_cert san", cert->san);
	conf_match_add_text(match, "client_cert issuer", cert->issuer);
	conf_match_add_text(match, "client_cert fingerprint", cert->fingerprint);
}

const char *conf_route_format_match(const struct conf_route *route, char text[CONF_MATCH_TEXT_MAX])
{
	struct conf_match_text match = {.text = text};

	text[0] = 0;
	conf_match_add_text(&match, "sni", route->sni);
	for (size_t i = 0; i < route->n_alpn; i++)
		if (i == 0)
			conf_match_add_text(&match, "alpn", route->alpn[i]);
		else
			conf_match_add(&match, ",%s", route->alpn[i]);
	conf_match_add_text(&match, "host", route->host);
	conf_match_add_text(&match, "path", route->path);
	conf_match_add_client_cert(&match, &route->client_cert);
	conf_match_add_nets(&match, "source", &route->sources);
	conf_match_add_nets(&match, "destination", &route->destinations);
	if (match.len == 0)
		conf_match_add(&match, "any");
	return text;
}
