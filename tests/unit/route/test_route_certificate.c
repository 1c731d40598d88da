/* SPDX-License-Identifier: Apache-2.0 */
/* What a route asks of a client's certificate, row by row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "route/route.h"

#define FINGERPRINT "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct route_name names[] = {
    {true, {"a.example.org", 13}},
    {false, {"spiffe://example.com/Job", 24}},
    {false, {"a@example.com", 13}},
};

static const struct route_certificate shown = {
    .subject = {"a.example.com", 13},
    .issuer = {"Example CA", 10},
    .fingerprint = {FINGERPRINT, 64},
    .names = names,
    .n_names = ARRAY_LEN(names),
};

static const struct row {
	const char *name;
	struct conf_client_cert_match match;
	bool takes_shown, takes_none;
} rows[] = {
    {"not looked at", {.is_set = false}, true, true},
    {"on", {.is_set = true, .verified = true}, true, false},
    {"off", {.is_set = true}, false, true},
    {"subject", {.is_set = true, .verified = true, .subject = "a.example.com"}, true, false},
    {"subject to the letter",
     {.is_set = true, .verified = true, .subject = "A.example.com"},
     false,
     false},
    {"subject by wildcard",
     {.is_set = true, .verified = true, .subject = "*.example.com"},
     true,
     false},
    {"subject by another",
     {.is_set = true, .verified = true, .subject = "*.example.net"},
     false,
     false},
    {"subject cut short", {.is_set = true, .verified = true, .subject = "a.example"}, false, false},
    {"issuer", {.is_set = true, .verified = true, .issuer = "Example CA"}, true, false},
    {"another issuer", {.is_set = true, .verified = true, .issuer = "Example"}, false, false},
    {"domain", {.is_set = true, .verified = true, .san = "A.EXAMPLE.org"}, true, false},
    {"domain by wildcard", {.is_set = true, .verified = true, .san = "*.example.org"}, true, false},
    {"URI", {.is_set = true, .verified = true, .san = "spiffe://example.com/Job"}, true, false},
    {"URI to the letter",
     {.is_set = true, .verified = true, .san = "spiffe://example.com/job"},
     false,
     false},
    {"e-mail", {.is_set = true, .verified = true, .san = "a@example.com"}, true, false},
    {"wildcards are of domains",
     {.is_set = true, .verified = true, .san = "*.com/Job"},
     false,
     false},
    {"fingerprint", {.is_set = true, .verified = true, .fingerprint = FINGERPRINT}, true, false},
    {"another fingerprint",
     {.is_set = true,
      .verified = true,
      .fingerprint = "f123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
     false,
     false},
    {"all must match",
     {.is_set = true, .verified = true, .subject = "a.example.com", .issuer = "Other"},
     false,
     false},
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (route_takes_certificate(&rows[i].match, &shown) != rows[i].takes_shown ||
		    route_takes_certificate(&rows[i].match, NULL) != rows[i].takes_none)
			fail_msg("%s", rows[i].name);
}

/* A name that is no text, or was cut, is "" and matches nothing. */
static void test_empty_names(void **state)
{
	const struct route_certificate empty = {
	    .subject = STR(""), .issuer = STR(""), .fingerprint = {FINGERPRINT, 64}};

	(void)state;
	for (size_t i = 3; i < 16; i++)
		assert_false(route_takes_certificate(&rows[i].match, &empty));
	assert_true(route_takes_certificate(&rows[1].match, &empty));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rows),
	    cmocka_unit_test(test_empty_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
