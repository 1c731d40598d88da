/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Revocation lists of clients' authorities. Every certificate below the authority that ends a chain
 * needs a list of its issuer, and none must name it. Authorities of the operator's own file end
 * chains as they stand (RFC 5280, 6.1.1 (d)), and so need none; but one that a list names is taken
 * out when the files are loaded. Lists are not fetched.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "tls/tls_ctx_internal.h"
#include "tls/tls_peer_internal.h"

/* One that does not say how long it holds (RFC 5280 wants that, OpenSSL does not) has no end. */
static bool crl_has_run_out(const X509_CRL *crl)
{
	const ASN1_TIME *end = X509_CRL_get0_nextUpdate(crl);

	return end && X509_cmp_time(end, NULL) < 0;
}

static bool revocations_have(const struct tls_revocations *revocations, const X509_NAME *issuer,
			     bool in_time)
{
	for (int i = 0; i < sk_X509_CRL_num(revocations->lists); i++) {
		const X509_CRL *crl = sk_X509_CRL_value(revocations->lists, i);

		if (X509_NAME_cmp(X509_CRL_get_issuer(crl), issuer) == 0 &&
		    (!in_time || !crl_has_run_out(crl)))
			return true;
	}
	return false;
}

bool tls_revocations_have_run_out(const struct tls_revocations *revocations)
{
	for (int i = 0; i < sk_X509_CRL_num(revocations->lists); i++)
		if (!revocations_have(revocations,
				      X509_CRL_get_issuer(sk_X509_CRL_value(revocations->lists, i)),
				      true))
			return true;
	return false;
}

/* INT64_MAX: it does not say. */
static int64_t crl_until(const X509_CRL *crl)
{
	const ASN1_TIME *end = X509_CRL_get0_nextUpdate(crl);

	return end ? tls_time_seconds(end) : INT64_MAX;
}

/* Of the list that holds longest. */
static int64_t revocations_until_of(const struct tls_revocations *revocations,
				    const X509_NAME *issuer)
{
	int64_t until_s = 0;

	for (int i = 0; i < sk_X509_CRL_num(revocations->lists); i++) {
		const X509_CRL *crl = sk_X509_CRL_value(revocations->lists, i);

		if (X509_NAME_cmp(X509_CRL_get_issuer(crl), issuer) == 0)
			until_s = MAX(until_s, crl_until(crl));
	}
	return until_s;
}

int64_t tls_revocations_until(const struct tls_revocations *revocations)
{
	int64_t until_s = INT64_MAX;

	for (int i = 0; i < sk_X509_CRL_num(revocations->lists); i++)
		until_s = MIN(until_s, revocations_until_of(revocations,
							    X509_CRL_get_issuer(sk_X509_CRL_value(
								revocations->lists, i))));
	return until_s == INT64_MAX ? 0 : until_s;
}

/* ---- loading ---- */

static int revocations_read(struct tls_revocations *revocations, BIO *bio,
			    const struct conf_file *file, struct conf_diag *diag)
{
	X509_CRL *crl;

	while ((crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL))) {
		if (sk_X509_CRL_push(revocations->lists, crl) > 0)
			continue;
		X509_CRL_free(crl);
		return -ENOMEM;
	}
	if (tls_pem_has_error()) {
		tls_pem_complain(diag, file, "cannot use the revocation lists in");
		return -EINVAL;
	}
	if (sk_X509_CRL_num(revocations->lists) > 0)
		return 0;
	conf_diag_add(diag, file->mark, "there is no PEM revocation list in \"%s\"", file->path);
	return -EINVAL;
}

int tls_revocations_load(struct tls_revocations *revocations, const struct conf_file *file,
			 const struct tls_files *files, struct conf_diag *diag)
{
	struct tls_pem pem;
	BIO *bio;
	int err = tls_pem_read(file, files, NULL, diag, &pem);

	if (err)
		return err;
	revocations->lists = sk_X509_CRL_new_null();
	bio = BIO_new_mem_buf(pem.data, (int)pem.len_bytes);
	err = bio && revocations->lists ? revocations_read(revocations, bio, file, diag) : -ENOMEM;
	BIO_free(bio);
	tls_pem_done(&pem);
	return err;
}

void tls_revocations_done(struct tls_revocations *revocations)
{
	sk_X509_CRL_pop_free(revocations->lists, X509_CRL_free);
	revocations->lists = NULL;
}

/* ---- authorities ---- */

static const char *name_text(const X509_NAME *name, char text[256])
{
	return X509_NAME_oneline(name, text, 256) ? text : "?";
}

/* Clients' own certificates may stand in the file, too: nothing is below them. */
static void revocations_warn_of_missing(const struct tls_revocations *revocations, X509 *authority,
					const struct conf_file *file, struct conf_diag *diag)
{
	char text[256];

	if (X509_check_ca(authority) != 0 &&
	    !revocations_have(revocations, X509_get_subject_name(authority), false))
		conf_diag_warn(diag, file->mark,
			       "there is no revocation list of \"%s\" in \"%s\": the certificates "
			       "that it issued are refused",
			       name_text(X509_get_subject_name(authority), text), file->path);
}

static void revocations_warn_of_old(const struct tls_revocations *revocations,
				    const struct conf_file *file, struct conf_diag *diag)
{
	char text[256];

	for (int i = 0; i < sk_X509_CRL_num(revocations->lists); i++) {
		const X509_NAME *issuer =
		    X509_CRL_get_issuer(sk_X509_CRL_value(revocations->lists, i));

		if (!revocations_have(revocations, issuer, true))
			conf_diag_warn(diag, file->mark,
				       "a revocation list of \"%s\" in \"%s\" has run out: the "
				       "certificates that it issued are refused",
				       name_text(issuer, text), file->path);
	}
}

static int authority_on_verify(int ok UNUSED, X509_STORE_CTX *ctx)
{
	if (X509_STORE_CTX_get_error(ctx) == X509_V_ERR_CERT_REVOKED)
		*(bool *)X509_STORE_CTX_get_app_data(ctx) = true;
	return 1;
}

/* Is it on a list of one above it in the file, or is one of those? All else about it is the
 * operator's affair. 0 or -ENOMEM. */
static int authority_is_revoked(X509_STORE *store, X509 *authority, bool *ret_is_revoked)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int err = -ENOMEM;

	*ret_is_revoked = false;
	if (ctx && X509_STORE_CTX_init(ctx, store, authority, NULL) == 1) {
		X509_STORE_CTX_set_app_data(ctx, ret_is_revoked);
		X509_STORE_CTX_set_verify_cb(ctx, authority_on_verify);
		err = X509_verify_cert(ctx) < 0 ? -ENOMEM : 0;
	}
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return err;
}

static int revocations_fill(const struct tls_revocations *revocations, X509_STORE *store)
{
	for (int i = 0; i < sk_X509_CRL_num(revocations->lists); i++)
		if (X509_STORE_add_crl(store, sk_X509_CRL_value(revocations->lists, i)) != 1)
			return -ENOMEM;
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return 0;
}

/* Moves what is not revoked from `all`, which has the lists, to `kept`. */
static int revocations_sift(const struct tls_revocations *revocations, X509_STORE *all,
			    const struct conf_file *file, struct conf_diag *diag, X509_STORE *kept)
{
	STACK_OF(X509) *authorities = X509_STORE_get1_all_certs(all);
	int err = authorities ? 0 : -ENOMEM, n_kept = 0;
	char text[256];

	for (int i = 0; i < sk_X509_num(authorities) && !err; i++) {
		X509 *authority = sk_X509_value(authorities, i);
		bool is_revoked;

		err = authority_is_revoked(all, authority, &is_revoked);
		if (!err && is_revoked) {
			conf_diag_warn(diag, file->mark,
				       "\"%s\" is revoked by a list in \"%s\": it is not trusted",
				       name_text(X509_get_subject_name(authority), text),
				       file->path);
		} else if (!err) {
			revocations_warn_of_missing(revocations, authority, file, diag);
			err = X509_STORE_add_cert(kept, authority) == 1 ? 0 : -ENOMEM;
			n_kept++;
		}
	}
	sk_X509_pop_free(authorities, X509_free);
	if (err || n_kept)
		return err;
	conf_diag_add(diag, file->mark, "all authorities are revoked by lists in \"%s\"",
		      file->path);
	return -EINVAL;
}

int tls_revocations_apply(const struct tls_revocations *revocations, const struct conf_file *file,
			  struct conf_diag *diag, X509_STORE **store)
{
	X509_STORE *kept = X509_STORE_new();
	int err = kept ? revocations_fill(revocations, *store) : -ENOMEM;

	if (!err)
		err = revocations_fill(revocations, kept);
	if (!err)
		err = revocations_sift(revocations, *store, file, diag, kept);
	if (err) {
		X509_STORE_free(kept);
		return err;
	}
	revocations_warn_of_old(revocations, file, diag);
	X509_STORE_free(*store);
	*store = kept;
	return 0;
}

int tls_revocations_digest(const struct tls_revocations *revocations, EVP_MD_CTX *digest)
{
	unsigned char of_one[32];
	bool ok = true;

	for (int i = 0; i < sk_X509_CRL_num(revocations->lists) && ok; i++)
		ok = X509_CRL_digest(sk_X509_CRL_value(revocations->lists, i), EVP_sha256(), of_one,
				     NULL) == 1 &&
		     EVP_DigestUpdate(digest, of_one, sizeof(of_one)) == 1;
	return ok ? 0 : -ENOMEM;
}

/* ---- within a verification ---- */

bool tls_revocations_forgive(X509_STORE_CTX *ctx)
{
	if (X509_STORE_CTX_get_error_depth(ctx) != sk_X509_num(X509_STORE_CTX_get0_chain(ctx)) - 1)
		return false;
	switch (X509_STORE_CTX_get_error(ctx)) {
	case X509_V_ERR_UNABLE_TO_GET_CRL:
	case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
	case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
	case X509_V_ERR_CRL_SIGNATURE_FAILURE:
	case X509_V_ERR_CRL_NOT_YET_VALID:
	case X509_V_ERR_CRL_HAS_EXPIRED:
	case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
	case X509_V_ERR_DIFFERENT_CRL_SCOPE:
	case X509_V_ERR_CRL_PATH_VALIDATION_ERROR:
	case X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION:
		X509_STORE_CTX_set_error(ctx, X509_V_OK);
		return true;
	default:
		return false;
	}
}
