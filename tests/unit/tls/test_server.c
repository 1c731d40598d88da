/* SPDX-License-Identifier: Apache-2.0 */
/* What a server decides: the kind of key, strict names, protocols, versions, ciphers, staples. */
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lab.h"
#include "stats/alerts.h"

static struct lab_identity authority, site_ec, site_rsa, other;

static struct conf_certificate both_kinds[] = {
    {.chain = {.path = "rsa.pem"}, .key = {.path = "rsa.pem"}},
    {.chain = {.path = "ec.pem"}, .key = {.path = "ec.pem"}},
};
static struct conf_certificate ec_alone[] = {
    {.chain = {.path = "ec.pem", .mark = {2, 2}}, .key = {.path = "ec.pem"}},
};
static const char *http[] = {"http/1.1"};

/* What a client is told by one handshake. */
struct outcome {
	enum tls_progress progress;
	char kind[8]; /* of the certificate's key: "RSA", "EC" */
	char version[16];
	char cipher[40];
	char alert[80]; /* that the client was sent */
	long staple_len;
};

static void note_alert(const SSL *ssl, int where, int value)
{
	struct outcome *outcome = SSL_get_app_data(ssl);

	if (where == SSL_CB_READ_ALERT && outcome)
		snprintf(outcome->alert, sizeof(outcome->alert), "%s",
			 SSL_alert_desc_string_long(value));
}

static struct tls_server_ctx *load(const struct conf_server_tls *conf, size_t n_errors,
				   size_t n_warnings, const char *said)
{
	struct conf_diag *diag = conf_diag_new("test");
	struct tls_server_ctx *ctx = tls_server_ctx_new(conf, &lab_files, diag);

	if (conf_diag_errors(diag) != n_errors || conf_diag_warnings(diag) != n_warnings ||
	    (ctx == NULL) != (n_errors > 0) || (said && !strstr(conf_diag_text(diag), said)))
		fail_msg("\"%s\" was expected, not \"%s\"", said ? said : "", conf_diag_text(diag));
	conf_diag_free(diag);
	return ctx;
}

static struct outcome shake(const struct conf_server_tls *conf, const struct lab_peer_wish *wish,
			    const char *signatures)
{
	struct tls_server_ctx *ctx = load(conf, 0, 0, NULL);
	SSL_CTX *peer_ctx = lab_make_peer_ctx(wish);
	struct outcome outcome = {.kind = "none", .alert = "none"};
	const unsigned char *staple;
	struct lab_end end;
	SSL *peer;
	int fds[2];

	if (signatures)
		assert_int_equal(SSL_CTX_set1_sigalgs_list(peer_ctx, signatures), 1);
	lab_connect(fds, false);
	lab_open_end(&end, fds[0]);
	assert_int_equal(tls_start_server(&end.io, ctx, NULL), 0);
	peer = lab_make_peer(peer_ctx, wish, fds[1]);
	SSL_set_app_data(peer, &outcome);
	SSL_set_info_callback(peer, note_alert);
	SSL_set_tlsext_status_type(peer, TLSEXT_STATUSTYPE_ocsp);
	outcome.progress = lab_shake(&end, peer);
	if (outcome.progress == TLS_READY) {
		EVP_PKEY *key = X509_get0_pubkey(SSL_get0_peer_certificate(peer));

		snprintf(outcome.kind, sizeof(outcome.kind), "%s", EVP_PKEY_get0_type_name(key));
		snprintf(outcome.version, sizeof(outcome.version), "%s", SSL_get_version(peer));
		snprintf(outcome.cipher, sizeof(outcome.cipher), "%s", SSL_get_cipher_name(peer));
		outcome.staple_len = SSL_get_tlsext_status_ocsp_resp(peer, &staple);
	}
	lab_close_end(&end);
	SSL_free(peer);
	SSL_CTX_free(peer_ctx);
	close(fds[1]);
	tls_server_ctx_free(ctx);
	return outcome;
}

static void the_client_chooses_the_kind_of_key(void **state)
{
	struct conf_server_tls conf = {.certificates = both_kinds, .n_certificates = 2};
	static const struct {
		int version;
		const char *signatures, *kind;
	} rows[] = {
	    {TLS1_3_VERSION, NULL, "EC"},	    {TLS1_3_VERSION, "RSA-PSS+SHA256", "RSA"},
	    {TLS1_3_VERSION, "ECDSA+SHA256", "EC"}, {TLS1_2_VERSION, NULL, "EC"},
	    {TLS1_2_VERSION, "RSA+SHA256", "RSA"},  {TLS1_2_VERSION, "ECDSA+SHA256", "EC"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		/* Also for a name that no certificate is for: the first one's group. */
		for (int unknown = 0; unknown < 2; unknown++) {
			struct lab_peer_wish wish = {.version = rows[i].version,
						     .sni = unknown ? "un.known" : "site.example"};
			struct outcome outcome = shake(&conf, &wish, rows[i].signatures);

			assert_int_equal(outcome.progress, TLS_READY);
			assert_string_equal(outcome.kind, rows[i].kind);
		}
	}
}

static void who_is_never_chosen_is_told(void **state)
{
	struct conf_certificate twice[] = {
	    ec_alone[0],
	    {.chain = {.path = "same.pem", .mark = {7, 3}}, .key = {.path = "same.pem"}},
	};
	struct conf_server_tls conf = {.certificates = twice, .n_certificates = 2};

	(void)state;
	tls_server_ctx_free(
	    load(&conf, 0, 1, "7:3: warning: the certificate in \"same.pem\" is never used"));
}

static void strict_names_are_refused(void **state)
{
	struct conf_server_tls conf = {
	    .certificates = ec_alone, .n_certificates = 1, .strict_sni = true};
	static const struct {
		const char *sni;
		enum tls_progress progress;
		const char *alert;
	} rows[] = {
	    {"site.example", TLS_READY, "none"},
	    {NULL, TLS_READY, "none"},
	    {"un.known", TLS_FAILED, "unrecognized name"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lab_peer_wish wish = {.sni = rows[i].sni};
		struct outcome outcome = shake(&conf, &wish, NULL);

		assert_int_equal(outcome.progress, rows[i].progress);
		assert_string_equal(outcome.alert, rows[i].alert);
	}
}

static void alpn_without_overlap_is_an_alert(void **state)
{
	struct conf_server_tls conf = {
	    .certificates = ec_alone, .n_certificates = 1, .alpn = http, .n_alpn = 1};
	struct lab_peer_wish wish = {.alpn = "\x02h2"};
	struct outcome outcome = shake(&conf, &wish, NULL);

	(void)state;
	assert_int_equal(outcome.progress, TLS_FAILED);
	assert_string_equal(outcome.alert, "no application protocol");
	conf.n_alpn = 0; /* says nothing, takes everybody */
	assert_int_equal(shake(&conf, &wish, NULL).progress, TLS_READY);
}

static void policies_bound_versions_and_ciphers(void **state)
{
	static const struct {
		struct conf_tls_policy policy;
		int version;
		const char *cipher; /* of the peer */
		const char *got; /* NULL: refused */
	} rows[] = {
	    {{.level = CONF_TLS_INTERMEDIATE}, 0, NULL, "TLS_AES_128_GCM_SHA256"},
	    {{.level = CONF_TLS_INTERMEDIATE}, 0, "CHACHA", "TLS_CHACHA20_POLY1305_SHA256"},
	    {{.level = CONF_TLS_INTERMEDIATE},
	     TLS1_2_VERSION,
	     NULL,
	     "ECDHE-ECDSA-AES128-GCM-SHA256"},
	    {{.level = CONF_TLS_INTERMEDIATE}, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256", NULL},
	    {{.level = CONF_TLS_INTERMEDIATE}, TLS1_2_VERSION, "AES128-SHA", NULL},
	    {{.level = CONF_TLS_MODERN}, TLS1_2_VERSION, NULL, NULL},
	    {{.level = CONF_TLS_MODERN}, TLS1_3_VERSION, NULL, "TLS_AES_128_GCM_SHA256"},
	    {{.max_version = TLS1_2_VERSION}, 0, NULL, "ECDHE-ECDSA-AES128-GCM-SHA256"},
	    {{.min_version = TLS1_3_VERSION}, TLS1_2_VERSION, NULL, NULL},
	    {{.ciphers_12 = "ECDHE-ECDSA-AES128-SHA256"},
	     TLS1_2_VERSION,
	     NULL,
	     "ECDHE-ECDSA-AES128-SHA256"},
	    {{.ciphers_13 = "TLS_AES_256_GCM_SHA384"}, 0, NULL, "TLS_AES_256_GCM_SHA384"},
	    {{.ciphers_13 = "TLS_AES_256_GCM_SHA384"}, TLS1_3_VERSION, "AES128", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct conf_server_tls conf = {
		    .certificates = ec_alone, .n_certificates = 1, .policy = rows[i].policy};
		struct lab_peer_wish wish = {.version = rows[i].version, .cipher = rows[i].cipher};
		struct outcome outcome = shake(&conf, &wish, NULL);

		if (!rows[i].got != (outcome.progress == TLS_FAILED) ||
		    (rows[i].got && strcmp(rows[i].got, outcome.cipher) != 0))
			fail_msg("row %zu: \"%s\"", i, outcome.cipher);
	}
}

static void a_file_opens_the_key(void **state)
{
	struct conf_certificate certificate = {.chain = {.path = "ec.pem", .mark = {3, 7}},
					       .key = {.path = "locked.key", .mark = {4, 9}},
					       .passphrase = {.path = "right", .mark = {5, 1}}};
	struct conf_server_tls conf = {.certificates = &certificate, .n_certificates = 1};

	(void)state;
	tls_server_ctx_free(load(&conf, 0, 0, NULL));
	certificate.passphrase.path = "right.crlf";
	tls_server_ctx_free(load(&conf, 0, 0, NULL));
	certificate.passphrase.path = "wrong";
	load(&conf, 1, 0,
	     "5:1: error: the passphrase in \"wrong\" does not open the private key in "
	     "\"locked.key\"");
	certificate.passphrase.path = "none";
	load(&conf, 1, 0, "5:1: error: cannot read \"none\"");
	certificate.passphrase.path = "right";
	certificate.key.path = "ec.pem"; /* needs none: fine */
	tls_server_ctx_free(load(&conf, 0, 0, NULL));
	certificate.key.path = "locked.key";
	lab_set_file_mode("right", 0644);
	tls_server_ctx_free(load(&conf, 0, 1,
				 "5:1: warning: the passphrase in \"right\" can be "
				 "read by every user"));
	lab_set_file_mode("right", 0600);
}

static void chains_in_disorder_are_told(void **state)
{
	struct conf_certificate certificate = {.chain = {.path = "good.chain", .mark = {3, 7}},
					       .key = {.path = "ec.pem"}};
	struct conf_server_tls conf = {.certificates = &certificate, .n_certificates = 1};

	(void)state;
	tls_server_ctx_free(load(&conf, 0, 0, NULL));
	certificate.chain.path = "bad.chain";
	tls_server_ctx_free(load(&conf, 0, 1,
				 "3:7: warning: the chain in \"bad.chain\" is broken: its "
				 "certificate 1 is not signed by the next"));
}

static void staples(void **state)
{
	static const struct {
		const char *file;
		size_t n_errors, n_warnings;
		const char *said;
	} rows[] = {
	    {"good.ocsp", 0, 0, NULL},
	    {"old.ocsp", 0, 1, "9:9: warning: the OCSP response in \"old.ocsp\" is outdated"},
	    {"other.ocsp", 0, 1, "\"other.ocsp\" is not about this certificate"},
	    {"revoked.ocsp", 0, 1, "\"revoked.ocsp\" says that the certificate is revoked"},
	    {"right", 1, 0, "9:9: error: there is no good OCSP response (DER) in \"right\""},
	};
	struct conf_certificate certificate = {.chain = {.path = "good.chain"},
					       .key = {.path = "ec.pem"}};
	struct conf_server_tls conf = {.certificates = &certificate, .n_certificates = 1};
	struct lab_peer_wish wish = {.sni = "site.example"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		certificate.ocsp = (struct conf_file){.path = rows[i].file, .mark = {9, 9}};
		tls_server_ctx_free(
		    load(&conf, rows[i].n_errors, rows[i].n_warnings, rows[i].said));
	}
	certificate.ocsp.path = "good.ocsp";
	assert_true(shake(&conf, &wish, NULL).staple_len > 100);
	certificate.ocsp.path = NULL;
	assert_true(shake(&conf, &wish, NULL).staple_len <= 0);
}

static void certificates_are_described(void **state)
{
	struct conf_server_tls conf = {.certificates = both_kinds, .n_certificates = 2};
	struct tls_server_ctx *ctx = load(&conf, 0, 0, NULL);
	struct tls_certificate_facts facts;
	int64_t days_10 = (int64_t)time(NULL) + 10 * 86400;

	(void)state;
	assert_int_equal(tls_server_ctx_n_certificates(ctx), 2);
	tls_server_ctx_describe(ctx, 0, &facts);
	assert_string_equal(facts.key, "RSA 2048");
	assert_string_equal(facts.file, "rsa.pem");
	tls_server_ctx_describe(ctx, 1, &facts);
	assert_string_equal(facts.key, "ECDSA P-256");
	assert_string_equal(facts.names, "site.example");
	assert_true(facts.not_after_s > days_10 - 3600 && facts.not_after_s <= days_10);
	assert_true(facts.not_before_s < days_10);
	assert_false(facts.is_stapled);
	tls_server_ctx_free(ctx);
}

static void alerts_are_counted_by_kind(void **state)
{
	struct conf_server_tls conf = {
	    .certificates = ec_alone, .n_certificates = 1, .strict_sni = true};
	struct lab_peer_wish wish = {.sni = "un.known"};
	uint64_t before = alerts_sum(true, ALERT_KIND_UNRECOGNIZED_NAME);

	(void)state;
	shake(&conf, &wish, NULL);
	assert_int_equal(alerts_sum(true, ALERT_KIND_UNRECOGNIZED_NAME), before + 1);
	before = alerts_sum(false, ALERT_KIND_OTHER);
	alerts_count(false, 111);
	alerts_count(false, 255);
	assert_int_equal(alerts_sum(false, ALERT_KIND_OTHER), before + 2);
}

/* ---- the world ---- */

static void add_ocsp(const char *path, const struct lab_identity *about, int status, long from,
		     long until)
{
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
	OCSP_CERTID *id = OCSP_cert_to_id(NULL, about->certificate, authority.certificate);
	ASN1_TIME *this_update = X509_gmtime_adj(NULL, from);
	ASN1_TIME *next_update = X509_gmtime_adj(NULL, until);
	ASN1_TIME *revoked = status == V_OCSP_CERTSTATUS_REVOKED ? this_update : NULL;
	OCSP_RESPONSE *response;
	unsigned char *der = NULL;
	int len;

	assert_non_null(OCSP_basic_add1_status(basic, id, status, OCSP_REVOKED_STATUS_NOSTATUS,
					       revoked, this_update, next_update));
	assert_int_equal(
	    OCSP_basic_sign(basic, authority.certificate, authority.key, EVP_sha256(), NULL, 0), 1);
	response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
	len = i2d_OCSP_RESPONSE(response, &der);
	assert_true(len > 0);
	lab_add_file(path, der, (size_t)len);
	OPENSSL_free(der);
	OCSP_RESPONSE_free(response);
	OCSP_BASICRESP_free(basic);
	OCSP_CERTID_free(id);
	ASN1_TIME_free(this_update);
	ASN1_TIME_free(next_update);
}

static void add_chain(const char *path, const struct lab_identity *lower,
		      const struct lab_identity *upper)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long len;

	PEM_write_bio_X509(bio, lower->certificate);
	PEM_write_bio_X509(bio, upper->certificate);
	len = BIO_get_mem_data(bio, &data);
	lab_add_file(path, data, (size_t)len);
	BIO_free(bio);
}

static void add_locked_key(void)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long len;

	PEM_write_bio_PrivateKey(bio, site_ec.key, EVP_aes_128_cbc(), NULL, 0, NULL,
				 (char *)"secret");
	len = BIO_get_mem_data(bio, &data);
	lab_add_file("locked.key", data, (size_t)len);
	BIO_free(bio);
	lab_add_file("right", "secret\nnot this\n", 16);
	lab_add_file("right.crlf", "secret\r\n", 8);
	lab_add_file("wrong", "sesame\n", 7);
}

static int make_world(void **state)
{
	struct lab_identity_wish wish = {
	    .common_name = "site", .alt_names = "DNS:site.example", .issuer = &authority};
	struct lab_identity same;

	(void)state;
	lab_make_identity(&(struct lab_identity_wish){.common_name = "Lab CA"}, &authority);
	lab_make_identity(&wish, &site_ec);
	lab_make_identity(&wish, &same);
	lab_make_identity(&wish, &other);
	wish.is_rsa = true;
	lab_make_identity(&wish, &site_rsa);
	lab_add_both("ec.pem", &site_ec);
	lab_add_both("rsa.pem", &site_rsa);
	lab_add_both("same.pem", &same);
	lab_free_identity(&same);
	add_chain("good.chain", &site_ec, &authority);
	add_chain("bad.chain", &site_ec, &other);
	add_locked_key();
	add_ocsp("good.ocsp", &site_ec, V_OCSP_CERTSTATUS_GOOD, -60, 3600);
	add_ocsp("old.ocsp", &site_ec, V_OCSP_CERTSTATUS_GOOD, -7200, -3600);
	add_ocsp("other.ocsp", &other, V_OCSP_CERTSTATUS_GOOD, -60, 3600);
	add_ocsp("revoked.ocsp", &site_ec, V_OCSP_CERTSTATUS_REVOKED, -60, 3600);
	return 0;
}

static int end_world(void **state)
{
	struct lab_identity *all[] = {&authority, &site_ec, &site_rsa, &other};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		lab_free_identity(all[i]);
	lab_remove_files();
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_client_chooses_the_kind_of_key),
	    cmocka_unit_test(who_is_never_chosen_is_told),
	    cmocka_unit_test(strict_names_are_refused),
	    cmocka_unit_test(alpn_without_overlap_is_an_alert),
	    cmocka_unit_test(policies_bound_versions_and_ciphers),
	    cmocka_unit_test(a_file_opens_the_key),
	    cmocka_unit_test(chains_in_disorder_are_told),
	    cmocka_unit_test(staples),
	    cmocka_unit_test(certificates_are_described),
	    cmocka_unit_test(alerts_are_counted_by_kind),
	};

	lab_init();
	return cmocka_run_group_tests(tests, make_world, end_world);
}
