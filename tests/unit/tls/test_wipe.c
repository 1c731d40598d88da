/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/crypto.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls/tls_internal.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(memory_for_nothing_is_freed)};

	tls_wipe_init(); /* before OpenSSL has any memory */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
