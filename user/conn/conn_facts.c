/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who the client is: its address, what routes see of it, and what origins are told in a PROXY
 * protocol header. That is made only for origins that ask for one, so that other connections pay
 * nothing for it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn/conn_internal.h"

#define CONN_ID_CHARS 32

struct conn_facts {
	struct proxy_facts facts;
	struct addr peer;
	char unique_id[CONN_ID_CHARS + 1];
};

/* Of an IP address in struct conn; 0: it is another one. */
static socklen_t peer_ip_len(sa_family_t family)
{
	switch (family) {
	case AF_INET:
		return sizeof(struct sockaddr_in);
	case AF_INET6:
		return sizeof(struct sockaddr_in6);
	default:
		return 0;
	}
}

const struct addr *conn_peer(const struct conn *conn, struct addr *room)
{
	socklen_t len = peer_ip_len(conn->peer.sa.sa_family);

	if (!len)
		return conn->peer.other.whole;
	memcpy(&room->sa, &conn->peer, len);
	room->len = len;
	return room;
}

int conn_set_peer(struct conn *conn, const struct addr *peer)
{
	socklen_t len = peer->len ? peer_ip_len(peer->sa.sa_family) : 0;
	struct addr *whole = NULL;

	if (!len) {
		whole = malloc(sizeof(*whole));
		if (!whole)
			return -ENOMEM;
		*whole = *peer;
	}
	conn_peer_done(conn);
	if (whole)
		conn->peer.other.whole = whole;
	else
		memcpy(&conn->peer, &peer->sa, len);
	return 0;
}

void conn_peer_done(struct conn *conn)
{
	if (!peer_ip_len(conn->peer.sa.sa_family))
		free(conn->peer.other.whole);
	memset(&conn->peer, 0, sizeof(conn->peer));
}

struct route_seen conn_seen(const struct conn *conn, struct addr *room)
{
	return (struct route_seen){
	    .is_tls = conn->is_tls,
	    .sni = conn->sni ? str_from(conn->sni) : STR(""),
	    .alpn = conn->alpn,
	    .alpn_len = conn->alpn_len,
	    .source = conn_peer(conn, room),
	    .destination = conn->destination,
	    .certificate = conn->certificate ? &conn->certificate->route : NULL,
	};
}

/* The protocol in use is known here only where there is no choice: whom a spliced client talks to
 * agrees with it later, and unseen. */
static struct str conn_only_alpn(const struct conn *conn)
{
	if (conn->alpn_len == 0 || conn->alpn[0] + 1u != conn->alpn_len)
		return STR("");
	return (struct str){(const char *)conn->alpn + 1, conn->alpn[0]};
}

static void conn_add_tls_facts(const struct conn *conn, struct proxy_facts *facts)
{
	struct tls_facts tls;

	if (conn->route->lane != CONF_LANE_TERMINATE || !conn->is_tls)
		return;
	tls_get_facts(&conn->io, &tls);
	facts->tls_version = tls.version;
	facts->tls_cipher = tls.cipher;
	if (!conn->certificate)
		return;
	facts->has_certificate = true;
	facts->is_certificate_of_session = conn->certificate->peer->is_resumed;
	facts->certificate_name = str_from(conn->certificate->peer->common_name);
}

/* No two connections of the process have the same, and those of two runs or hosts hardly do. */
static void conn_make_id(struct conn *conn, char text[CONN_ID_CHARS + 1])
{
	struct conn_thread *thread = conn->lease->thread;

	snprintf(text, CONN_ID_CHARS + 1, "%016" PRIx64 "%016" PRIx64, thread->id_prefix,
		 ++thread->last_id);
}

const struct proxy_facts *conn_facts(struct conn *conn)
{
	struct conn_facts *made;

	if (conn->facts)
		return &conn->facts->facts;
	if (conn_learn_destination(conn))
		return NULL;
	made = calloc(1, sizeof(*made));
	if (!made)
		return NULL;
	conn_make_id(conn, made->unique_id);
	made->facts = (struct proxy_facts){
	    .source = conn_peer(conn, &made->peer),
	    .destination = conn->destination,
	    .sni = conn->sni ? str_from(conn->sni) : STR(""),
	    .alpn = conn_only_alpn(conn),
	    .unique_id = {made->unique_id, CONN_ID_CHARS},
	    .certificate_name = STR(""),
	};
	conn_add_tls_facts(conn, &made->facts);
	conn->facts = made;
	return &made->facts;
}
