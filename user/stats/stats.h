/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters and gauges. Each thread counts into a block of its own without locks; a reader sums the
 * blocks. Sums are of values read one after another, not at one instant.
 */
#ifndef PENSTOCK_STATS_STATS_H
#define PENSTOCK_STATS_STATS_H

#include <stdint.h>

#include "base/compiler.h"
#include "penstock/reasons.h"

/* X(NAME, word, kind, "help"); a gauge goes up and down, and its sum over threads is its value. */
#define STATS(X) \
	X(CONNECTIONS_ACCEPTED, connections_accepted, counter, "connections accepted") \
	X(CONNECTIONS_OPEN, connections_open, gauge, "client connections open now") \
	X(ACCEPT_PAUSED, accept_paused, counter, "times accepting paused for want of descriptors") \
	X(SPLICE_CONNECTIONS, splice_connections, counter, "connections relayed as byte streams") \
	X(TERMINATE_CONNECTIONS, terminate_connections, counter, "connections served as HTTP") \
	X(TLS_HANDSHAKES, tls_handshakes, counter, "TLS handshakes completed with clients") \
	X(TLS_RESUMED, tls_resumed, counter, "of these, resumed sessions") \
	X(TLS_HANDSHAKES_FAILED, tls_handshakes_failed, counter, \
	  "TLS handshakes with clients that were begun and not completed") \
	X(TLS_HANDSHAKES_OPEN, tls_handshakes_open, gauge, \
	  "TLS handshakes with clients under way now") \
	X(CLIENT_CERT_TAKEN, client_cert_taken, counter, \
	  "connections of clients with a certificate that was accepted") \
	X(CLIENT_CERT_MISSING, client_cert_missing, counter, \
	  "clients refused: no certificate was shown") \
	X(CLIENT_CERT_UNTRUSTED, client_cert_untrusted, counter, \
	  "clients refused: no trusted authority stands above the certificate") \
	X(CLIENT_CERT_EXPIRED, client_cert_expired, counter, \
	  "clients refused: the certificate is expired or not valid yet") \
	X(CLIENT_CERT_REVOKED, client_cert_revoked, counter, \
	  "clients refused: the certificate is revoked") \
	X(CLIENT_CERT_BAD, client_cert_bad, counter, \
	  "clients refused: the certificate may not be used for this, or cannot be checked") \
	X(KTLS_HANDOVERS, ktls_handovers, counter, \
	  "TLS connections handed over to the kernel, both sides") \
	X(KTLS_REFUSED, ktls_refused, counter, "TLS connections kept in user space") \
	X(TLS_KEY_UPDATES, tls_key_updates, counter, \
	  "new keys of peers that the kernel was given, both sides") \
	X(TLS_KEY_UPDATES_REFUSED, tls_key_updates_refused, counter, \
	  "connections that ended because it does not take any") \
	X(TLS_TRUNCATIONS, tls_truncations, counter, \
	  "TLS connections whose peer ended without close_notify, both sides") \
	X(REQUESTS, requests, counter, "HTTP requests finished") \
	X(RESPONSES_2XX, responses_2xx, counter, "responses with status 200 to 299") \
	X(RESPONSES_3XX, responses_3xx, counter, "responses with status 300 to 399") \
	X(RESPONSES_4XX, responses_4xx, counter, "responses with status 400 to 499") \
	X(RESPONSES_5XX, responses_5xx, counter, "responses with status 500 to 599") \
	X(ORIGIN_CONNECTS, origin_connects, counter, "connections opened to origins") \
	X(ORIGIN_CONNECT_FAILURES, origin_connect_failures, counter, \
	  "connections to origins that failed") \
	X(ORIGIN_TLS_HANDSHAKES, origin_tls_handshakes, counter, \
	  "TLS handshakes completed with origins") \
	X(ORIGIN_TLS_RESUMED, origin_tls_resumed, counter, "of these, resumed sessions") \
	X(ORIGIN_TLS_UNTRUSTED, origin_tls_untrusted, counter, \
	  "handshakes with origins ended: no trusted authority stands above the certificate") \
	X(ORIGIN_TLS_EXPIRED, origin_tls_expired, counter, \
	  "handshakes with origins ended: the certificate is expired or not valid yet") \
	X(ORIGIN_TLS_WRONG_NAME, origin_tls_wrong_name, counter, \
	  "handshakes with origins ended: the certificate is for another name") \
	X(ORIGIN_TLS_NOT_PINNED, origin_tls_not_pinned, counter, \
	  "handshakes with origins ended: the certificate's key is not pinned") \
	X(ORIGIN_TLS_BAD_CERTIFICATE, origin_tls_bad_certificate, counter, \
	  "handshakes with origins ended: the certificate may not be used for this") \
	X(ORIGIN_TLS_ALERT, origin_tls_alert, counter, \
	  "TLS connections to origins ended: the origin sent an alert") \
	X(ORIGIN_TLS_PROTOCOL, origin_tls_protocol, counter, \
	  "handshakes with origins ended: what came is not TLS as it is spoken here") \
	X(ORIGIN_TLS_CLOSED, origin_tls_closed, counter, \
	  "handshakes with origins ended: the origin closed or reset the connection") \
	X(ORIGIN_TLS_TIMEOUT, origin_tls_timeout, counter, \
	  "handshakes with origins ended: they took too long") \
	X(ORIGIN_REUSES, origin_reuses, counter, "requests sent over a kept connection") \
	X(ORIGIN_IDLE, origin_idle, gauge, "kept origin connections idle now") \
	X(ORIGIN_QUEUED, origin_queued, counter, "requests that waited for a place at an origin") \
	X(ORIGIN_WAITING, origin_waiting, gauge, "requests that wait for one now") \
	X(CLIENT_RECEIVED_BYTES, client_received_bytes, counter, \
	  "payload bytes received from clients") \
	X(CLIENT_SENT_BYTES, client_sent_bytes, counter, "payload bytes sent to clients") \
	X(ORIGIN_RECEIVED_BYTES, origin_received_bytes, counter, \
	  "payload bytes received from origins") \
	X(ORIGIN_SENT_BYTES, origin_sent_bytes, counter, "payload bytes sent to origins") \
	X(RELAY_COPIED_BYTES, relay_copied_bytes, counter, \
	  "bytes relayed through a user-space buffer") \
	X(RELAY_SPLICED_BYTES, relay_spliced_bytes, counter, "bytes relayed by splice(2)") \
	X(RELAY_SOCKMAP_BYTES, relay_sockmap_bytes, counter, \
	  "bytes relayed from socket to socket inside the kernel") \
	X(RELAY_SOCKMAP_OPEN, relay_sockmap_open, gauge, "streams in the sockmap now") \
	X(RELAY_SOCKMAP_ENTERED, relay_sockmap_entered, counter, "streams put into the sockmap") \
	X(RELAY_SOCKMAP_LEFT, relay_sockmap_left, counter, \
	  "streams taken out of the sockmap before their end") \
	X(RELAY_SOCKMAP_LAGS, relay_sockmap_lags, counter, \
	  "times a receiver lagged and the daemon relayed for the sockmap") \
	X(RELAY_SOCKMAP_STALLS, relay_sockmap_stalls, counter, \
	  "streams that stood still inside the sockmap; it is then off for new ones") \
	X(RELAY_MISMATCHES, relay_mismatches, counter, \
	  "relays whose two sides counted different bytes")

enum stats_counter {
#define STATS_ENUM(name, word, kind, help) STAT_##name,
	STATS(STATS_ENUM)
#undef STATS_ENUM
	    STAT_MAX
};

/*
 * Gives the calling thread a block and a number; without them, counting goes to a block that such
 * threads share. 0 or -ENOMEM.
 */
int stats_thread_init(void) MUST_CHECK;

/* From 0, in the order of stats_thread_init(); UINT_MAX for a thread without. */
unsigned int stats_thread_number(void);

void stats_add(enum stats_counter stat, int64_t amount);

static inline void stats_inc(enum stats_counter stat)
{
	stats_add(stat, 1);
}

/* Counts one connection or request that ended so. */
void stats_count_close(enum close_reason reason);

uint64_t stats_sum(enum stats_counter stat);
uint64_t stats_sum_close(enum close_reason reason);

const char *stats_word(enum stats_counter stat);
const char *stats_help(enum stats_counter stat);
const char *close_reason_word(enum close_reason reason);
const char *close_reason_help(enum close_reason reason);

#endif
