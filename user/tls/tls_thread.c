/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library context of OpenSSL for each thread. A handshake takes hundreds of locks of OpenSSL 3.0,
 * nearly all of them to find an algorithm in the tables of the library context that the process
 * shares; each writes to memory that the other threads' processors then fetch. What is made from
 * the configuration (SSL_CTX, certificates, keys, trust stores) stays shared: none of it names a
 * library context, so OpenSSL looks in that of the thread which uses it.
 */
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <string.h>

#include "penstock/limits.h"
#include "tls/tls_internal.h"

/*
 * Until the process ends: a key of the configuration remembers, in each context that it was used
 * in, its form there.
 */
static OSSL_LIB_CTX *thread_contexts[PENSTOCK_MAX_THREADS];
static atomic_uint n_thread_contexts;

static int thread_is_usual(OSSL_PROVIDER *provider, void *argument UNUSED)
{
	const char *name = OSSL_PROVIDER_get0_name(provider);

	return strcmp(name, "default") == 0 || tls_kdf_is_ours(provider);
}

/* A new context knows nothing of the host's settings, where to find an algorithm and which. */
static bool thread_may_differ(void)
{
	return OSSL_PROVIDER_do_all(NULL, thread_is_usual, NULL) == 1 &&
	       !EVP_default_properties_is_fips_enabled(NULL);
}

/* With what a handshake needs first: a generator, seeded. */
static OSSL_LIB_CTX *thread_make_context(void)
{
	OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();
	unsigned char seed;

	if (context && !tls_kdf_add(context) && RAND_bytes_ex(context, &seed, 1, 0) == 1)
		return context;
	OSSL_LIB_CTX_free(context);
	return NULL;
}

void tls_thread_init(void)
{
	OSSL_LIB_CTX *context = thread_may_differ() ? thread_make_context() : NULL;
	unsigned int number;

	ERR_clear_error();
	if (!context)
		return;
	number = atomic_fetch_add_explicit(&n_thread_contexts, 1, memory_order_relaxed);
	if (number >= PENSTOCK_MAX_THREADS) {
		OSSL_LIB_CTX_free(context);
		return;
	}
	thread_contexts[number] = context;
	OSSL_LIB_CTX_set0_default(context);
}
