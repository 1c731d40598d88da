/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar of TLS: what both sides have alike, and the side of clients. How it is read:
 * conf_grammar_internal.h.
 */
#include "conf/conf_grammar_internal.h"

/* ---- Certificates ---- */

static const struct conf_key certificate_keys[] = {
    KEY_REQUIRED("chain", conf_shape_path, "/etc/penstock/site.pem",
		 "PEM file with the certificate and those between it and the root, leaf first."),
    KEY("key", conf_shape_path, NULL,
	"PEM file with the private key; without it the file of the chain."),
    KEY("passphrase", conf_shape_path, NULL,
	"File whose first line opens the private key, where that is encrypted."),
    KEY("ocsp", conf_shape_path, NULL,
	"File with an OCSP response (DER) that is stapled while it is valid; for servers only."),
    KEY_END,
};
static const struct conf_shape shape_certificate_mapping = {.kind = CONF_SHAPE_MAPPING,
							    .noun = "a certificate",
							    .title = "a certificate",
							    .keys = certificate_keys};
const struct conf_shape conf_shape_certificate = {
    .kind = CONF_SHAPE_EITHER,
    .noun = "a file name, or a mapping with \"chain\" and \"key\"",
    .scalar = &conf_shape_path,
    .mapping = &shape_certificate_mapping,
};
static LIST(shape_certificates, conf_shape_certificate, "a list of certificates", 1024);

/* ---- Versions and ciphers ---- */

WORDS(conf_shape_tls_level, {"modern", CONF_TLS_MODERN, false},
      {"intermediate", CONF_TLS_INTERMEDIATE, false});

static WORDS(shape_tls_version, {"TLSv1.2", CONF_TLS_1_2, false}, {"TLSv1.3", CONF_TLS_1_3, false});
static LIST(shape_tls_versions_list, shape_tls_version, "a list of versions", 2);
ONE_OR_MORE(conf_shape_tls_versions, "TLSv1.2, TLSv1.3, or a list of both", shape_tls_version,
	    shape_tls_versions_list);

/* All with forward secrecy that OpenSSL has at its default security level; those of TLS 1.2 without
 * AEAD are for clients from before 2013. */
static WORDS(shape_tls_cipher, {"TLS_AES_128_GCM_SHA256", CONF_TLS_1_3, false},
	     {"TLS_AES_256_GCM_SHA384", CONF_TLS_1_3, false},
	     {"TLS_CHACHA20_POLY1305_SHA256", CONF_TLS_1_3, false},
	     {"ECDHE-ECDSA-AES128-GCM-SHA256", CONF_TLS_1_2, false},
	     {"ECDHE-RSA-AES128-GCM-SHA256", CONF_TLS_1_2, false},
	     {"ECDHE-ECDSA-AES256-GCM-SHA384", CONF_TLS_1_2, false},
	     {"ECDHE-RSA-AES256-GCM-SHA384", CONF_TLS_1_2, false},
	     {"ECDHE-ECDSA-CHACHA20-POLY1305", CONF_TLS_1_2, false},
	     {"ECDHE-RSA-CHACHA20-POLY1305", CONF_TLS_1_2, false},
	     {"ECDHE-ECDSA-AES128-SHA256", CONF_TLS_1_2, false},
	     {"ECDHE-RSA-AES128-SHA256", CONF_TLS_1_2, false},
	     {"ECDHE-ECDSA-AES256-SHA384", CONF_TLS_1_2, false},
	     {"ECDHE-RSA-AES256-SHA384", CONF_TLS_1_2, false},
	     {"ECDHE-ECDSA-AES128-SHA", CONF_TLS_1_2, false},
	     {"ECDHE-RSA-AES128-SHA", CONF_TLS_1_2, false},
	     {"ECDHE-ECDSA-AES256-SHA", CONF_TLS_1_2, false},
	     {"ECDHE-RSA-AES256-SHA", CONF_TLS_1_2, false});
static LIST(shape_tls_ciphers_list, shape_tls_cipher, "a list of ciphers", 32);
ONE_OR_MORE(conf_shape_tls_ciphers, "the name of a cipher, or a list of them", shape_tls_cipher,
	    shape_tls_ciphers_list);

/* ---- With clients ---- */

static DURATION(shape_ticket_lifetime, 1 * SECOND, 24 * HOUR);

static const struct conf_key tickets_keys[] = {
    KEY("keys", conf_shape_path, NULL,
	"File with keys of 80 bytes each, shared by nodes: the first seals, all open. Without it "
	"the keys are made here, and changed daily."),
    KEY("lifetime", shape_ticket_lifetime, "24h",
	"How long a client may resume with a ticket, and how long sessions stand for a client's "
	"certificate that was shown when they began."),
    KEY_END,
};
MAPPING(conf_shape_tickets, "a mapping", tickets_keys);
static SWITCH_OR_MAPPING(shape_tickets_either, conf_shape_tickets);

static const struct conf_key server_tls_keys[] = {
    KEY_REQUIRED("certificates", shape_certificates, "[/etc/penstock/site.pem]",
		 "The certificates, chosen by the name that the client asks for; the first is for "
		 "all other names. One name may have one for each kind of key (ECDSA, RSA)."),
    KEY("strict_sni", conf_shape_switch, "off",
	"Whether a name that no certificate is for is refused (unrecognized_name); clients that "
	"send no name get the first certificate."),
    TLS_POLICY_KEYS,
    KEY("alpn", conf_shape_alpn, NULL,
	"Application protocols, the preferred first; a client that offers only others is refused. "
	"Without it http/1.1 and http/1.0 where requests are served, else none is answered."),
    KEY("tickets", shape_tickets_either, "on",
	"Session tickets, by which clients resume without a full handshake; on is a mapping of "
	"defaults."),
    KEY("max_handshakes", conf_shape_count, NULL,
	"Handshakes at once, over all threads; connections past it are closed. Without it as many "
	"as \"max_connections\"."),
    KEY("kernel", conf_shape_kernel_tls_either, "auto",
	"Whether the kernel may do the records (kTLS), or for each direction on its own."),
    KEY("client", conf_shape_client_auth, NULL,
	"Certificates of clients; without it none is asked for."),
    KEY("key_log", conf_shape_path, NULL,
	"File to which the keys of each session are written, for debugging: whoever reads it can "
	"read all of the traffic."),
    KEY_END,
};
MAPPING(conf_shape_server_tls, "a mapping with \"certificates\"", server_tls_keys);
