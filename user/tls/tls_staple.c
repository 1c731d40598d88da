/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OCSP response from a file (RFC 6960), to be stapled to a certificate: is it for that one, and
 * still valid? Nobody is asked for one, and its signature is left to clients.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <string.h>
#include <time.h>

#include "tls/tls_ctx_internal.h"

/* What clocks may differ by. */
#define STAPLE_SKEW_S 300

/* The part of the response that is about this certificate; NULL: there is none. */
static OCSP_SINGLERESP *staple_find(OCSP_BASICRESP *basic, const X509 *leaf, const X509 *issuer)
{
	for (int i = 0; i < OCSP_resp_count(basic); i++) {
		OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
		OCSP_CERTID *id = (OCSP_CERTID *)OCSP_SINGLERESP_get0_id(single), *wanted;
		ASN1_OBJECT *md_name;
		ASN1_INTEGER *serial;
		bool is_same;

		if (OCSP_id_get0_info(NULL, &md_name, NULL, &serial, id) != 1 ||
		    ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(leaf)) != 0)
			continue;
		if (!issuer)
			return single;
		wanted = OCSP_cert_to_id(EVP_get_digestbyobj(md_name), leaf, issuer);
		is_same = wanted && OCSP_id_cmp(id, wanted) == 0;
		OCSP_CERTID_free(wanted);
		if (is_same)
			return single;
	}
	return NULL;
}

/* NULL, or what is wrong with it. */
static const char *staple_check(OCSP_BASICRESP *basic, const X509 *leaf, const X509 *issuer,
				time_t *ret_until)
{
	OCSP_SINGLERESP *single = staple_find(basic, leaf, issuer);
	ASN1_GENERALIZEDTIME *from, *until;
	struct tm tm;
	int status;

	if (!single)
		return "is not about this certificate";
	status = OCSP_single_get0_status(single, NULL, NULL, &from, &until);
	if (OCSP_check_validity(from, until, STAPLE_SKEW_S, -1) != 1)
		return "is outdated";
	*ret_until = 0;
	if (until && ASN1_TIME_to_tm(until, &tm) == 1)
		*ret_until = timegm(&tm);
	return status == V_OCSP_CERTSTATUS_REVOKED ? "says that the certificate is revoked" : NULL;
}

static int staple_take(struct tls_staple *staple, const struct tls_pem *pem)
{
	staple->der = OPENSSL_memdup(pem->data, pem->len_bytes);
	staple->len_bytes = pem->len_bytes;
	return staple->der ? 0 : -ENOMEM;
}

static int staple_read(const struct tls_certificate *certificate, const struct tls_pem *pem,
		       struct conf_diag *diag, struct tls_staple *staple)
{
	const struct conf_file *file = &certificate->conf->ocsp;
	const unsigned char *at = (const unsigned char *)pem->data;
	OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)pem->len_bytes);
	OCSP_BASICRESP *basic =
	    response && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL
		? OCSP_response_get1_basic(response)
		: NULL;
	const char *wrong = NULL;
	int err = 0;

	if (!basic) {
		conf_diag_add(diag, file->mark, "there is no good OCSP response (DER) in \"%s\"",
			      file->path);
		err = -EINVAL;
	} else {
		wrong = staple_check(basic, certificate->leaf, sk_X509_value(certificate->above, 0),
				     &staple->until);
	}
	if (wrong)
		conf_diag_warn(diag, file->mark,
			       "the OCSP response in \"%s\" %s; it is not stapled", file->path,
			       wrong);
	else if (!err)
		err = staple_take(staple, pem);
	OCSP_BASICRESP_free(basic);
	OCSP_RESPONSE_free(response);
	ERR_clear_error();
	return err;
}

int tls_staple_load(const struct tls_certificate *certificate, const struct tls_files *files,
		    struct conf_diag *diag, struct tls_staple *ret_staple)
{
	const struct conf_file *file = &certificate->conf->ocsp;
	struct tls_staple staple = {.der = NULL};
	struct tls_pem pem;
	int err = tls_pem_read(file, files, NULL, diag, &pem);

	if (err)
		return err;
	err = staple_read(certificate, &pem, diag, &staple);
	tls_pem_done(&pem);
	if (!err)
		*ret_staple = staple;
	return err;
}

bool tls_staple_is_valid(const struct tls_staple *staple)
{
	return staple->der && (!staple->until || time(NULL) <= staple->until);
}

void tls_staple_done(struct tls_staple *staple)
{
	OPENSSL_free(staple->der);
	*staple = (struct tls_staple){.der = NULL};
}
