/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates of clients: a checked mapping -> the snapshot, for listeners and routes.
 */
#include "conf/conf_internal.h"

#define CONF_SUBJECT_MAX 256

const char *conf_check_subject(struct str text)
{
	if (text.len == 0)
		return "is empty; leave the key out";
	if (text.len > CONF_SUBJECT_MAX)
		return "is longer than a name may be here (256 bytes)";
	if (text.ptr[0] == '*' && !(text.len > 2 && text.ptr[1] == '.'))
		return "begins with \"*\" elsewhere than in \"*.\" and a domain";
	return NULL;
}

static bool conf_is_hex(char c)
{
	c = ascii_lower(c);
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

const char *conf_check_fingerprint(struct str text)
{
	size_t n_digits = 0;

	for (size_t i = 0; i < text.len; i++)
		if (conf_is_hex(text.ptr[i]))
			n_digits++;
		else if (text.ptr[i] != ':' || n_digits == 0 || n_digits % 2 || i + 1 == text.len ||
			 text.ptr[i - 1] == ':')
			return "is not the SHA-256 digest of a certificate; write 64 hexadecimal "
			       "digits";
	if (n_digits == 64)
		return NULL;
	return n_digits == 40 ? "is a SHA-1 digest; write the one by SHA-256, 64 hexadecimal digits"
			      : "is not the SHA-256 digest of a certificate; write 64 hexadecimal "
				"digits";
}

void conf_client_auth_fill(struct conf_context *context, struct conf_client_auth_rules *rules,
			   const struct conf_node *node)
{
	if (!node)
		return;
	rules->mode = (enum conf_client_auth)conf_number_at(node, "verify");
	rules->ca = conf_file_at(context, node, "ca");
	rules->crl = conf_file_at(context, node, "crl");
	rules->depth = (uint32_t)conf_number_at(node, "depth");
}

static unsigned int conf_cert_headers(const struct conf_node *node)
{
	const struct conf_node *item;
	unsigned int headers = 0;

	for (size_t n = conf_items(node, &item); n; n--, item = item->next)
		headers |= (unsigned int)item->number;
	return headers;
}

/* The route's own, else those of the listener. */
static void conf_cert_headers_fill(struct conf_listener *listener, struct conf_route *route,
				   const struct conf_node *of_listener,
				   const struct conf_node *of_route)
{
	route->cert_headers = conf_cert_headers(of_route ? of_route : of_listener);
	if (route->cert_headers & (CONF_CERT_HEADER_LEAF | CONF_CERT_HEADER_CHAIN))
		listener->tls->client.tells_der = true;
}

static const char *conf_fingerprint_at(struct conf_context *context, const struct conf_node *node)
{
	const struct conf_node *value = conf_at(node, "fingerprint");
	char *digits = value ? conf_keep(context, 65, 1) : NULL;
	size_t n = 0;

	if (!digits)
		return NULL;
	for (size_t i = 0; i < value->text.len && n < 64; i++)
		if (value->text.ptr[i] != ':')
			digits[n++] = ascii_lower(value->text.ptr[i]);
	digits[n] = 0;
	return digits;
}

void conf_client_cert_fill(struct conf_context *context, struct conf_client_cert_match *match,
			   const struct conf_node *node)
{
	if (!node)
		return;
	match->is_set = true;
	match->verified = node->kind == CONF_NODE_MAPPING || node->number;
	if (node->kind != CONF_NODE_MAPPING)
		return;
	match->subject = conf_text_at(context, node, "subject");
	match->san = conf_text_at(context, node, "san");
	match->issuer = conf_text_at(context, node, "issuer");
	match->fingerprint = conf_fingerprint_at(context, node);
}

/* Of a listener that asks for no certificates. */
static void conf_client_cert_refuse(struct conf_context *context, const struct conf_node *route)
{
	static const char *const keys[] = {"client_cert", "client_cert_headers"};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (conf_at(route, keys[i]))
			conf_diag_add(context->diag, route->mark,
				      "\"%s\" has no meaning here: the listener asks for no "
				      "certificates; give its \"tls\" a \"client\"",
				      keys[i]);
}

void conf_client_cert_finish(struct conf_context *context, struct conf_listener *listener,
			     const struct conf_node *node)
{
	const struct conf_node *headers =
	    conf_at(conf_at(conf_at(node, "tls"), "client"), "headers");
	bool is_asked = listener->tls && listener->tls->client.mode != CONF_CLIENT_AUTH_OFF;
	const struct conf_node *item;

	conf_items(conf_at(node, "routes"), &item);
	for (size_t i = 0; i < listener->n_routes; i++, item = item->next) {
		if (is_asked)
			conf_cert_headers_fill(listener, &listener->routes[i], headers,
					       conf_at(item, "client_cert_headers"));
		else
			conf_client_cert_refuse(context, item);
	}
}
