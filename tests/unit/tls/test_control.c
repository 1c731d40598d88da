/* SPDX-License-Identifier: Apache-2.0 */
/* What each record without data means: a table of records for either side and version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tls/tls_control.h"

enum { CLIENT_13, SERVER_13, CLIENT_12, SERVER_12 };

static struct tls_control make(int who)
{
	return (struct tls_control){.is_13 = who == CLIENT_13 || who == SERVER_13,
				    .is_client = who == CLIENT_13 || who == CLIENT_12};
}

#define RECORD(type_, bytes_) \
	{ \
		.type = (type_), .bytes = (bytes_), .len_bytes = sizeof(bytes_) - 1 \
	}

struct row {
	const char *name;
	int who;
	struct {
		uint8_t type;
		const char *bytes;
		size_t len_bytes;
	} records[4];
	enum tls_control_word word; /* of the last record; those before pass */
	uint8_t alert;
};

#define TICKET \
	"\x04\x00\x00\x05" \
	"12345"
#define UPDATE "\x18\x00\x00\x01\x00"
#define UPDATE_BOTH "\x18\x00\x00\x01\x01"

static const struct row rows[] = {
    {"close_notify", SERVER_13, {RECORD(21, "\x01\x00")}, TLS_CONTROL_CLOSED, 0},
    {"close_notify called fatal", CLIENT_13, {RECORD(21, "\x02\x00")}, TLS_CONTROL_CLOSED, 0},
    {"close_notify in 1.2", SERVER_12, {RECORD(21, "\x01\x00")}, TLS_CONTROL_CLOSED, 0},
    {"user_canceled",
     SERVER_13,
     {RECORD(21, "\x01\x5a"), RECORD(21, "\x01\x00")},
     TLS_CONTROL_CLOSED,
     0},
    {"a fatal alert", SERVER_13, {RECORD(21, "\x02\x28")}, TLS_CONTROL_FAILED, 40},
    {"a warning is fatal in 1.3", SERVER_13, {RECORD(21, "\x01\x64")}, TLS_CONTROL_FAILED, 100},
    {"a warning is none in 1.2", CLIENT_12, {RECORD(21, "\x01\x64")}, TLS_CONTROL_PASS, 0},
    {"a fatal alert in 1.2", CLIENT_12, {RECORD(21, "\x02\x64")}, TLS_CONTROL_FAILED, 100},
    {"half an alert", SERVER_13, {RECORD(21, "\x01")}, TLS_CONTROL_REFUSE, TLS_ALERT_DECODE},
    {"an alert and a half",
     SERVER_13,
     {RECORD(21, "\x01\x00\x01")},
     TLS_CONTROL_REFUSE,
     TLS_ALERT_DECODE},
    {"an empty alert", SERVER_13, {RECORD(21, "")}, TLS_CONTROL_REFUSE, TLS_ALERT_DECODE},
    {"a KeyUpdate", SERVER_13, {RECORD(22, UPDATE)}, TLS_CONTROL_REKEY, 0},
    {"a KeyUpdate that asks", CLIENT_13, {RECORD(22, UPDATE_BOTH)}, TLS_CONTROL_REKEY_BOTH, 0},
    {"KeyUpdates",
     CLIENT_13,
     {RECORD(22, TICKET), RECORD(22, UPDATE_BOTH)},
     TLS_CONTROL_REKEY_BOTH,
     0},
    {"a KeyUpdate in parts",
     SERVER_13,
     {RECORD(22, "\x18"), RECORD(22, "\x00\x00\x01"), RECORD(22, "\x01")},
     TLS_CONTROL_REKEY_BOTH,
     0},
    {"a KeyUpdate behind a ticket", CLIENT_13, {RECORD(22, TICKET UPDATE)}, TLS_CONTROL_REKEY, 0},
    {"something behind a KeyUpdate",
     CLIENT_13,
     {RECORD(22, UPDATE TICKET)},
     TLS_CONTROL_REFUSE,
     TLS_ALERT_UNEXPECTED_MESSAGE},
    {"a KeyUpdate of two bytes",
     CLIENT_13,
     {RECORD(22, "\x18\x00\x00\x02\x00\x00")},
     TLS_CONTROL_REFUSE,
     TLS_ALERT_DECODE},
    {"a KeyUpdate of none",
     CLIENT_13,
     {RECORD(22, "\x18\x00\x00\x00")},
     TLS_CONTROL_REFUSE,
     TLS_ALERT_DECODE},
    {"a KeyUpdate of 2",
     CLIENT_13,
     {RECORD(22, "\x18\x00\x00\x01\x02")},
     TLS_CONTROL_REFUSE,
     TLS_ALERT_DECODE},
    {"a KeyUpdate in 1.2",
     SERVER_12,
     {RECORD(22, UPDATE)},
     TLS_CONTROL_REFUSE,
     TLS_ALERT_UNEXPECTED_MESSAGE},
    {"tickets", CLIENT_13, {RECORD(22, TICKET TICKET), RECORD(22, TICKET)}, TLS_CONTROL_PASS, 0},
    {"a ticket in parts",
     CLIENT_13,
     {RECORD(22, "\x04\x00\x00"),
      RECORD(22, "\x05"
		 "12"),
      RECORD(22, "345"), RECORD(21, "\x01\x00")},
     TLS_CONTROL_CLOSED,
     0},
    {"a ticket from a client",
     SERVER_13,
     {RECORD(22, TICKET)},
     TLS_CONTROL_REFUSE,
     TLS_ALERT_UNEXPECTED_MESSAGE},
    {"a ticket in 1.2",
     CLIENT_12,
     {RECORD(22, TICKET)},
     TLS_CONTROL_REFUSE,
     TLS_ALERT_UNEXPECTED_MESSAGE},
    {"an endless ticket",
     CLIENT_13,
     {RECORD(22, "\x04\xff\xff\xff")},
     TLS_CONTROL_REFUSE,
     TLS_ALERT_DECODE},
    {"renegotiation by the server",
     CLIENT_12,
     {RECORD(22, "\x00\x00\x00\x00")},
     TLS_CONTROL_DECLINE,
     0},
    {"renegotiation by the client",
     SERVER_12,
     {RECORD(22, "\x01\x00\x00\x03"
		 "abc")},
     TLS_CONTROL_DECLINE,
     0},
    {"a long ClientHello in 1.2",
     SERVER_12,
     {RECORD(22, "\x01\x02\x00\x00"
		 "abc")},
     TLS_CONTROL_REFUSE,
     TLS_ALERT_DECODE},
    {"HelloRequest from a client",
     SERVER_12,
     {RECORD(22, "\x00\x00\x00\x00")},
     TLS_CONTROL_REFUSE,
     TLS_ALERT_UNEXPECTED_MESSAGE},
    {"a ClientHello in 1.3",
     SERVER_13,
     {RECORD(22, "\x01\x00\x00\x03"
		 "abc")},
     TLS_CONTROL_REFUSE,
     TLS_ALERT_UNEXPECTED_MESSAGE},
    {"a request for a certificate",
     CLIENT_13,
     {RECORD(22, "\x0d\x00\x00\x03"
		 "abc")},
     TLS_CONTROL_REFUSE,
     TLS_ALERT_UNEXPECTED_MESSAGE},
    {"an empty handshake record",
     CLIENT_13,
     {RECORD(22, "")},
     TLS_CONTROL_REFUSE,
     TLS_ALERT_UNEXPECTED_MESSAGE},
    {"change_cipher_spec",
     SERVER_13,
     {RECORD(20, "\x01")},
     TLS_CONTROL_REFUSE,
     TLS_ALERT_UNEXPECTED_MESSAGE},
    {"a type that nobody knows",
     CLIENT_12,
     {RECORD(99, "x")},
     TLS_CONTROL_REFUSE,
     TLS_ALERT_UNEXPECTED_MESSAGE},
};

static void test_records(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];
		struct tls_control control = make(row->who);
		struct tls_control_verdict verdict = {.word = TLS_CONTROL_PASS};

		for (size_t k = 0; k < ARRAY_LEN(row->records) && row->records[k].bytes; k++) {
			if (verdict.word != TLS_CONTROL_PASS)
				fail_msg("%s: record %zu is not the last: %d", row->name, k,
					 verdict.word);
			verdict = tls_control_take(&control, row->records[k].type,
						   (const uint8_t *)row->records[k].bytes,
						   row->records[k].len_bytes);
		}
		if (verdict.word != row->word || verdict.alert != row->alert)
			fail_msg("%s: %d with alert %d, wanted %d with %d", row->name, verdict.word,
				 verdict.alert, row->word, row->alert);
		assert_int_equal(verdict.why != NULL, verdict.word == TLS_CONTROL_REFUSE);
	}
}

/* Any number between data, few without. */
static void test_row(void **state)
{
	struct tls_control control = make(SERVER_13);
	struct tls_control_verdict verdict;

	(void)state;
	for (int i = 0; i < 10 * TLS_CONTROL_ROW_MAX; i++) {
		verdict =
		    tls_control_take(&control, TLS_TYPE_HANDSHAKE, (const uint8_t *)UPDATE, 5);
		assert_int_equal(verdict.word, TLS_CONTROL_REKEY);
		tls_control_note_data(&control);
	}
	for (int i = 0; i < TLS_CONTROL_ROW_MAX; i++) {
		verdict =
		    tls_control_take(&control, TLS_TYPE_HANDSHAKE, (const uint8_t *)UPDATE, 5);
		assert_int_equal(verdict.word, TLS_CONTROL_REKEY);
	}
	verdict = tls_control_take(&control, TLS_TYPE_HANDSHAKE, (const uint8_t *)UPDATE, 5);
	assert_int_equal(verdict.word, TLS_CONTROL_REFUSE);
	assert_non_null(strstr(verdict.why, "too many"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_records),
	    cmocka_unit_test(test_row),
	};

	return cmocka_run_group_tests_name("tls control", tests, NULL, NULL);
}
