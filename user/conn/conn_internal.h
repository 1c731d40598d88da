/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside conn/. */
#ifndef PENSTOCK_CONN_INTERNAL_H
#define PENSTOCK_CONN_INTERNAL_H

#include "conn/conn.h"
#include "exchange/exchange.h"
#include "origin/origin.h"
#include "relay/relay.h"
#include "route/route.h"

enum conn_state {
	CONN_NEW,
	CONN_PROXY, /* reading ahead for a PROXY protocol header */
	CONN_HELLO, /* reading ahead for a ClientHello */
	CONN_HANDSHAKE, /* TLS with the client */
	CONN_CONNECT, /* a stream: waiting for the origin */
	CONN_RELAY, /* a stream: bytes flow */
	CONN_HTTP, /* requests are served */
	CONN_CLOSED,
	CONN_STATE_MAX
};

/* Open connections of one listener in this thread; shared by the leases that know a listener of
 * that name. */
struct conn_quota {
	struct list node;
	char *listener_name;
	uint64_t scope; /* of its bounds, in the shared table */
	unsigned int refs;
	size_t n_open;
	size_t n_handshakes; /* of these */
};

struct conn_lease {
	struct conn_thread *thread;
	struct snapshot *snapshot;
	struct origin_view *origins;
	struct conn_quota **quotas; /* by listener index */
	uint32_t **n_relays; /* streams of a route now, by listener index and place of the route */
	size_t refs; /* connections, and the thread while the lease is current */
};

struct conn_thread {
	const struct conn_shared *shared;
	unsigned int number;
	struct loop *loop;
	struct timer tick;
	struct origin_table *origins;
	struct conn_lease *lease; /* of new connections; NULL until the first is taken */
	struct list conns;
	struct list quotas;
	uint64_t id_prefix; /* random: of connections' unique ids */
	uint64_t last_id;
	size_t n_open;
	bool is_draining;
	void (*on_drained)(void *argument);
	void *drained_argument;
};

/* Of a client that showed one. */
struct conn_certificate {
	struct tls_peer *peer;
	struct route_certificate route;
	char *headers; /* lines for origins, as a route told them last; NULL: none did */
	size_t headers_len;
	unsigned int headers_of; /* CONF_CERT_HEADER_... that they are */
	struct route_name names[];
};

/* An address in as much room as IP needs. conn_peer() gives it back. */
union conn_peer {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct {
		sa_family_t family; /* any but those of the other two */
		struct addr *whole;
	} other;
};

/* What streams alone need. */
struct conn_stream {
	struct conn *conn;
	struct origin_request request;
	struct origin_conn *origin; /* NULL: not yet */
	struct relay relay; /* from CONN_RELAY on */
	uint64_t active_ms; /* when bytes last moved, or one side ended */
	uint64_t counted_up_bytes; /* of the relay's, what stats and tally know already */
	uint64_t counted_down_bytes;
	uint64_t logged_ms; /* when a line was last written about it */
	uint64_t pacing_bytes_per_s; /* in force on both sockets; 0: none */
	bool origin_failed;
	bool is_half_closed; /* noted: its timeout counts from there */
};

/* Open ones may be many and silent: what not all of them need is allocated when it is. */
struct conn {
	struct list node; /* in thread->conns */
	struct conn_lease *lease;
	const struct conf_listener *listener;
	const struct conf_route *route; /* of streams: final; else the first that could serve */
	enum conn_state state;
	enum close_reason reason; /* why CONN_CLOSED was entered */
	uint32_t peeked_bytes;
	uint16_t alpn_len;
	bool is_running; /* inside conn_run(): a callback asks for another round instead of
			    recursing */
	bool run_again;
	bool is_tls;
	bool has_low_water; /* SO_RCVLOWAT is not 1 */
	bool exchange_ended;
	bool hello_expired; /* the time for a ClientHello is over */
	bool is_counted; /* has a place in the bounds of its source */
	struct io io; /* the client's */
	union conn_peer peer; /* the client: as a PROXY header told, where one did */
	struct addr *destination; /* that it connected to; NULL: nobody asked yet */
	char *sni; /* lower case; NULL where none */
	uint8_t *alpn; /* what the ClientHello offers, as route_seen has it; NULL where nobody will
			  ask */
	struct conn_certificate *certificate; /* NULL: the client has shown none */
	struct conn_facts *facts; /* NULL until an origin is to be told */
	char *detail; /* of a failure, for the log */
	struct timer timer;
	struct task task;
	uint64_t accepted_ms;
	struct conn_stream *stream; /* from CONN_CONNECT on */
	struct exchange *exchange; /* from CONN_HTTP on */
	struct stream_value *live; /* its slot in the live table; NULL: none was free */
};

/* Drives the state machine as far as it goes now. The connection may be gone afterwards. */
void conn_run(struct conn *conn);

/* For step functions: notes why, and is the next state. */
enum conn_state conn_end(struct conn *conn, enum close_reason reason);

/* The only way out: closes both sides, counts, logs, frees. */
void conn_close(struct conn *conn, enum close_reason reason);

void conn_arm(struct conn *conn, uint64_t delay_ms);

/* Of a stream; NULL: it has none, or not yet. */
static inline struct origin_conn *conn_origin(const struct conn *conn)
{
	return conn->stream ? conn->stream->origin : NULL;
}

/* May its listener, in this thread, have one more TLS handshake under way? */
bool conn_has_room_for_handshake(const struct conn *conn);

/* A copy for the log; lost where memory is. */
void conn_set_detail(struct conn *conn, const char *detail);

void conn_lease_unref(struct conn_lease *lease);

struct loop *conn_loop(const struct conn *conn);

/* One step per state: does what can be done now, returns the next state or the same where it has to
 * wait. */
enum conn_state conn_step_new(struct conn *conn);
enum conn_state conn_step_proxy(struct conn *conn);
enum conn_state conn_step_hello(struct conn *conn);
enum conn_state conn_step_connect(struct conn *conn);
enum conn_state conn_step_relay(struct conn *conn);
enum conn_state conn_step_handshake(struct conn *conn);
enum conn_state conn_step_http(struct conn *conn);

/* Who the client is, is known: may it be here, and where does it go? The next state. */
enum conn_state conn_admit(struct conn *conn);

/* A read ahead said 0 or failed: `state` where more may come. */
enum conn_state conn_peek_failed(struct conn *conn, ssize_t n, enum conn_state state);

/* What is there is read and thrown away: closing with unread bytes would send a reset, which may
 * overtake what was sent. */
void conn_discard_input(struct conn *conn);

/* Fills conn->destination, where it is not yet. 0 or -errno. */
int conn_learn_destination(struct conn *conn) MUST_CHECK;

/* Who the client is, in `room` or elsewhere in the connection. */
const struct addr *conn_peer(const struct conn *conn, struct addr *room);

/* 0 or -ENOMEM: it is as before. */
int conn_set_peer(struct conn *conn, const struct addr *peer) MUST_CHECK;
void conn_peer_done(struct conn *conn);

/* What routes see of it; `room` for its address. */
struct route_seen conn_seen(const struct conn *conn, struct addr *room);

/* For the origin's PROXY header; as long as the connection. NULL: no memory. */
const struct proxy_facts *conn_facts(struct conn *conn);

/* The time for a ClientHello is over. */
void conn_expire_hello(struct conn *conn);

/* What the timer of CONN_RELAY means when it fires. */
void conn_expire_relay(struct conn *conn);

/* Brings the counts of a stream that the kernel carries up to date. */
void conn_refresh_relay(struct conn *conn);

/* After the handshake: the client's certificate, where it has shown one. 0, or -1 without memory.
 */
int conn_take_certificate(struct conn *conn) MUST_CHECK;

/* As struct exchange_client_ops has it; `owner` is a connection with a certificate. */
int conn_certificate_lines(void *owner, const struct conf_route *route,
			   struct str *ret_lines) MUST_CHECK;
void conn_free_certificate(struct conn *conn);

/* A stream's route, once TLS is up; NULL: none takes the client. */
const struct conf_route *conn_find_stream_route(const struct conn *conn);

/* Release what the lanes hold. */
void conn_splice_done(struct conn *conn);
void conn_terminate_done(struct conn *conn);

/* May this connection be, by the bounds of its source and its listener's rate? Else `ret_reason`.
 */
bool conn_take_place(struct conn *conn, enum close_reason *ret_reason);
void conn_give_place(struct conn *conn);

/* The live table: entered at accept, told of the route and of what moved, left at close. */
void conn_live_start(struct conn *conn);
void conn_live_route(struct conn *conn);
void conn_live_tls(struct conn *conn); /* after a handshake */
void conn_live_relayed(struct conn *conn);
void conn_live_request(struct conn *conn, const struct exchange_record *record);
void conn_live_stop(struct conn *conn);

/* A stream begins or ends, and takes part in its route's bandwidth; the tick shares it out anew. */
void conn_pace_start(struct conn *conn);
void conn_pace_stop(struct conn *conn);
void conn_pace(struct conn *conn);

/* Every few seconds, while connections are open: round-trip times, shares of bandwidth, lines about
 * long connections. */
void conn_tick_init(struct conn_thread *thread);
void conn_tick_start(struct conn_thread *thread);

void conn_log_closed(const struct conn *conn);
void conn_log_open(const struct conn *conn);
void conn_log_request(const struct conn *conn, const struct exchange_record *record);

#endif
