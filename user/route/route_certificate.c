/* SPDX-License-Identifier: Apache-2.0 */
/* A client's certificate against what a route asks of it. */
#include "route/route.h"

/* Anything may stand there, so it is compared to the letter, but for "*." and a domain. */
static bool route_takes_common_name(const char *pattern, struct str name)
{
	if (!pattern)
		return true;
	return pattern[0] == '*' ? route_name_matches(pattern, name)
				 : str_is_equal(str_from(pattern), name);
}

static bool route_takes_any_name(const char *pattern, const struct route_certificate *certificate)
{
	if (!pattern)
		return true;
	for (size_t i = 0; i < certificate->n_names; i++) {
		const struct route_name *name = &certificate->names[i];

		if (name->is_domain ? route_name_matches(pattern, name->text)
				    : str_is_equal(str_from(pattern), name->text))
			return true;
	}
	return false;
}

bool route_takes_certificate(const struct conf_client_cert_match *match,
			     const struct route_certificate *certificate)
{
	if (!match->is_set)
		return true;
	if (!match->verified || !certificate)
		return !match->verified && !certificate;
	return route_takes_common_name(match->subject, certificate->subject) &&
	       route_takes_common_name(match->issuer, certificate->issuer) &&
	       route_takes_any_name(match->san, certificate) &&
	       (!match->fingerprint ||
		str_is_equal(str_from(match->fingerprint), certificate->fingerprint));
}
