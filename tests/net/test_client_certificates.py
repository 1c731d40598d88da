# SPDX-License-Identifier: Apache-2.0
"""Certificates of clients, by curl, openssl s_client, gnutls-cli and Python: who is let in, who is refused by which alert and
counter, where a certificate leads to, and what origins are told of it."""
import base64
import hashlib
import re
import socket
import ssl
import struct

import pytest

import lab as laboratory
from lab.authority import Certificate, key_options, openssl

PORT = 9443
WEB_PORT = 7000
RAW_PORT = 7001
NAME = "site.example.com"
ECHO = "$http_client_cert|$http_client_cert_chain|$http_x_forwarded_client_cert"


class Pki:
    """Authorities and clients of every kind, below one root."""

    def __init__(self, directory):
        self.root = laboratory.Authority(directory, "Example Clients")
        self.directory = self.root.directory
        self.count = 100

    def make(self, name, issuer=None, extensions="", days=30, ca=False, above=()):
        """A certificate below `issuer` (the root), with the certificates `above` sent along."""
        self.count += 1
        issuer_chain, issuer_key = (issuer.chain, issuer.key) if issuer else (self.root.file, self.root.key)
        stem = self.directory / f"{self.count}"
        chain, key, bundle, request, ext = (stem.with_suffix(end) for end in (".crt", ".key", ".pem", ".csr", ".ext"))
        ext.write_text(f"basicConstraints=critical,CA:{'TRUE' if ca else 'FALSE'}\n{extensions}\n")
        openssl("req", "-new", "-nodes", *key_options("ec"), "-subj", f"/O=Example/CN={name}", "-keyout", key, "-out",
                request)
        openssl("x509", "-req", "-in", request, "-CA", issuer_chain, "-CAkey", issuer_key, "-set_serial", self.count,
                "-days", days, "-extfile", ext, "-out", chain)
        bundle.touch(mode=0o600)
        bundle.write_text(chain.read_text() + "".join(one.chain.read_text() for one in above) + key.read_text())
        return Certificate(chain, key, bundle)

    def forge(self, certificate):
        """The same with another signature."""
        der = certificate.chain.with_suffix(".der")
        openssl("x509", "-in", certificate.chain, "-outform", "der", "-out", der)
        data = bytearray(der.read_bytes())
        data[-1] ^= 1
        body = base64.encodebytes(bytes(data)).decode()
        forged = certificate.chain.with_suffix(".forged")
        forged.write_text(f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")
        return Certificate(forged, certificate.key, forged)

    def revocations(self, *revoked, until=("-crlhours", 24), issuer=None):
        """A revocation list of `issuer` (the root)."""
        chain, key = (issuer.chain, issuer.key) if issuer else (self.root.file, self.root.key)
        index, config, crl = (self.directory / f"{chain.stem}.{end}" for end in ("txt", "cnf", "crl"))
        index.write_text("")
        config.write_text(f"[ca]\ndefault_ca=x\n[x]\ndatabase={index}\ndefault_md=sha256\n")
        options = ("-config", config, "-cert", chain, "-keyfile", key)
        for certificate in revoked:
            openssl("ca", *options, "-revoke", certificate.chain)
        openssl("ca", *options, "-gencrl", *until, "-out", crl)
        return crl


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pki")
    for folder in (directory, directory.parent):
        folder.chmod(0o755)
    return Pki(directory)


@pytest.fixture
def serve(lab, start, authority, pki):
    """The daemon on PORT with `client` in its `tls`, and an origin that answers with the headers that it gets."""
    servers = []

    def serve_with(client=None, routes=None, origins=None, **more):
        servers.append(laboratory.Nginx(lab.origins[0], http=f"""
            underscores_in_headers on;
            large_client_header_buffers 4 128k;
            server {{ listen {WEB_PORT}; location / {{ return 200 "{ECHO}"; }} }}"""))
        client = None if client is False else {"ca": str(pki.root.file), **(client or {})}
        return start({
            "listeners": [{"name": "web", "bind": f"{lab.node.address}:{PORT}",
                           "tls": {"certificates": [str(authority.issue(NAME).bundle)],
                                   **({"client": client} if client else {})},
                           "routes": routes or [{"to": f"http://{lab.origins[0].address}:{WEB_PORT}"}]}],
            **({"origins": origins} if origins else {}), **more})

    yield serve_with
    for server in servers:
        server.stop()


def fetch(lab, authority, certificate=None, *options, path="", check=False):
    return lab.client.run("curl", "-sS", "--max-time", "20", "--cacert", authority.file, "--resolve",
                          f"{NAME}:{PORT}:{lab.node.address}",
                          *(["--cert", certificate.bundle] if certificate else []), *options,
                          f"https://{NAME}:{PORT}/{path}", check=check)


def told(lab, authority, certificate=None, *options, path=""):
    """What the origin was told, as a list of three."""
    return fetch(lab, authority, certificate, *options, path=path, check=True).stdout.split("|")


def alert_of(lab, authority, *options, version="-tls1_3"):
    """The alert that openssl is sent. It waits for it: with TLS 1.3 it comes after its own handshake."""
    done = lab.client.run("openssl", "s_client", "-connect", f"{lab.node.address}:{PORT}", "-servername", NAME, "-CAfile",
                          authority.file, version, "-ign_eof", *options, input=f"GET / HTTP/1.1\r\nHost: {NAME}\r\n"
                          "Connection: close\r\n\r\n", check=False)
    found = re.search(r"alert number (\d+)", done.stdout + done.stderr)
    return int(found[1]) if found else None


def counters_of(daemon):
    return {name: value for name, value in daemon.status()["counters"].items() if name.startswith("client_cert_")}


def test_who_is_refused_and_how(lab, serve, authority, pki, tmp_path):
    """Each kind with its alert (RFC 8446, 6.2), its counter and its line in the log; who is good gets in."""
    good, revoked = pki.make("good"), pki.make("revoked")
    stranger = laboratory.Authority(tmp_path / "stranger", "Strange CA").issue("stranger", client=True)
    own = Certificate(tmp_path / "own.crt", tmp_path / "own.key", tmp_path / "own.pem")
    openssl("req", "-x509", "-nodes", *key_options("ec"), "-days", 3, "-subj", "/CN=own", "-keyout", own.key, "-out",
            own.chain)
    daemon = serve({"crl": str(pki.revocations(revoked))})
    cases = {  # alert in TLS 1.3, in TLS 1.2, counter, words
        None: (116, 40, "missing", "the client showed no certificate"),
        pki.make("late", days=-1): (45, 45, "expired", "certificate has expired .*CN=late"),
        revoked: (44, 44, "revoked", "certificate revoked .*CN=revoked"),
        stranger: (48, 48, "untrusted", "unable to get local issuer certificate .*CN=stranger"),
        own: (48, 48, "untrusted", "self.signed certificate .*CN=own"),
        pki.forge(pki.make("forged")): (51, 51, "bad", "certificate signature failure .*CN=forged"),
        pki.make("server", extensions="extendedKeyUsage=serverAuth"): (43, 43, "bad", "purpose .*CN=server"),
    }
    for version, place in (("-tls1_3", 0), ("-tls1_2", 1)):
        assert alert_of(lab, authority, "-cert", good.chain, "-key", good.key, version=version) is None
        for certificate, case in cases.items():
            before, options = counters_of(daemon), ()
            if certificate:
                options = ("-cert", certificate.chain, "-key", certificate.key)
            assert alert_of(lab, authority, *options, version=version) == case[place], case
            changed = {name for name, value in counters_of(daemon).items() if value != before[name]}
            assert changed == {f"client_cert_{case[2]}"}, case
            daemon.process.wait_line(f"reason=client_unverified .*{case[3]}")
    daemon.expect(client_unverified=2 * len(cases), client_cert_taken=2, requests=2)


def test_chains(lab, serve, authority, pki):
    """Deep enough, too deep, not sent, and below names that their authority may not give."""
    first = pki.make("First CA", ca=True)
    second = pki.make("Second CA", issuer=first, ca=True)
    narrow = pki.make("Narrow CA", ca=True, extensions="nameConstraints=critical,permitted;DNS:example.com")
    daemon = serve({"depth": 1})
    assert fetch(lab, authority, pki.make("one", issuer=first, above=[first])).returncode == 0
    inside = pki.make("inside", issuer=narrow, above=[narrow], extensions="subjectAltName=DNS:a.example.com")
    assert fetch(lab, authority, inside).returncode == 0
    refused = {
        "deep": pki.make("deep", issuer=second, above=[second, first]),
        "torn": pki.make("torn", issuer=first),
        "outside": pki.make("outside", issuer=narrow, above=[narrow], extensions="subjectAltName=DNS:a.example.net"),
        "no-authority": pki.make("below", issuer=pki.make("no-authority"), above=[]),
    }
    for certificate in refused.values():
        assert fetch(lab, authority, certificate).returncode != 0
    counters = counters_of(daemon)
    assert counters["client_cert_taken"] == 2
    assert sum(counters.values()) == 2 + len(refused)
    daemon.process.wait_line(r"client_unverified .*permitted subtree violation .*CN=outside")


def test_optional(lab, serve, authority, pki):
    """Nobody needs one, but who shows one must have a good one."""
    daemon = serve({"verify": "optional", "headers": "x-forwarded-client-cert"})
    assert told(lab, authority) == ["", "", ""]
    assert "CN=good" in told(lab, authority, pki.make("good"))[2]
    assert fetch(lab, authority, pki.make("late", days=-1)).returncode != 0
    gnutls = lab.client.run("gnutls-cli", "--x509cafile", authority.file, "--verify-hostname", NAME, "--sni-hostname", NAME,
                            "-p", str(PORT), lab.node.address, input="", check=False)
    assert gnutls.returncode == 0
    assert counters_of(daemon)["client_cert_expired"] == 1


def test_what_origins_are_told(lab, serve, authority, pki):
    middle = pki.make("Middle CA", ca=True)
    certificate = pki.make('we "quote"', issuer=middle, above=[middle], extensions="subjectAltName=DNS:a.example.com,"
                           "URI:spiffe://example.com/a;b,email:a@example.com,IP:192.0.2.7")
    der = certificate.chain.with_suffix(".der")
    openssl("x509", "-in", certificate.chain, "-outform", "der", "-out", der)
    openssl("x509", "-in", middle.chain, "-outform", "der", "-out", middle.chain.with_suffix(".der"))
    daemon = serve({"headers": ["client-cert", "client-cert-chain", "x-forwarded-client-cert"]})
    evil = [word for name in ("Client-Cert", "client_cert", "Client-Cert-Chain", "Client_Cert_Chain",
                              "X-Forwarded-Client-Cert", "X_Forwarded_Client_Cert") for word in ("-H", f"{name}: evil")]
    leaf, chain, forwarded = told(lab, authority, certificate, *evil)
    assert leaf == f":{base64.b64encode(der.read_bytes()).decode()}:"
    assert chain == f":{base64.b64encode(middle.chain.with_suffix('.der').read_bytes()).decode()}:"
    assert forwarded == (f"Hash={hashlib.sha256(der.read_bytes()).hexdigest()};"
                         'Subject="CN=we \\\\\\"quote\\\\\\",O=Example";DNS="a.example.com";'
                         'URI="spiffe://example.com/a;b"')
    daemon.process.wait_line(r'request .*client_cert=.*CN=we .*quote.*O=Example')


def test_each_route_tells_what_it_is_asked_to(lab, serve, authority, pki):
    """On one connection, in place of what the listener tells; copies of clients get through nowhere."""
    origin = f"http://{lab.origins[0].address}:{WEB_PORT}"
    serve({"verify": "optional", "headers": "x-forwarded-client-cert"}, routes=[
        {"path": "/leaf", "client_cert_headers": "client-cert", "to": origin},
        {"path": "/both", "client_cert_headers": ["client-cert", "x-forwarded-client-cert"], "to": origin},
        {"path": "/none", "client_cert_headers": "off", "to": origin},
        {"to": origin}])
    paths = ["leaf", "none", "both", "else", "both", "none", "leaf"]
    evil = [word for name in ("Client-Cert", "client_cert", "Client-Cert-Chain", "X-Forwarded-Client-Cert")
            for word in ("-H", f"{name}: evil")]
    urls = [f"https://{NAME}:{PORT}/{path}" for path in paths[:-1]]
    leaf, forwarded = ":M", "Hash="
    wanted = {"leaf": (leaf, "", ""), "both": (leaf, "", forwarded), "none": ("", "", ""), "else": ("", "", forwarded)}
    for certificate in (pki.make("alice"), None):
        done = fetch(lab, authority, certificate, "-w", "\\n%{num_connects}\\n", *evil, *urls, path=paths[-1], check=True)
        lines = done.stdout.splitlines()
        assert lines[1::2] == ["1"] + ["0"] * (len(paths) - 1)
        for path, line in zip(paths, lines[::2], strict=True):
            for told_of, begin in zip(line.split("|"), wanted[path] if certificate else ("", "", ""), strict=True):
                assert told_of.startswith(begin) and bool(told_of) == bool(begin), (path, line)


@pytest.mark.parametrize("client", [False, {"verify": "optional"}], ids=["not-asked", "not-told"])
def test_inbound_copies_are_taken_out(lab, serve, authority, client):
    """Also where no certificate is asked for, or none is told."""
    serve(client)
    assert told(lab, authority, None, "-H", "Client-Cert: evil", "-H", "client_cert: evil", "-H", "Client-Cert-Chain: evil",
                "-H", "X-Forwarded-Client-Cert: evil") == ["", "", ""]


def test_inbound_copies_are_taken_out_without_tls(lab, start):
    nginx = laboratory.Nginx(lab.origins[0], http=f'server {{ listen {WEB_PORT}; location / {{ return 200 "{ECHO}"; }} }}')
    start({"listeners": [{"bind": f"{lab.node.address}:{PORT}",
                          "routes": [{"to": f"http://{lab.origins[0].address}:{WEB_PORT}"}]}]})
    assert lab.client.run("curl", "-sS", "-H", "Client-Cert: evil", "-H", "CLIENT_CERT_CHAIN: evil", "-H",
                          "X-Forwarded-Client-Cert: evil", f"http://{lab.node.address}:{PORT}/").stdout == "||"
    nginx.stop()


def test_routes_by_certificate(lab, serve, authority, pki):
    nginx = laboratory.Nginx(lab.origins[1], http="".join(
        f"server {{ listen {WEB_PORT + i}; return 200 {name}; }}\n" for i, name in enumerate(ROUTES)))
    special = pki.make("special")
    fingerprint = openssl("x509", "-in", special.chain, "-noout", "-fingerprint", "-sha256").strip().split("=")[1]
    asks = {**ROUTES, "fingerprint": {"fingerprint": fingerprint}}
    serve({"verify": "optional"}, routes=[
        {"client_cert": ask, "to": f"http://{lab.origins[1].address}:{WEB_PORT + i}"}
        for i, ask in enumerate(asks.values())])
    below = pki.make("Other Issuer", ca=True)

    def led_to(certificate=None):
        return fetch(lab, authority, certificate, check=True).stdout

    assert led_to() == "none"
    assert led_to(pki.make("anybody")) == "any"
    assert led_to(pki.make("a.ops.example.com")) == "subject"
    assert led_to(pki.make("a.b.ops.example.com")) == "any"
    assert led_to(pki.make("x", extensions="subjectAltName=DNS:a.example.org,URI:spiffe://example.com/job")) == "san"
    assert led_to(pki.make("x", extensions="subjectAltName=URI:spiffe://example.com/JOB")) == "any"
    assert led_to(pki.make("x", extensions="subjectAltName=DNS:B.Example.ORG")) == "domain"
    assert led_to(pki.make("x", issuer=below, above=[below])) == "issuer"
    assert led_to(special) == "fingerprint"
    nginx.stop()


ROUTES = {
    "subject": {"subject": "*.ops.example.com"}, "san": {"san": "spiffe://example.com/job"},
    "domain": {"san": "*.example.org"}, "issuer": {"issuer": "Other Issuer"}, "fingerprint": None, "any": "on",
    "none": "off",
}


def test_streams_by_certificate(lab, serve, authority, pki):
    """TLS ends here, bytes go on; PROXY protocol tells of the certificate."""
    with lab.origins[0].listen(RAW_PORT) as listener:
        daemon = serve({"verify": "optional"}, routes=[{"client_cert": {"subject": "alice"}, "to": "raw"}], origins={
            "raw": {"servers": [f"{lab.origins[0].address}:{RAW_PORT}"], "protocol": "tcp", "proxy_protocol": "v2"}})
        context = ssl.create_default_context(cafile=authority.file)
        with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
            refused = context.wrap_socket(lab.client.connect(lab.node.address, PORT), server_hostname=NAME)
            if refused.recv(1) == b"":
                raise EOFError
        laboratory.wait_until(lambda: daemon.status()["closes"]["no_route"] == 1, "no route takes who shows none")
        context.load_cert_chain(pki.make("alice").bundle)
        session, flags = None, []
        for _ in range(2):
            client = context.wrap_socket(lab.client.connect(lab.node.address, PORT), server_hostname=NAME, session=session)
            client.sendall(b"to the origin")
            origin, _ = listener.accept()
            origin.settimeout(20)
            head = origin.recv(16, socket.MSG_WAITALL)
            block = origin.recv(struct.unpack("!H", head[14:])[0], socket.MSG_WAITALL)
            tlvs = split_tlvs(block[12:])
            assert split_tlvs(tlvs[0x20][5:])[0x22] == b"alice"
            assert tlvs[0x20][1:5] == bytes(4)  # verified
            flags.append(tlvs[0x20][0])
            assert origin.recv(13, socket.MSG_WAITALL) == b"to the origin"
            origin.sendall(b"to the client")
            assert client.recv(100) == b"to the client"
            session = client.session
            client.close()
            origin.close()
        assert flags == [0b111, 0b101]  # on this connection, then in the session
        daemon.process.wait_line(r"connection .*origin=raw .*client_cert=\S*CN=alice,O=Example")


def split_tlvs(data):
    found = {}
    while data:
        kind, length = data[0], struct.unpack("!H", data[1:3])[0]
        found[kind], data = data[3:3 + length], data[3 + length:]
    return found


def resumed_fetch(lab, context, session):
    """The response, whether the session was resumed, and the session of the next."""
    client = context.wrap_socket(lab.client.connect(lab.node.address, PORT), server_hostname=NAME, session=session)
    client.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
    data = b""
    while part := client.recv(65536):
        data += part
    result = data.decode(), client.session_reused, client.session
    client.close()
    return result


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_resumed_sessions_keep_the_certificate(lab, serve, authority, pki, version):
    """Until it is revoked, or other rules hold: then it must be shown again."""
    alice = pki.make("alice")
    crl = pki.revocations()
    daemon = serve({"crl": str(crl), "headers": ["client-cert", "x-forwarded-client-cert"]})
    context = ssl.create_default_context(cafile=authority.file)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(alice.bundle)
    first, reused, session = resumed_fetch(lab, context, None)
    assert "CN=alice" in first and not reused
    again, reused, session = resumed_fetch(lab, context, session)
    assert reused and again.split("\r\n\r\n")[1] == first.split("\r\n\r\n")[1]
    pki.revocations(alice)
    daemon.reload()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        resumed_fetch(lab, context, session)
    assert counters_of(daemon)["client_cert_revoked"] == 1


def test_sessions_do_not_cross_listeners(lab, start, authority, pki):
    """One that asks for nothing gives tickets that open nothing elsewhere."""
    nginx = laboratory.Nginx(lab.origins[0], http=f"server {{ listen {WEB_PORT}; return 200 ok; }}")
    tls = {"certificates": [str(authority.issue(NAME).bundle)]}
    to = [{"to": f"http://{lab.origins[0].address}:{WEB_PORT}"}]
    daemon = start({"listeners": [
        {"bind": f"{lab.node.address}:{PORT + 1}", "tls": tls, "routes": to},
        {"bind": f"{lab.node.address}:{PORT}", "tls": {**tls, "client": {"ca": str(pki.root.file)}}, "routes": to}]})
    context = ssl.create_default_context(cafile=authority.file)
    open_ = context.wrap_socket(lab.client.connect(lab.node.address, PORT + 1), server_hostname=NAME)
    open_.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
    while open_.recv(65536):
        pass
    assert open_.session.has_ticket
    with pytest.raises((ssl.SSLError, ConnectionError)):
        resumed_fetch(lab, context, open_.session)
    assert counters_of(daemon)["client_cert_missing"] == 1
    open_.close()
    nginx.stop()


def test_lists_of_an_authority_between(lab, serve, authority, pki, tmp_path):
    """Where it stands in `ca` its own list is enough; the root's takes it away, and warnings say what is missing."""
    middle = pki.make("Middle CA", ca=True)
    good, revoked = (pki.make(name, issuer=middle, above=[middle]) for name in ("good", "revoked"))
    below_root = pki.make("below-root")
    ca, crl = tmp_path / "ca.pem", tmp_path / "crl.pem"

    def put(authorities, *lists):
        ca.write_text("".join(one.read_text() for one in authorities))
        crl.write_text("".join(one.read_text() for one in lists))

    def taken():
        return [fetch(lab, authority, one).returncode == 0 for one in (good, revoked, below_root)]

    of_middle = pki.revocations(revoked, issuer=middle)
    put([middle.chain], of_middle)
    daemon = serve({"ca": str(ca), "crl": str(crl)})
    assert taken() == [True, False, False]
    counters = counters_of(daemon)
    assert (counters["client_cert_revoked"], counters["client_cert_untrusted"]) == (1, 1)
    put([middle.chain, pki.root.file], of_middle)
    daemon.reload()
    daemon.process.wait_line("warning: there is no revocation list of .*CN=Example Clients.* in .*crl.pem")
    assert taken() == [True, False, False]
    put([middle.chain, pki.root.file], of_middle, pki.revocations(middle))
    daemon.reload()
    daemon.process.wait_line("warning: .*CN=Middle CA.* is revoked by a list in .*crl.pem.*: it is not trusted")
    assert taken() == [False, False, True]
    assert counters_of(daemon)["client_cert_revoked"] == counters["client_cert_revoked"] + 3


@pytest.mark.parametrize("client, shown", [
    (False, "off"), ({"verify": "optional"}, "optional"), ({"depth": 2}, "required"),
], ids=["off", "optional", "required"])
def test_status_says_who_must_show_one(lab, serve, pki, client, shown):
    daemon = serve(client)
    listener = daemon.status()["listeners"][0]
    wanted = {"verify": shown, **({"ca": str(pki.root.file), "depth": client.get("depth", 3)} if client else {})}
    assert listener["tls_rules"]["client_certificates"] == wanted
    row = re.search(r"^  web .*$", daemon.command("status", "--runtime-dir", daemon.runtime_dir).stdout.split(
        "TLS with clients\n")[1], re.MULTILINE)[0]
    assert re.split("  +", row.strip()) == ["web", "intermediate", "TLSv1.2, TLSv1.3", "http/1.1, http/1.0", "any", shown,
                                            "own keys, 1d 0h"]


def test_status_says_how_long_lists_hold(lab, serve, authority, pki):
    """The first of them that runs out, for from then on clients are refused."""
    middle = pki.make("Middle CA", ca=True)
    lists = pki.directory / "both.crl"
    lists.write_text(pki.revocations(until=("-crldays", 9)).read_text() + pki.revocations(
        until=("-crl_nextupdate", "20460131120000Z"), issuer=middle).read_text())
    daemon = serve({"crl": str(lists)})
    root_until = openssl("crl", "-in", pki.directory / f"{pki.root.file.stem}.crl", "-noout", "-nextupdate", "-dateopt",
                         "iso_8601").strip().removeprefix("nextUpdate=").replace(" ", "T")
    told = daemon.status()["listeners"][0]["tls_rules"]["client_certificates"]
    assert (told["crl"], told["crl_until"]) == (str(lists), root_until)
    assert f"required, lists until {root_until}" in daemon.command("status", "--runtime-dir", daemon.runtime_dir).stdout
    lists.write_text(pki.revocations(until=("-crl_nextupdate", "20460131120000Z")).read_text())
    daemon.reload()
    assert daemon.status()["listeners"][0]["tls_rules"]["client_certificates"]["crl_until"] == "2046-01-31T12:00:00Z"


def test_files_are_checked(lab, start, authority, pki, tmp_path):
    """At the start and at each reload, with the line; what is wrong changes nothing."""
    ca, crl = tmp_path / "ca.pem", tmp_path / "crl.pem"
    ca.write_bytes(pki.root.file.read_bytes())
    crl.write_bytes(pki.revocations().read_bytes())
    daemon = start({"listeners": [{"bind": f"{lab.node.address}:{PORT}", "tls": {
        "certificates": [str(authority.issue(NAME).bundle)], "client": {"ca": str(ca), "crl": str(crl)}},
        "routes": [{"to": "http://127.0.0.1:1"}]}]})
    for path, words in ((ca, "there is no PEM certificate in"), (crl, "there is no PEM revocation list in")):
        right = path.read_bytes()
        path.write_text("nothing\n")
        refused = daemon.reload(check=False)
        assert refused.returncode != 0 and re.search(rf"penstock.yaml:\d+:\d+: error: {words}", refused.stderr), refused
        path.write_bytes(right)
    crl.write_bytes(pki.revocations(until=("-crl_lastupdate", "20250101000000Z", "-crl_nextupdate", "20250102000000Z")).read_bytes())
    daemon.reload()
    assert fetch(lab, authority, pki.make("good")).returncode != 0
    daemon.process.wait_line("client_unverified .*CRL has expired")
    assert counters_of(daemon)["client_cert_bad"] == 1
