/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which route a connection or a request takes: listeners written as in a file, and who comes to
 * them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "route/route.h"

#define TLS "tls: {certificates: [a]}, "

static struct conf *parse(const char *listener)
{
	struct conf_diag *diag = conf_diag_new("f");
	struct conf *conf;
	char text[1024];
	int len =
	    snprintf(text, sizeof(text), "listeners:\n  - {bind: \"192.0.2.1:1\", %s}\n", listener);

	assert_true(len > 0 && len < (int)sizeof(text));
	assert_non_null(diag);
	conf = conf_parse(text, (size_t)len, "f", diag);
	if (!conf)
		fail_msg("%s%s", text, conf_diag_text(diag));
	conf_diag_free(diag);
	return conf;
}

/* The number of the route, from 0; -1: none. */
static int index_of(const struct conf_listener *listener, const struct conf_route *route)
{
	return route ? (int)(route - listener->routes) : -1;
}

/* ---- Connections ---- */

struct connection_row {
	const char *name;
	const char *listener;
	bool needs_hello;
	struct {
		const char *sni; /* NULL: plain bytes; ends with {NULL, -2} */
		int route;
	} comers[8];
};

#define END \
	{ \
		NULL, -2 \
	}

static const struct connection_row connection_rows[] = {
    {"TLS ended, nothing to choose",
     TLS "routes: [{to: \"http://127.0.0.1:1\"}]",
     false,
     {{"a", 0}, {"", 0}, END}},
    {"TLS ended, by host: the request chooses",
     TLS "routes: [{host: a, to: \"http://127.0.0.1:1\"}, {to: \"http://127.0.0.1:2\"}]",
     false,
     {{"b", 0}, {"", 0}, END}},
    {"TLS ended, by sni: the request chooses",
     TLS "routes: [{sni: a, to: \"http://127.0.0.1:1\"}]",
     false,
     {{"a", 0}, {"b", 0}, END}},
    {"plain HTTP", "routes: [{host: a, to: \"http://127.0.0.1:1\"}]", false, {{NULL, 0}, END}},
    {"everything is passed: a server may speak first",
     "routes: [{pass: \"tcp://127.0.0.1:1\"}]",
     false,
     {{NULL, 0}, {"a", 0}, END}},
    {"passed by name",
     "routes: [{sni: a.b, pass: \"tcp://127.0.0.1:1\"}, {sni: \"*.b\", pass: "
     "\"tcp://127.0.0.1:2\"}]",
     true,
     {{"a.b", 0}, {"A.B", 0}, {"c.b", 1}, {"d.c.b", -1}, {"b", -1}, {"", -1}, {NULL, -1}, END}},
    {"passed by name, the others too",
     "routes: [{sni: a, pass: \"tcp://127.0.0.1:1\"}, {pass: \"tcp://127.0.0.1:2\"}]",
     true,
     {{"a", 0}, {"b", 1}, {"", 1}, {NULL, 1}, END}},
    {"one port, two lanes",
     TLS "routes: [{sni: db, pass: \"tcp://127.0.0.1:1\"}, {to: \"http://127.0.0.1:2\"}]",
     true,
     {{"db", 0}, {"web", 1}, {"", 1}, {NULL, -1}, END}},
    {"a host leaves other names to later routes",
     TLS "routes: [{host: web, to: \"http://127.0.0.1:1\"}, {sni: db, pass: "
	 "\"tcp://127.0.0.1:2\"}]",
     true,
     {{"web", 0}, {"db", 1}, {"other", 0}, {"", 0}, {NULL, -1}, END}},
    {"a host before what passes the rest",
     TLS "routes: [{host: web, to: \"http://127.0.0.1:1\"}, {pass: \"tcp://127.0.0.1:2\"}]",
     true,
     {{"web", 0}, {"db", 1}, {"", 1}, {NULL, 1}, END}},
    {"a terminate route with sni is for that name alone",
     TLS "routes: [{sni: web, to: \"http://127.0.0.1:1\"}, {sni: db, pass: \"tcp://127.0.0.1:2\"}]",
     true,
     {{"web", 0}, {"db", 1}, {"other", -1}, {"", -1}, END}},
    {"first wins",
     TLS "routes: [{sni: \"*.b\", to: \"http://127.0.0.1:1\"}, {sni: a.b, to: "
	 "\"http://127.0.0.1:2\"}, {sni: c, pass: \"tcp://127.0.0.1:1\"}]",
     true,
     {{"a.b", 0}, {"c", 2}, END}},
    {"plain HTTP here, TLS passed on",
     "routes: [{host: a, to: \"http://127.0.0.1:1\"}, {pass: \"tcp://127.0.0.1:2\"}]",
     true,
     {{NULL, 0}, {"a", 1}, {"", 1}, END}},
    {"streams with TLS ended, by name, beside what is passed on and requests",
     TLS "routes: [{sni: a, to: \"tcp://127.0.0.1:1\"}, {sni: b, pass: \"tcp://127.0.0.1:2\"}, "
	 "{host: c, to: \"http://127.0.0.1:3\"}, {to: \"tls://127.0.0.1:4\"}]",
     true,
     {{"a", 0}, {"b", 1}, {"c", 2}, {"d", 3}, {"", 3}, {NULL, -1}, END}},
    {"one stream with TLS ended, nothing to choose",
     TLS "routes: [{to: \"tcp://127.0.0.1:1\"}]",
     false,
     {{"a", 0}, {"", 0}, END}},
    {"a stream with a name only, and no other",
     TLS "routes: [{sni: a, to: \"tcp://127.0.0.1:1\"}]",
     true,
     {{"a", 0}, {"b", -1}, {"", -1}, {NULL, -1}, END}},
    {"requests of other names do not go to streams",
     TLS "routes: [{sni: a, to: \"tcp://127.0.0.1:1\"}, {host: c, to: \"http://127.0.0.1:3\"}]",
     true,
     {{"a", 0}, {"c", 1}, {"d", 1}, {NULL, -1}, END}},
    {"a plain stream into TLS: whatever comes",
     "routes: [{to: \"tls://127.0.0.1:1\"}]",
     false,
     {{NULL, 0}, {"a", 0}, END}},
    {"plain into TLS, TLS passed on",
     "routes: [{sni: a, pass: \"tcp://127.0.0.1:2\"}, {to: \"tls://127.0.0.1:1\"}]",
     true,
     {{NULL, 1}, {"a", 0}, {"b", -1}, END}},
    {"packets", "routes: [{steer: \"tcp://192.0.2.9:1\"}]", false, {{NULL, 0}, END}},
};

static void check_connection_row(const struct connection_row *row)
{
	struct conf *conf = parse(row->listener);
	const struct conf_listener *listener = &conf->listeners[0];
	struct route_seen seen = {.is_tls = false};

	if (route_needs_client_hello(listener, &seen) != row->needs_hello)
		fail_msg("%s: needs a ClientHello: %d", row->name, !row->needs_hello);
	for (size_t i = 0; row->comers[i].route != -2; i++) {
		const char *sni = row->comers[i].sni;
		int route;

		seen = (struct route_seen){.is_tls = sni != NULL, .sni = str_from(sni)};
		route = index_of(listener, route_connection(listener, &seen));
		if (route != row->comers[i].route)
			fail_msg("%s: %s took route %d, wanted %d", row->name,
				 sni ? sni : "(plain)", route, row->comers[i].route);
	}
	conf_unref(conf);
}

static void test_connections(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(connection_rows); i++)
		check_connection_row(&connection_rows[i]);
}

/* ---- Requests ---- */

static void test_requests(void **state)
{
	static const struct {
		const char *sni, *host, *path;
		int route;
	} rows[] = {
	    {"", "a.example", "/", 3},
	    {"", "A.Example", "/", 3},
	    {"", "a.example", "/api", 1},
	    {"", "a.example", "/api/x", 1},
	    {"", "a.example", "/apix", 3},
	    {"", "a.example", "/API", 3},
	    {"", "b.example", "/api/", 2},
	    {"", "b.example", "/api", 3},
	    {"", "c.b.example", "/", -1},
	    {"", "example", "/", -1},
	    {"", "", "/", -1},
	    {"s", "a.example", "/api", 0},
	    {"s", "anything", "/", 0},
	    {"stream", "c.b.example", "/", -1}, /* nor this, which has no requests */
	    {"db", "a.example", "/", 3}, /* passed, had it come here: not for requests */
	};
	struct conf *conf =
	    parse(TLS "routes: [{sni: s, to: \"http://127.0.0.1:1\"},\n"
		      "  {host: a.example, path: /api, to: \"http://127.0.0.1:2\"},\n"
		      "  {host: \"*.example\", path: /api/, to: \"http://127.0.0.1:3\"},\n"
		      "  {host: \"*.example\", to: \"http://127.0.0.1:4\"},\n"
		      "  {sni: db, pass: \"tcp://127.0.0.1:5\"},\n"
		      "  {to: \"tcp://127.0.0.1:6\"}]");
	const struct conf_listener *listener = &conf->listeners[0];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct route_seen seen = {.is_tls = true, .sni = str_from(rows[i].sni)};
		int route =
		    index_of(listener, route_request(listener, &seen, str_from(rows[i].host),
						     str_from(rows[i].path)));

		if (route != rows[i].route)
			fail_msg("sni \"%s\" host \"%s\" path \"%s\": route %d, wanted %d",
				 rows[i].sni, rows[i].host, rows[i].path, route, rows[i].route);
	}
	conf_unref(conf);
}

/* ---- Addresses and ALPN ---- */

static struct addr host(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse_host(str_from(text), &addr), 0);
	return addr;
}

/* Who comes: NULL for what nobody told; `sni` NULL: plain bytes. */
struct comer {
	const char *source, *destination, *sni, *alpn;
	bool needs_hello;
	int route;
};

static void check_comers(const struct conf_listener *listener, const struct comer *comers,
			 size_t n_comers)
{
	for (size_t i = 0; i < n_comers; i++) {
		const struct comer *comer = &comers[i];
		struct addr source = comer->source ? host(comer->source) : (struct addr){.len = 0};
		struct addr destination =
		    comer->destination ? host(comer->destination) : (struct addr){.len = 0};
		struct route_seen seen = {
		    .is_tls = comer->sni != NULL,
		    .sni = str_from(comer->sni),
		    .alpn = (const uint8_t *)comer->alpn,
		    .alpn_len = comer->alpn ? strlen(comer->alpn) : 0,
		    .source = comer->source ? &source : NULL,
		    .destination = comer->destination ? &destination : NULL,
		};

		if (route_needs_client_hello(listener, &seen) != comer->needs_hello)
			fail_msg("comer %zu: needs a ClientHello: %d", i, !comer->needs_hello);
		if (index_of(listener, route_connection(listener, &seen)) != comer->route)
			fail_msg("comer %zu took route %d, wanted %d", i,
				 index_of(listener, route_connection(listener, &seen)),
				 comer->route);
	}
}

static struct conf_nets office = {.n_nets = 1}, lan = {.n_nets = 1}, inner = {.n_nets = 1};

static void make_nets(void)
{
	static struct conf_net nets[3];

	nets[0] = (struct conf_net){host("192.0.2.0"), 25};
	nets[1] = (struct conf_net){host("2001:db8::"), 32};
	nets[2] = (struct conf_net){host("203.0.113.7"), 32};
	office.nets = &nets[0];
	lan.nets = &nets[1];
	inner.nets = &nets[2];
}

/* A server that speaks first can be routed by source: nothing is waited for. */
static void test_by_address_alone(void **state)
{
	static const struct comer comers[] = {
	    {"192.0.2.127", "203.0.113.8", NULL, NULL, false, 0},
	    {"::ffff:192.0.2.1", "203.0.113.8", NULL, NULL, false, 0},
	    {"192.0.2.128", "203.0.113.8", NULL, NULL, false, 2},
	    {"2001:db8::1", "203.0.113.7", NULL, NULL, false, 1},
	    {"2001:db8::1", "::ffff:203.0.113.7", NULL, NULL, false, 1},
	    {"2001:db8::1", "203.0.113.8", NULL, NULL, false, 2},
	    {"2001:db9::1", "203.0.113.7", NULL, NULL, false, 2},
	    {NULL, NULL, NULL, NULL, false, 2},
	};
	struct conf *conf = parse("routes: [{sni: a, pass: \"tcp://127.0.0.1:1\"}, {sni: a, pass: "
				  "\"tcp://127.0.0.1:2\"}, {pass: \"tcp://127.0.0.1:3\"}]");
	struct conf_listener *listener = &conf->listeners[0];

	(void)state;
	make_nets();
	listener->routes[0].sni = NULL;
	listener->routes[0].sources = office;
	listener->routes[1].sni = NULL;
	listener->routes[1].sources = lan;
	assert_false(route_needs_destination(listener));
	listener->routes[1].destinations = inner;
	assert_true(route_needs_destination(listener));
	check_comers(listener, comers, ARRAY_LEN(comers));
	/* Nobody else is let in. */
	listener->routes[2].sources = inner;
	check_comers(listener, (struct comer[]){{"198.51.100.1", NULL, "a", NULL, false, -1}}, 1);
	conf_unref(conf);
}

/* The name is asked only of those for whom it matters. */
static void test_by_address_and_name(void **state)
{
	static const struct comer comers[] = {
	    {"192.0.2.1", NULL, "a", NULL, true, 0},
	    {"192.0.2.1", NULL, "b", NULL, true, 1},
	    {"192.0.2.1", NULL, NULL, NULL, true, 1},
	    {"198.51.100.1", NULL, "a", NULL, false, 1},
	};
	struct conf *conf = parse("routes: [{sni: a, pass: \"tcp://127.0.0.1:1\"}, {pass: "
				  "\"tcp://127.0.0.1:2\"}]");
	struct conf_listener *listener = &conf->listeners[0];

	(void)state;
	make_nets();
	listener->routes[0].sources = office;
	check_comers(listener, comers, ARRAY_LEN(comers));
	conf_unref(conf);
}

static void test_by_alpn(void **state)
{
	static const struct comer comers[] = {
	    {NULL, NULL, "a", "\12postgresql", true, 0},
	    {NULL, NULL, "a", "\2h2\12postgresql", true, 0},
	    {NULL, NULL, "", "\4mqtt", true, 0},
	    {NULL, NULL, "a", "\2h2\10http/1.1", true, 1},
	    {NULL, NULL, "a", "\11postgresq", true, 1},
	    {NULL, NULL, "a", NULL, true, 1},
	    {NULL, NULL, NULL, NULL, true, -1},
	};
	static const char *names[] = {"mqtt", "postgresql"};
	struct conf *conf = parse(TLS "routes: [{sni: x, pass: \"tcp://127.0.0.1:1\"}, {to: "
				      "\"http://127.0.0.1:2\"}]");
	struct conf_listener *listener = &conf->listeners[0];

	(void)state;
	listener->routes[0].sni = NULL;
	listener->routes[0].alpn = names;
	listener->routes[0].n_alpn = 2;
	check_comers(listener, comers, ARRAY_LEN(comers));
	/* Also where all of it is ended here. */
	listener->routes[0].lane = CONF_LANE_TERMINATE;
	check_comers(listener, comers, ARRAY_LEN(comers));
	conf_unref(conf);
}

static void test_requests_by_address(void **state)
{
	struct conf *conf = parse(TLS "routes: [{host: a, path: /admin, to: "
				      "\"http://127.0.0.1:1\"}, {host: a, to: "
				      "\"http://127.0.0.1:2\"}]");
	struct conf_listener *listener = &conf->listeners[0];
	struct addr near = host("192.0.2.1"), far = host("192.0.2.200");
	struct route_seen seen = {.is_tls = true, .source = &near};

	(void)state;
	make_nets();
	listener->routes[0].sources = office;
	assert_ptr_equal(route_request(listener, &seen, STR("a"), STR("/admin")),
			 &listener->routes[0]);
	seen.source = &far;
	assert_ptr_equal(route_request(listener, &seen, STR("a"), STR("/admin")),
			 &listener->routes[1]);
	listener->routes[1].destinations = inner;
	assert_null(route_request(listener, &seen, STR("a"), STR("/admin")));
	conf_unref(conf);
}

/* ---- Matchers ---- */

static void test_names(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool matches;
	} rows[] = {
	    {"example.com", "example.com", true},	 {"example.com", "EXAMPLE.com", true},
	    {"example.com", "a.example.com", false},	 {"example.com", "example.org", false},
	    {"example.com", "example.co", false},	 {"example.com", "", false},
	    {"*.example.com", "a.example.com", true},	 {"*.example.com", "A.Example.Com", true},
	    {"*.example.com", "a.b.example.com", false}, {"*.example.com", "example.com", false},
	    {"*.example.com", ".example.com", false},	 {"*.example.com", "aexample.com", false},
	    {"*.example.com", "*.example.com", true},	 {"*.example.com", "", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (route_name_matches(rows[i].pattern, str_from(rows[i].name)) != rows[i].matches)
			fail_msg("%s, %s", rows[i].pattern, rows[i].name);
	assert_false(route_name_matches("a", (struct str){NULL, 0}));
	assert_false(route_name_matches("*.a", (struct str){NULL, 0}));
}

static void test_paths(void **state)
{
	static const struct {
		const char *prefix, *path;
		bool matches;
	} rows[] = {
	    {"/", "/", true},	       {"/", "/x", true},	 {"/api", "/api", true},
	    {"/api", "/api/", true},   {"/api", "/api/x", true}, {"/api", "/apix", false},
	    {"/api", "/ap", false},    {"/api", "/", false},	 {"/api", "/API", false},
	    {"/api/", "/api/x", true}, {"/api/", "/api/", true}, {"/api/", "/api", false},
	    {"/a/b", "/a/b/c", true},  {"/a/b", "/a/c", false},	 {"/api", "", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (route_path_matches(rows[i].prefix, str_from(rows[i].path)) != rows[i].matches)
			fail_msg("%s, %s", rows[i].prefix, rows[i].path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_connections),
	    cmocka_unit_test(test_requests),
	    cmocka_unit_test(test_by_address_alone),
	    cmocka_unit_test(test_by_address_and_name),
	    cmocka_unit_test(test_by_alpn),
	    cmocka_unit_test(test_requests_by_address),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
