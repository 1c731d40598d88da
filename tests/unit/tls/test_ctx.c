/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: what is wrong with the files and where it is said, and which certificate a name gets.
 */
#include <fcntl.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lab.h"

static struct lab_identity authority, site, other, expired, early, wild, rsa;

static void load(const char *chain, const char *key, size_t n_errors, size_t n_warnings,
		 const char *said)
{
	struct conf_certificate certificate = {.chain = {.path = chain, .mark = {3, 7}},
					       .key = {.path = key, .mark = {4, 9}}};
	struct conf_server_tls conf = {.certificates = &certificate, .n_certificates = 1};
	struct conf_diag *diag = conf_diag_new("test");
	struct tls_server_ctx *ctx = tls_server_ctx_new(&conf, &lab_files, diag);

	if (conf_diag_errors(diag) != n_errors || conf_diag_warnings(diag) != n_warnings ||
	    (ctx == NULL) != (n_errors > 0) || (said && !strstr(conf_diag_text(diag), said)))
		fail_msg("%s, %s: \"%s\" was expected, not \"%s\"", chain, key, said ? said : "",
			 conf_diag_text(diag));
	tls_server_ctx_free(ctx);
	conf_diag_free(diag);
}

static void errors_name_the_file_and_its_mark(void **state)
{
	(void)state;
	load("site.pem", "site.pem", 0, 0, NULL);
	load("site.crt", "site.key", 0, 0, NULL);
	load("rsa.pem", "rsa.pem", 0, 0, NULL);
	load("chain.pem", "site.key", 0, 0, NULL);
	load("none.pem", "site.key", 1, 0, "3:7: error: cannot read \"none.pem\": No such file");
	load("site.crt", "none.key", 1, 0, "4:9: error: cannot read \"none.key\"");
	load("empty", "site.key", 1, 0, "3:7: error: there is no PEM certificate in \"empty\"");
	load("text", "site.key", 1, 0, "3:7: error: there is no PEM certificate in \"text\"");
	load("site.key", "site.key", 1, 0, "3:7: error: there is no PEM certificate");
	load("site.crt", "site.crt", 1, 0,
	     "4:9: error: there is no PEM private key in \"site.crt\"");
	load("site.crt", "broken.key", 1, 0,
	     "4:9: error: cannot use the private key in \"broken.key\"");
	load("site.crt", "other.key", 1, 0,
	     "4:9: error: the private key in \"other.key\" does not belong");
	load("broken.pem", "site.key", 1, 0,
	     "3:7: error: cannot use the certificate in \"broken.pem\"");
	load("cut.pem", "site.key", 1, 0, "3:7: error: cannot use the chain in \"cut.pem\"");
	load("site.crt", "locked.key", 1, 0,
	     "4:9: error: the private key in \"locked.key\" is protected by a passphrase: name a "
	     "file");
	load("site.crt", "folder", 1, 0, "4:9: error: \"folder\" is not a regular file");
}

static void warnings_do_not_stop(void **state)
{
	(void)state;
	load("expired.pem", "expired.pem", 0, 1,
	     "3:7: warning: the certificate in \"expired.pem\" (x.example) expired on 20");
	load("early.pem", "early.pem", 0, 1,
	     "3:7: warning: the certificate in \"early.pem\" (x.example) is not valid before 20");
	load("site.crt", "open.key", 0, 1,
	     "4:9: warning: the private key in \"open.key\" can be read by every user");
}

static void trust(const char *path, bool verify, size_t n_errors, const char *said)
{
	struct conf_client_tls conf = {
	    .mark = {5, 1}, .ca = {.path = path, .mark = {6, 2}}, .verify = verify};
	struct conf_diag *diag = conf_diag_new("test");
	struct tls_client_ctx *ctx = tls_client_ctx_new(&conf, &lab_files, diag);

	if (conf_diag_errors(diag) != n_errors || (ctx == NULL) != (n_errors > 0) ||
	    (said && !strstr(conf_diag_text(diag), said)))
		fail_msg("\"%s\" was expected, not \"%s\"", said ? said : "", conf_diag_text(diag));
	tls_client_ctx_free(ctx);
	conf_diag_free(diag);
}

static void trust_is_loaded_or_refused(void **state)
{
	(void)state;
	trust("authority.pem", true, 0, NULL);
	trust("chain.pem", true, 0, NULL);
	trust("none.pem", true, 1, "6:2: error: cannot read \"none.pem\"");
	trust("none.pem", false, 0, NULL);
	trust("text", true, 1, "6:2: error: there is no PEM certificate in \"text\"");
	trust("cut.pem", true, 1, "6:2: error: cannot use the certificates in \"cut.pem\"");
	trust(NULL, true, 1, "5:1: error: cannot read \"/etc/ssl/certs/ca-certificates.crt\"");
	lab_add_certificate(tls_system_ca_path(), &authority);
	trust(NULL, true, 0, NULL);
}

/* The common name of the certificate that a client gets for `sni`, or "refused". */
static void ask(struct tls_server_ctx *ctx, const char *sni, const char *common_name)
{
	struct lab_peer_wish wish = {.sni = sni};
	SSL_CTX *peer_ctx = lab_make_peer_ctx(&wish);
	struct lab_end end;
	char got[64] = "refused";
	SSL *peer;
	int fds[2];

	lab_connect(fds, false);
	lab_open_end(&end, fds[0]);
	assert_int_equal(tls_start_server(&end.io, ctx, NULL), 0);
	peer = lab_make_peer(peer_ctx, &wish, fds[1]);
	if (lab_shake(&end, peer) == TLS_READY)
		X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(peer)),
					  NID_commonName, got, sizeof(got));
	if (strcmp(got, common_name) != 0)
		fail_msg("\"%s\" got \"%s\", not \"%s\"; %s", sni ? sni : "", got, common_name,
			 tls_error(&end.io));
	lab_close_end(&end);
	SSL_free(peer);
	SSL_CTX_free(peer_ctx);
	close(fds[1]);
}

static void exact_name_then_wildcard_then_first(void **state)
{
	struct conf_certificate certificates[] = {
	    {.chain = {.path = "site.pem"}, .key = {.path = "site.pem"}},
	    {.chain = {.path = "wild.pem"}, .key = {.path = "wild.pem"}},
	    {.chain = {.path = "other.pem"}, .key = {.path = "other.pem"}},
	    {.chain = {.path = "rsa.pem"}, .key = {.path = "rsa.pem"}},
	};
	struct conf_server_tls conf = {.certificates = certificates,
				       .n_certificates = ARRAY_LEN(certificates)};
	struct conf_diag *diag = conf_diag_new("test");
	struct tls_server_ctx *ctx = tls_server_ctx_new(&conf, &lab_files, diag);

	(void)state;
	assert_non_null(ctx);
	ask(ctx, NULL, "site");
	ask(ctx, "site.example", "site");
	ask(ctx, "SITE.example", "site");
	ask(ctx, "nobody.test", "site");
	ask(ctx, "a.example", "wild");
	ask(ctx, "z.example", "wild");
	ask(ctx, "other.example", "other"); /* exact, though a wildcard stands before it */
	ask(ctx, "other.example.", "other");
	ask(ctx, "a.b.example", "site"); /* a wildcard is one label */
	ask(ctx, "example", "site");
	ask(ctx, ".example", "site");
	ask(ctx, "second.test", "wild"); /* twice in a list: each name counts */
	ask(ctx, "both.test", "wild"); /* two certificates: the first */
	ask(ctx, "rsa.plain", "rsa.plain"); /* no alternative names: the common name */
	ask(ctx, "*.example", "refused");
	ask(ctx, "a b.example", "refused");
	ask(ctx, "\xc3\xa4.example", "refused");
	tls_server_ctx_free(ctx);
	conf_diag_free(diag);
}

static void a_connection_outlives_its_context(void **state)
{
	struct conf_certificate certificate = {.chain = {.path = "site.pem"},
					       .key = {.path = "site.pem"}};
	struct conf_server_tls conf = {.certificates = &certificate, .n_certificates = 1};
	struct lab_peer_wish wish = {.sni = "site.example"};
	struct conf_diag *diag = conf_diag_new("test");
	struct tls_server_ctx *ctx = tls_server_ctx_new(&conf, &lab_files, diag);
	SSL_CTX *peer_ctx = lab_make_peer_ctx(&wish);
	struct lab_end end;
	SSL *peer;
	int fds[2];

	(void)state;
	lab_connect(fds, false);
	lab_open_end(&end, fds[0]);
	assert_int_equal(tls_start_server(&end.io, ctx, NULL), 0);
	tls_server_ctx_free(ctx); /* before the ClientHello, which needs its names */
	peer = lab_make_peer(peer_ctx, &wish, fds[1]);
	assert_int_equal(lab_shake(&end, peer), TLS_READY);
	lab_close_end(&end);
	SSL_free(peer);
	SSL_CTX_free(peer_ctx);
	close(fds[1]);
	conf_diag_free(diag);
}

static void nothing_to_verify_is_refused(void **state)
{
	struct conf_client_tls conf = {.ca = {.path = "authority.pem"}, .verify = true};
	struct conf_diag *diag = conf_diag_new("test");
	struct tls_client_ctx *ctx = tls_client_ctx_new(&conf, &lab_files, diag);
	struct io io;
	int fds[2];

	(void)state;
	assert_non_null(ctx);
	lab_connect(fds, false);
	io_init_plain(&io, fds[0]);
	assert_true(tls_start_client(&io, ctx, "", NULL) < 0);
	assert_string_equal(io.ops->name, "plain");
	io_close(&io);
	close(fds[1]);
	tls_client_ctx_free(ctx);
	conf_diag_free(diag);
}

/* A stream that is none yet says nothing of TLS. */
static void what_is_no_tls_has_no_facts(void **state)
{
	struct io io = {.watch = {.fd = -1}};
	struct tls_facts facts;

	(void)state;
	tls_get_facts(&io, &facts);
	assert_string_equal(facts.version, "");
	assert_string_equal(tls_error(&io), "");
	assert_int_equal(tls_close_reason(&io), CLOSE_DONE);
	assert_null(tls_take_peer(&io));
}

static void add_odd_files(void)
{
	static const char broken[] =
	    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
	static const char broken_key[] =
	    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long len;

	lab_add_file("empty", "", 0);
	lab_add_file("text", "hello\n", 6);
	lab_add_file("broken.pem", broken, sizeof(broken) - 1);

	lab_add_file("broken.key", broken_key, sizeof(broken_key) - 1);
	PEM_write_bio_X509(bio, site.certificate);
	PEM_write_bio_X509(bio, authority.certificate);
	len = BIO_get_mem_data(bio, &data);
	lab_add_file("chain.pem", data, (size_t)len);
	lab_add_file("cut.pem", data, (size_t)len - 100);
	BIO_free(bio);

	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(bio, site.key, EVP_aes_128_cbc(), NULL, 0, NULL, (char *)"secret");
	len = BIO_get_mem_data(bio, &data);
	lab_add_file("locked.key", data, (size_t)len);
	BIO_free(bio);

	lab_add_key("open.key", &site);
	lab_set_file_mode("open.key", 0644);
	lab_add_descriptor("folder", open("/", O_RDONLY | O_CLOEXEC));
}

static void make(const char *common_name, const char *alt_names, int from, int to,
		 struct lab_identity *ret_identity)
{
	lab_make_identity(&(struct lab_identity_wish){.common_name = common_name,
						      .alt_names = alt_names,
						      .issuer = &authority,
						      .days_from = from,
						      .days_to = to},
			  ret_identity);
}

static int make_world(void **state)
{
	(void)state;
	lab_make_identity(&(struct lab_identity_wish){.common_name = "Lab CA"}, &authority);
	make("site", "DNS:site.example", 0, 0, &site);
	make("wild", "DNS:*.example,DNS:second.test,DNS:both.test", 0, 0, &wild);
	make("other", "DNS:first.test,DNS:Other.Example,DNS:both.test", 0, 0, &other);
	make("expired", "DNS:x.example", -20, -10, &expired);
	make("early", "DNS:x.example", 10, 20, &early);
	lab_make_identity(&(struct lab_identity_wish){.common_name = "rsa.plain",
						      .issuer = &authority,
						      .is_rsa = true},
			  &rsa);
	lab_add_both("site.pem", &site);
	lab_add_certificate("site.crt", &site);
	lab_add_key("site.key", &site);
	lab_add_key("other.key", &other);
	lab_add_both("wild.pem", &wild);
	lab_add_both("other.pem", &other);
	lab_add_both("expired.pem", &expired);
	lab_add_both("early.pem", &early);
	lab_add_both("rsa.pem", &rsa);
	lab_add_certificate("authority.pem", &authority);
	add_odd_files();
	return 0;
}

static int end_world(void **state)
{
	struct lab_identity *all[] = {&authority, &site, &other, &expired, &early, &wild, &rsa};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		lab_free_identity(all[i]);
	lab_remove_files();
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(errors_name_the_file_and_its_mark),
	    cmocka_unit_test(warnings_do_not_stop),
	    cmocka_unit_test(trust_is_loaded_or_refused),
	    cmocka_unit_test(exact_name_then_wildcard_then_first),
	    cmocka_unit_test(a_connection_outlives_its_context),
	    cmocka_unit_test(what_is_no_tls_has_no_facts),
	    cmocka_unit_test(nothing_to_verify_is_refused),
	};

	lab_init();
	return cmocka_run_group_tests(tests, make_world, end_world);
}
