/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar of clients' certificates: what a listener asks for and tells, what a route matches.
 * How it is read: conf_grammar_internal.h.
 */
#include "conf/conf_grammar_internal.h"

/* ---- listeners ---- */

static WORDS(shape_client_auth, {"required", CONF_CLIENT_AUTH_REQUIRED, false},
	     {"optional", CONF_CLIENT_AUTH_OPTIONAL, false});
static NUMBER(shape_depth, 0, 16);
#define CERT_HEADERS \
	{"client-cert", CONF_CERT_HEADER_LEAF, false}, \
	    {"client-cert-chain", CONF_CERT_HEADER_CHAIN, false}, \
	{ \
		"x-forwarded-client-cert", CONF_CERT_HEADER_FORWARDED, false \
	}
static WORDS(shape_cert_header, CERT_HEADERS);
static LIST(shape_cert_headers_list, shape_cert_header, "a list of headers", 3);
static ONE_OR_MORE(shape_cert_headers, "a header, or a list of them", shape_cert_header,
		   shape_cert_headers_list);

static const struct conf_key client_auth_keys[] = {
    KEY_REQUIRED("ca", conf_shape_path, "/etc/penstock/clients-ca.pem",
		 "PEM file with the authorities, one of which must stand above a client's "
		 "certificate."),
    KEY("verify", shape_client_auth, "required",
	"Whether a client must show a certificate. One that is shown must be good in any case."),
    KEY("crl", conf_shape_path, NULL,
	"PEM file with the revocation lists of these authorities and of all between them and the "
	"clients: what an authority has issued that has no list, or one that has run out, is "
	"refused. An authority of \"ca\" that is on a list itself is not trusted; else none is "
	"asked "
	"for above it."),
    KEY("depth", shape_depth, "3",
	"How many certificates may stand between a client's and the authority's."),
    KEY("headers", shape_cert_headers, NULL,
	"Headers that tell origins of a client's certificate: client-cert and client-cert-chain as "
	"RFC 9440 has them (the chain not in resumed sessions), x-forwarded-client-cert with hash, "
	"subject and names. None is sent without it, but where a route asks for some itself. Those "
	"that come from clients are always taken out."),
    KEY_END,
};
MAPPING(conf_shape_client_auth, "a mapping with \"ca\"", client_auth_keys);

/* ---- routes ---- */

static TEXT(shape_subject, "a name", conf_check_subject, "^.+$");
static TEXT(shape_fingerprint, "64 hexadecimal digits", conf_check_fingerprint,
	    "^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}$");

static const struct conf_key client_cert_keys[] = {
    KEY("subject", shape_subject, NULL,
	"The common name of the certificate; \"*.example.com\" is any one label before it."),
    KEY("san", shape_subject, NULL,
	"One of its alternative names: a DNS name as \"subject\", or a whole e-mail address or "
	"URI."),
    KEY("issuer", shape_subject, NULL, "The common name of who issued it."),
    KEY("fingerprint", shape_fingerprint, NULL,
	"The SHA-256 digest of the certificate, in hexadecimal digits with or without \":\"."),
    KEY_END,
};
static MAPPING(shape_client_cert_mapping, "a mapping", client_cert_keys);
SWITCH_OR_MAPPING(conf_shape_client_cert, shape_client_cert_mapping);

static WORDS(shape_cert_header_or_off, {"off", 0, false}, CERT_HEADERS);
ONE_OR_MORE(conf_shape_route_cert_headers, "a header, a list of them, or off",
	    shape_cert_header_or_off, shape_cert_headers_list);
