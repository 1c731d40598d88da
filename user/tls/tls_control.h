/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What records other than data mean after the handshake: alerts, key updates, tickets, and what is
 * not allowed. Pure: bytes in, a verdict out.
 */
#ifndef PENSTOCK_TLS_TLS_CONTROL_H
#define PENSTOCK_TLS_TLS_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* Record types (RFC 8446, B.1) and alerts (B.2, RFC 5246, 7.2). */
enum { TLS_TYPE_ALERT = 21, TLS_TYPE_HANDSHAKE = 22, TLS_TYPE_DATA = 23 };
enum { TLS_ALERT_WARNING = 1, TLS_ALERT_FATAL = 2 };
enum {
	TLS_ALERT_CLOSE_NOTIFY = 0,
	TLS_ALERT_UNEXPECTED_MESSAGE = 10,
	TLS_ALERT_BAD_RECORD_MAC = 20,
	TLS_ALERT_RECORD_OVERFLOW = 22,
	TLS_ALERT_DECODE = 50,
	TLS_ALERT_PROTOCOL_VERSION = 70,
	TLS_ALERT_INTERNAL = 80,
	TLS_ALERT_USER_CANCELED = 90,
	TLS_ALERT_NO_RENEGOTIATION = 100
};

/* Records without data that may come one after another. */
#define TLS_CONTROL_ROW_MAX 64

/* Of a session ticket (RFC 8446, 4.6.1: two vectors of 2^16 bytes and a little). */
#define TLS_CONTROL_TICKET_MAX (2 * 65536 + 512)

/* One direction, from the peer. Zero but for the first two: nothing came yet. */
struct tls_control {
	bool is_13; /* else TLS 1.2 */
	bool is_client; /* we are */
	uint8_t head[4]; /* of the handshake message under way: type and length */
	uint8_t n_head;
	uint32_t left_bytes; /* of its body, once the head is whole */
	uint16_t n_in_row;
};

enum tls_control_word {
	TLS_CONTROL_PASS, /* nothing to do */
	TLS_CONTROL_CLOSED, /* close_notify */
	TLS_CONTROL_FAILED, /* a fatal alert, which is in `alert` */
	TLS_CONTROL_REKEY, /* what follows is under the peer's next key */
	TLS_CONTROL_REKEY_BOTH, /* and we are asked for ours */
	TLS_CONTROL_DECLINE, /* a wish for renegotiation: answered with a warning */
	TLS_CONTROL_REFUSE, /* not allowed: `alert` is to be sent, `why` is for people */
	TLS_CONTROL_WORD_MAX
};

struct tls_control_verdict {
	enum tls_control_word word;
	uint8_t alert;
	const char *why;
};

/* One record of `type` with its plain bytes; data only without any, or amid a message. After
 * FAILED, CLOSED or REFUSE it is not called again.
 */
struct tls_control_verdict tls_control_take(struct tls_control *control, uint8_t type,
					    const uint8_t *data, size_t len_bytes) MUST_CHECK;

/* Nothing may come between the parts of a message (RFC 8446, 5.1). */
static inline bool tls_control_is_amid(const struct tls_control *control)
{
	return control->is_13 && control->n_head;
}

/* Data came: whoever sends some may send further records without. */
static inline void tls_control_note_data(struct tls_control *control)
{
	control->n_in_row = 0;
}

#endif
