# SPDX-License-Identifier: Apache-2.0
"""TLS servers that others wrote, behind `to: https://`: pages, large bodies both ways, kept connections, verification.

One daemon; for each server an origin for TLS 1.2, one for TLS 1.3, and one that trusts another authority. Nothing here
asks who does the records, so a kernel with TLS takes them.
"""
import http.server
import os
import pathlib
import re
import shutil
import ssl
import threading

import pytest

import lab as laboratory
from tls_ends import NAME, PORT, SIZE, VERSIONS, Middle, sha256, show_logs

INNER = "inner.example.com"
HERE = pathlib.Path(__file__).resolve().parent
FIRST_PORT = 7443
PLAIN_PORT = 7000  # nginx, behind HAProxy
PAGE = b"hello from an origin\n"

HAPROXY = """
global
    stats socket {directory}/haproxy.sock
defaults
    mode http
    timeout connect 20s
    timeout client 100s
    timeout server 100s
frontend tls
    bind 0.0.0.0:{port} ssl crt {bundle}
    default_backend plain
backend plain
    server plain 127.0.0.1:{plain}
"""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer((self.server.root / pathlib.Path(self.path).name).read_bytes())

    def do_PUT(self):
        # 100-continue was sent by the library.
        self.answer(sha256(self.rfile.read(int(self.headers["Content-Length"]))).encode())

    def log_message(self, *_):
        pass


class PythonServer(http.server.ThreadingHTTPServer):
    """http.server and ssl, in threads of this program."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, namespace, port, certificate, root):
        super().__init__(("0.0.0.0", port), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = namespace.listen(port, timeout_s=None)
        self.root = root
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate.chain, certificate.key)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def finish_request(self, request, client_address):
        try:
            with self.context.wrap_socket(request, server_side=True, suppress_ragged_eofs=False) as stream:
                super().finish_request(stream, client_address)
        except (OSError, ValueError):
            pass  # the client's doing; what the test sees tells

    def stop(self):
        self.shutdown()
        self.server_close()


class World(Middle):
    def __init__(self, lab, authority, stranger):
        self.inner = authority.issue(INNER)
        self.authority = authority
        self.body = os.urandom(SIZE)
        self.here = lab.origins[0]
        self.servers = {}
        self.ports = {}
        self.root = lab.directory / "root"
        for name in SERVERS:
            folder = self.root / name
            folder.mkdir(parents=True)
            folder.chmod(0o777)
            for file, content in (("page", PAGE), ("big", self.body)):
                (folder / file).write_bytes(content)
            if not why_not(name):
                self.ports[name] = FIRST_PORT + len(self.ports)
                getattr(self, f"start_{name}")(self.ports[name])
        super().__init__(lab, {
            "process": {"threads": 1},  # one pool
            "listeners": [{"bind": f"{lab.node.address}:{PORT}",
                           "tls": {"certificates": [str(authority.issue(NAME).bundle)]},
                           "routes": [{"host": f"{name}-{kind}.example.com", "to": f"{name}-{kind}"}
                                      for name in self.ports for kind in KINDS]}],
            "origins": {f"{name}-{kind}": {
                "servers": [f"{self.here.address}:{port}"],
                "tls": {"server_name": INNER, "ca": str((stranger if kind == "stranger" else authority).file),
                        **({} if kind == "stranger" else {"versions": f"TLSv{kind}"})},
            } for name, port in self.ports.items() for kind in KINDS},
        })

    def run(self, name, port, *argv):
        self.servers[name] = self.here.start(*argv, name=name)
        self.servers[name].wait_port(port)

    def start_nginx(self, port):
        files = f"root {self.root}; dav_methods PUT; client_body_temp_path {self.root};"
        self.servers["nginx"] = laboratory.Nginx(self.here, http=f"""
            server {{
                listen {port} ssl;
                ssl_certificate {self.inner.chain};
                ssl_certificate_key {self.inner.key};
                ssl_protocols TLSv1.2 TLSv1.3;
                {files}
            }}
            server {{ listen {PLAIN_PORT}; {files} }}""")

    def start_haproxy(self, port):
        config = self.here.directory / "haproxy.cfg"
        config.write_text(HAPROXY.format(directory=self.here.directory, port=port, plain=PLAIN_PORT,
                                         bundle=self.inner.bundle))
        self.run("haproxy", port, "haproxy", "-db", "-f", config)

    def start_openssl(self, port):
        # It serves what is below its folder, and knows no other way to name it.
        self.run("openssl", port, "sh", "-c", 'cd "$1" && shift && exec "$@"', "-", self.root, "openssl", "s_server",
                 "-accept", f"0.0.0.0:{port}", "-cert", self.inner.chain, "-key", self.inner.key, "-WWW")

    def start_gnutls(self, port):
        self.run("gnutls", port, "gnutls-serv", "--http", "--port", port, "--x509certfile", self.inner.chain,
                 "--x509keyfile", self.inner.key)

    def start_python(self, port):
        self.servers["python"] = PythonServer(self.here, port, self.inner, self.root / "python")

    def start_node(self, port):
        self.run("node", port, "node", HERE / "tls_server.js", port, self.inner.chain, self.inner.key, self.root / "node")

    def curl(self, name, kind, *paths, options=()):
        return self.lab.client.run("curl", "-sS", "--cacert", self.authority.file, "--max-time", "100", "-H",
                                   f"Host: {name}-{kind}.example.com", "--connect-to", f"::{self.lab.node.address}:{PORT}",
                                   *options, *(f"https://{NAME}/{name}/{path}" for path in paths), text=False,
                                   timeout_s=120).stdout

    def stop(self):
        super().stop()
        for server in self.servers.values():
            server.stop()


class Server:
    """What to expect of one: does it keep connections, does it serve files, does it take them?"""

    def __init__(self, program, package, keeps=True, serves=True, takes=None):
        self.program, self.package = program, package
        self.keeps, self.serves, self.takes = keeps, serves, takes


SERVERS = {
    "nginx": Server("nginx", "nginx-light", takes="file"),
    "haproxy": Server("haproxy", "haproxy", takes="file"),
    "openssl": Server("openssl", "openssl", keeps=False),
    "gnutls": Server("gnutls-serv", "gnutls-bin", keeps=False, serves=False),  # a page about the connection, to all
    "python": Server("/usr/bin/python3", "python3", takes="hash"),
    "node": Server("node", "nodejs", takes="hash"),
}
KINDS = (*VERSIONS, "stranger")


def why_not(name):
    """What keeps a server from running here, or None."""
    if name == "haproxy" and os.uname().machine == "x86_64" and " cx16" not in pathlib.Path("/proc/cpuinfo").read_text():
        return "haproxy needs cmpxchg16b, which this processor does not have"
    if not shutil.which(SERVERS[name].program):
        return f"{SERVERS[name].program} is not installed (package {SERVERS[name].package})"
    return None


EACH = [pytest.param(name, marks=pytest.mark.skipif(bool(why_not(name)), reason=why_not(name) or "")) for name in SERVERS]


@pytest.fixture(scope="module")
def world(tmp_path_factory, authority):
    folder = tmp_path_factory.mktemp("tls-servers")
    with laboratory.Lab(n_origins=1, directory=folder) as lab:
        try:
            one = World(lab, authority, laboratory.Authority(folder / "stranger", "someone else's CA"))
            yield one
            one.stop()
        finally:
            show_logs(lab)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", EACH)
def test_pages(world, name, version):
    server = SERVERS[name]
    before = world.counts()
    said = world.curl(name, version, "page", "page")
    if server.serves:
        assert said == PAGE * 2
    else:
        assert said.count(b"Session ID:") == 2 and said.count(f"TLS{version}".encode()) >= 2, said
    n_connects = 1 if server.keeps else 2
    # What ends with the origin's connection ends with the client's.
    world.expect(before, tls_handshakes=n_connects, requests=2, origin_tls_handshakes=n_connects,
                 origin_tls_resumed=n_connects - 1, origin_reuses=2 - n_connects, tls_truncations=0)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [each for each in EACH if SERVERS[each.values[0]].serves])
def test_large_bodies(world, name, version, tmp_path):
    assert sha256(world.curl(name, version, "big")) == sha256(world.body)
    if not SERVERS[name].takes:
        return
    upload = tmp_path / "upload"
    upload.write_bytes(world.body)
    said = world.curl(name, version, f"put-{version}", options=("--fail", "-T", str(upload)))
    if SERVERS[name].takes == "hash":
        assert said.decode() == sha256(world.body)
    else:
        assert sha256((world.root / name / f"put-{version}").read_bytes()) == sha256(world.body)


@pytest.mark.parametrize("name", EACH)
def test_another_authority_is_not_believed(world, name):
    before = world.counts()
    said = world.curl(name, "stranger", "page", options=("-o", "/dev/null", "-w", "%{http_code}"))
    assert said == b"502"
    world.expect(before, origin_tls_untrusted=1, origin_unverified=1, responses_5xx=1, origin_tls_handshakes=0)
    line = re.search(rf"request .* host={name}-stranger\.example\.com .*", world.daemon.log()).group()
    assert "reason=origin_unverified" in line
    assert re.search(r'detail=".*certificate not accepted: unable to get local issuer certificate', line), line
