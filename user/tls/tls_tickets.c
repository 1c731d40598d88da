/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Session tickets (RFC 5077, RFC 8446 4.6.1): the keys that seal and open them. Either those of a
 * file, which several nodes may share, or a ring of this process, which all threads and
 * configurations share and which turns daily. What a ticket says is OpenSSL's affair.
 */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "tls/tls_ctx_internal.h"
#include "tls/tls_tickets.h"

#define TICKET_IV_BYTES 16

_Static_assert(sizeof(struct tls_ticket_key) == 80, "as OpenSSL and nginx have it in files");

static EVP_CIPHER *ticket_cipher; /* fetched once: each fetch takes a lock */

int tls_tickets_init(void)
{
	if (!ticket_cipher)
		ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	return ticket_cipher ? 0 : -ENOTSUP;
}

/* ---- the ring ---- */

static int ring_make(struct tls_ticket_ring *ring, time_t now_s)
{
	if (RAND_bytes((unsigned char *)&ring->now, sizeof(ring->now)) != 1)
		return -EIO;
	ring->made_s = now_s;
	ring->has_key = true;
	return 0;
}

/* A clock that was set back makes no difference: the key is young then. */
static int ring_turn(struct tls_ticket_ring *ring, time_t now_s)
{
	time_t age_s = now_s - ring->made_s;

	if (ring->has_key && age_s < TLS_TICKET_TURN_S)
		return 0;
	ring->has_previous = ring->has_key && age_s < 2 * TLS_TICKET_TURN_S;
	if (ring->has_previous)
		ring->previous = ring->now;
	else
		OPENSSL_cleanse(&ring->previous, sizeof(ring->previous));
	return ring_make(ring, now_s);
}

int tls_ticket_ring_seal(struct tls_ticket_ring *ring, time_t now_s, struct tls_ticket_key *ret_key)
{
	int err = ring_turn(ring, now_s);

	if (!err)
		*ret_key = ring->now;
	return err;
}

int tls_ticket_ring_open(struct tls_ticket_ring *ring, time_t now_s, const unsigned char *name,
			 struct tls_ticket_key *ret_key, bool *ret_renew)
{
	int err = ring_turn(ring, now_s);

	if (err)
		return err;
	*ret_renew = memcmp(ring->now.name, name, sizeof(ring->now.name)) != 0;
	if (!*ret_renew)
		*ret_key = ring->now;
	else if (ring->has_previous &&
		 memcmp(ring->previous.name, name, sizeof(ring->previous.name)) == 0)
		*ret_key = ring->previous;
	else
		return -ENOENT;
	return 0;
}

/* Of the process: outlives every configuration. */
static struct tls_ticket_ring shared_ring;
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- keys of a file ---- */

int tls_ticket_keys_load(const struct conf_file *file, const struct tls_files *files,
			 struct conf_diag *diag, struct tls_ticket_keys *ret_keys)
{
	struct tls_pem pem;
	int err = tls_pem_read(file, files, "ticket keys", diag, &pem);

	if (err)
		return err;
	if (!pem.len_bytes || pem.len_bytes % sizeof(struct tls_ticket_key) ||
	    pem.len_bytes / sizeof(struct tls_ticket_key) > TLS_TICKET_KEYS_MAX) {
		conf_diag_add(
		    diag, file->mark,
		    "\"%s\" has %zu bytes; it must hold 1 to %d keys of 80 bytes each, as "
		    "`openssl rand 80` makes one",
		    file->path, pem.len_bytes, TLS_TICKET_KEYS_MAX);
		tls_pem_done(&pem);
		return -EINVAL;
	}
	*ret_keys = (struct tls_ticket_keys){
	    .all = OPENSSL_memdup(pem.data, pem.len_bytes),
	    .n_keys = pem.len_bytes / sizeof(struct tls_ticket_key),
	};
	tls_pem_done(&pem);
	if (ret_keys->all)
		return 0;
	conf_diag_add(diag, file->mark, "no memory");
	return -EINVAL;
}

void tls_ticket_keys_done(struct tls_ticket_keys *keys)
{
	OPENSSL_clear_free(keys->all, keys->n_keys * sizeof(*keys->all));
	*keys = (struct tls_ticket_keys){.all = NULL};
}

/* ---- sealing and opening ---- */

static int ticket_key_to_seal(const struct tls_ticket_keys *keys, struct tls_ticket_key *ret_key)
{
	int err;

	if (keys->n_keys) {
		*ret_key = keys->all[0];
		return 0;
	}
	pthread_mutex_lock(&shared_lock);
	err = tls_ticket_ring_seal(&shared_ring, time(NULL), ret_key);
	pthread_mutex_unlock(&shared_lock);
	return err;
}

static int ticket_key_to_open(const struct tls_ticket_keys *keys, const unsigned char *name,
			      struct tls_ticket_key *ret_key, bool *ret_renew)
{
	int err;

	for (size_t i = 0; i < keys->n_keys; i++)
		if (memcmp(keys->all[i].name, name, sizeof(keys->all[i].name)) == 0) {
			*ret_key = keys->all[i];
			*ret_renew = i > 0;
			return 0;
		}
	if (keys->n_keys)
		return -ENOENT;
	pthread_mutex_lock(&shared_lock);
	err = tls_ticket_ring_open(&shared_ring, time(NULL), name, ret_key, ret_renew);
	pthread_mutex_unlock(&shared_lock);
	return err;
}

static bool ticket_init(const struct tls_ticket_key *key, const unsigned char *iv,
			EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, bool seal)
{
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac,
					      sizeof(key->mac)),
	    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
	    OSSL_PARAM_construct_end(),
	};

	return EVP_CipherInit_ex2(cipher, ticket_cipher, key->cipher, iv, seal, NULL) == 1 &&
	       EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* As SSL_CTX_set_tlsext_ticket_key_evp_cb(3) has it: 1 done, 2 done and to be renewed, 0 no such
 * key, -1 an error. */
int tls_ticket_take(const struct tls_ticket_keys *keys, unsigned char *name, unsigned char *iv,
		    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, bool seal)
{
	struct tls_ticket_key key;
	bool renew = false, ok;
	int err =
	    seal ? ticket_key_to_seal(keys, &key) : ticket_key_to_open(keys, name, &key, &renew);

	if (err)
		return err == -ENOENT ? 0 : -1;
	if (seal)
		memcpy(name, key.name, sizeof(key.name));
	ok = (!seal || RAND_bytes(iv, TICKET_IV_BYTES) == 1) &&
	     ticket_init(&key, iv, cipher, mac, seal);
	OPENSSL_cleanse(&key, sizeof(key));
	if (!ok)
		return -1;
	return renew ? 2 : 1;
}
