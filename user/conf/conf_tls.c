/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS of a snapshot: policies of either side, and the side of clients. Files are named here, not
 * read.
 */
#include "conf/conf_internal.h"

static void conf_certificates_fill(struct conf_context *context, struct conf_server_tls *tls,
				   const struct conf_node *certificates)
{
	const struct conf_node *item;
	size_t n = conf_items(certificates, &item);

	tls->certificates = conf_keep(context, n, sizeof(*tls->certificates));
	for (; tls->certificates && n; n--, item = item->next)
		if (conf_certificate_fill(context, &tls->certificates[tls->n_certificates], item))
			tls->n_certificates++;
}

/* ---- Policies ---- */

static void conf_versions_fill(struct conf_tls_policy *policy, const struct conf_node *versions)
{
	const struct conf_node *item;

	for (size_t n = conf_items(versions, &item); n; n--, item = item->next) {
		uint16_t version = (uint16_t)item->number;

		if (!policy->min_version || version < policy->min_version)
			policy->min_version = version;
		policy->max_version = MAX(policy->max_version, version);
	}
}

/* The names of one version, as OpenSSL takes them; NULL where there are none. */
static const char *conf_ciphers_join(struct conf_context *context, const struct conf_node *ciphers,
				     enum conf_tls_version version)
{
	char joined[CONF_TLS_CIPHERS_MAX] = "";
	const struct conf_node *item;
	size_t len = 0;

	for (size_t n = conf_items(ciphers, &item); n; n--, item = item->next)
		if (item->number == version && len + item->text.len + 2 < sizeof(joined)) {
			if (len)
				joined[len++] = ':';
			memcpy(joined + len, item->text.ptr, item->text.len + 1);
			len += item->text.len;
		}
	return len ? conf_keep_text(context, str_from(joined)) : NULL;
}

/* A cipher of a version that is not spoken does nothing, which nobody can have meant. */
static void conf_ciphers_check(struct conf_context *context, const struct conf_tls_policy *policy,
			       const struct conf_node *ciphers)
{
	uint16_t min = policy->min_version		  ? policy->min_version
		       : policy->level == CONF_TLS_MODERN ? CONF_TLS_1_3
							  : CONF_TLS_1_2;
	uint16_t max = policy->max_version ? policy->max_version : CONF_TLS_1_3;
	const struct conf_node *item;

	for (size_t n = conf_items(ciphers, &item); n; n--, item = item->next)
		if (item->number < min || item->number > max)
			conf_diag_add(context->diag, item->mark,
				      "%s is a cipher of TLS 1.%d, which is not spoken here",
				      CONF_QUOTE(item->text), item->number == CONF_TLS_1_2 ? 2 : 3);
}

void conf_tls_policy_fill(struct conf_context *context, struct conf_tls_policy *policy,
			  const struct conf_node *node)
{
	const struct conf_node *ciphers = conf_at(node, "ciphers");

	policy->level = (enum conf_tls_level)conf_number_at(node, "policy");
	conf_versions_fill(policy, conf_at(node, "versions"));
	policy->ciphers_12 = conf_ciphers_join(context, ciphers, CONF_TLS_1_2);
	policy->ciphers_13 = conf_ciphers_join(context, ciphers, CONF_TLS_1_3);
	conf_ciphers_check(context, policy, ciphers);
}

/* ---- The side of clients ---- */

static void conf_tickets_fill(struct conf_context *context, struct conf_tickets *tickets,
			      const struct conf_node *node)
{
	const struct conf_node *mapping = conf_switched(context, node, &conf_shape_tickets);

	tickets->on = mapping != NULL;
	tickets->keys = conf_file_at(context, mapping, "keys");
	tickets->lifetime_s = conf_seconds_at(mapping, "lifetime");
}

enum conf_kernel_use conf_kernel_use(const struct conf_context *context)
{
	const struct conf_node *process = conf_at(context->file, "process");

	return (enum conf_kernel_use)conf_number_at(process, "kernel_tls");
}

void conf_kernel_tls_fill(struct conf_context *context, const struct conf_node *node,
			  enum conf_kernel_tls *both, enum conf_kernel_tls *receive,
			  enum conf_kernel_tls *send)
{
	const struct conf_node *kernel = conf_at(node, "kernel");

	*both = conf_kernel_use(context) == CONF_KERNEL_USE_OFF ? CONF_KERNEL_TLS_OFF
								: CONF_KERNEL_TLS_AUTO;
	if (*both == CONF_KERNEL_TLS_AUTO && kernel && kernel->kind == CONF_NODE_MAPPING) {
		*receive = (enum conf_kernel_tls)conf_number_at(kernel, "receive");
		*send = (enum conf_kernel_tls)conf_number_at(kernel, "send");
		return;
	}
	if (*both == CONF_KERNEL_TLS_AUTO)
		*both = (enum conf_kernel_tls)conf_number_at(node, "kernel");
	*receive = *both;
	*send = *both;
}

struct conf_server_tls *conf_server_tls_build(struct conf_context *context,
					      const struct conf_node *node)
{
	struct conf_server_tls *tls = node ? conf_keep(context, 1, sizeof(*tls)) : NULL;

	if (!tls)
		return NULL;
	tls->mark = node->mark;
	conf_kernel_tls_fill(context, node, &tls->kernel, &tls->kernel_receive, &tls->kernel_send);
	tls->kernel_waits = conf_kernel_use(context) == CONF_KERNEL_USE_AUTO;
	tls->max_handshakes = (uint32_t)conf_number_at(node, "max_handshakes");
	tls->strict_sni = conf_number_at(node, "strict_sni") != 0;
	conf_certificates_fill(context, tls, conf_at(node, "certificates"));
	conf_client_auth_fill(context, &tls->client, conf_at(node, "client"));
	conf_tls_policy_fill(context, &tls->policy, node);
	tls->key_log = conf_file_at(context, node, "key_log");
	if (tls->key_log.path)
		conf_diag_warn(context->diag, tls->key_log.mark,
			       "THE KEYS OF ALL TLS SESSIONS ARE WRITTEN TO \"%s\": whoever reads "
			       "it can read the traffic; take \"key_log\" out again",
			       tls->key_log.path);
	conf_tickets_fill(context, &tls->tickets, conf_at(node, "tickets"));
	tls->alpn = conf_texts_at(context, node, "alpn", &tls->n_alpn);
	return tls;
}

/* Does the listener serve requests? */
static bool conf_speaks_http(const struct conf_listener *listener, bool only)
{
	bool found = false;

	for (size_t i = 0; i < listener->n_routes; i++) {
		const struct conf_route *route = &listener->routes[i];

		if (route->lane != CONF_LANE_TERMINATE || !route->origin)
			continue;
		if (route->origin->is_stream && only)
			return false;
		found = found || !route->origin->is_stream;
	}
	return found;
}

/* Requests are read as HTTP/1.1, whatever was agreed on. */
static void conf_alpn_check(struct conf_context *context, const struct conf_node *alpn)
{
	const struct conf_node *item;

	for (size_t n = conf_items(alpn, &item); n; n--, item = item->next)
		if (str_is_equal(item->text, STR("h2")))
			conf_diag_add(context->diag, item->mark, "\"h2\" is not built yet");
		else if (!str_is_equal(item->text, STR("http/1.1")) &&
			 !str_is_equal(item->text, STR("http/1.0")))
			conf_diag_add(context->diag, item->mark,
				      "%s is not spoken by the routes of this listener, which take "
				      "http/1.1",
				      CONF_QUOTE(item->text));
}

void conf_server_tls_finish(struct conf_context *context, struct conf_listener *listener,
			    const struct conf_node *node)
{
	static const char *http[] = {"http/1.1", "http/1.0"};

	if (!listener->tls)
		return;
	if (conf_speaks_http(listener, true))
		conf_alpn_check(context, conf_at(node, "alpn"));
	if (!listener->tls->n_alpn && conf_speaks_http(listener, false)) {
		listener->tls->alpn = http;
		listener->tls->n_alpn = ARRAY_LEN(http);
	}
}
