/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics of status documents: names, labels, what is left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admin/admin_metrics.h"

/* Terminated; of the JSON text of a status document. */
static char *format(const char *json)
{
	json_t *status = json_loads(json, 0, NULL);
	size_t len_bytes = 0;
	char *text;

	assert_non_null(status);
	text = admin_metrics_format(status, &len_bytes);
	json_decref(status);
	assert_non_null(text);
	assert_int_equal(strlen(text), len_bytes);
	return text;
}

/* Is that a whole line, once? */
static void assert_line(const char *text, const char *line)
{
	size_t len = strlen(line), n_found = 0;

	for (const char *at = text; (at = strstr(at, line)); at += len)
		if ((at == text || at[-1] == '\n') && at[len] == '\n')
			n_found++;
	if (n_found != 1)
		print_error("%zu times: %s\n", n_found, line);
	assert_int_equal(n_found, 1);
}

static void test_counters_and_gauges(void **state UNUSED)
{
	char *text = format("{\"version\": \"1.2\", \"generation\": 3, \"draining\": true,"
			    " \"counters\": {\"requests\": 5, \"connections_open\": 2},"
			    " \"closes\": {\"done\": 4, \"no_route\": 0},"
			    " \"alerts_sent\": {\"unknown_ca\": 6}}");

	assert_line(text, "penstock_info{version=\"1.2\"} 1");
	assert_line(text, "penstock_generation 3");
	assert_line(text, "penstock_draining 1");
	assert_line(text, "# HELP penstock_requests_total HTTP requests finished");
	assert_line(text, "# TYPE penstock_requests_total counter");
	assert_line(text, "penstock_requests_total 5");
	assert_line(text, "# TYPE penstock_connections_open gauge");
	assert_line(text, "penstock_connections_open 2");
	assert_line(text, "penstock_closes_total{reason=\"done\"} 4");
	assert_line(text, "penstock_closes_total{reason=\"no_route\"} 0");
	assert_line(text, "penstock_tls_alerts_total{direction=\"sent\",alert=\"unknown_ca\"} 6");
	assert_null(strstr(text, "\npenstock_threads "));
	free(text);
}

static void test_servers(void **state UNUSED)
{
	char *text = format("{\"origins\": [{\"name\": \"web\", \"waiting\": 1, \"servers\": ["
			    "{\"address\": \"192.0.2.1:80\", \"state\": \"ejected\", \"load\": 2,"
			    " \"failures\": 5},"
			    "{\"address\": \"a.test:80\", \"name\": \"a.test:80\","
			    " \"state\": \"unresolved\"}]}]}");

	assert_line(text, "penstock_origin_clients_waiting{origin=\"web\"} 1");
	assert_line(text,
		    "penstock_server_state{origin=\"web\",server=\"192.0.2.1:80\",state=\"up\"} 0");
	assert_line(
	    text,
	    "penstock_server_state{origin=\"web\",server=\"192.0.2.1:80\",state=\"ejected\"} 1");
	assert_line(text, "penstock_server_state{origin=\"web\",server=\"a.test:80\","
			  "host=\"a.test:80\",state=\"unresolved\"} 1");
	assert_line(text, "penstock_server_load{origin=\"web\",server=\"192.0.2.1:80\"} 2");
	assert_line(text,
		    "penstock_server_failures_total{origin=\"web\",server=\"192.0.2.1:80\"} 5");
	assert_null(strstr(text, "penstock_server_load{origin=\"web\",server=\"a.test"));
	free(text);
}

static void test_expiries(void **state UNUSED)
{
	char *text =
	    format("{\"listeners\": [{\"name\": \"web\", \"certificates\": ["
		   "{\"file\": \"/etc/a.pem\", \"names\": \"a.test\", \"key\": \"RSA 2048\","
		   " \"not_after\": 1800000000},"
		   "{\"file\": \"/etc/a.pem\", \"names\": \"a.test\", \"key\": \"RSA 2048\","
		   " \"not_after\": 1800000000}],"
		   " \"tls_rules\": {\"client_certificates\": {\"crl\": \"/etc/c.crl\","
		   " \"crl_not_after\": 1700000000}}}],"
		   " \"origins\": [{\"name\": \"inner\", \"servers\": [], \"certificates\": ["
		   "{\"file\": \"/etc/b.pem\", \"names\": \"b\", \"key\": \"ECDSA P-256\","
		   " \"not_after\": -5}]}]}");

	assert_line(text, "penstock_certificate_expiry_timestamp_seconds{listener=\"web\","
			  "names=\"a.test\",key=\"RSA 2048\",file=\"/etc/a.pem\"} 1800000000");
	assert_line(text, "penstock_certificate_expiry_timestamp_seconds{origin=\"inner\","
			  "names=\"b\",key=\"ECDSA P-256\",file=\"/etc/b.pem\"} -5");
	assert_line(text, "penstock_revocation_list_expiry_timestamp_seconds{listener=\"web\","
			  "file=\"/etc/c.crl\"} 1700000000");
	free(text);
}

static void test_routes_and_steered_packets(void **state UNUSED)
{
	char *text = format("{\"listeners\": [{\"name\": \"web\", \"routes\": ["
			    "{\"lane\": \"splice\", \"match\": \"any\", \"to\": \"db\","
			    " \"connections\": 1, \"bytes_to_client\": 70000000000},"
			    "{\"lane\": \"splice\", \"match\": \"any\", \"to\": \"db\","
			    " \"connections\": 2},"
			    "{\"lane\": \"steer\", \"match\": \"any\", \"to\": \"dns\","
			    " \"connections\": 0}]}],"
			    " \"steer\": {\"flows\": 8, \"counters\": {\"flow_new\": 9}}}");

	assert_line(text, "penstock_route_connections_total{listener=\"web\",route=\"1\","
			  "lane=\"splice\",match=\"any\",origin=\"db\"} 1");
	assert_line(text, "penstock_route_connections_total{listener=\"web\",route=\"2\","
			  "lane=\"splice\",match=\"any\",origin=\"db\"} 2");
	assert_line(text, "penstock_route_client_sent_bytes_total{listener=\"web\",route=\"1\","
			  "lane=\"splice\",match=\"any\",origin=\"db\"} 70000000000");
	assert_null(strstr(text, "lane=\"steer\""));
	assert_line(text, "penstock_steer_packets_total{outcome=\"flow_new\"} 9");
	assert_line(text, "penstock_steer_flows 8");
	free(text);
}

static void test_labels_are_escaped(void **state UNUSED)
{
	char *text = format("{\"origins\": [{\"name\": \"a\\\"b\\\\c\\nd\", \"waiting\": 0}]}");

	assert_line(text, "penstock_origin_clients_waiting{origin=\"a\\\"b\\\\c\\nd\"} 0");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_counters_and_gauges),
	    cmocka_unit_test(test_servers),
	    cmocka_unit_test(test_expiries),
	    cmocka_unit_test(test_routes_and_steered_packets),
	    cmocka_unit_test(test_labels_are_escaped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
