/* SPDX-License-Identifier: Apache-2.0 */
/* Against a name server of our own on loopback, which answers what the test wants. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "resolve/resolve_internal.h"

struct fixture {
	struct loop *loop;
	struct resolver *resolver;
	int server;
	char address[ADDR_TEXT_MAX];
	unsigned int ttl_s;
	const char *addrs[4]; /* what A is answered with; none: no such name */
	int questions;
};

static struct {
	int calls;
	size_t n_addrs;
	struct addr addrs[8];
} heard;

static void on_change(void *argument, const struct addr *addrs, size_t n_addrs)
{
	assert_string_equal(argument, "argument");
	heard.calls++;
	heard.n_addrs = n_addrs;
	assert_in_range(n_addrs, 1, 8);
	memcpy(heard.addrs, addrs, n_addrs * sizeof(*addrs));
}

static void setup(struct fixture *fixture)
{
	struct addr addr = {
	    .in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
	    .len = sizeof(struct sockaddr_in)};

	memset(&heard, 0, sizeof(heard));
	*fixture = (struct fixture){.loop = loop_new(), .ttl_s = 1};
	fixture->server = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(fixture->server, &addr.sa, addr.len), 0);
	assert_int_equal(getsockname(fixture->server, &addr.sa, &addr.len), 0);
	fixture->resolver = resolver_new(fixture->loop, addr_format(&addr, fixture->address));
	assert_non_null(fixture->resolver);
}

static void teardown(struct fixture *fixture)
{
	resolver_free(fixture->resolver);
	close(fixture->server);
	loop_free(fixture->loop);
}

/* RFC 1035: the question comes back with the answers; AAAA is answered with none. */
static void answer_one(struct fixture *fixture)
{
	uint8_t packet[512];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	ssize_t n = recvfrom(fixture->server, packet, sizeof(packet), 0, (struct sockaddr *)&from,
			     &from_len);
	size_t len = 12;
	bool is_a;

	if (n < 17)
		return;
	fixture->questions++;
	while (packet[len])
		len += packet[len] + 1u;
	len += 5;
	is_a = packet[len - 3] == 1;
	packet[2] = 0x81;
	packet[3] = fixture->addrs[0] ? 0x80 : 0x83;
	memset(packet + 6, 0, 6);
	for (size_t i = 0; i < 4 && fixture->addrs[i] && is_a; i++) {
		const uint8_t head[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, (uint8_t)fixture->ttl_s,
					0,    4};

		packet[7]++;
		memcpy(packet + len, head, sizeof(head));
		assert_int_equal(inet_pton(AF_INET, fixture->addrs[i], packet + len + sizeof(head)),
				 1);
		len += sizeof(head) + 4;
	}
	assert_int_equal(
	    sendto(fixture->server, packet, len, 0, (struct sockaddr *)&from, from_len), len);
}

static void serve_until(struct fixture *fixture, const int *count, int wanted)
{
	for (int i = 0; i < 1000 && *count < wanted; i++) {
		answer_one(fixture);
		assert_int_equal(loop_run_once(fixture->loop, 10), 0);
	}
	assert_in_range(*count, wanted, wanted + 2);
}

static void assert_heard(size_t at, const char *text)
{
	char is[ADDR_TEXT_MAX];

	assert_string_equal(addr_format_host(&heard.addrs[at], is), text);
}

static void test_answers_are_sorted_and_followed(void **state)
{
	struct fixture fixture;
	struct resolve_name *name;
	int questions;

	(void)state;
	setup(&fixture);
	fixture.addrs[0] = "192.0.2.9";
	fixture.addrs[1] = "192.0.2.1";
	fixture.addrs[2] = "192.0.2.9";
	name = resolve_start(fixture.resolver, "db.example.com", on_change, (void *)"argument");
	assert_non_null(name);
	assert_int_equal(heard.calls, 0);
	serve_until(&fixture, &heard.calls, 1);
	assert_int_equal(heard.n_addrs, 2);
	assert_heard(0, "192.0.2.1");
	assert_heard(1, "192.0.2.9");
	assert_null(resolve_error(name));
	/* The TTL passes, the same answer in another order says nothing new. */
	questions = fixture.questions;
	fixture.addrs[0] = "192.0.2.1";
	fixture.addrs[1] = "192.0.2.9";
	fixture.addrs[2] = NULL;
	serve_until(&fixture, &fixture.questions, questions + 2);
	assert_int_equal(heard.calls, 1);
	fixture.addrs[1] = "192.0.2.7";
	serve_until(&fixture, &heard.calls, 2);
	assert_heard(1, "192.0.2.7");
	resolve_stop(name);
	teardown(&fixture);
}

static void test_last_good_answer_stays(void **state)
{
	struct fixture fixture;
	struct resolve_name *name;
	int questions;

	(void)state;
	setup(&fixture);
	fixture.addrs[0] = "192.0.2.1";
	name = resolve_start(fixture.resolver, "db.example.com", on_change, (void *)"argument");
	serve_until(&fixture, &heard.calls, 1);
	fixture.addrs[0] = NULL;
	questions = fixture.questions;
	serve_until(&fixture, &fixture.questions, questions + 2);
	for (int i = 0; i < 20 && !resolve_error(name); i++) {
		answer_one(&fixture);
		assert_int_equal(loop_run_once(fixture.loop, 10), 0);
	}
	assert_non_null(resolve_error(name));
	assert_int_equal(heard.calls, 1);
	fixture.addrs[0] = "192.0.2.2";
	serve_until(&fixture, &heard.calls, 2);
	assert_null(resolve_error(name));
	resolve_stop(name);
	teardown(&fixture);
}

static void test_stopping_while_asking(void **state)
{
	struct fixture fixture;
	struct resolve_name *name;

	(void)state;
	setup(&fixture);
	name = resolve_start(fixture.resolver, "db.example.com", on_change, (void *)"argument");
	assert_int_equal(loop_run_once(fixture.loop, 10), 0);
	resolve_stop(name);
	name = resolve_start(fixture.resolver, "never.example.com", on_change, (void *)"argument");
	resolve_stop(name);
	teardown(&fixture);
	assert_int_equal(heard.calls, 0);
}

static void set_hosts(struct fixture *fixture, const char *text)
{
	assert_int_equal(resolver_set_hosts(fixture->resolver, text, strlen(text)), 0);
}

/* The hosts file goes before DNS, and is followed when it is another one. */
static void test_hosts_file(void **state)
{
	struct fixture fixture;
	struct resolve_name *name;

	(void)state;
	setup(&fixture);
	set_hosts(&fixture, "# 192.0.2.66 db.example.com\n"
			    "192.0.2.77\n"
			    "nonsense db.example.com\n"
			    "192.0.2.1\tdb.example.com.org db\r\n"
			    "192.0.2.9 other DB.Example.COM # 192.0.2.67 x\n"
			    " 2001:db8::5  db.example.com\n"
			    "192.0.2.9 db.example.com\n"
			    "192.0.2.3 a#db.example.com\n"
			    "192.0.2.4 db.example.com");
	name = resolve_start(fixture.resolver, "db.example.com", on_change, (void *)"argument");
	serve_until(&fixture, &heard.calls, 1);
	assert_int_equal(heard.n_addrs, 3);
	assert_heard(0, "192.0.2.4");
	assert_heard(1, "192.0.2.9");
	assert_heard(2, "2001:db8::5");
	assert_int_equal(fixture.questions, 0);
	/* The same text, then another one. */
	set_hosts(&fixture, "192.0.2.5 db.example.com\n");
	serve_until(&fixture, &heard.calls, 2);
	assert_int_equal(heard.n_addrs, 1);
	assert_heard(0, "192.0.2.5");
	/* Not there any more: DNS is asked, and its answer counts. */
	fixture.addrs[0] = "192.0.2.6";
	set_hosts(&fixture, "");
	serve_until(&fixture, &heard.calls, 3);
	assert_heard(0, "192.0.2.6");
	assert_true(fixture.questions > 0);
	resolve_stop(name);
	teardown(&fixture);
}

/* RFC 6761, 6.3: DNS is never asked; the hosts file may say which of the two it is. */
static void test_localhost(void **state)
{
	struct fixture fixture;
	struct resolve_name *name;

	(void)state;
	setup(&fixture);
	name = resolve_start(fixture.resolver, "db.localhost", on_change, (void *)"argument");
	serve_until(&fixture, &heard.calls, 1);
	assert_int_equal(heard.n_addrs, 2);
	assert_heard(0, "127.0.0.1");
	assert_heard(1, "::1");
	resolve_stop(name);
	set_hosts(&fixture, "127.0.0.1 localhost\n");
	name = resolve_start(fixture.resolver, "localhost", on_change, (void *)"argument");
	serve_until(&fixture, &heard.calls, 2);
	assert_int_equal(heard.n_addrs, 1);
	assert_heard(0, "127.0.0.1");
	resolve_stop(name);
	assert_int_equal(fixture.questions, 0);
	/* It only looks like one. */
	name = resolve_start(fixture.resolver, "notlocalhost", on_change, (void *)"argument");
	fixture.addrs[0] = "192.0.2.6";
	serve_until(&fixture, &heard.calls, 3);
	assert_heard(0, "192.0.2.6");
	resolve_stop(name);
	teardown(&fixture);
}

static void test_other_servers(void **state)
{
	struct fixture fixture, other;
	struct resolve_name *name, *stopped;

	(void)state;
	setup(&other);
	other.addrs[0] = "192.0.2.2";
	setup(&fixture);
	name = resolve_start(fixture.resolver, "db.example.com", on_change, (void *)"argument");
	stopped = resolve_start(fixture.resolver, "x.example.com", on_change, (void *)"argument");
	/* While the first has questions that it never answers, of one name that nobody wants. */
	assert_int_equal(loop_run_once(fixture.loop, 10), 0);
	resolve_stop(stopped);
	assert_int_equal(resolver_set_servers(fixture.resolver, other.address, "", 0), 0);
	for (int i = 0; i < 1000 && heard.calls < 1; i++) {
		answer_one(&other);
		assert_int_equal(loop_run_once(fixture.loop, 10), 0);
	}
	assert_int_equal(heard.calls, 1);
	assert_heard(0, "192.0.2.2");
	assert_null(resolve_error(name));
	/* Back again; the answer of the other is not old. */
	other.questions = 0;
	fixture.addrs[0] = "192.0.2.1";
	fixture.ttl_s = 3600;
	assert_int_equal(resolver_set_servers(fixture.resolver, fixture.address, "", 0), 0);
	serve_until(&fixture, &heard.calls, 2);
	assert_heard(0, "192.0.2.1");
	/* The same, and none, change nothing: nobody is asked. */
	fixture.questions = 0;
	assert_int_equal(resolver_set_servers(fixture.resolver, fixture.address, "", 0), 0);
	assert_int_equal(resolver_set_servers(fixture.resolver, NULL, "search x\n", 9), 0);
	assert_int_equal(resolver_set_servers(fixture.resolver, "nonsense", "", 0), -EINVAL);
	for (int i = 0; i < 10; i++)
		assert_int_equal(loop_run_once(fixture.loop, 10), 0);
	answer_one(&other);
	assert_int_equal(other.questions, 0);
	resolve_stop(name);
	teardown(&fixture);
	teardown(&other);
}

static void test_servers_of_the_host(void **state)
{
	static const char *const rows[][2] = {
	    {"", ""},
	    {"search example.com\noptions ndots:2\n", ""},
	    {"nameserver 192.0.2.53", "192.0.2.53:53"},
	    {"# made\nnameserver\t192.0.2.53  # x\r\n nameserver 192.0.2.54\nnameserver "
	     "2001:DB8::53\n",
	     "192.0.2.53:53,[2001:db8::53]:53"},
	    {"nameserver\nnameserver fe80::1%eth0\nnameserver 192.0.2\nnameserver192.0.2.1\n"
	     "nameservers 192.0.2.1\n#nameserver 192.0.2.1\nnameserver 192.0.2.7",
	     "192.0.2.7:53"},
	    {"nameserver 192.0.2.53 # at home; where it is down for long, as in the nights in "
	     "which it is updated, take the one of the neighbours instead\nnameserver",
	     "192.0.2.53:53"},
	};
	char many[64 * 64] = "", found[RESOLVE_SERVERS_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		resolve_conf_servers(rows[i][0], strlen(rows[i][0]), found);
		assert_string_equal(found, rows[i][1]);
	}
	for (int i = 0; i < 64; i++)
		strcat(many, "nameserver 2001:db8:1111:2222:3333:4444:5555:6666\n");
	resolve_conf_servers(many, strlen(many), found);
	assert_int_equal(strlen(found) % strlen("[2001:db8:1111:2222:3333:4444:5555:6666]:53,"),
			 strlen("[2001:db8:1111:2222:3333:4444:5555:6666]:53"));
}

static void test_scoped_servers_are_found(void **state)
{
	static const char *const rows[][2] = {
	    {"", NULL},
	    {"nameserver 192.0.2.53\n# nameserver fe80::1%eth0\nsearch %a\n", NULL},
	    {"nameserver 192.0.2.53\nnameserver fe80::1%eth0 # home\nnameserver fe80::2%eth0",
	     "fe80::1%eth0"},
	    {"nameserver fe80::1%eth0", "fe80::1%eth0"},
	    {"nameserver fe80::1%a-name-that-is-much-longer-than-what-any-interface-may-have-here",
	     "fe80::1%a-name-that-is-much-longer-than-what-any-interface-may-"},
	};
	char found[RESOLVE_SCOPED_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool is_found = resolve_conf_find_scoped(rows[i][0], strlen(rows[i][0]), found);

		assert_int_equal(is_found, rows[i][1] != NULL);
		if (is_found)
			assert_string_equal(found, rows[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_answers_are_sorted_and_followed),
	    cmocka_unit_test(test_last_good_answer_stays),
	    cmocka_unit_test(test_stopping_while_asking),
	    cmocka_unit_test(test_hosts_file),
	    cmocka_unit_test(test_localhost),
	    cmocka_unit_test(test_other_servers),
	    cmocka_unit_test(test_servers_of_the_host),
	    cmocka_unit_test(test_scoped_servers_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
