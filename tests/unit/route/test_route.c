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
    {"packets", "routes: [{steer: \"tcp://192.0.2.9:1\"}]", false, {{NULL, 0}, END}},
};

static void check_connection_row(const struct connection_row *row)
{
	struct conf *conf = parse(row->listener);
	const struct conf_listener *listener = &conf->listeners[0];

	if (route_needs_client_hello(listener) != row->needs_hello)
		fail_msg("%s: needs a ClientHello: %d", row->name, !row->needs_hello);
	for (size_t i = 0; row->comers[i].route != -2; i++) {
		const char *sni = row->comers[i].sni;
		int route =
		    index_of(listener, route_connection(listener, sni != NULL, str_from(sni)));

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
	    {"db", "a.example", "/", 3}, /* passed, had it come here: not for requests */
	};
	struct conf *conf =
	    parse(TLS "routes: [{sni: s, to: \"http://127.0.0.1:1\"},\n"
		      "  {host: a.example, path: /api, to: \"http://127.0.0.1:2\"},\n"
		      "  {host: \"*.example\", path: /api/, to: \"http://127.0.0.1:3\"},\n"
		      "  {host: \"*.example\", to: \"http://127.0.0.1:4\"},\n"
		      "  {sni: db, pass: \"tcp://127.0.0.1:5\"}]");
	const struct conf_listener *listener = &conf->listeners[0];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int route = index_of(listener,
				     route_request(listener, str_from(rows[i].sni),
						   str_from(rows[i].host), str_from(rows[i].path)));

		if (route != rows[i].route)
			fail_msg("sni \"%s\" host \"%s\" path \"%s\": route %d, wanted %d",
				 rows[i].sni, rows[i].host, rows[i].path, route, rows[i].route);
	}
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
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
