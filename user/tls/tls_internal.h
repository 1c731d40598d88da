/* SPDX-License-Identifier: Apache-2.0 */
/* One end of a TLS connection, and what is done with it: the handshake, and the records by OpenSSL,
 * by the kernel or in user space. What it is made from is in tls_ctx_internal.h. */
#ifndef PENSTOCK_TLS_TLS_INTERNAL_H
#define PENSTOCK_TLS_TLS_INTERNAL_H

#include <linux/tls.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/compiler.h"
#include "base/io.h"
#include "conf/conf.h"
#include "tls/tls.h"
#include "tls/tls_control.h"
#include "tls/tls_fault_internal.h"
#include "tls/tls_keys_internal.h"
#include "tls/tls_record.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef TCP_ULP
#define TCP_ULP 31
#endif

/* Plain bytes of what one send takes. */
#define TLS_BATCH_MAX (4 * TLS_RECORD_MAX)

/* Socket bytes read in one call, and held for one stream in either direction. */
#define TLS_IN_MAX (4 * (TLS_RECORD_HEADER_BYTES + TLS_RECORD_BODY_MAX))
#define TLS_OUT_MAX (TLS_BATCH_MAX + 8192)

/* Directions that the kernel shall do or does; and whether it shall from the first bulk on only. */
enum { TLS_KERNEL_SEND = 1, TLS_KERNEL_RECEIVE = 2, TLS_KERNEL_WAITS = 4 };

/* Bytes that wait in memory; data is NULL while there are none. */
struct tls_queue {
	char *data;
	uint32_t offset;
	uint32_t len_bytes; /* still to be taken, from offset */
};

/* The records that are made and opened in user space; tls_records_io.c. */
struct tls_records {
	struct tls_record_form form;
	uint16_t size_max_bytes; /* plain bytes of a record, ours or the peer's */
	struct tls_direction_keys of[TLS_SIDE_MAX]; /* of a direction that the kernel has: old */
	struct tls_queue held; /* opened; the caller had no room */
};

enum tls_state { TLS_STATE_SHAKING, TLS_STATE_FLUSHING, TLS_STATE_READY, TLS_STATE_FAILED };

/* What a handshake needs besides: as long as the SSL object. */
struct tls_shake {
	struct tls_late *late; /* tickets may come; NULL: nobody waits for them */
	struct tls_secrets *secrets; /* NULL unless a hand-over is still possible */
	struct tls_server_ctx *server; /* a reference, for the time of the handshake */
	struct tls_sessions *sessions; /* client side: the owner's; NULL: none are kept */
	uint64_t sessions_scope;
	time_t session_verified_s; /* of the one that was offered */
	const char *const *alpn;
	size_t n_alpn;
	bool answers_alpn; /* with `alpn`, not as the listener does */
	bool exact_reads; /* nothing beyond the record at hand leaves the socket */
	enum tls_progress failure; /* where state is FAILED */
	enum tls_fault fault; /* the same */
	const char *refused; /* by our own callbacks: why; goes into the error text */
	char *expected_name; /* client side, for error texts */
};

/* Silent ones may be many: what they do not need goes when the handshake is over. */
struct tls_stream {
	SSL *ssl; /* NULL when its keys were handed over and no tickets are awaited */
	struct tls_shake *shake; /* NULL: the SSL is gone */
	struct tls_records *records; /* NULL: user space does no records, or OpenSSL does them */
	struct tls_rekey *rekey; /* NULL: keys cannot change */
	struct tls_control control; /* records that are not data; of OpenSSL's only their number */
	struct tls_queue in; /* read from the socket, not yet opened */
	struct tls_queue out; /* records that the socket did not take */
	uint32_t owed_bytes; /* plain bytes within `out` that the caller was not told of: it gives
				them again */
	int fd;
	int socket_error; /* errno that the socket gave */
	int recv_end; /* what every further recv returns, where recv_ended */
	int send_error; /* -errno: records that were made are lost, and nothing may follow them */
	enum close_reason fault : 16; /* DONE: none; why io_recv() or io_send() said -EPROTO */
	enum tls_state state : 8;
	enum tls_side side : 8; /* ours */
	uint8_t wanted; /* TLS_KERNEL_*: what the kernel shall do, if it can */
	uint8_t in_kernel; /* TLS_KERNEL_*: what it does */
	bool waits_for_bulk; /* the kernel may have it, and shall when there is some */
	bool owes_key_update; /* the peer asked for our next keys */
	bool drained; /* in this call: the socket has no more for now */
	bool peer_closed; /* io->peer_closed as this call found it */
	bool socket_ended; /* FIN was read */
	bool recv_ended;
	bool close_notified; /* our alert is made */
	bool resumed;
	const char *cipher;
	char *name; /* server side: that the client asked for, until it is taken */
	struct tls_peer *peer; /* server side: the client's certificate, until it is taken */
	char *error_text;
};

static inline bool tls_stream_awaits_tickets(const struct tls_stream *stream)
{
	return stream->shake && stream->shake->late;
}

/* Both directions by OpenSSL, or in user space, or by the kernel, or one so and the other so. */
extern const struct io_ops tls_openssl_ops;
extern const struct io_ops tls_records_ops;
extern const struct io_ops tls_kernel_ops;
extern const struct io_ops tls_kernel_send_ops;
extern const struct io_ops tls_kernel_receive_ops;

/* Of all of them. */
void tls_stream_close(struct io *io);

static inline enum tls_side tls_stream_peer(const struct tls_stream *stream)
{
	return stream->side == TLS_SIDE_SERVER ? TLS_SIDE_CLIENT : TLS_SIDE_SERVER;
}

/* NULL where the io is not of TLS. */
struct tls_stream *tls_stream_of(const struct io *io);

/* Wipes and frees it and what it holds, not the descriptor. Takes NULL. */
void tls_stream_free(struct tls_stream *stream);

/* Frees the SSL object, without a word to the peer, and the rest of the handshake; the session
 * stays good for resumption. */
void tls_stream_drop_ssl(struct tls_stream *stream);
void tls_stream_drop_secrets(struct tls_stream *stream);

/* Notes the fault once, and counts it. */
void tls_stream_set_fault(struct tls_stream *stream, enum close_reason fault);

/* Of a client's connection, for the counters; other sides' are not counted. */
void tls_count_alert(const struct tls_stream *stream, bool sent, unsigned int number);

void tls_stream_set_error(struct tls_stream *stream, const char *format, ...) PRINTF_LIKE(2, 3);

/* The answer of tls_answer_alpn(), as OpenSSL's callback wants it. */
int tls_stream_choose_alpn(const struct tls_stream *stream, const unsigned char *offered,
			   size_t offered_len, const unsigned char **ret_chosen,
			   unsigned char *ret_len);

/* The peer's alert ended the stream or its handshake. */
void tls_stream_set_alert(struct tls_stream *stream, int description);

/* tls_wire.c */

/* The calling thread's: TLS_IN_MAX bytes, TLS_OUT_MAX bytes, and TLS_RECORD_MAX to make one record
 * of several parts. Aligned for anything. */
char *tls_thread_in(void);
char *tls_thread_out(void);
char *tls_thread_gather(void);

void tls_queue_free(struct tls_queue *queue);
void tls_queue_take(struct tls_queue *queue, size_t len_bytes);
int tls_queue_append(struct tls_queue *queue, const void *data, size_t len_bytes) MUST_CHECK;

/* Before the first tls_wire_recv() of a call. */
void tls_wire_begin(struct tls_stream *stream, const struct io *io);

/* > 0, 0 (FIN), -EAGAIN, -errno. */
ssize_t tls_wire_recv(struct tls_stream *stream, void *data, size_t len_bytes) MUST_CHECK;

/* Sends what an earlier call left. 0, -EAGAIN, -errno: that of send_error, once there is one. */
int tls_out_flush(struct tls_stream *stream, struct io *io, bool more) MUST_CHECK;

/* What the caller gives again is in records that have left by now: passes over it, and says how
 * much that is. */
size_t tls_out_settle(struct tls_stream *stream, struct tls_source *source);

/* Sends when nothing is left of earlier calls; what the socket does not take is kept. As
 * tls_out_flush(); an error is send_error from then on. */
int tls_out_send(struct tls_stream *stream, struct io *io, const char *data, size_t len_bytes,
		 bool more) MUST_CHECK;

/* tls_bio.c */

int tls_bio_init(void) MUST_CHECK;

/* The stream's socket as a BIO; owned by the SSL. 0 or -ENOMEM. */
int tls_bio_attach(struct tls_stream *stream) MUST_CHECK;

/*
 * Every call into OpenSSL that may read or write stands between these two: begin() makes the
 * thread's buffers the stream's, end() sends what was written and keeps what is left. end(): 0,
 * -EAGAIN (the socket did not take it all), -errno. `more`: as for io_send().
 */
void tls_call_begin(struct tls_stream *stream, struct io *io);
int tls_call_end(struct tls_stream *stream, struct io *io, bool more) MUST_CHECK;

/* The oldest error in OpenSSL's queue as words. */
const char *tls_openssl_reason(void);

/* Sanitizers are to see every block come and go. */
#if defined(__SANITIZE_ADDRESS__)
#define TLS_MEMORY_IS_WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TLS_MEMORY_IS_WATCHED 1
#else
#define TLS_MEMORY_IS_WATCHED 0
#endif
#else
#define TLS_MEMORY_IS_WATCHED 0
#endif

/* tls_memory.c. init() comes before all else of OpenSSL; `keeps`: freed blocks are kept for later
 * ones. Between the other two, what OpenSSL frees in this thread is wiped. */
void tls_memory_init(bool keeps);
void tls_wipe_begin(void);
void tls_wipe_end(void);

/* tls_session.c */

void tls_session_enable(SSL_CTX *ssl_ctx);

/* Offers one that is kept, where there is one. Before the handshake. */
void tls_session_offer(struct tls_stream *stream);

void tls_sessions_clear(struct tls_sessions *sessions);

/* tls_late.c: tickets of servers that come when the keys were handed over. */

/* Of a stream whose keys were handed over: sets `late` where a ticket would be kept; the SSL must
 * stay then. */
void tls_late_keep(struct tls_stream *stream, const struct tls_keys *keys);

/* A record of nothing but tickets, or parts of them. */
void tls_late_take(struct tls_stream *stream, const unsigned char *data, size_t len_bytes);

/* Data came, so no tickets will: frees the SSL too. */
void tls_late_done(struct tls_stream *stream);
void tls_late_free(struct tls_stream *stream);

/* tls_kernel_probe.c */

void tls_kernel_probe(bool allowed);

/* This version and cipher were tried, and are right. */
bool tls_kernel_can(uint16_t version, uint16_t cipher);

/* Keys can be changed (Linux 6.14). */
bool tls_kernel_can_rekey(void);

/* tls_kernel.c: keys for the kernel */

int tls_kernel_attach(int fd) MUST_CHECK;

/* One direction: `option` is TLS_TX or TLS_RX. 0 or -errno. */
int tls_kernel_install(int fd, int option, const struct tls_keys *keys,
		       const struct tls_direction_keys *own) MUST_CHECK;

/*
 * Gives the kernel the directions that are wanted; what it has then is in stream->in_kernel. NULL:
 * all of them. Else why the rest stayed.
 */
const char *tls_kernel_offer(struct tls_stream *stream, const struct tls_keys *keys) MUST_CHECK;

/* tls_kernel_control.c: records that are not data */

/* Takes one from the socket and does what it asks for. 0: go on, looking at recv_ended first;
 * -EAGAIN, -errno. */
int tls_kernel_take_control(struct tls_stream *stream, struct io *io) MUST_CHECK;

/* The kernel takes all of it or nothing. 0, -EAGAIN, -errno. */
int tls_kernel_send_control(struct tls_stream *stream, uint8_t type, const void *data,
			    size_t len_bytes) MUST_CHECK;

/* What the system call gave, as the words and numbers of struct io_ops. */
int tls_kernel_explain(struct tls_stream *stream, int err);

/* tls_records_io.c: records in user space */

/* NULL: no memory. */
struct tls_records *tls_records_new(const struct tls_keys *keys, size_t size_max_bytes) MUST_CHECK;

/* Wipes the keys. Takes NULL. */
void tls_records_free(struct tls_records *records);

/* As of struct io_ops; those that the mixed ones share. */
ssize_t tls_records_recv(struct io *io, void *data, size_t len_bytes) MUST_CHECK;
ssize_t tls_records_send(struct io *io, const struct iovec *parts, int n_parts,
			 bool more) MUST_CHECK;
int tls_records_shutdown_send(struct io *io) MUST_CHECK;

/* 0: it is made, and sent or kept. -EAGAIN: earlier ones wait. -errno. */
int tls_records_send_control(struct tls_stream *stream, struct io *io, uint8_t type,
			     const void *data, size_t len_bytes) MUST_CHECK;

/* tls_answer.c: what records without data ask for, whoever does the records */

/* 0: go on, looking at recv_ended first; -EAGAIN, -errno. */
int tls_stream_take_control(struct tls_stream *stream, struct io *io, uint8_t type,
			    const uint8_t *data, size_t len_bytes) MUST_CHECK;

int tls_stream_send_alert(struct tls_stream *stream, struct io *io, uint8_t level,
			  uint8_t description) MUST_CHECK;

/* Sends the KeyUpdate that is owed, before any data. 0, -EAGAIN, -errno. */
int tls_stream_settle_debt(struct tls_stream *stream, struct io *io) MUST_CHECK;

/* Tells the peer why, as far as that is possible without waiting, and ends receiving. -EPROTO. */
int tls_stream_refuse(struct tls_stream *stream, struct io *io, uint8_t description,
		      const char *why);

/* Ends receiving with `err`, which is returned: -EPROTO or -ENOMEM. */
int tls_stream_fail(struct tls_stream *stream, int err, const char *why);

/* FIN: an end only after close_notify (RFC 8446, 6.1). -EPROTO. */
int tls_stream_truncated(struct tls_stream *stream);

/* tls_handover.c */

/*
 * The handshake is done, and all of it was sent: who does the records from here? Sets the
 * operations, and why not all of it is the kernel's.
 */
void tls_handover(struct tls_stream *stream, struct io *io);

/* The hand-over of a stream that waits for bulk, as io_ops.may_splice has it. */
bool tls_handover_late(struct io *io, bool now);

/* New keys are possible: TLS 1.3, and whoever does that side's records takes them. */
bool tls_stream_can_rekey(const struct tls_stream *stream, enum tls_side side);

/* The side's next key is in use from now on. 0 or -errno; -EBUSY: tls_stream_can_rekey() says no;
 * -ENOMEM. */
int tls_stream_rekey(struct tls_stream *stream, enum tls_side side) MUST_CHECK;

#endif
