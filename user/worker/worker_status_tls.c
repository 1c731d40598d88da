/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the status document that is about TLS: certificates, and what is asked of the other
 * side. How each route is carried is not here. */
#include <time.h>

#include "worker/worker_internal.h"

#define DAY_S 86400

/* Rounded down: 0 is less than a day, -1 has expired. */
static json_int_t status_days_left(int64_t not_after_s)
{
	int64_t left_s = not_after_s - (int64_t)time(NULL);

	return left_s >= 0 ? left_s / DAY_S : (left_s - DAY_S + 1) / DAY_S;
}

static const char *status_time(int64_t when_s, char text[32])
{
	time_t when = (time_t)when_s;
	struct tm tm;

	text[0] = 0;
	if (gmtime_r(&when, &tm))
		strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return text;
}

static json_t *status_certificate(const struct tls_certificate_facts *facts)
{
	char expires[32];

	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:b}", "file", facts->file, "names",
			 facts->names, "key", facts->key, "expires",
			 status_time(facts->not_after_s, expires), "not_after",
			 (json_int_t)facts->not_after_s, "days_left",
			 status_days_left(facts->not_after_s), "stapled", facts->is_stapled);
}

json_t *worker_status_certificates(const struct tls_server_ctx *context)
{
	json_t *certificates = context ? json_array() : NULL;
	struct tls_certificate_facts facts;

	for (size_t i = 0; context && i < tls_server_ctx_n_certificates(context); i++) {
		tls_server_ctx_describe(context, i, &facts);
		json_array_append_new(certificates, status_certificate(&facts));
	}
	return certificates;
}

json_t *worker_status_origin_certificates(const struct tls_client_ctx *context)
{
	struct tls_certificate_facts facts;

	if (!context || !tls_client_ctx_describe(context, &facts))
		return NULL;
	return json_pack("[o]", status_certificate(&facts));
}

/* ---- rules ---- */

/* Those that are spoken: what is given is stronger than the level. */
static json_t *status_versions(const struct conf_tls_policy *policy)
{
	int of_level = policy->level == CONF_TLS_MODERN ? 0x0304 : 0x0303;
	int min = policy->min_version ? policy->min_version : of_level;
	int max = policy->max_version ? policy->max_version : 0x0304;
	json_t *versions = json_array();

	if (min <= 0x0303)
		json_array_append_new(versions, json_string("TLSv1.2"));
	if (max >= 0x0304)
		json_array_append_new(versions, json_string("TLSv1.3"));
	return versions;
}

static const char *status_policy(const struct conf_tls_policy *policy)
{
	if (policy->ciphers_12 || policy->ciphers_13)
		return "own ciphers";
	return policy->level == CONF_TLS_MODERN ? "modern" : "intermediate";
}

static json_t *status_names(const char *const *names, size_t n_names)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n_names; i++)
		json_array_append_new(list, json_string(names[i]));
	return list;
}

/* "ring": made here and changed daily. */
static json_t *status_tickets(const struct conf_tickets *tickets)
{
	if (!tickets->on)
		return json_pack("{s:s}", "keys", "off");
	return json_pack("{s:s, s:s*, s:I}", "keys", tickets->keys.path ? "file" : "ring", "file",
			 tickets->keys.path, "lifetime_s", (json_int_t)tickets->lifetime_s);
}

static json_t *status_client_auth(const struct conf_client_auth_rules *rules,
				  const struct tls_server_ctx *context)
{
	static const char *const words[] = {
	    [CONF_CLIENT_AUTH_OFF] = "off",
	    [CONF_CLIENT_AUTH_OPTIONAL] = "optional",
	    [CONF_CLIENT_AUTH_REQUIRED] = "required",
	};
	int64_t until_s = tls_server_ctx_lists_until(context);
	char until[32];

	if (rules->mode == CONF_CLIENT_AUTH_OFF)
		return json_pack("{s:s}", "verify", words[rules->mode]);
	return json_pack("{s:s, s:s, s:i, s:s*, s:s*, s:o*}", "verify", words[rules->mode], "ca",
			 rules->ca.path, "depth", (int)rules->depth, "crl", rules->crl.path,
			 "crl_until", until_s ? status_time(until_s, until) : NULL, "crl_not_after",
			 until_s ? json_integer(until_s) : NULL);
}

json_t *worker_status_tls_rules(const struct conf_server_tls *conf,
				const struct tls_server_ctx *context)
{
	if (!conf || !context)
		return NULL;
	return json_pack("{s:s, s:o, s:o, s:b, s:o, s:o, s:o*}", "policy",
			 status_policy(&conf->policy), "versions", status_versions(&conf->policy),
			 "alpn", status_names(conf->alpn, conf->n_alpn), "strict_sni",
			 conf->strict_sni, "tickets", status_tickets(&conf->tickets),
			 "client_certificates", status_client_auth(&conf->client, context),
			 "max_handshakes",
			 conf->max_handshakes ? json_integer(conf->max_handshakes) : NULL);
}

json_t *worker_status_origin_rules(const struct conf_client_tls *conf)
{
	if (!conf)
		return NULL;
	return json_pack("{s:b, s:s*, s:s*, s:i, s:s, s:o, s:o, s:b}", "verify", conf->verify, "ca",
			 !conf->verify	 ? NULL
			 : conf->ca.path ? conf->ca.path
					 : tls_system_ca_path(),
			 "server_name", conf->server_name, "pins", (int)conf->n_pins, "policy",
			 status_policy(&conf->policy), "versions", status_versions(&conf->policy),
			 "alpn", status_names(conf->alpn, conf->n_alpn), "sessions",
			 conf->sessions);
}
