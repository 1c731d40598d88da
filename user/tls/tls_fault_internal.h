/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside tls/: failed handshakes. */
#ifndef PENSTOCK_TLS_TLS_FAULT_INTERNAL_H
#define PENSTOCK_TLS_TLS_FAULT_INTERNAL_H

#include <openssl/x509_vfy.h>

#include "tls/tls.h"

/* What a verification says where a key is not pinned. */
#define TLS_VERIFY_PIN X509_V_ERR_APPLICATION_VERIFICATION

enum tls_fault tls_fault_of_verify(long result);

/* An alert's number in words. */
const char *tls_alert_words(int description);

/* The alert that the peer sent, where an error of OpenSSL is about one, else -1. */
int tls_alert_of_error(unsigned long code);

/* With an origin. */
void tls_fault_count_origin(enum tls_fault fault);

/* Of a client's certificate. */
void tls_fault_count_client(enum tls_fault fault);

#endif
