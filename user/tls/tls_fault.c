/* SPDX-License-Identifier: Apache-2.0 */
/* Failed handshakes in kinds: of OpenSSL's verification, as words for alerts, as counters. */
#include "tls/tls_fault_internal.h"
#include "tls/tls_internal.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "stats/stats.h"

enum tls_fault tls_fault_of_verify(long result)
{
	switch (result) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return TLS_FAULT_EXPIRED;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
	case X509_V_ERR_EMAIL_MISMATCH:
		return TLS_FAULT_NAME;
	case X509_V_ERR_CERT_REVOKED:
		return TLS_FAULT_REVOKED;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_CERT_UNTRUSTED:
	case X509_V_ERR_CERT_REJECTED:
		return TLS_FAULT_UNTRUSTED;
	case TLS_VERIFY_PIN:
		return TLS_FAULT_PIN;
	default:
		return TLS_FAULT_CERTIFICATE;
	}
}

/* Those of RFC 8446, 6.2 that OpenSSL 3.0 has no words for. */
const char *tls_alert_words(int description)
{
	switch (description) {
	case SSL_AD_MISSING_EXTENSION:
		return "missing extension";
	case SSL_AD_CERTIFICATE_REQUIRED:
		return "certificate required";
	default:
		return SSL_alert_desc_string_long(description);
	}
}

int tls_alert_of_error(unsigned long code)
{
	int reason = ERR_GET_REASON(code);

	if (ERR_SYSTEM_ERROR(code) || ERR_GET_LIB(code) != ERR_LIB_SSL)
		return -1;
	return reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256
		   ? reason - SSL_AD_REASON_OFFSET
		   : -1;
}

void tls_fault_count_origin(enum tls_fault fault)
{
	static const enum stats_counter counters[] = {
	    [TLS_FAULT_UNTRUSTED] = STAT_ORIGIN_TLS_UNTRUSTED,
	    [TLS_FAULT_EXPIRED] = STAT_ORIGIN_TLS_EXPIRED,
	    [TLS_FAULT_NAME] = STAT_ORIGIN_TLS_WRONG_NAME,
	    [TLS_FAULT_PIN] = STAT_ORIGIN_TLS_NOT_PINNED,
	    [TLS_FAULT_REVOKED] = STAT_ORIGIN_TLS_BAD_CERTIFICATE,
	    [TLS_FAULT_MISSING] = STAT_ORIGIN_TLS_BAD_CERTIFICATE,
	    [TLS_FAULT_CERTIFICATE] = STAT_ORIGIN_TLS_BAD_CERTIFICATE,
	    [TLS_FAULT_ALERT] = STAT_ORIGIN_TLS_ALERT,
	    [TLS_FAULT_PROTOCOL] = STAT_ORIGIN_TLS_PROTOCOL,
	    [TLS_FAULT_CLOSED] = STAT_ORIGIN_TLS_CLOSED,
	};

	if (fault != TLS_FAULT_NONE)
		stats_inc(counters[fault]);
}

void tls_fault_count_client(enum tls_fault fault)
{
	switch (fault) {
	case TLS_FAULT_MISSING:
		stats_inc(STAT_CLIENT_CERT_MISSING);
		break;
	case TLS_FAULT_EXPIRED:
		stats_inc(STAT_CLIENT_CERT_EXPIRED);
		break;
	case TLS_FAULT_REVOKED:
		stats_inc(STAT_CLIENT_CERT_REVOKED);
		break;
	case TLS_FAULT_UNTRUSTED:
		stats_inc(STAT_CLIENT_CERT_UNTRUSTED);
		break;
	default:
		stats_inc(STAT_CLIENT_CERT_BAD);
	}
}
