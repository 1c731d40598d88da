/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-2-4 (Aumasson and Bernstein, INDOCRYPT 2012). Addresses come from others, so a hash that
 * can be aimed at is out; this one is keyed, short, and 20 ns for an address. OpenSSL's costs a
 * context per call.
 */
#include "balance/balance.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

struct siphash {
	uint64_t v0, v1, v2, v3;
};

static pthread_once_t balance_key_once = PTHREAD_ONCE_INIT;
static uint64_t balance_key[2];

/* Before the kernel's generator is ready there is no better key than a fixed one. */
static void balance_make_key(void)
{
	if (getrandom(balance_key, sizeof(balance_key), GRND_NONBLOCK) !=
	    (ssize_t)sizeof(balance_key))
		balance_key[0] = BALANCE_FIXED_SEED;
}

static uint64_t rotate_left(uint64_t x, int bits)
{
	return (x << bits) | (x >> (64 - bits));
}

static void siphash_round(struct siphash *s)
{
	s->v0 += s->v1;
	s->v1 = rotate_left(s->v1, 13) ^ s->v0;
	s->v0 = rotate_left(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate_left(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate_left(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate_left(s->v1, 17) ^ s->v2;
	s->v2 = rotate_left(s->v2, 32);
}

static void siphash_word(struct siphash *s, uint64_t word)
{
	s->v3 ^= word;
	siphash_round(s);
	siphash_round(s);
	s->v0 ^= word;
}

static uint64_t siphash(const unsigned char *data, size_t len_bytes, uint64_t k0, uint64_t k1)
{
	/* "somepseudorandomlygeneratedbytes" */
	struct siphash s = {k0 ^ 0x736f6d6570736575ULL, k1 ^ 0x646f72616e646f6dULL,
			    k0 ^ 0x6c7967656e657261ULL, k1 ^ 0x7465646279746573ULL};
	uint64_t last = (uint64_t)len_bytes << 56, word;
	size_t i;

	for (i = 0; i + 8 <= len_bytes; i += 8) {
		memcpy(&word, data + i, 8);
		siphash_word(&s, le64toh(word));
	}
	for (size_t j = i; j < len_bytes; j++)
		last |= (uint64_t)data[j] << (8 * (j - i));
	siphash_word(&s, last);
	s.v2 ^= 0xff;
	for (i = 0; i < 4; i++)
		siphash_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t balance_hash(const void *data, size_t len_bytes, uint64_t seed)
{
	if (seed)
		return siphash(data, len_bytes, seed, ~seed);
	pthread_once(&balance_key_once, balance_make_key);
	return siphash(data, len_bytes, balance_key[0], balance_key[1]);
}

uint64_t balance_hash_source(const struct addr *addr)
{
	const struct in6_addr *in6 = &addr->in6.sin6_addr;

	if (addr->len == 0)
		return 0;
	if (addr->sa.sa_family == AF_INET)
		return balance_hash(&addr->in.sin_addr, 4, BALANCE_FIXED_SEED);
	if (addr->sa.sa_family != AF_INET6)
		return 0;
	if (IN6_IS_ADDR_V4MAPPED(in6))
		return balance_hash(&in6->s6_addr[12], 4, BALANCE_FIXED_SEED);
	return balance_hash(in6, 8, BALANCE_FIXED_SEED);
}

uint64_t balance_hash_server(const struct addr *addr)
{
	unsigned char bytes[18];

	switch (addr->len ? addr->sa.sa_family : AF_UNSPEC) {
	case AF_INET:
		memcpy(bytes, &addr->in.sin_port, 2);
		memcpy(bytes + 2, &addr->in.sin_addr, 4);
		return balance_hash(bytes, 6, BALANCE_FIXED_SEED);
	case AF_INET6:
		memcpy(bytes, &addr->in6.sin6_port, 2);
		memcpy(bytes + 2, &addr->in6.sin6_addr, 16);
		return balance_hash(bytes, 18, BALANCE_FIXED_SEED);
	case AF_UNIX:
		return balance_hash(addr->un.sun_path,
				    strnlen(addr->un.sun_path, sizeof(addr->un.sun_path)),
				    BALANCE_FIXED_SEED);
	default:
		return 0;
	}
}
