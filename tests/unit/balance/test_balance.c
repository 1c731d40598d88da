/* SPDX-License-Identifier: Apache-2.0 */
/* Shares, weights, ties, backups, and what moves when servers come and go. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "balance/balance.h"

#define MANY 100000

static struct addr address(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(str_from(text), &addr), 0);
	return addr;
}

static void make(struct balance_candidate *candidates, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char text[64];
		struct addr addr;

		snprintf(text, sizeof(text), "198.51.100.%zu:80", i + 1);
		addr = address(text);
		candidates[i] = (struct balance_candidate){
		    .is_usable = true, .weight = 1000, .identity = balance_hash_server(&addr)};
	}
}

/* The hash of the k-th of many clients, and as good as random. */
static uint64_t client(uint64_t k)
{
	return balance_hash(&k, sizeof(k), 7);
}

static void assert_near(size_t count, size_t wanted)
{
	assert_in_range(count, wanted - wanted / 20, wanted + wanted / 20);
}

static const enum conf_balance all[] = {CONF_BALANCE_ROUND_ROBIN, CONF_BALANCE_LEAST_CONNECTIONS,
					CONF_BALANCE_POWER_OF_TWO, CONF_BALANCE_SOURCE_HASH,
					CONF_BALANCE_MAGLEV};

static void count(enum conf_balance algorithm, struct balance_candidate *candidates, size_t n,
		  size_t *counts)
{
	memset(counts, 0, n * sizeof(*counts));
	for (uint64_t k = 0; k < MANY; k++)
		counts[balance_choose(algorithm, candidates, n, client(k), client(k))]++;
}

/* What `openssl mac SIPHASH` says for the key 00..07 and its complement. */
static void test_hash_is_siphash(void **state)
{
	const unsigned char bytes[15] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
	const uint64_t seed = 0x0706050403020100ULL;

	(void)state;
	assert_int_equal(balance_hash(bytes, 0, seed), 0xc60681632bdd202aULL);
	assert_int_equal(balance_hash(bytes, 8, seed), 0xd71d1892171a9666ULL);
	assert_int_equal(balance_hash(bytes, 15, seed), 0x0f183b781153fc58ULL);
}

static void test_hash_is_keyed_and_takes_every_byte(void **state)
{
	unsigned char bytes[64] = {0};
	uint64_t seen[65];

	(void)state;
	for (size_t len = 0; len <= 64; len++) {
		seen[len] = balance_hash(bytes, len, 1);
		for (size_t other = 0; other < len; other++)
			assert_int_not_equal(seen[len], seen[other]);
	}
	for (size_t i = 0; i < 64; i++) {
		bytes[i] = 1;
		assert_int_not_equal(balance_hash(bytes, 64, 1), seen[64]);
		bytes[i] = 0;
	}
	assert_int_not_equal(balance_hash(bytes, 64, 2), seen[64]);
	assert_int_equal(balance_hash(bytes, 64, 0), balance_hash(bytes, 64, 0));
	assert_int_not_equal(balance_hash(bytes, 64, 0), seen[64]);
}

static void test_source_is_v4_address_or_v6_network(void **state)
{
	struct addr a = address("192.0.2.1:1"), b = address("192.0.2.1:2"),
		    c = address("192.0.2.2:1"), mapped = address("[::ffff:192.0.2.1]:3"),
		    d = address("[2001:db8:1:2::1]:1"), e = address("[2001:db8:1:2:ffff::9]:7"),
		    f = address("[2001:db8:1:3::1]:1"), local = address("unix:/x");

	(void)state;
	assert_int_equal(balance_hash_source(&a), balance_hash_source(&b));
	assert_int_equal(balance_hash_source(&a), balance_hash_source(&mapped));
	assert_int_not_equal(balance_hash_source(&a), balance_hash_source(&c));
	assert_int_equal(balance_hash_source(&d), balance_hash_source(&e));
	assert_int_not_equal(balance_hash_source(&d), balance_hash_source(&f));
	assert_int_equal(balance_hash_source(&local), 0);
	assert_int_not_equal(balance_hash_server(&a), balance_hash_server(&b));
	assert_int_not_equal(balance_hash_server(&d), balance_hash_server(&e));
	assert_int_not_equal(balance_hash_server(&local), 0);
}

static void test_round_robin_is_smooth_and_exact(void **state)
{
	struct balance_candidate candidates[3];
	const size_t wanted[] = {0, 0, 1, 0, 2, 0, 0}; /* the order that nginx documents */

	(void)state;
	make(candidates, 3);
	candidates[0].weight = 5000;
	for (size_t round = 0; round < 3; round++)
		for (size_t i = 0; i < 7; i++)
			assert_int_equal(
			    balance_choose(CONF_BALANCE_ROUND_ROBIN, candidates, 3, 0, 0),
			    wanted[i]);
}

static void test_every_algorithm_shares_by_weight(void **state)
{
	struct balance_candidate candidates[3];
	size_t counts[3];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		make(candidates, 3);
		count(all[i], candidates, 3, counts);
		for (size_t k = 0; k < 3; k++)
			assert_near(counts[k], MANY / 3);
		if (all[i] == CONF_BALANCE_POWER_OF_TWO)
			continue; /* of two, one is drawn first: below */
		candidates[0].weight = 3000;
		candidates[2].weight = 6000;
		count(all[i], candidates, 3, counts);
		assert_near(counts[0], MANY * 3 / 10);
		assert_near(counts[1], MANY / 10);
		assert_near(counts[2], MANY * 6 / 10);
	}
}

static void test_least_connections_levels_load_per_weight(void **state)
{
	struct balance_candidate candidates[3];

	(void)state;
	make(candidates, 3);
	candidates[0].weight = 2000;
	candidates[1].load = 100;
	for (uint64_t k = 0; k < 300; k++)
		candidates[balance_choose(CONF_BALANCE_LEAST_CONNECTIONS, candidates, 3, 0,
					  client(k))]
		    .load++;
	assert_int_equal(candidates[0].load, 200);
	assert_int_equal(candidates[1].load, 100);
	assert_int_equal(candidates[2].load, 100);
}

static void test_two_choices_avoid_the_loaded(void **state)
{
	struct balance_candidate candidates[4];
	size_t counts[4];

	(void)state;
	make(candidates, 4);
	candidates[2].load = 5;
	count(CONF_BALANCE_POWER_OF_TWO, candidates, 4, counts);
	assert_int_equal(counts[2], 0); /* it loses to whoever is drawn with it */
	assert_near(counts[0], MANY / 3);
	make(candidates, 2);
	for (uint64_t k = 0; k < 1000; k++)
		candidates[balance_choose(CONF_BALANCE_POWER_OF_TWO, candidates, 2, 0, client(k))]
		    .load++;
	assert_in_range(candidates[0].load, 499, 501);
}

/* Who had a server that stays keeps it; whoever moves comes from the one that went. */
static void test_rendezvous_moves_only_what_it_must(void **state)
{
	struct balance_candidate before[10], after[10];
	size_t moved = 0;

	(void)state;
	make(before, 10);
	make(after, 10);
	after[3].is_usable = false;
	for (uint64_t k = 0; k < MANY; k++) {
		size_t old = balance_choose(CONF_BALANCE_SOURCE_HASH, before, 10, client(k), k);
		size_t new = balance_choose(CONF_BALANCE_SOURCE_HASH, after, 10, client(k), k + 1);

		moved += old != new;
		assert_true(old == new || old == 3);
	}
	assert_near(moved, MANY / 10);
}

static void test_heavier_server_only_gains(void **state)
{
	struct balance_candidate before[5], after[5];

	(void)state;
	make(before, 5);
	make(after, 5);
	after[1].weight = 2000;
	for (uint64_t k = 0; k < MANY; k++) {
		size_t old = balance_choose(CONF_BALANCE_SOURCE_HASH, before, 5, client(k), 0);
		size_t new = balance_choose(CONF_BALANCE_SOURCE_HASH, after, 5, client(k), 0);

		assert_true(old == new || new == 1);
	}
}

static void test_backups_only_when_no_other_is_usable(void **state)
{
	struct balance_candidate candidates[4];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		make(candidates, 4);
		candidates[1].is_backup = candidates[3].is_backup = true;
		candidates[1].load = 0;
		candidates[0].load = candidates[2].load = 9;
		for (uint64_t k = 0; k < 100; k++)
			assert_int_equal(
			    balance_choose(all[i], candidates, 4, client(k), client(k)) % 2, 0);
		candidates[0].is_usable = false;
		candidates[2].weight = 0;
		for (uint64_t k = 0; k < 100; k++)
			assert_int_equal(
			    balance_choose(all[i], candidates, 4, client(k), client(k)) % 2, 1);
		candidates[1].is_usable = candidates[3].is_usable = false;
		assert_int_equal(balance_choose(all[i], candidates, 4, 1, 1), BALANCE_NONE);
		assert_int_equal(balance_choose(all[i], candidates, 0, 1, 1), BALANCE_NONE);
	}
}

static uint16_t table_a[65537], table_b[65537];

static void test_maglev_shares_by_weight(void **state)
{
	struct balance_candidate candidates[3];
	size_t counts[3] = {0}, size = balance_maglev_size(3);

	(void)state;
	make(candidates, 3);
	candidates[1].weight = 2000;
	candidates[2].weight = 500;
	assert_int_equal(balance_maglev(candidates, 3, table_a, size), 0);
	for (size_t i = 0; i < size; i++)
		counts[table_a[i]]++;
	/* Turns are exact: within one round of the table's end. */
	assert_in_range(counts[0], size * 2 / 7 - 3, size * 2 / 7 + 3);
	assert_in_range(counts[1], size * 4 / 7 - 3, size * 4 / 7 + 3);
	assert_in_range(counts[2], size * 1 / 7 - 3, size * 1 / 7 + 3);
}

/* The paper (section 5.3) finds few moves among servers that stay: here at most a hundredth. */
static void test_maglev_disruption_is_small(void **state)
{
	struct balance_candidate candidates[50];
	size_t moved = 0, freed = 0;

	(void)state;
	make(candidates, 50);
	assert_int_equal(balance_maglev(candidates, 50, table_a, 65537), 0);
	candidates[17].is_usable = false;
	assert_int_equal(balance_maglev(candidates, 50, table_b, 65537), 0);
	for (size_t i = 0; i < 65537; i++) {
		assert_int_not_equal(table_b[i], 17);
		freed += table_a[i] == 17;
		moved += table_a[i] != 17 && table_a[i] != table_b[i];
	}
	assert_near(freed, 65537 / 50);
	assert_true(moved < 65537 / 100);
}

static void test_maglev_agrees_in_any_order(void **state)
{
	struct balance_candidate candidates[5], reversed[5];

	(void)state;
	make(candidates, 5);
	candidates[1].weight = 3000;
	for (size_t i = 0; i < 5; i++)
		reversed[i] = candidates[4 - i];
	assert_int_equal(balance_maglev(candidates, 5, table_a, 1021), 0);
	assert_int_equal(balance_maglev(reversed, 5, table_b, 1021), 0);
	for (size_t i = 0; i < 1021; i++)
		assert_int_equal(table_a[i], 4 - table_b[i]);
}

static void test_maglev_edges(void **state)
{
	struct balance_candidate candidates[3];
	size_t seen = 0;

	(void)state;
	make(candidates, 3);
	assert_int_equal(balance_maglev(candidates, 3, table_a, 1), -EINVAL);
	assert_int_equal(balance_maglev(candidates, 0, table_a, 251), -ENOENT);
	candidates[0].is_backup = true;
	assert_int_equal(balance_maglev(candidates, 3, table_a, 251), 0);
	for (size_t i = 0; i < 251; i++)
		assert_int_not_equal(table_a[i], 0);
	for (uint64_t k = 0; k < 100; k++) {
		size_t first = balance_choose_maglev(table_a, 251, candidates, 3, k);

		assert_int_equal(first, table_a[k % 251]);
		/* Full just now: the same other one each time. */
		candidates[1].is_usable = false;
		assert_int_equal(balance_choose_maglev(table_a, 251, candidates, 3, k), 2);
		candidates[1].is_usable = true;
		seen |= (size_t)1 << first;
	}
	assert_int_equal(seen, 6);
	/* A table of more servers than there are now. */
	assert_int_equal(balance_choose_maglev(table_a, 251, candidates, 1, 0), 0);
	for (size_t i = 0; i < 3; i++)
		candidates[i].is_usable = false;
	assert_int_equal(balance_maglev(candidates, 3, table_a, 251), -ENOENT);
	assert_int_equal(balance_choose_maglev(table_a, 251, candidates, 3, 0), BALANCE_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_hash_is_siphash),
	    cmocka_unit_test(test_hash_is_keyed_and_takes_every_byte),
	    cmocka_unit_test(test_source_is_v4_address_or_v6_network),
	    cmocka_unit_test(test_round_robin_is_smooth_and_exact),
	    cmocka_unit_test(test_every_algorithm_shares_by_weight),
	    cmocka_unit_test(test_least_connections_levels_load_per_weight),
	    cmocka_unit_test(test_two_choices_avoid_the_loaded),
	    cmocka_unit_test(test_rendezvous_moves_only_what_it_must),
	    cmocka_unit_test(test_heavier_server_only_gains),
	    cmocka_unit_test(test_backups_only_when_no_other_is_usable),
	    cmocka_unit_test(test_maglev_shares_by_weight),
	    cmocka_unit_test(test_maglev_disruption_is_small),
	    cmocka_unit_test(test_maglev_agrees_in_any_order),
	    cmocka_unit_test(test_maglev_edges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
