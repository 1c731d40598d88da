/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a loaded certificate says of itself: its names, and whether its times and its chain hold.
 * All that is found here is a warning: clients may think otherwise.
 */
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/str.h"
#include "tls/tls_ctx_internal.h"

/* Warned of so long before a certificate expires. */
#define CHECK_EXPIRY_S (7L * 86400)

/* ---- names ---- */

bool tls_name_normalize(const char *name, size_t len_bytes, char ret_name[TLS_NAME_MAX])
{
	if (len_bytes && name[len_bytes - 1] == '.')
		len_bytes--;
	if (!len_bytes || len_bytes >= TLS_NAME_MAX)
		return false;
	for (size_t i = 0; i < len_bytes; i++) {
		char c = ascii_lower(name[i]);

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
		      c == '.'))
			return false;
		ret_name[i] = c;
	}
	ret_name[len_bytes] = '\0';
	return true;
}

/* 0 also where no client can ask for it. */
static int check_visit_name(const ASN1_STRING *name, int (*visit)(void *argument, const char *name),
			    void *argument)
{
	const char *text = (const char *)ASN1_STRING_get0_data(name);
	size_t len_bytes = (size_t)ASN1_STRING_length(name);
	bool is_wildcard = len_bytes > 2 && text[0] == '*' && text[1] == '.';
	char normal[TLS_NAME_MAX], full[TLS_NAME_MAX + 2];

	if (is_wildcard ? !tls_name_normalize(text + 2, len_bytes - 2, normal)
			: !tls_name_normalize(text, len_bytes, normal))
		return 0;
	stpcpy(stpcpy(full, is_wildcard ? "*." : ""), normal);
	return visit(argument, full);
}

int tls_certificate_each_name(const X509 *leaf, int (*visit)(void *argument, const char *name),
			      void *argument)
{
	GENERAL_NAMES *sans = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	int n_dns = 0, ret = 0, at;

	for (int i = 0; !ret && i < sk_GENERAL_NAME_num(sans); i++) {
		const GENERAL_NAME *san = sk_GENERAL_NAME_value(sans, i);

		if (san->type != GEN_DNS)
			continue;
		n_dns++;
		ret = check_visit_name(san->d.dNSName, visit, argument);
	}
	GENERAL_NAMES_free(sans);
	at = X509_NAME_get_index_by_NID(X509_get_subject_name(leaf), NID_commonName, -1);
	if (!ret && !n_dns && at >= 0)
		ret = check_visit_name(
		    X509_NAME_ENTRY_get_data(X509_NAME_get_entry(X509_get_subject_name(leaf), at)),
		    visit, argument);
	ERR_clear_error();
	return ret;
}

struct check_names {
	char *text;
	size_t size_bytes, len_bytes;
};

static int check_add_name(void *argument, const char *name)
{
	struct check_names *names = argument;
	size_t room = names->size_bytes - names->len_bytes;
	int n = snprintf(names->text + names->len_bytes, room, "%s%s", names->len_bytes ? ", " : "",
			 name);

	/* What is cut ends in "…". */
	if ((size_t)n >= room) {
		memcpy(names->text + MIN(names->len_bytes, names->size_bytes - 4), "…", 4);
		return 1;
	}
	names->len_bytes += (size_t)n;
	return 0;
}

const char *tls_certificate_names(const X509 *leaf, char *text, size_t size_bytes)
{
	struct check_names names = {text, size_bytes, 0};

	text[0] = '\0';
	tls_certificate_each_name(leaf, check_add_name, &names);
	return text;
}

/* ---- times ---- */

static void check_warn(const struct tls_certificate *certificate, const X509 *which,
		       struct conf_diag *diag, const char *what, const ASN1_TIME *when)
{
	const struct conf_file *file = &certificate->conf->chain;
	char names[128], text[32] = "?";
	struct tm tm;

	if (ASN1_TIME_to_tm(when, &tm) == 1)
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm);
	if (which == certificate->leaf)
		conf_diag_warn(diag, file->mark, "the certificate in \"%s\" (%s) %s %s", file->path,
			       tls_certificate_names(which, names, sizeof(names)), what, text);
	else
		conf_diag_warn(diag, file->mark, "a certificate of the chain in \"%s\" %s %s",
			       file->path, what, text);
}

static void check_times(const struct tls_certificate *certificate, const X509 *which,
			struct conf_diag *diag)
{
	const ASN1_TIME *before = X509_get0_notBefore(which), *after = X509_get0_notAfter(which);
	time_t soon = time(NULL) + CHECK_EXPIRY_S;

	if (X509_cmp_time(after, NULL) < 0)
		check_warn(certificate, which, diag, "expired on", after);
	else if (X509_cmp_time(after, &soon) < 0)
		check_warn(certificate, which, diag, "expires on", after);
	if (X509_cmp_time(before, NULL) > 0)
		check_warn(certificate, which, diag, "is not valid before", before);
}

/* ---- chain ---- */

static bool check_is_signed_by(X509 *lower, X509 *upper)
{
	bool ok = X509_check_issued(upper, lower) == X509_V_OK &&
		  X509_verify(lower, X509_get0_pubkey(upper)) == 1;

	ERR_clear_error();
	return ok;
}

void tls_certificate_check(const struct tls_certificate *certificate, struct conf_diag *diag)
{
	const struct conf_file *file = &certificate->conf->chain;
	X509 *lower = certificate->leaf;

	check_times(certificate, lower, diag);
	for (int i = 0; i < sk_X509_num(certificate->above); i++) {
		X509 *upper = sk_X509_value(certificate->above, i);

		if (!check_is_signed_by(lower, upper))
			conf_diag_warn(diag, file->mark,
				       "the chain in \"%s\" is broken: its certificate %d is not "
				       "signed by the next; clients may not trust it",
				       file->path, i + 1);
		check_times(certificate, upper, diag);
		lower = upper;
	}
}

/* ---- for people ---- */

int64_t tls_time_seconds(const ASN1_TIME *when)
{
	struct tm tm;

	return ASN1_TIME_to_tm(when, &tm) == 1 ? timegm(&tm) : 0;
}

static void check_describe_key(const EVP_PKEY *key, char *text, size_t size_bytes)
{
	char group[32];
	const char *nist = NULL;

	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA:
		snprintf(text, size_bytes, "RSA %d", EVP_PKEY_get_bits(key));
		break;
	case EVP_PKEY_EC:
		if (EVP_PKEY_get_group_name((EVP_PKEY *)key, group, sizeof(group), NULL) == 1)
			nist = EC_curve_nid2nist(OBJ_sn2nid(group));
		snprintf(text, size_bytes, "ECDSA %s", nist ? nist : "");
		break;
	default:
		snprintf(text, size_bytes, "%s", EVP_PKEY_get0_type_name(key));
	}
}

void tls_certificate_describe(const struct tls_certificate *certificate,
			      struct tls_certificate_facts *ret_facts)
{
	*ret_facts = (struct tls_certificate_facts){
	    .file = certificate->conf->chain.path,
	    .not_before_s = tls_time_seconds(X509_get0_notBefore(certificate->leaf)),
	    .not_after_s = tls_time_seconds(X509_get0_notAfter(certificate->leaf)),
	    .is_stapled = tls_staple_is_valid(&certificate->staple),
	};
	tls_certificate_names(certificate->leaf, ret_facts->names, sizeof(ret_facts->names));
	check_describe_key(certificate->key, ret_facts->key, sizeof(ret_facts->key));
	ERR_clear_error();
}
