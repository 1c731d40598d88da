/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* Bounds that more than one part must agree on. What an operator may change is configuration, not
 * here. */
#ifndef PENSTOCK_LIMITS_H
#define PENSTOCK_LIMITS_H

#define PENSTOCK_MAX_THREADS 64
#define PENSTOCK_MAX_CONFIG_BYTES (4 * 1024 * 1024)
#define PENSTOCK_MAX_SERVERS 256 /* per origin */
#define PENSTOCK_MAX_STEER_SERVICES 1024
#define PENSTOCK_MAX_STEER_SERVERS 65536
#define PENSTOCK_MAX_STEER_FLOWS 262144
#define PENSTOCK_MAX_STREAMS 16384 /* slots of the live table */
#define PENSTOCK_MAX_SPLICE_STREAMS 16384 /* carried by sockmap at once */
#define PENSTOCK_SPLICE_RING_BYTES (256 * 1024) /* events of one thread: 16 bytes each */
#define PENSTOCK_MAX_CLIENT_HELLO_BYTES 65536
#define PENSTOCK_MAX_REQUEST_HEAD_BYTES \
	32768 /* request or response head; also half of the loop's scratch */
#define PENSTOCK_MAX_HEADERS 128

#endif
