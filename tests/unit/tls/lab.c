/* SPDX-License-Identifier: Apache-2.0 */
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../await.h"

#define LAB_FILES_MAX 32
#define STALL_MS 30000

static struct {
	char path[64];
	int fd;
} files[LAB_FILES_MAX];
static size_t n_files;

bool lab_init(void)
{
	if (tls_init(true))
		exit(1);
	if (getenv("PENSTOCK_WANT_KERNEL_TLS") && tls_kernel_missing()) {
		print_error("no TLS in this kernel: %s\n", tls_kernel_missing());
		exit(1);
	}
	return !tls_kernel_missing();
}

static void add_extension(X509 *certificate, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, certificate, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(extension);
	assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

void lab_make_identity(const struct lab_identity_wish *wish, struct lab_identity *ret_identity)
{
	static long serial = 1;
	X509 *certificate = X509_new();
	EVP_PKEY *key = wish->is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
	X509_NAME *name = X509_get_subject_name(certificate);
	const struct lab_identity *issuer = wish->issuer;

	assert_non_null(key);
	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
	X509_gmtime_adj(X509_getm_notBefore(certificate), wish->days_from * 86400L - 60);
	X509_gmtime_adj(X509_getm_notAfter(certificate),
			(wish->days_to ? wish->days_to : 10) * 86400L);
	X509_set_pubkey(certificate, key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
				   (const unsigned char *)wish->common_name, -1, -1, 0);
	X509_set_issuer_name(certificate,
			     issuer ? X509_get_subject_name(issuer->certificate) : name);
	add_extension(certificate, NID_basic_constraints,
		      issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
	if (wish->alt_names)
		add_extension(certificate, NID_subject_alt_name, wish->alt_names);
	assert_true(X509_sign(certificate, issuer ? issuer->key : key, EVP_sha256()) > 0);
	*ret_identity = (struct lab_identity){certificate, key};
}

void lab_free_identity(struct lab_identity *identity)
{
	X509_free(identity->certificate);
	EVP_PKEY_free(identity->key);
	*identity = (struct lab_identity){0};
}

void lab_add_descriptor(const char *path, int fd)
{
	assert_true(fd >= 0 && n_files < LAB_FILES_MAX && strlen(path) < sizeof(files[0].path));
	strcpy(files[n_files].path, path);
	files[n_files++].fd = fd;
}

void lab_add_file(const char *path, const void *data, size_t len_bytes)
{
	int fd = memfd_create("lab", MFD_CLOEXEC);

	assert_int_equal(fchmod(fd, 0600), 0);
	assert_int_equal(write(fd, data, len_bytes), (ssize_t)len_bytes);
	lab_add_descriptor(path, fd);
}

void lab_set_file_mode(const char *path, unsigned int mode)
{
	assert_int_equal(fchmod(lab_files.find(NULL, path), mode), 0);
}

static void add_bio(const char *path, BIO *bio)
{
	char *data;
	long len_bytes = BIO_get_mem_data(bio, &data);

	lab_add_file(path, data, (size_t)len_bytes);
	BIO_free(bio);
}

void lab_add_certificate(const char *path, const struct lab_identity *identity)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_X509(bio, identity->certificate);
	add_bio(path, bio);
}

void lab_add_key(const char *path, const struct lab_identity *identity)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_PrivateKey(bio, identity->key, NULL, NULL, 0, NULL, NULL);
	add_bio(path, bio);
}

void lab_add_both(const char *path, const struct lab_identity *identity)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_PrivateKey(bio, identity->key, NULL, NULL, 0, NULL, NULL);
	PEM_write_bio_X509(bio, identity->certificate);
	add_bio(path, bio);
}

void lab_remove_files(void)
{
	while (n_files)
		close(files[--n_files].fd);
}

static int lab_find(void *argument, const char *path)
{
	(void)argument;
	for (size_t i = 0; i < n_files; i++)
		if (strcmp(files[i].path, path) == 0)
			return files[i].fd;
	return -ENOENT;
}

const struct tls_files lab_files = {.find = lab_find};

void lab_connect(int ret_fds[2], bool small)
{
	struct sockaddr_in here = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(here);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, bytes = 4096;

	ret_fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(listener >= 0 && ret_fds[0] >= 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&here, len), 0);
	if (small) {
		setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
		setsockopt(ret_fds[0], SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	}
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&here, &len), 0);
	assert_int_equal(connect(ret_fds[0], (struct sockaddr *)&here, len), 0);
	ret_fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(ret_fds[1] >= 0);
	close(listener);
	for (int i = 0; i < 2; i++) {
		if (small)
			setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
		setsockopt(ret_fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		assert_int_equal(fcntl(ret_fds[i], F_SETFL, O_RDWR | O_NONBLOCK), 0);
	}
}

static void watch_edges(struct lab_end *end, int fd, void *what)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				    .data.ptr = what};

	assert_int_equal(epoll_ctl(end->epoll_fd, EPOLL_CTL_ADD, fd, &event), 0);
}

void lab_open_end(struct lab_end *end, int fd)
{
	io_init_plain(&end->io, fd);
	end->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	assert_true(end->epoll_fd >= 0);
	watch_edges(end, fd, &end->io);
}

void lab_watch_peer(struct lab_end *end, int fd)
{
	watch_edges(end, fd, NULL);
}

void lab_close_end(struct lab_end *end)
{
	io_close(&end->io);
	close(end->epoll_fd);
}

void lab_take_events(struct lab_end *end, bool idle)
{
	struct epoll_event events[4];
	int n;

	do
		n = epoll_wait(end->epoll_fd, events, ARRAY_LEN(events), idle ? STALL_MS : 0);
	while (n < 0 && errno == EINTR); /* it was stopped, and goes on */
	for (int i = 0; i < n; i++)
		if (events[i].data.ptr)
			io_note_events(events[i].data.ptr, events[i].events);
	if (n <= 0 && idle)
		fail_msg("stalled: nothing happened, and nobody was told to go on");
}

void lab_take_both(struct lab_end *one, struct lab_end *other)
{
	struct pollfd fds[2] = {{.fd = one->epoll_fd, .events = POLLIN},
				{.fd = other->epoll_fd, .events = POLLIN}};

	if (poll(fds, 2, STALL_MS) <= 0)
		fail_msg("stalled: nothing happened, and nobody was told to go on");
	lab_take_events(one, false);
	lab_take_events(other, false);
}

SSL_CTX *lab_make_peer_ctx(const struct lab_peer_wish *wish)
{
	SSL_CTX *ctx = SSL_CTX_new_ex(NULL, wish->properties,
				      wish->is_server ? TLS_server_method() : TLS_client_method());
	const char *cipher_12 = "DEFAULT", *cipher_13 = NULL;

	assert_non_null(ctx);
	if (wish->cipher && strcmp(wish->cipher, "AES128") == 0) {
		cipher_12 = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256";
		cipher_13 = "TLS_AES_128_GCM_SHA256";
	} else if (wish->cipher && strcmp(wish->cipher, "AES256") == 0) {
		cipher_12 = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
		cipher_13 = "TLS_AES_256_GCM_SHA384";
	} else if (wish->cipher && strcmp(wish->cipher, "CHACHA") == 0) {
		cipher_12 = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
		cipher_13 = "TLS_CHACHA20_POLY1305_SHA256";
	} else if (wish->cipher && strncmp(wish->cipher, "TLS_", 4) == 0) {
		cipher_13 = wish->cipher;
	} else if (wish->cipher) {
		cipher_12 = wish->cipher;
	}
	assert_int_equal(SSL_CTX_set_cipher_list(ctx, cipher_12), 1);
	if (cipher_13)
		assert_int_equal(SSL_CTX_set_ciphersuites(ctx, cipher_13), 1);
	if (wish->version) {
		SSL_CTX_set_min_proto_version(ctx, wish->version);
		SSL_CTX_set_max_proto_version(ctx, wish->version);
	}
	if (wish->identity) {
		assert_int_equal(SSL_CTX_use_certificate(ctx, wish->identity->certificate), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(ctx, wish->identity->key), 1);
	}
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return ctx;
}

SSL *lab_make_peer(SSL_CTX *ctx, const struct lab_peer_wish *wish, int fd)
{
	SSL *ssl = SSL_new(ctx);

	assert_non_null(ssl);
	assert_int_equal(SSL_set_fd(ssl, fd), 1);
	if (wish->sni)
		assert_int_equal(SSL_set_tlsext_host_name(ssl, wish->sni), 1);
	if (wish->alpn)
		SSL_set_alpn_protos(ssl, (const unsigned char *)wish->alpn,
				    (unsigned)strlen(wish->alpn));
	if (wish->is_server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	return ssl;
}

enum tls_progress lab_shake(struct lab_end *end, SSL *peer)
{
	struct pollfd fds[2] = {{.fd = end->io.watch.fd, .events = POLLIN},
				{.fd = SSL_get_fd(peer), .events = POLLIN}};
	enum tls_progress ours = TLS_AGAIN;
	bool theirs_done = false, refused = false;

	for (int turn = 0; ours == TLS_AGAIN || !theirs_done; turn++) {
		poll(fds, 2, 1);
		lab_take_events(end, false);
		if (ours == TLS_AGAIN)
			ours = tls_handshake(&end->io);
		if (!theirs_done) {
			int ret = SSL_do_handshake(peer), why = SSL_get_error(peer, ret);

			theirs_done =
			    ret == 1 || (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE);
		}
		if (refused)
			break; /* ours had no alert to send */
		refused = ours == TLS_FAILED || ours == TLS_UNVERIFIED;
		if (refused)
			await_delivery(end->io.watch.fd, SSL_get_fd(peer));
		assert_true(turn < 1000000);
	}
	await_delivery(end->io.watch.fd, SSL_get_fd(peer));
	ERR_clear_error();
	return ours;
}

/* The period is a prime, so that no record, page or buffer looks like another. */
#define PERIOD 65521

void lab_fill(char *data, size_t len_bytes, uint64_t at)
{
	static char table[PERIOD];
	size_t done = 0;

	if (!table[1])
		for (size_t i = 0; i < PERIOD; i++)
			table[i] = (char)((i * 2654435761u) >> 13 | 1);
	while (done < len_bytes) {
		size_t from = (at + done) % PERIOD, n = MIN(len_bytes - done, PERIOD - from);

		memcpy(data + done, table + from, n);
		done += n;
	}
}
