/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records without data, after the handshake. Handshake messages may be spread over records, and
 * several may share one; a KeyUpdate ends its record, since the keys change behind it (RFC 8446,
 * 5.1). Touches no socket and no key.
 */
#include "tls/tls_control.h"

enum {
	MESSAGE_HELLO_REQUEST = 0,
	MESSAGE_CLIENT_HELLO = 1,
	MESSAGE_NEW_SESSION_TICKET = 4,
	MESSAGE_KEY_UPDATE = 24
};

/* A ClientHello that asks for renegotiation is passed over, up to what a first one may be. */
#define HELLO_MAX 65536

static struct tls_control_verdict control_say(enum tls_control_word word)
{
	return (struct tls_control_verdict){.word = word};
}

static struct tls_control_verdict control_refuse(uint8_t alert, const char *why)
{
	return (struct tls_control_verdict){.word = TLS_CONTROL_REFUSE, .alert = alert, .why = why};
}

/* In TLS 1.3 every alert but two is fatal, whatever its level says (RFC 8446, 6). */
static struct tls_control_verdict control_take_alert(const struct tls_control *control,
						     const uint8_t *data, size_t len_bytes)
{
	if (len_bytes != 2)
		return control_refuse(TLS_ALERT_DECODE, "the peer sent an alert that is not one");
	if (data[1] == TLS_ALERT_CLOSE_NOTIFY)
		return control_say(TLS_CONTROL_CLOSED);
	if (data[1] == TLS_ALERT_USER_CANCELED || (!control->is_13 && data[0] == TLS_ALERT_WARNING))
		return control_say(TLS_CONTROL_PASS);
	return (struct tls_control_verdict){.word = TLS_CONTROL_FAILED, .alert = data[1]};
}

/* The head of a message is whole: may it be, and how long? */
static struct tls_control_verdict control_begin(struct tls_control *control)
{
	uint32_t len_bytes =
	    (uint32_t)control->head[1] << 16 | (uint32_t)control->head[2] << 8 | control->head[3];
	uint8_t type = control->head[0];
	bool is_ours =
	    control->is_client ? type == MESSAGE_HELLO_REQUEST : type == MESSAGE_CLIENT_HELLO;

	control->left_bytes = len_bytes;
	if (control->is_13 && type == MESSAGE_KEY_UPDATE)
		return len_bytes == 1 ? control_say(TLS_CONTROL_PASS)
				      : control_refuse(TLS_ALERT_DECODE,
						       "the peer sent a KeyUpdate that is not one");
	if (control->is_13 && type == MESSAGE_NEW_SESSION_TICKET && control->is_client)
		return len_bytes <= TLS_CONTROL_TICKET_MAX
			   ? control_say(TLS_CONTROL_PASS)
			   : control_refuse(TLS_ALERT_DECODE,
					    "the peer sent a session ticket that is too long");
	if (!control->is_13 && is_ours)
		return len_bytes <= HELLO_MAX
			   ? control_say(TLS_CONTROL_DECLINE)
			   : control_refuse(TLS_ALERT_DECODE,
					    "the peer sent a handshake message that is too long");
	return control_refuse(TLS_ALERT_UNEXPECTED_MESSAGE,
			      "the peer sent a handshake message that is not allowed here");
}

/* Byte by byte until the head is whole; a verdict once it is. */
static struct tls_control_verdict control_take_head(struct tls_control *control,
						    const uint8_t **data, size_t *len_bytes)
{
	while (*len_bytes && control->n_head < sizeof(control->head)) {
		control->head[control->n_head++] = *(*data)++;
		--*len_bytes;
	}
	return control->n_head == sizeof(control->head) ? control_begin(control)
							: control_say(TLS_CONTROL_PASS);
}

static struct tls_control_verdict control_take_key_update(uint8_t request, size_t rest_bytes)
{
	if (request > 1)
		return control_refuse(TLS_ALERT_DECODE,
				      "the peer sent a KeyUpdate that is not one");
	if (rest_bytes)
		return control_refuse(TLS_ALERT_UNEXPECTED_MESSAGE,
				      "the peer sent something in one record with its KeyUpdate");
	return control_say(request ? TLS_CONTROL_REKEY_BOTH : TLS_CONTROL_REKEY);
}

/* The part of the body that is here; bodies are passed over but a KeyUpdate's one byte. */
static struct tls_control_verdict control_take_body(struct tls_control *control,
						    const uint8_t **data, size_t *len_bytes)
{
	size_t n = MIN(*len_bytes, (size_t)control->left_bytes);
	uint8_t first = n ? **data : 0;

	*data += n;
	*len_bytes -= n;
	control->left_bytes -= (uint32_t)n;
	if (control->left_bytes)
		return control_say(TLS_CONTROL_PASS);
	control->n_head = 0;
	return control->is_13 && control->head[0] == MESSAGE_KEY_UPDATE
		   ? control_take_key_update(first, *len_bytes)
		   : control_say(TLS_CONTROL_PASS);
}

static struct tls_control_verdict control_take_handshake(struct tls_control *control,
							 const uint8_t *data, size_t len_bytes)
{
	struct tls_control_verdict verdict = {.word = TLS_CONTROL_PASS};
	bool declines = false;

	if (!len_bytes)
		return control_refuse(TLS_ALERT_UNEXPECTED_MESSAGE,
				      "the peer sent an empty handshake record");
	while (len_bytes) {
		if (control->n_head < sizeof(control->head)) {
			verdict = control_take_head(control, &data, &len_bytes);
			if (verdict.word == TLS_CONTROL_REFUSE)
				return verdict;
			declines |= verdict.word == TLS_CONTROL_DECLINE;
		}
		if (control->n_head < sizeof(control->head))
			break;
		verdict = control_take_body(control, &data, &len_bytes);
		if (verdict.word != TLS_CONTROL_PASS)
			return verdict;
	}
	return control_say(declines ? TLS_CONTROL_DECLINE : TLS_CONTROL_PASS);
}

struct tls_control_verdict tls_control_take(struct tls_control *control, uint8_t type,
					    const uint8_t *data, size_t len_bytes)
{
	if (++control->n_in_row > TLS_CONTROL_ROW_MAX)
		return control_refuse(TLS_ALERT_UNEXPECTED_MESSAGE,
				      "the peer sent too many records without data");
	if (tls_control_is_amid(control) && type != TLS_TYPE_HANDSHAKE)
		return control_refuse(TLS_ALERT_UNEXPECTED_MESSAGE,
				      "the peer sent something amid a handshake message");
	if (type == TLS_TYPE_DATA && !len_bytes)
		return control_say(TLS_CONTROL_PASS);
	switch (type) {
	case TLS_TYPE_ALERT:
		return control_take_alert(control, data, len_bytes);
	case TLS_TYPE_HANDSHAKE:
		return control_take_handshake(control, data, len_bytes);
	default:
		return control_refuse(TLS_ALERT_UNEXPECTED_MESSAGE,
				      "the peer sent a record of a type that is not allowed here");
	}
}
