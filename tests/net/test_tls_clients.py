# SPDX-License-Identifier: Apache-2.0
"""TLS clients that others wrote, at the terminate lane: pages, large bodies, kept connections, clean ends, resumption.

All share one daemon and one nginx behind it. Nothing here asks who does the records, so a kernel with TLS takes them.
"""
import base64
import json
import os
import pathlib
import re
import ssl
import subprocess

import pytest

import lab as laboratory
from tls_ends import (MIB, NAME, PORT, SIZE, VERSIONS, Middle, client_context, needs, sha256, shared_world,
                      split_responses)

WEB_PORT = 7000
PAGE = b"<html><body>hello from behind</body></html>\n"
HERE = pathlib.Path(__file__).resolve().parent

BROWSER_PAGE = """<!doctype html>
<title>waiting</title>
<script>
    const body = async number => (await fetch("/big?" + number)).arrayBuffer();
    const hex = bytes => Array.from(new Uint8Array(bytes), byte => byte.toString(16).padStart(2, "0")).join("");
    (async () => {
        const page = await (await fetch("/page")).text();
        const bodies = await Promise.all([1, 2, 3].map(body));
        const hashes = await Promise.all(bodies.map(one => crypto.subtle.digest("SHA-256", one)));
        document.title = JSON.stringify({page, hashes: hashes.map(hex)});
    })().catch(error => { document.title = "failed: " + error; });
</script>
"""


class World(Middle):
    def __init__(self, lab, authority):
        self.authority = authority
        self.site = authority.issue(NAME, lab.node.address)
        self.nginx = laboratory.Nginx(lab.origins[0], http=f"""
            server {{
                listen {WEB_PORT};
                root $root;
                default_type text/html;
                dav_methods PUT;
                location /unsized {{ ssi on; }}
            }}""")
        self.body = os.urandom(SIZE)
        self.nginx.root.chmod(0o777)
        for name, content in (("page", PAGE), ("unsized", PAGE), ("big", self.body),
                              ("smaller", self.body[:MIB]), ("browser", BROWSER_PAGE.encode())):
            (self.nginx.root / name).write_bytes(content)
        super().__init__(lab, {
            "listeners": [{"bind": f"{lab.node.address}:{PORT}", "tls": {"certificates": [str(self.site.bundle)]},
                           "routes": [{"to": "web"}]}],
            "origins": {"web": {"servers": [f"{lab.origins[0].address}:{WEB_PORT}"]}},
        })
        self.address = lab.node.address

    def run(self, *argv, **options):
        return self.lab.client.run(*argv, timeout_s=100, **options)

    def curl(self, version, *options):
        return self.run("curl", "-sS", "--fail", "--cacert", self.authority.file, f"--tlsv{version}", "--tls-max", version,
                        "--resolve", f"{NAME}:{PORT}:{self.address}", *options, text=False).stdout

    def put(self, name):
        """What a client has put there."""
        return (self.nginx.root / name).read_bytes()

    def stop(self):
        super().stop()
        self.nginx.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory, authority):
    with shared_world(tmp_path_factory.mktemp("tls-clients"), lambda lab: World(lab, authority)) as one:
        yield one


def url(path):
    return f"https://{NAME}:{PORT}{path}"


def request(path, *fields):
    return "".join(line + "\r\n" for line in (f"GET {path} HTTP/1.1", f"Host: {NAME}", *fields, "")).encode()


def two_requests(path="/big"):
    """A page on a kept connection, then a large one, and the end."""
    return request("/page") + request(path, "Connection: close")


def check_two(output, body):
    small, large = split_responses(output)
    assert small == ("200", PAGE)
    assert (large[0], sha256(large[1])) == ("200", sha256(body))


@pytest.mark.parametrize("version", VERSIONS)
def test_curl(world, version, tmp_path):
    before = world.counts()
    said = world.curl(version, "-w", "%{num_connects} ", url("/page"), url("/page"))
    assert said == PAGE + b"1 " + PAGE + b"0 "
    world.expect(before, tls_handshakes=1, requests=2, tls_resumed=0)
    assert sha256(world.curl(version, url("/big"))) == sha256(world.body)
    upload = tmp_path / "upload"
    upload.write_bytes(world.body)
    world.curl(version, "-T", str(upload), url(f"/curl-{version}"))
    assert sha256(world.put(f"curl-{version}")) == sha256(world.body)


@pytest.mark.parametrize("version", VERSIONS)
def test_curl_knows_the_end_by_close_notify(world, version):
    """To HTTP/1.0, a body of unknown length lasts until the connection ends; curl refuses an end without the alert."""
    said = world.curl(version, "--http1.0", "-i", url("/unsized"))
    head, _, body = said.partition(b"\r\n\r\n")
    assert body == PAGE and b"content-length" not in head.lower()


def test_curl_resumes(world):
    """In TLS 1.3: in 1.2, curl takes no tickets."""
    before = world.counts()
    assert world.curl("1.3", "-H", "Connection: close", url("/page"), url("/page")) == PAGE * 2
    world.expect(before, tls_handshakes=2, tls_resumed=1, requests=2)


@pytest.mark.parametrize("version", VERSIONS)
def test_openssl(world, version, tmp_path):
    def s_client(*options):
        return world.run("openssl", "s_client", "-connect", f"{world.address}:{PORT}", "-servername", NAME, "-CAfile",
                         world.authority.file, "-verify_return_error", "-verify_hostname", NAME,
                         f"-tls{version.replace('.', '_')}", "-ign_eof", *options, input=two_requests(), text=False)

    before = world.counts()
    done = s_client("-quiet")
    check_two(done.stdout, world.body)
    assert b"error" not in done.stderr, done.stderr
    world.expect(before, tls_handshakes=1, requests=2)
    kept = tmp_path / "session"
    first = s_client("-sess_out", kept)
    assert b"\nNew, TLSv" in first.stdout and first.stdout.endswith(b"closed\n")
    second = s_client("-sess_in", kept)
    assert b"\nReused, TLSv" in second.stdout and second.stdout.endswith(b"closed\n")
    world.expect(before, tls_handshakes=3, tls_resumed=1, requests=6)


@needs("gnutls-cli", "gnutls-bin")
@pytest.mark.parametrize("version", VERSIONS)
def test_gnutls(world, version, tmp_path):
    """With 1 MiB: gnutls-cli makes a system call for each byte that it prints."""
    log = tmp_path / "log"
    before = world.counts()
    done = world.run("gnutls-cli", "--x509cafile", world.authority.file, "--sni-hostname", NAME, "--verify-hostname", NAME,
                     "--priority", f"NORMAL:-VERS-ALL:+VERS-TLS{version}", "--resume", "--waitresumption", "--logfile", log,
                     "--port", PORT, world.address, input=two_requests("/smaller"), text=False)
    check_two(done.stdout, world.body[:MIB])
    said = log.read_text()
    assert f"(TLS{version}-X.509)" in said or f"(TLS{version})" in said
    assert "*** This is a resumed session" in said
    assert said.endswith("- Peer has closed the GnuTLS connection\n")  # not "non-properly terminated"
    world.expect(before, tls_handshakes=2, tls_resumed=1, requests=2)


@needs("wget", "wget")
@pytest.mark.parametrize("version", VERSIONS)
def test_wget(world, version, tmp_path):
    before = world.counts()
    base = f"https://{world.address}:{PORT}"  # by an address, so without SNI
    done = world.run("wget", "--debug", "--no-hsts", "--tries=1", f"--ca-certificate={world.authority.file}",
                     f"--secure-protocol=TLSv{version.replace('.', '_')}", f"--directory-prefix={tmp_path}",
                     f"{base}/page", f"{base}/big")
    assert "Reusing existing connection" in done.stderr
    assert (tmp_path / "page").read_bytes() == PAGE
    assert sha256((tmp_path / "big").read_bytes()) == sha256(world.body)
    world.expect(before, tls_handshakes=1, requests=2, done=1, tls_truncated=0)


@pytest.mark.parametrize("version", VERSIONS)
def test_python(world, version):
    context = client_context(world.authority, version)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    session = None
    before = world.counts()
    for number in range(2):
        with world.lab.client.connect(world.address, PORT, timeout_s=100) as raw, \
                context.wrap_socket(raw, server_hostname=NAME, session=session, suppress_ragged_eofs=False) as stream:
            assert stream.version() == f"TLSv{version}"
            assert stream.session_reused == (number == 1)
            stream.sendall(two_requests())
            received = bytearray()
            while part := stream.recv(1 << 16):
                received += part
            session = stream.session
            check_two(bytes(received), world.body)
    world.expect(before, tls_handshakes=2, tls_resumed=1, requests=4)


@needs("node", "nodejs")
@pytest.mark.parametrize("version", VERSIONS)
def test_node(world, version, tmp_path):
    before = world.counts()
    upload = tmp_path / "upload"
    upload.write_bytes(world.body)
    done = world.run("node", HERE / "tls_client.js", world.address, PORT, NAME, world.authority.file, f"TLSv{version}",
                     upload, f"/node-{version}")
    kept, large, put, fresh, again = json.loads(done.stdout)
    for response in (kept, fresh, again):
        assert (response["status"], response["sha256"]) == (200, sha256(PAGE))
    assert (large["status"], large["sha256"]) == (200, sha256(world.body))
    assert put["status"] in (201, 204) and sha256(world.put(f"node-{version}")) == sha256(world.body)
    assert {response["version"] for response in (kept, large, put, fresh, again)} == {f"TLSv{version}"}
    # The first three on one connection, then a connection for each, the last with the session of the one before.
    assert [response["is_reused"] for response in (kept, large, put, fresh, again)] == [False, True, True, False, False]
    assert again["is_resumed"]
    world.expect(before, tls_handshakes=3, requests=5, tls_truncated=0)


def public_key_hash(certificate):
    """As a browser is told which key to trust."""
    key = subprocess.run(["openssl", "x509", "-in", certificate.chain, "-noout", "-pubkey"], capture_output=True, check=True)
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key.stdout, capture_output=True, check=True)
    return base64.b64encode(bytes.fromhex(sha256(der.stdout))).decode()


@needs("chromium", "chromium")
@pytest.mark.parametrize("version", VERSIONS)
def test_chromium(world, version, tmp_path):
    before = world.counts()
    net_log = tmp_path / "net.json"
    done = world.run(
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}",
        f"--ignore-certificate-errors-spki-list={public_key_hash(world.site)}", f"--ssl-version-max=tls{version}",
        f"--host-resolver-rules=MAP {NAME} {world.address}", f"--log-net-log={net_log}", "--virtual-time-budget=60000",
        "--dump-dom", url("/browser"))
    title = re.search("<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title, done.stdout + done.stderr
    assert json.loads(title.group(1).replace("&lt;", "<").replace("&gt;", ">")) == {
        "page": PAGE.decode(), "hashes": [sha256(world.body)] * 3}
    assert set(re.findall('"version":"(TLS [^"]*)"', net_log.read_text())) == {f"TLS {version}"}
    laboratory.wait_until(lambda: world.counts()["requests"] - before["requests"] >= 5, "the daemon counts them")
    now = world.counts()
    # Page, page, body on one connection; two more bodies at the same time need others, and there are tickets by then.
    assert now["tls_handshakes"] - before["tls_handshakes"] < now["requests"] - before["requests"]
    assert now["tls_resumed"] > before["tls_resumed"]
    assert all(now[name] == before[name] for name in ("handshake_failed", "tls_truncated"))
