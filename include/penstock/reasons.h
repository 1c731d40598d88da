/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/*
 * Why a packet was dropped or passed on, and why a connection or request ended. Each entry is
 * X(NAME, word, "help"): the enum constant, the word in logs, metrics and JSON, and the line that
 * people read. The order is ABI for the steer counters (the index in the pinned map): append only.
 */
#ifndef PENSTOCK_REASONS_H
#define PENSTOCK_REASONS_H

/* Counted per packet by the steer programs, in the pinned map `counters`. */
#define PENSTOCK_STEER_COUNTERS(X) \
	X(STEERED_TO_ORIGIN, steered_to_origin, "sent on to an origin") \
	X(STEERED_TO_CLIENT, steered_to_client, "sent back to a client") \
	X(FLOW_NEW, flow_new, "a new flow was given a server") \
	X(PASS_NOT_IPV4, pass_not_ipv4, "not IPv4: left to the host") \
	X(PASS_NOT_SERVICE, pass_not_service, \
	  "no service at that address and port: left to the host") \
	X(PASS_FRAGMENT, pass_fragment, "IP fragment: left to the host") \
	X(PASS_IP_OPTIONS, pass_ip_options, "IP options: left to the host") \
	X(PASS_NO_NEIGHBOUR, pass_no_neighbour, \
	  "next hop not resolved yet: left to the tc program or the host") \
	X(DROP_MALFORMED, drop_malformed, "headers cut short or lengths that cannot be") \
	X(DROP_NO_FLOW, drop_no_flow, "TCP segment of no known flow and not a SYN") \
	X(DROP_NO_SERVER, drop_no_server, "the service has no server") \
	X(DROP_NO_PORT, drop_no_port, "no free port toward the server") \
	X(DROP_TTL, drop_ttl, "TTL ran out") \
	X(DROP_NO_ROUTE, drop_no_route, "no route to the server or back to the client") \
	X(DROP_MAP_FULL, drop_map_full, "the flow table took no further entry") \
	X(PASS_TOO_BIG, pass_too_big, "larger than the MTU of the way out: left to the host") \
	X(DROP_NO_FORWARDING, drop_no_forwarding, \
	  "the device it came in by does not forward IPv4 (sysctl)") \
	X(PASS_TO_TC, pass_to_tc, "the way out takes no frames from XDP: left to the tc program")

/* Why a connection ended, or a request was answered by penstock itself. */
#define PENSTOCK_CLOSE_REASONS(X) \
	X(DONE, done, "both sides ended the stream") \
	X(CLIENT_RESET, client_reset, "the client reset the connection") \
	X(CLIENT_ABORT, client_abort, "the client closed before the response was complete") \
	X(ORIGIN_RESET, origin_reset, "the origin reset the connection") \
	X(ORIGIN_REFUSED, origin_refused, "no server of the origin accepted a connection") \
	X(ORIGIN_UNREACHABLE, origin_unreachable, "no route to any server of the origin") \
	X(ORIGIN_CONNECT_TIMEOUT, origin_connect_timeout, \
	  "no server of the origin answered in time") \
	X(ORIGIN_TLS_FAILED, origin_tls_failed, "the TLS handshake with the origin failed") \
	X(ORIGIN_UNVERIFIED, origin_unverified, "the origin's certificate could not be verified") \
	X(ORIGIN_TIMEOUT, origin_timeout, "the origin did not answer in time") \
	X(ORIGIN_MALFORMED, origin_malformed, "the origin's response is not valid HTTP") \
	X(ORIGIN_TRUNCATED, origin_truncated, "the origin ended before its response was complete") \
	X(HELLO_TIMEOUT, hello_timeout, "no complete ClientHello in time") \
	X(HELLO_MALFORMED, hello_malformed, "the ClientHello is not valid TLS") \
	X(HELLO_TOO_LARGE, hello_too_large, "the ClientHello is larger than the limit") \
	X(HANDSHAKE_FAILED, handshake_failed, "the TLS handshake with the client failed") \
	X(HANDSHAKE_TIMEOUT, handshake_timeout, "the TLS handshake with the client took too long") \
	X(REQUEST_TIMEOUT, request_timeout, "no complete request head in time") \
	X(REQUEST_MALFORMED, request_malformed, "the request is not valid HTTP") \
	X(REQUEST_TOO_LARGE, request_too_large, "the request head is larger than the limit") \
	X(KEEPALIVE_TIMEOUT, keepalive_timeout, "no further request in time") \
	X(IDLE_TIMEOUT, idle_timeout, "no byte in either direction for too long") \
	X(HALF_CLOSED_TIMEOUT, half_closed_timeout, \
	  "one side had ended and the other did not follow in time") \
	X(NO_ROUTE, no_route, "no route matches") \
	X(LIMIT_CONNECTIONS, limit_connections, "the connection limit is reached") \
	X(OUT_OF_DESCRIPTORS, out_of_descriptors, "no descriptor or port is free") \
	X(OUT_OF_MEMORY, out_of_memory, "no memory") \
	X(TLS_BROKEN, tls_broken, "a TLS record was damaged, truncated or not allowed") \
	X(LIMIT_SOURCE, limit_source, "the source has as many connections as it may") \
	X(LIMIT_RATE, limit_rate, "new connections come faster than they may") \
	X(SHUTDOWN, shutdown, "penstock was told to stop") \
	X(INTERNAL, internal, "an error inside penstock; please report it") \
	X(ORIGIN_QUEUE_FULL, origin_queue_full, \
	  "the origin has no free place, and no room for another that waits") \
	X(ORIGIN_QUEUE_TIMEOUT, origin_queue_timeout, "no place at the origin came free in time") \
	X(ORIGIN_DOWN, origin_down, "no server of the origin is usable") \
	X(PROXY_MALFORMED, proxy_malformed, \
	  "no valid PROXY protocol header from where one is expected") \
	X(PROXY_TIMEOUT, proxy_timeout, "no complete PROXY protocol header in time") \
	X(ACCESS_DENIED, access_denied, "the client's address is not allowed here") \
	X(TLS_TRUNCATED, tls_truncated, \
	  "TLS ended without close_notify: the end of the stream may be missing") \
	X(TLS_KEY_UPDATE, tls_key_update, \
	  "the peer changed its TLS keys, and this kernel cannot follow") \
	X(LIMIT_HANDSHAKES, limit_handshakes, \
	  "the listener has as many TLS handshakes under way as it may") \
	X(CLIENT_UNVERIFIED, client_unverified, \
	  "the client's certificate is missing or not acceptable")

/* Alerts of TLS: X(NAME, word, number on the wire, "help"). RFC 8446, 6; the last stands for all
 * others. */
#define PENSTOCK_TLS_ALERTS(X) \
	X(CLOSE_NOTIFY, close_notify, 0, "the ordinary end") \
	X(UNEXPECTED_MESSAGE, unexpected_message, 10, "a message that does not belong there") \
	X(BAD_RECORD_MAC, bad_record_mac, 20, "a record that was damaged") \
	X(RECORD_OVERFLOW, record_overflow, 22, "a record that is too long") \
	X(HANDSHAKE_FAILURE, handshake_failure, 40, "nothing in common, often no cipher") \
	X(BAD_CERTIFICATE, bad_certificate, 42, "a certificate that is broken") \
	X(UNSUPPORTED_CERTIFICATE, unsupported_certificate, 43, \
	  "a certificate of a kind that is not taken") \
	X(CERTIFICATE_REVOKED, certificate_revoked, 44, "a certificate that was revoked") \
	X(CERTIFICATE_EXPIRED, certificate_expired, 45, "a certificate that has expired") \
	X(CERTIFICATE_UNKNOWN, certificate_unknown, 46, \
	  "a certificate that was not accepted for another reason") \
	X(ILLEGAL_PARAMETER, illegal_parameter, 47, "a value that cannot be") \
	X(UNKNOWN_CA, unknown_ca, 48, "a certificate of an authority that is not known") \
	X(ACCESS_DENIED, access_denied, 49, "a good certificate that is not let in") \
	X(DECODE_ERROR, decode_error, 50, "a message that cannot be read") \
	X(DECRYPT_ERROR, decrypt_error, 51, "a signature or check that is wrong") \
	X(PROTOCOL_VERSION, protocol_version, 70, "no version in common") \
	X(INSUFFICIENT_SECURITY, insufficient_security, 71, "ciphers that are too weak") \
	X(INTERNAL_ERROR, internal_error, 80, "an error of the one who sent it") \
	X(INAPPROPRIATE_FALLBACK, inappropriate_fallback, 86, \
	  "an older version than both could have") \
	X(USER_CANCELED, user_canceled, 90, "given up by the one who sent it") \
	X(NO_RENEGOTIATION, no_renegotiation, 100, "a new handshake that is not wanted") \
	X(MISSING_EXTENSION, missing_extension, 109, "something needed was not sent") \
	X(UNSUPPORTED_EXTENSION, unsupported_extension, 110, "an answer to what was not asked") \
	X(UNRECOGNIZED_NAME, unrecognized_name, 112, "a server name that nobody has") \
	X(BAD_CERTIFICATE_STATUS_RESPONSE, bad_certificate_status_response, 113, \
	  "an OCSP response that is not good") \
	X(UNKNOWN_PSK_IDENTITY, unknown_psk_identity, 115, "a shared key that nobody knows") \
	X(CERTIFICATE_REQUIRED, certificate_required, 116, "no certificate of the client") \
	X(NO_APPLICATION_PROTOCOL, no_application_protocol, 120, \
	  "no application protocol in common") \
	X(OTHER, other, 255, "an alert without a name here")

#define PENSTOCK_ENUM_STEER(name, word, help) STEER_##name,
#define PENSTOCK_ENUM_CLOSE(name, word, help) CLOSE_##name,

#define PENSTOCK_ENUM_ALERT(name, word, number, help) ALERT_KIND_##name,

enum alert_kind { PENSTOCK_TLS_ALERTS(PENSTOCK_ENUM_ALERT) ALERT_KIND_MAX };

enum steer_counter { PENSTOCK_STEER_COUNTERS(PENSTOCK_ENUM_STEER) STEER_COUNTER_MAX };

enum close_reason { PENSTOCK_CLOSE_REASONS(PENSTOCK_ENUM_CLOSE) CLOSE_REASON_MAX };

#undef PENSTOCK_ENUM_STEER
#undef PENSTOCK_ENUM_CLOSE
#undef PENSTOCK_ENUM_ALERT

#endif
