/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS with the servers of an origin: a checked mapping -> the snapshot. Opens none of the files.
 */
#include <errno.h>

#include "conf/conf_internal.h"

#define PIN_PREFIX "sha256/"
#define PIN_CHARS 44 /* 32 bytes in base64 */

static int conf_base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int conf_pin_parse(struct str text, uint8_t ret_pin[CONF_PIN_BYTES])
{
	uint32_t bits = 0;
	size_t n = 0;

	if (str_starts_with(text, STR(PIN_PREFIX)))
		text = (struct str){text.ptr + sizeof(PIN_PREFIX) - 1,
				    text.len - (sizeof(PIN_PREFIX) - 1)};
	if (text.len != PIN_CHARS || text.ptr[PIN_CHARS - 1] != '=')
		return -EINVAL;
	for (size_t i = 0; i < PIN_CHARS - 1; i++) {
		int digit = conf_base64_digit(text.ptr[i]);

		if (digit < 0)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)digit;
		if (i % 4) /* of each digit but a group's first, a byte is complete */
			ret_pin[n++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
	}
	return bits & 3 ? -EINVAL : 0; /* what is left over of the last digit */
}

const char *conf_check_pin(struct str text)
{
	uint8_t pin[CONF_PIN_BYTES];

	if (str_starts_with(text, STR("sha1/")) || str_starts_with(text, STR("sha512/")))
		return "is no digest by SHA-256";
	if (conf_pin_parse(text, pin) == 0)
		return NULL;
	return "is not the digest of a public key; write 44 characters of base64, as `openssl "
	       "x509 -in FILE -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst "
	       "-sha256 -binary | openssl base64` prints them";
}

static void conf_client_tls_fill_pins(struct conf_context *context, struct conf_client_tls *tls,
				      const struct conf_node *pins)
{
	const struct conf_node *item;
	size_t n = conf_items(pins, &item);

	if (n == 0)
		return;
	tls->pins = conf_keep(context, n, sizeof(*tls->pins));
	for (; tls->pins && n; n--, item = item->next)
		if (conf_pin_parse(item->text, tls->pins[tls->n_pins]) == 0)
			tls->n_pins++;
}

static void conf_client_tls_fill_certificate(struct conf_context *context,
					     struct conf_client_tls *tls,
					     const struct conf_node *node)
{
	struct conf_certificate *certificate =
	    node ? conf_keep(context, 1, sizeof(*certificate)) : NULL;

	if (certificate && conf_certificate_fill(context, certificate, node))
		tls->certificate = certificate;
}

/* Streams offer nothing by themselves: what they carry is not known here. */
static void conf_client_tls_fill_alpn(struct conf_context *context, struct conf_client_tls *tls,
				      const struct conf_node *node, bool is_stream)
{
	static const char *http[] = {"http/1.1"};

	tls->alpn = conf_texts_at(context, node, "alpn", &tls->n_alpn);
	if (tls->n_alpn || is_stream)
		return;
	tls->alpn = http;
	tls->n_alpn = ARRAY_LEN(http);
}

struct conf_client_tls *conf_client_tls_make(struct conf_context *context,
					     const struct conf_node *node, bool is_stream,
					     struct conf_mark mark)
{
	struct conf_client_tls *tls = conf_keep(context, 1, sizeof(*tls));

	if (!tls)
		return NULL;
	tls->mark = mark;
	tls->ca = conf_file_at(context, node, "ca");
	tls->server_name = conf_text_at(context, node, "server_name");
	tls->verify = conf_number_at(node, "verify") != 0;
	conf_kernel_tls_fill(context, node, &tls->kernel, &tls->kernel_receive, &tls->kernel_send);
	tls->kernel_waits = conf_kernel_use(context) == CONF_KERNEL_USE_AUTO;
	conf_client_tls_fill_certificate(context, tls, conf_at(node, "certificate"));
	conf_client_tls_fill_pins(context, tls, conf_at(node, "pins"));
	conf_tls_policy_fill(context, &tls->policy, node);
	conf_client_tls_fill_alpn(context, tls, node, is_stream);
	tls->sessions = conf_number_at(node, "sessions") != 0;
	return tls;
}

static void conf_pin_print(const uint8_t pin[CONF_PIN_BYTES], FILE *out)
{
	fputs("pin ", out);
	for (size_t i = 0; i < CONF_PIN_BYTES; i++)
		fprintf(out, "%02x", pin[i]);
	fputc('\n', out);
}

void conf_client_tls_print(const struct conf_client_tls *tls, FILE *out)
{
	fprintf(out, "tls verify=%d kernel=%d,%d sessions=%d\nca %s\nserver_name %s\n", tls->verify,
		tls->kernel_receive, tls->kernel_send, tls->sessions,
		tls->ca.path ? tls->ca.path : "", tls->server_name ? tls->server_name : "");
	if (tls->certificate)
		fprintf(out, "certificate %s\nkey %s\npassphrase %s\n",
			tls->certificate->chain.path, tls->certificate->key.path,
			tls->certificate->passphrase.path ? tls->certificate->passphrase.path : "");
	for (size_t i = 0; i < tls->n_pins; i++)
		conf_pin_print(tls->pins[i], out);
	fprintf(out, "policy=%d,%x,%x %s %s\n", tls->policy.level, tls->policy.min_version,
		tls->policy.max_version, tls->policy.ciphers_12 ? tls->policy.ciphers_12 : "-",
		tls->policy.ciphers_13 ? tls->policy.ciphers_13 : "-");
	for (size_t i = 0; i < tls->n_alpn; i++)
		fprintf(out, "alpn %s\n", tls->alpn[i]);
}
