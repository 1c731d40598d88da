/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that show certificates to a server of ours which asks for them. The server's own is
 * "site.pem". */
#ifndef PENSTOCK_TESTS_UNIT_TLS_VISITOR_H
#define PENSTOCK_TESTS_UNIT_TLS_VISITOR_H

#include "lab.h"

/* Tickets hold for so long. */
#define VISITOR_LIFETIME_S 3600

/* Of TLS; 0: any. */
extern int visitor_version;

/* As lab_make_identity(), with an issuer; may issue itself. */
void visitor_make_authority(const struct lab_identity_wish *wish,
			    struct lab_identity *ret_identity);

/* NULL where it is refused; fails the test then where `ret_said` is NULL. What was said is for the
 * caller to free. */
struct tls_server_ctx *visitor_make_server(const struct conf_client_auth_rules *rules,
					   char **ret_said);

/* The certificate that was shown, or NULL, with the progress. Those of `above` (NULL: none; ends
 * with NULL) are sent along, `session` (NULL: none is wanted) is given and taken. */
struct tls_peer *visitor_show(struct tls_server_ctx *server, const struct lab_identity *identity,
			      const struct lab_identity *const *above, SSL_SESSION **session,
			      enum tls_progress *ret_progress);

#endif
