/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's certificate in the life of its connection: what routes see of it, and the headers that
 * tell origins of it. Made only where one was shown.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "conn/conn_internal.h"
#include "stats/stats.h"

/* A header that would be larger is not sent: the origin sees a client without certificate. */
#define HEADER_MAX 32768

static void certificate_fill_route(struct conn_certificate *certificate)
{
	const struct tls_peer *peer = certificate->peer;

	for (size_t i = 0; i < peer->n_sans; i++)
		certificate->names[i] = (struct route_name){
		    .is_domain = peer->sans[i].kind == TLS_SAN_DNS,
		    .text = str_from(peer->sans[i].text),
		};
	certificate->route = (struct route_certificate){
	    .subject = str_from(peer->common_name),
	    .issuer = str_from(peer->issuer_name),
	    .fingerprint = str_from(peer->fingerprint),
	    .names = certificate->names,
	    .n_names = peer->n_sans,
	};
}

/* ---- headers ---- */

/* A byte sequence (RFC 8941, 3.3.5). */
static int header_put_bytes(FILE *out, const unsigned char *der, size_t len_bytes)
{
	unsigned char *text = malloc(4 * ((len_bytes + 2) / 3) + 1);

	if (!text)
		return -1;
	EVP_EncodeBlock(text, der, (int)len_bytes);
	fprintf(out, ":%s:", text);
	free(text);
	return 0;
}

static int header_put_leaf(FILE *out, const struct tls_peer *peer)
{
	if (peer->der_bytes > HEADER_MAX)
		return 0;
	fputs("Client-Cert: ", out);
	if (header_put_bytes(out, peer->der, peer->der_bytes))
		return -1;
	fputs("\r\n", out);
	return 0;
}

static int header_put_chain(FILE *out, const struct tls_peer *peer)
{
	size_t len_bytes = 0;

	for (size_t i = 0; i < peer->n_above; i++)
		len_bytes += peer->above[i].der_bytes;
	if (len_bytes == 0 || len_bytes > HEADER_MAX)
		return 0;
	fputs("Client-Cert-Chain: ", out);
	for (size_t i = 0; i < peer->n_above; i++) {
		fputs(i ? ", " : "", out);
		if (header_put_bytes(out, peer->above[i].der, peer->above[i].der_bytes))
			return -1;
	}
	fputs("\r\n", out);
	return 0;
}

/* As Envoy quotes values. */
static void header_put_quoted(FILE *out, const char *key, const char *text)
{
	fprintf(out, ";%s=\"", key);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

static void header_put_forwarded(FILE *out, const struct tls_peer *peer)
{
	size_t len_bytes = 0;

	fprintf(out, "X-Forwarded-Client-Cert: Hash=%s", peer->fingerprint);
	header_put_quoted(out, "Subject", peer->subject);
	for (size_t i = 0; i < peer->n_sans; i++) {
		const struct tls_san *san = &peer->sans[i];

		len_bytes += strlen(san->text);
		if (len_bytes > HEADER_MAX)
			break;
		if (san->kind == TLS_SAN_URI)
			header_put_quoted(out, "URI", san->text);
		else if (san->kind == TLS_SAN_DNS)
			header_put_quoted(out, "DNS", san->text);
	}
	fputs("\r\n", out);
}

static int headers_write(FILE *out, const struct tls_peer *peer, unsigned int which)
{
	int err = 0;

	if (which & CONF_CERT_HEADER_LEAF)
		err = header_put_leaf(out, peer);
	if (!err && which & CONF_CERT_HEADER_CHAIN)
		err = header_put_chain(out, peer);
	if (!err && which & CONF_CERT_HEADER_FORWARDED)
		header_put_forwarded(out, peer);
	return err;
}

/* In place of those that were made before. 0 or -ENOMEM. */
static int certificate_make_headers(struct conn_certificate *certificate, unsigned int which)
{
	char *headers = NULL;
	size_t len_bytes = 0;
	FILE *out = open_memstream(&headers, &len_bytes);
	int err = out ? headers_write(out, certificate->peer, which) : -1;

	if (out && fclose(out))
		err = -1;
	if (err) {
		free(headers);
		return -ENOMEM;
	}
	free(certificate->headers);
	certificate->headers = headers;
	certificate->headers_len = len_bytes;
	certificate->headers_of = which;
	return 0;
}

int conn_certificate_lines(void *owner, const struct conf_route *route, struct str *ret_lines)
{
	struct conn_certificate *certificate = ((struct conn *)owner)->certificate;

	if (certificate->headers_of != route->cert_headers &&
	    certificate_make_headers(certificate, route->cert_headers))
		return -ENOMEM;
	*ret_lines = (struct str){certificate->headers, certificate->headers_len};
	return 0;
}

int conn_take_certificate(struct conn *conn)
{
	struct tls_peer *peer = tls_take_peer(&conn->io);
	struct conn_certificate *certificate;

	if (!peer)
		return 0;
	stats_inc(STAT_CLIENT_CERT_TAKEN);
	certificate = calloc(1, sizeof(*certificate) + peer->n_sans * sizeof(struct route_name));
	if (!certificate) {
		tls_peer_free(peer);
		return -1;
	}
	certificate->peer = peer;
	certificate_fill_route(certificate);
	conn->certificate = certificate;
	return 0;
}

void conn_free_certificate(struct conn *conn)
{
	if (!conn->certificate)
		return;
	tls_peer_free(conn->certificate->peer);
	free(conn->certificate->headers);
	free(conn->certificate);
	conn->certificate = NULL;
}
