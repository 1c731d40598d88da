/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL's memory. The sanitizer's malloc() gives no block a second time for long, so a block that
 * comes back was kept by us. */
#include <openssl/crypto.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tls/tls_internal.h"

#define MANY 4000

static void *given[MANY];

/* To no bytes means free(), as with realloc(): what is given back then is lost. */
static void memory_for_nothing_is_freed(void **state)
{
	void *data = OPENSSL_malloc(32);

	(void)state;
	assert_non_null(data);
	tls_wipe_begin();
	assert_null(OPENSSL_realloc(data, 0));
	tls_wipe_end();
}

static void what_was_freed_is_given_again(void **state)
{
	static const size_t sizes[] = {1, 24, 25, 40, 500, 1032, 1033, 3280, 16592, 20000};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		char *data = OPENSSL_malloc(sizes[i]);
		void *first = data;

		memset(data, 1, sizes[i]);
		OPENSSL_free(data);
		data = OPENSSL_malloc(sizes[i]);
		assert_ptr_equal(data, first);
		memset(data, 2, sizes[i]); /* the sanitizer sees whether it is long enough */
		OPENSSL_free(data);
	}
}

static void sizes_do_not_mix(void **state)
{
	char *small = OPENSSL_malloc(40), *large = OPENSSL_malloc(5000);
	char *other;

	(void)state;
	OPENSSL_free(small);
	other = OPENSSL_malloc(41);
	memset(other, 1, 41);
	OPENSSL_free(other);
	OPENSSL_free(large);
	other = OPENSSL_malloc(5001);
	memset(other, 1, 5001);
	OPENSSL_free(other);
	other = OPENSSL_malloc(4000); /* would waste too much of the large one */
	assert_ptr_not_equal(other, large);
	OPENSSL_free(other);
}

static int n_of_given(const void *wanted)
{
	for (size_t i = 0; i < MANY; i++)
		if (given[i] == wanted)
			return 1;
	return 0;
}

static int count_kept(size_t len_bytes)
{
	static void *again[MANY];
	int n_kept = 0;

	for (size_t i = 0; i < MANY; i++)
		given[i] = OPENSSL_malloc(len_bytes);
	for (size_t i = 0; i < MANY; i++)
		OPENSSL_free(given[i]);
	for (size_t i = 0; i < MANY; i++) {
		again[i] = OPENSSL_malloc(len_bytes);
		n_kept += n_of_given(again[i]);
	}
	for (size_t i = 0; i < MANY; i++)
		OPENSSL_free(again[i]);
	return n_kept;
}

static void what_is_kept_is_bounded(void **state)
{
	(void)state;
	assert_in_range(count_kept(72), 8, 4096 / 72);
	assert_in_range(count_kept(1032), 2, 4);
	assert_in_range(count_kept(16592), 2, 8);
}

static void what_is_wiped_is_wiped_before_it_is_kept(void **state)
{
	static const unsigned char zeros[64];
	unsigned char *data = OPENSSL_malloc(64 + 2 * sizeof(void *)), *again;

	(void)state;
	memset(data, 0xaa, 64 + 2 * sizeof(void *));
	tls_wipe_begin();
	OPENSSL_free(data);
	tls_wipe_end();
	again = OPENSSL_malloc(64 + 2 * sizeof(void *));
	assert_ptr_equal(again, data);
	assert_memory_equal(again + 2 * sizeof(void *), zeros, sizeof(zeros));
	OPENSSL_free(again);
}

static void *give_back(void *argument)
{
	OPENSSL_free(argument);
	OPENSSL_free(OPENSSL_malloc(16592));
	return OPENSSL_malloc(72);
}

/* A thread that ends leaves nothing: the leak check of the sanitizer would tell. */
static void memory_goes_from_thread_to_thread(void **state)
{
	pthread_t thread;
	void *data;

	(void)state;
	for (int i = 0; i < 3; i++) {
		data = OPENSSL_malloc(500);
		assert_int_equal(pthread_create(&thread, NULL, give_back, data), 0);
		assert_int_equal(pthread_join(thread, &data), 0);
		OPENSSL_free(data);
	}
}

static void what_is_freed_twice_stops_the_process(void **state)
{
	void *data = OPENSSL_malloc(200);
	int status;
	pid_t child = fork();

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO);
		OPENSSL_free(data);
		OPENSSL_free(data);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	OPENSSL_free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(memory_for_nothing_is_freed),
	    cmocka_unit_test(what_was_freed_is_given_again),
	    cmocka_unit_test(sizes_do_not_mix),
	    cmocka_unit_test(what_is_kept_is_bounded),
	    cmocka_unit_test(what_is_wiped_is_wiped_before_it_is_kept),
	    cmocka_unit_test(memory_goes_from_thread_to_thread),
	    cmocka_unit_test(what_is_freed_twice_stops_the_process),
	};

	tls_memory_init(true); /* before OpenSSL has any memory */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
