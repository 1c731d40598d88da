/* SPDX-License-Identifier: Apache-2.0 */
/* What `penstock status` prints of whole, partial and hostile documents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli_internal.h"

static char *shown(const char *document, bool colour)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	json_t *status = json_loads(document, JSON_DECODE_ANY, NULL);

	assert_non_null(out);
	assert_non_null(status);
	cli_show_status(status, out, colour);
	fclose(out);
	json_decref(status);
	return text;
}

static void expect_shown(const char *document, const char *expected)
{
	char *text = shown(document, false);

	assert_string_equal(text, expected);
	free(text);
}

static void test_whole_document(void **state)
{
	(void)state;
	expect_shown(
	    "{\"version\":\"1.2\",\"generation\":3,\"uptime_s\":3700,\"kernel_tls\":\"available\","
	    "\"listeners\":[{\"name\":\"web\",\"binds\":[\":443\",\":8443\"],\"tls\":true,"
	    "\"routes\":["
	    "{\"lane\":\"terminate\",\"match\":\"path /a\",\"to\":\"one\",\"relay\":\"copy\","
	    "\"offload\":\"client openssl\",\"why_not_faster\":\"no tls module\"},"
	    "{\"lane\":\"splice\",\"match\":\"any\",\"to\":\"two\",\"relay\":\"pipe\"}]},"
	    "{\"name\":\":53/"
	    "udp\",\"binds\":[\":53\"],\"routes\":[{\"lane\":\"steer\",\"match\":\"any\","
	    "\"to\":\"three\",\"relay\":\"tc eth0\",\"why_not_faster\":\"veth\"}]}],"
	    "\"origins\":[{\"name\":\"one\",\"tls\":\"verified\",\"servers\":["
	    "{\"address\":\"192.0.2.1:80\",\"weight\":1,\"state\":\"ejected\",\"load\":2,"
	    "\"share\":1000,\"connects\":7,\"failures\":5},"
	    "{\"address\":\"192.0.2.2:80\",\"weight\":3,\"backup\":true,\"state\":\"up\","
	    "\"load\":0,\"share\":250,\"connects\":1,\"failures\":0},"
	    "{\"address\":\"192.0.2.3:80\",\"name\":\"a.example:80\",\"state\":\"down\","
	    "\"why\":\"refused\",\"load\":0,\"share\":1000,\"connects\":0,\"failures\":9}]}],"
	    "\"counters\":{\"connections_accepted\":5,\"requests\":0},\"closes\":{\"done\":5},"
	    "\"plane\":{\"devices\":[{\"name\":\"eth0\",\"hook\":\"tc\",\"reason\":\"veth\"}],"
	    "\"notes\":[\"new maps\"]},"
	    "\"steer\":{\"services\":[{\"name\":\"dns\",\"origin\":\"three\","
	    "\"to_origin\":{\"packets\":4},\"servers\":[{\"address\":\"192.0.2.9:53\",\"flows\":2},"
	    "{\"address\":\"192.0.2.8:53\",\"flows\":0}]}],\"flows\":2,"
	    "\"counters\":{\"flow_new\":2,\"drop_ttl\":0}}}",
	    "penstock 1.2, generation 3, up 1h 1m, kernel TLS: available\n"
	    "\nListeners\n"
	    "  LISTENER             LANE       MATCH    TO     CARRIED BY            WHY NOT "
	    "FASTER\n"
	    "  web :443, :8443 tls  terminate  path /a  one    copy, client openssl  no tls "
	    "module\n"
	    "                       splice     any      two    pipe\n"
	    "  :53/udp              steer      any      three  tc eth0               veth\n"
	    "\nOrigins\n"
	    "  ORIGIN  SERVER                        STATE      WHY      OPEN  CONNECTS  FAILED  "
	    "TLS\n"
	    "  one     192.0.2.1:80                  ejected             2     7         5       "
	    "verified\n"
	    "          192.0.2.2:80 weight=3 backup  up at 25%           0     1         0\n"
	    "          192.0.2.3:80 (a.example:80)   down       refused  0     0         9\n"
	    "\nDevices\n"
	    "  DEVICE  HOOK  WHY THIS HOOK\n"
	    "  eth0    tc    veth\n"
	    "  note: new maps\n"
	    "\nSteered services (packets of the flows in the table)\n"
	    "  SERVICE  ORIGIN  SERVER        FLOWS  TO ORIGIN\n"
	    "  dns      three   192.0.2.9:53  2      4\n"
	    "                   192.0.2.8:53  0\n"
	    "\nSteered packets\n"
	    "  COUNT  NAME      MEANING\n"
	    "  2      flow_new  a new flow was given a server\n"
	    "\nCounters\n"
	    "  COUNT  NAME                  MEANING\n"
	    "  5      connections_accepted  connections accepted\n"
	    "\nEnded because\n"
	    "  COUNT  NAME  MEANING\n"
	    "  5      done  both sides ended the stream\n");
}

static void test_tls(void **state)
{
	(void)state;
	expect_shown(
	    "{\"listeners\":[{\"name\":\"web\",\"key_log\":\"/"
	    "k\",\"tls_rules\":{\"policy\":\"modern\","
	    "\"versions\":[\"TLSv1.3\"],\"alpn\":[\"http/"
	    "1.1\"],\"strict_sni\":true,\"tickets\":{\"keys\":"
	    "\"ring\",\"lifetime_s\":86400},\"client_certificates\":{\"verify\":\"required\","
	    "\"ca\":\"/c\","
	    "\"crl\":\"/r\",\"crl_until\":\"2026-01-31T12:00:00Z\"}}},"
	    "{\"name\":\"two\",\"tls_rules\":{\"policy\":\"intermediate\",\"versions\":[\"TLSv1."
	    "2\","
	    "\"TLSv1.3\"],\"alpn\":[],\"strict_sni\":false,\"tickets\":{\"keys\":\"file\",\"file\":"
	    "\"/t\","
	    "\"lifetime_s\":60},\"client_certificates\":{\"verify\":\"optional\",\"crl\":\"/r\"}}},"
	    "{\"name\":\"three\",\"tls_rules\":{\"tickets\":{\"keys\":\"off\"},\"client_"
	    "certificates\":{"
	    "\"verify\":\"off\"}}},{\"name\":\"plain\"}],"
	    "\"origins\":[{\"name\":\"open\",\"tls\":\"NOT "
	    "VERIFIED\",\"servers\":[],\"tls_rules\":{"
	    "\"versions\":[\"TLSv1.3\"],\"sessions\":true,\"ca\":\"/a\",\"server_name\":\"n\"},"
	    "\"certificates\":[{\"names\":\"me\",\"key\":\"RSA "
	    "2048\",\"expires\":\"x\",\"days_left\":-1,"
	    "\"file\":\"/m\"}]}]}",
	    "penstock, generation 0, up 0s\n"
	    "WARNING: the keys of all TLS sessions are written to /k\n"
	    "WARNING: origin open is not verified: whoever is on the way can read and change all\n"
	    "\nListeners\n"
	    "\nTLS with clients\n"
	    "  LISTENER  POLICY        VERSIONS          ALPN      NAMES        CLIENT CERTIFICATES"
	    "                         TICKETS\n"
	    "  web       modern        TLSv1.3           http/1.1  known alone  required, lists "
	    "until "
	    "2026-01-31T12:00:00Z  own keys, 1d 0h\n"
	    "  two       intermediate  TLSv1.2, TLSv1.3            any          optional, lists "
	    "without "
	    "end                 /t, 1m 0s\n"
	    "  three                                               any          off"
	    "                                         off\n"
	    "\nOrigins\n"
	    "\nTLS with origins\n"
	    "  ORIGIN  SERVERS       AUTHORITIES  NAME  VERSIONS  SESSIONS\n"
	    "  open    NOT VERIFIED  /a           n     TLSv1.3   on\n"
	    "\nCertificates shown to origins\n"
	    "  ORIGIN  NAMES  KEY       EXPIRES  DAYS LEFT  FILE\n"
	    "  open    me     RSA 2048  x        -1         /m\n");
}

static void test_missing_and_wrong_keys(void **state)
{
	static const char *const documents[] = {
	    "{}",
	    "[]",
	    "7",
	    "null",
	    "{\"version\":7,\"generation\":\"x\",\"uptime_s\":[],\"listeners\":{},\"origins\":7}",
	    "{\"listeners\":[7,{},{\"name\":1,\"routes\":[null,{\"lane\":{}}]}]}",
	    "{\"listeners\":[{\"tls_rules\":{\"tickets\":7,\"versions\":7,\"client_certificates\":["
	    "]}}]}",
	    "{\"origins\":[{\"tls\":7,\"tls_rules\":{\"versions\":{}},\"certificates\":[7]}]}",
	    "{\"origins\":[null,{\"servers\":[null,7,\"a\",[1,2],{\"x\":{\"y\":true}}]}]}",
	    "{\"counters\":{\"a\":\"b\"},\"closes\":[],\"plane\":7,\"steer\":{\"services\":7}}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
		char *text = shown(documents[i], i % 2);

		assert_true(strncmp(text + (i % 2 ? 4 : 0), "penstock", 8) == 0);
		free(text);
	}
}

/* Control characters, and texts of any length, from a worker that was taken over. */
static void test_hostile_text(void **state)
{
	char document[8192] = "{\"version\":\"\\u001b[2J\\u0007\\r\",\"listeners\":[{\"name\":\"";
	size_t len = strlen(document);
	char *text;

	(void)state;
	memset(document + len, 'n', 5000);
	strcpy(document + len + 5000, "\",\"routes\":[{\"lane\":\"\\u009b\\u001b\"}]}]}");
	text = shown(document, false);
	assert_null(strchr(text, '\033'));
	assert_null(strchr(text, '\a'));
	assert_null(strchr(text, '\r'));
	assert_null(strstr(text, "\xc2\x9b"));
	assert_non_null(strstr(text, "?[2J??"));
	free(text);
}

static void test_durations(void **state)
{
	char text[32];

	(void)state;
	assert_string_equal(cli_format_duration(0, text), "0s");
	assert_string_equal(cli_format_duration(59.9, text), "59s");
	assert_string_equal(cli_format_duration(61, text), "1m 1s");
	assert_string_equal(cli_format_duration(7322, text), "2h 2m");
	assert_string_equal(cli_format_duration(90000, text), "1d 1h");
	assert_string_equal(cli_format_duration(-5, text), "0s");
	assert_string_equal(cli_format_duration(1e300, text), "0s");
}

static void test_table(void **state)
{
	static const char *const titles[] = {"A", "EMPTY", "LONG TITLE", "Z"};
	static const char *const rows[][4] = {
	    {"\xc3\xa4\xc3\xb6", NULL, "1", "x"}, {"abc", "", "", "y"}, {"", NULL, "2", NULL}};
	struct cli_table *table = cli_table_new(titles, 4);
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	cli_table_print(table, out, false);
	fflush(out);
	assert_int_equal(len, 0);
	for (size_t i = 0; i < 3; i++)
		cli_table_add(table, rows[i]);
	cli_table_print(table, out, true);
	fclose(out);
	assert_string_equal(text, "  \033[1mA    LONG TITLE  Z\033[0m\n"
				  "  \xc3\xa4\xc3\xb6   1           x\n"
				  "  abc              y\n"
				  "       2\n");
	free(text);
	cli_table_free(table);
	cli_table_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_whole_document),
	    cmocka_unit_test(test_tls),
	    cmocka_unit_test(test_missing_and_wrong_keys),
	    cmocka_unit_test(test_hostile_text),
	    cmocka_unit_test(test_durations),
	    cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
