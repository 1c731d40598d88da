/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host whose OpenSSL is told to look elsewhere than at our key schedule, as one with "fips=yes":
 * the keys come by the key log then, and the records are nobody else's for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "session.h"

static void keys_come_by_the_key_log(void **state)
{
	(void)state;
	assert_null(tls_kdf_properties());
	for (int side = 0; side < 2; side++) {
		struct session session;

		session_open(&session, &(struct lab_peer_wish){.is_server = side == 1,
							       .version = TLS1_3_VERSION});
		session_assert_open(&session);
		session_assert_path(&session);
		session_transfer(&session, 100000, 40000, 16384);
		session_close(&session);
	}
}

/* Read once, before anything else of OpenSSL. */
static void set_host(char *path)
{
	static const char text[] = "openssl_conf = all\n"
				   "[all]\n"
				   "alg_section = algorithms\n"
				   "[algorithms]\n"
				   "default_properties = provider=default\n";
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, text, sizeof(text) - 1) != sizeof(text) - 1 || close(fd) ||
	    setenv("OPENSSL_CONF", path, 1)) {
		perror(path);
		exit(1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(keys_come_by_the_key_log, session_reset),
	};
	char path[] = "/tmp/penstock-host.XXXXXX";
	int n_failed;

	set_host(path);
	n_failed = cmocka_run_group_tests(tests, session_make_world, session_end_world);
	unlink(path);
	return n_failed;
}
