/* SPDX-License-Identifier: Apache-2.0 */
/* An origin whose heads come byte by byte: how often one is parsed. Stands in for h1_response.c. */
#define h1_parse_response real_parse_response
#include "http/h1_response.c"
#undef h1_parse_response

#include "rig.h"

enum h1_progress h1_parse_response(const char *data, size_t len_bytes, bool to_head,
				   struct h1_response *ret_response,
				   enum h1_fault *ret_fault) MUST_CHECK;

static unsigned int n_parsed;

enum h1_progress h1_parse_response(const char *data, size_t len_bytes, bool to_head,
				   struct h1_response *ret_response, enum h1_fault *ret_fault)
{
	n_parsed++;
	return real_parse_response(data, len_bytes, to_head, ret_response, ret_fault);
}

static void dribble(struct rig *rig, const char *text)
{
	for (; *text; text++) {
		rig_write_bytes(&rig->origins[0], text, 1);
		rig_settle(rig);
	}
}

#define INTERIM \
	"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload; as=style\r\n" \
	"Link: </b.css>; rel=preload; as=style\r\n\r\n"
#define LINES \
	"Server: one that thinks long about each word\r\nContent-Type: text/plain\r\n" \
	"Content-Length: 2\r\n"

/* The first 16 bytes tell whether it is HTTP at all, and then the end of the head does. */
static void test_a_head_is_not_parsed_at_each_read(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	dribble(rig, INTERIM);
	assert_in_range(n_parsed, 1, 18);
	rig_expect(rig, &rig->client, INTERIM);
	dribble(rig, "HTTP/1.1 200 OK\r\n" LINES);
	rig_expect_nothing(rig, &rig->client);
	dribble(rig, "\r\nok");
	assert_in_range(n_parsed, 2, 36);
	rig_expect(rig, &rig->client, "HTTP/1.1 200 OK\r\n" LINES "\r\nok");
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_head_is_not_parsed_at_each_read),
	};

	return cmocka_run_group_tests_name("exchange, dribbling origins", tests, NULL, NULL);
}
