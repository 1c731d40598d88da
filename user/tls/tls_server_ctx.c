/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one listener needs for TLS: its certificates, loaded, and an SSL_CTX for each group of them
 * that stands for the same names with different kinds of keys. What happens within a handshake is
 * in tls_server_shake.c, files are read by tls_certificate.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tls/tls_ctx_internal.h"
#include "tls/tls_server_internal.h"

/* ---- certificates ---- */

/* All are tried, so that all errors are told. 0, -ENOMEM, or another -errno that was reported. */
static int server_load(struct tls_server_ctx *ctx, const struct conf_server_tls *conf,
		       const struct tls_files *files, struct conf_diag *diag)
{
	int err = 0;

	ctx->certificates = calloc(conf->n_certificates, sizeof(*ctx->certificates));
	if (!ctx->certificates)
		return -ENOMEM;
	for (size_t i = 0; i < conf->n_certificates; i++) {
		int one = tls_certificate_load(&conf->certificates[i], files, diag,
					       &ctx->certificates[ctx->n_certificates]);

		ctx->n_certificates += one == 0;
		err = err ? err : one;
	}
	return err;
}

static int server_collect_names(struct tls_server_ctx *ctx)
{
	int err = 0;

	for (size_t i = 0; i < ctx->n_certificates && !err; i++)
		err = tls_server_names_add(&ctx->names, i, ctx->certificates[i].leaf);
	if (!err)
		tls_server_names_sort(&ctx->names);
	return err;
}

/* ---- groups ---- */

static enum tls_key_kind server_key_kind(const struct tls_certificate *certificate)
{
	switch (EVP_PKEY_get_base_id(certificate->key)) {
	case EVP_PKEY_RSA:
		return TLS_KEY_RSA;
	case EVP_PKEY_EC:
		return TLS_KEY_EC;
	default:
		return TLS_KEY_OTHER;
	}
}

static void server_group_add(struct tls_server_ctx *ctx, struct tls_server_group *group,
			     size_t certificate)
{
	enum tls_key_kind kind = server_key_kind(&ctx->certificates[certificate]);

	if (group->of_kind[kind])
		return;
	group->of_kind[kind] = &ctx->certificates[certificate];
	group->n_certificates++;
}

/* Groups are few for each certificate that is their first: those of names that share it. */
static size_t server_group_find(const struct tls_server_ctx *ctx,
				const struct tls_server_group *wanted)
{
	size_t i = 0;

	while (i < ctx->n_groups &&
	       memcmp(ctx->groups[i].of_kind, wanted->of_kind, sizeof(wanted->of_kind)) != 0)
		i++;
	return i;
}

/* The place of the group, made where it is not there yet. */
static int server_group_get(struct tls_server_ctx *ctx, const struct tls_server_group *wanted,
			    size_t *ret_group)
{
	size_t found = server_group_find(ctx, wanted);
	struct tls_server_group *grown;

	*ret_group = found;
	if (found < ctx->n_groups)
		return 0;
	grown = reallocarray(ctx->groups, ctx->n_groups + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	ctx->groups = grown;
	grown[ctx->n_groups++] = *wanted;
	return 0;
}

/* Each name once, and with its group: names->all[i].certificate is a group from here on. */
static int server_group_names(struct tls_server_ctx *ctx)
{
	struct tls_server_name *all = ctx->names.all;
	size_t n_names = 0, i = 0;
	int err = 0;

	if (!all)
		return 0;
	while (i < ctx->names.n_all && !err) {
		struct tls_server_group group = {.n_certificates = 0};
		size_t first = i;

		for (; i < ctx->names.n_all && strcmp(all[i].name, all[first].name) == 0; i++)
			server_group_add(ctx, &group, all[i].certificate);
		err = server_group_get(ctx, &group, &all[first].certificate);
		for (size_t j = first + 1; j < i; j++)
			free(all[j].name);
		all[n_names++] = all[first];
	}
	memmove(all + n_names, all + i, (ctx->names.n_all - i) * sizeof(*all));
	ctx->names.n_all = n_names + (ctx->names.n_all - i);
	return err;
}

static bool server_group_has(const struct tls_server_group *group,
			     const struct tls_certificate *certificate)
{
	for (int i = 0; i < TLS_KEY_KIND_MAX; i++)
		if (group->of_kind[i] == certificate)
			return true;
	return false;
}

/* For names that no certificate is for: the largest group with the first certificate. */
static int server_group_first(struct tls_server_ctx *ctx)
{
	struct tls_server_group alone = {.n_certificates = 0};
	size_t best = SIZE_MAX;

	for (size_t i = 0; i < ctx->n_groups; i++)
		if (server_group_has(&ctx->groups[i], &ctx->certificates[0]) &&
		    (best == SIZE_MAX ||
		     ctx->groups[i].n_certificates > ctx->groups[best].n_certificates))
			best = i;
	ctx->first_group = best;
	if (best != SIZE_MAX)
		return 0;
	server_group_add(ctx, &alone, 0);
	return server_group_get(ctx, &alone, &ctx->first_group);
}

static void server_warn_of_unused(const struct tls_server_ctx *ctx, struct conf_diag *diag)
{
	for (size_t i = 1; i < ctx->n_certificates; i++) {
		const struct tls_certificate *certificate = &ctx->certificates[i];
		bool used = false;

		for (size_t j = 0; j < ctx->n_groups && !used; j++)
			used = server_group_has(&ctx->groups[j], certificate);
		if (!used)
			conf_diag_warn(diag, certificate->conf->chain.mark,
				       "the certificate in \"%s\" is never used: others before it "
				       "have its names and the same kind of key",
				       certificate->conf->chain.path);
	}
}

/* ---- contexts ---- */

static int server_group_open(struct tls_server_ctx *ctx, struct tls_server_group *group,
			     const struct conf_server_tls *conf, struct conf_diag *diag)
{
	int err = 0;

	group->ssl_ctx = tls_ctx_new_common(true, &conf->policy);
	if (!group->ssl_ctx)
		return -ENOMEM;
	for (int i = 0; i < TLS_KEY_KIND_MAX && !err; i++)
		if (group->of_kind[i])
			err = tls_certificate_use(group->of_kind[i], group->ssl_ctx, diag);
	tls_server_shake_init(ctx, group);
	return err ? err : tls_client_auth_apply(ctx->client_auth, group->ssl_ctx);
}

static int server_open(struct tls_server_ctx *ctx, const struct conf_server_tls *conf,
		       struct conf_diag *diag)
{
	int err = server_group_names(ctx);

	if (!err)
		err = server_group_first(ctx);
	if (err)
		return err;
	server_warn_of_unused(ctx, diag);
	for (size_t i = 0; i < ctx->n_groups && !err; i++)
		err = server_group_open(ctx, &ctx->groups[i], conf, diag);
	return err;
}

/* As ALPN has it on the wire (RFC 7301, 3.1). */
static int server_set_alpn(struct tls_server_ctx *ctx, const struct conf_server_tls *conf)
{
	size_t len_bytes = 0;

	for (size_t i = 0; i < conf->n_alpn; i++)
		len_bytes += 1 + strlen(conf->alpn[i]);
	if (!len_bytes)
		return 0;
	ctx->alpn = malloc(len_bytes);
	if (!ctx->alpn)
		return -ENOMEM;
	for (size_t i = 0; i < conf->n_alpn; i++) {
		size_t len = strlen(conf->alpn[i]);

		ctx->alpn[ctx->alpn_len++] = (unsigned char)len;
		memcpy(ctx->alpn + ctx->alpn_len, conf->alpn[i], len);
		ctx->alpn_len += len;
	}
	return 0;
}

/* Each name once: a second kind of key for it changes nothing. */
static bool server_digest_names(const struct tls_server_names *names, EVP_MD_CTX *digest)
{
	const char *before = "";
	bool ok = true;

	for (size_t i = 0; i < names->n_all && ok; i++) {
		const char *name = names->all[i].name;

		if (strcmp(name, before) != 0)
			ok = EVP_DigestUpdate(digest, name, strlen(name) + 1) == 1;
		before = name;
	}
	return ok;
}

/*
 * All listeners seal tickets with the same keys, and so did the configurations before. What a
 * session brings along and no handshake looks at again must be as it would be here: who we are, by
 * the names, which a renewal keeps; who the client is; and in TLS 1.2 the cipher.
 */
static int server_make_scope(struct tls_server_ctx *ctx, const struct conf_server_tls *conf)
{
	const char *ciphers = conf->policy.ciphers_12 ? conf->policy.ciphers_12 : "";
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	int err = -ENOMEM;

	if (digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
	    EVP_DigestUpdate(digest, ciphers, strlen(ciphers) + 1) == 1 &&
	    server_digest_names(&ctx->names, digest))
		err = tls_client_auth_digest(ctx->client_auth, digest);
	if (!err && EVP_DigestFinal_ex(digest, ctx->scope, NULL) != 1)
		err = -ENOMEM;
	EVP_MD_CTX_free(digest);
	return err;
}

/* A copy of the descriptor, for the time of the context. The worker starts no program, so it need
 * not be close-on-exec. */
static int server_open_key_log(struct tls_server_ctx *ctx, const struct conf_file *file,
			       const struct tls_files *files, struct conf_diag *diag)
{
	int fd = files->find_log(files->argument, file->path);

	ctx->key_log_fd = fd < 0 ? fd : dup(fd);
	if (ctx->key_log_fd < 0) {
		conf_diag_add(diag, file->mark, "cannot append to \"%s\"", file->path);
		return -EINVAL;
	}
	ctx->key_log_path = file->path;
	return 0;
}

static int server_init(struct tls_server_ctx *ctx, const struct conf_server_tls *conf,
		       const struct tls_files *files, struct conf_diag *diag)
{
	int err = server_load(ctx, conf, files, diag);

	if (!err)
		err = server_collect_names(ctx);
	if (!err)
		err = server_set_alpn(ctx, conf);
	if (!err && conf->tickets.keys.path)
		err = tls_ticket_keys_load(&conf->tickets.keys, files, diag, &ctx->ticket_keys);
	if (!err && conf->key_log.path && files->find_log)
		err = server_open_key_log(ctx, &conf->key_log, files, diag);
	if (!err)
		err = tls_client_auth_load(conf, files, diag, &ctx->client_auth);
	if (!err)
		err = server_make_scope(ctx, conf);
	return err ? err : server_open(ctx, conf, diag);
}

struct tls_server_ctx *tls_server_ctx_new(const struct conf_server_tls *conf,
					  const struct tls_files *files, struct conf_diag *diag)
{
	struct tls_server_ctx *ctx = calloc(1, sizeof(*ctx));
	int err = -ENOMEM;

	if (ctx) {
		atomic_init(&ctx->refs, 1);
		ctx->kernel = tls_ctx_wanted(conf->kernel, conf->kernel_receive, conf->kernel_send,
					     conf->kernel_waits);
		ctx->key_log_fd = -1;
		ctx->strict_sni = conf->strict_sni;
		ctx->has_tickets = conf->tickets.on;
		ctx->ticket_lifetime_s = conf->tickets.lifetime_s;
		err = server_init(ctx, conf, files, diag);
	}
	if (err == -ENOMEM)
		conf_diag_add(diag, conf->mark, "no memory");
	if (!err)
		return ctx;
	tls_server_ctx_free(ctx);
	return NULL;
}

size_t tls_server_ctx_n_certificates(const struct tls_server_ctx *ctx)
{
	return ctx->n_certificates;
}

void tls_server_ctx_describe(const struct tls_server_ctx *ctx, size_t i,
			     struct tls_certificate_facts *ret_facts)
{
	tls_certificate_describe(&ctx->certificates[i], ret_facts);
}

int64_t tls_server_ctx_lists_until(const struct tls_server_ctx *ctx)
{
	return tls_client_auth_lists_until(ctx->client_auth);
}

const char *tls_server_ctx_key_log(const struct tls_server_ctx *ctx)
{
	return ctx->key_log_path;
}

SSL_CTX *tls_server_ctx_first(struct tls_server_ctx *ctx)
{
	return ctx->groups[ctx->first_group].ssl_ctx;
}

uint8_t tls_server_ctx_kernel(const struct tls_server_ctx *ctx)
{
	return ctx->kernel;
}

bool tls_server_ctx_wants_der(const struct tls_server_ctx *ctx)
{
	return tls_client_auth_wants_der(ctx->client_auth);
}

struct tls_server_ctx *tls_server_ctx_ref(struct tls_server_ctx *ctx)
{
	atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
	return ctx;
}

void tls_server_ctx_free(struct tls_server_ctx *ctx)
{
	if (!ctx || atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < ctx->n_groups; i++)
		SSL_CTX_free(ctx->groups[i].ssl_ctx);
	for (size_t i = 0; i < ctx->n_certificates; i++)
		tls_certificate_done(&ctx->certificates[i]);
	tls_server_names_done(&ctx->names);
	tls_ticket_keys_done(&ctx->ticket_keys);
	if (ctx->key_log_fd >= 0)
		close(ctx->key_log_fd);
	tls_client_auth_free(ctx->client_auth);
	free(ctx->groups);
	free(ctx->certificates);
	free(ctx->alpn);
	free(ctx);
}
