# SPDX-License-Identifier: Apache-2.0
"""The terminate lane where the kernel does the TLS records on both hops, with curl, Python and nginx at the ends.

Skipped where this kernel has no TLS; tools/vm runs them on one that has. All share one daemon: under emulation each
start costs seconds.
"""
import contextlib
import hashlib
import os
import re
import socket
import ssl

import pytest

import lab as laboratory

PORT = 9443
OFF_PORT = 9444  # here the configuration keeps the records in user space
BULK_PORT = 9445  # of another daemon, whose kernel waits for bulk
WEB_PORT = 7443
NAME = "site.example.com"
INNER = "inner.example.com"
MIB = 1 << 20
SIZE = int(os.environ.get("PENSTOCK_BODY_MIB") or 8) * MIB

# One server of nginx for each, on ports from WEB_PORT on; one route for each, by path.
SUITES = [
    ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"), ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"), ("TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ("TLSv1.3", "TLS_AES_256_GCM_SHA384"), ("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"),
]


def kernel_has_tls():
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.IPPROTO_TCP, 31, b"tls")  # TCP_ULP
        except OSError as error:
            return error.errno == 107  # ENOTCONN: it looked for a connection, so the module is there
    return True


pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(not kernel_has_tls(), reason="no tls module in this kernel (`make vm-test` has one)"),
]


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class World:
    """nginx behind penstock; TLS on both hops."""

    def __init__(self, lab, authority):
        self.lab = lab
        self.authority = authority
        self.site, self.inner = authority.issue(NAME), authority.issue(INNER)
        self.nginx = laboratory.Nginx(lab.origins[0], http="".join(map(self.server, range(len(SUITES)))))
        self.daemon = laboratory.Penstock(lab.node, lab.pin_dir, {
            "listeners": [self.listener(PORT, "auto"), self.listener(OFF_PORT, "off")], "origins": self.origins()})
        self.start = self.counts()

    def origins(self):
        return {f"web{k}": self.origin(k, "auto") for k in range(len(SUITES))} | {"off": self.origin(5, "off")}

    @contextlib.contextmanager
    def daemon_of(self, port, use, name):
        """Another one, while it lasts. What it has the kernel do at its start is not for close() to count."""
        before = self.counts()
        daemon = laboratory.Penstock(self.lab.node, self.lab.pin_dir / name, {
            "process": {"kernel_tls": use}, "listeners": [self.listener(port, "auto")], "origins": self.origins(),
        }, name=name)
        after = self.counts()
        self.start |= {key: self.start[key] + after[key] - before[key] for key in after if key.startswith("Tls")}
        try:
            yield daemon
            self.start["ktls_handovers"] -= daemon.status()["counters"]["ktls_handovers"]  # so that close() counts them
        finally:
            daemon.stop()

    def server(self, k):
        version, cipher = SUITES[k]
        word = "ssl_ciphers" if version == "TLSv1.2" else "ssl_conf_command Ciphersuites"
        return f"""
            server {{
                listen {WEB_PORT + k} ssl;
                ssl_certificate {self.inner.chain};
                ssl_certificate_key {self.inner.key};
                ssl_protocols {version};
                {word} {cipher};
                root $root;
                dav_methods PUT;
                create_full_put_path on;
                client_body_temp_path $root;
                location /say{k} {{ return 200 '$ssl_protocol $ssl_cipher\\n'; }}
                location /off {{ return 200 '$ssl_protocol $ssl_cipher\\n'; }}
            }}"""

    def listener(self, port, kernel):
        return {
            "bind": f"{self.lab.node.address}:{port}",
            "tls": {"certificates": [str(self.site.bundle)], "kernel": kernel},
            "routes": [{"path": "/off", "to": "off"}] + [{"path": f"/{word}{k}", "to": f"web{k}"}
                                                         for k in range(len(SUITES)) for word in ("say", "body")],
        }

    def origin(self, k, kernel):
        return {"servers": [f"{self.lab.origins[0].address}:{WEB_PORT + k}"],
                "tls": {"ca": str(self.authority.file), "server_name": INNER, "kernel": kernel}}

    def curl(self, path, *options, port=PORT):
        return self.lab.client.run("curl", "-sS", "--fail", "--max-time", "100", "--cacert", self.authority.file,
                                   "--resolve", f"{NAME}:{port}:{self.lab.node.address}", *options,
                                   f"https://{NAME}:{port}{path}", timeout_s=120).stdout

    def counts(self):
        """The daemon's counters, and what the kernel counted in its namespace: clients and origins are elsewhere."""
        text = self.lab.node.run("cat", "/proc/net/tls_stat").stdout
        kernel = {name: int(value) for name, value in re.findall(r"(\w+)\s+(\d+)", text)}
        return {**self.daemon.status()["counters"], **kernel}

    def since(self, before):
        now = self.counts()
        return {name: now[name] - before.get(name, 0) for name in now}

    def route(self, path, listener=0):
        return next(route for route in self.daemon.status()["listeners"][listener]["routes"]
                    if route["match"].strip() == f"path {path}")

    def client_context(self, version=ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=self.authority.file)
        context.minimum_version = context.maximum_version = version
        return context

    def connect(self, context, **options):
        """A TLS connection to which an end without close_notify is an error."""
        return context.wrap_socket(self.lab.client.connect(self.lab.node.address, PORT), server_hostname=NAME,
                                   suppress_ragged_eofs=False, **options)

    def close(self):
        """Every connection that the daemon counted as the kernel's was one, both ways, and no record was refused."""
        done = self.since(self.start)
        self.daemon.stop()
        self.nginx.stop()
        assert done["ktls_handovers"] == done["TlsTxSw"] == done["TlsRxSw"]
        assert done["TlsDecryptError"] == 0


@pytest.fixture(scope="module")
def world(tmp_path_factory, authority):
    with laboratory.Lab(n_origins=1, directory=tmp_path_factory.mktemp("kernel-tls")) as lab:
        one = World(lab, authority)
        try:
            yield one
            one.close()
        finally:
            for log in lab.directory.glob("*.log"):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}")


@pytest.mark.parametrize("k", [0, 3], ids=[SUITES[0][0], SUITES[3][0]])
def test_bodies_both_ways(world, tmp_path, k):
    source, fetched, put = (world.nginx.root / f"body{k}" / "big", tmp_path / "fetched",
                            world.nginx.root / f"body{k}" / "put")
    source.parent.mkdir(mode=0o777)
    source.write_bytes(os.urandom(SIZE))
    before = world.counts()
    options = ["--tls-max", SUITES[k][0].removeprefix("TLSv")]
    world.curl(f"/body{k}/big", *options, "-o", str(fetched))
    assert sha256_of(fetched) == sha256_of(source)
    route = world.route(f"/body{k}")
    assert (route["offload"], route["relay"]) == ("client ktls, origin ktls", "pipe")
    world.curl(f"/body{k}/put", *options, "-T", str(fetched))
    assert sha256_of(put) == sha256_of(source)
    done = world.since(before)
    assert done["ktls_handovers"] >= 3 and done["ktls_refused"] == 0
    lines = [line for line in world.daemon.log().splitlines() if f"/body{k}/" in line]
    assert len(lines) == 2 and all("client_tls=ktls" in line and "origin_tls=ktls" in line for line in lines)


@pytest.mark.parametrize("k", [0, 3], ids=[SUITES[0][0], SUITES[3][0]])
def test_bulk_goes_to_the_kernel(world, tmp_path, k):
    """By default user space does the records of what is small, and the kernel goes on where bulk begins."""
    source, fetched, put = (world.nginx.root / f"body{k}" / "bulk", tmp_path / "fetched",
                            world.nginx.root / f"body{k}" / "put-bulk")
    source.parent.mkdir(mode=0o777, exist_ok=True)
    source.write_bytes(os.urandom(SIZE))
    small = source.with_name("small")
    small.write_bytes(os.urandom(60000))
    with world.daemon_of(BULK_PORT, "auto", f"bulk{k}") as daemon:
        options = ["--tls-max", SUITES[k][0].removeprefix("TLSv")]
        url = f"https://{NAME}:{BULK_PORT}/body{k}"
        world.curl(f"/body{k}/small", "-o", "/dev/null", *([f"{url}/small", "-o", "/dev/null"] * 5), *options, port=BULK_PORT)
        counts = daemon.status()["counters"]
        assert (counts["ktls_handovers"], counts["relay_spliced_bytes"]) == (0, 0)
        world.curl(f"/body{k}/small", f"{url}/small", "-o", "/dev/null", f"{url}/bulk", "-o", str(fetched), "-o", "/dev/null",
                   *options, port=BULK_PORT)
        assert sha256_of(fetched) == sha256_of(source)
        world.curl(f"/body{k}/put-bulk", *options, "-T", str(fetched), port=BULK_PORT)
        assert sha256_of(put) == sha256_of(source)
        counts = daemon.status()["counters"]
        assert counts["ktls_handovers"] >= 3 and counts["relay_spliced_bytes"] > SIZE
        lines = [line for line in daemon.log().splitlines() if f"/body{k}/" in line]
        assert sum("client_tls=ktls" in line for line in lines) == 3, lines
        assert "there was no bulk" in lines[0]


def test_every_cipher_on_both_hops(world):
    before = world.counts()
    for k, (version, cipher) in enumerate(SUITES):
        option = "--ciphers" if version == "TLSv1.2" else "--tls13-ciphers"
        said = world.curl(f"/say{k}", "--tls-max", version.removeprefix("TLSv"), option, cipher)
        assert said == f"{version} {cipher}\n"
        assert world.route(f"/say{k}")["offload"] == "client ktls, origin ktls"
    done = world.since(before)
    assert (done["requests"], done["tls_handshakes"], done["ktls_refused"]) == (6, 6, 0)


def test_many_requests_on_one_connection(world):
    before = world.counts()
    said = world.curl("/say3", *([f"https://{NAME}:{PORT}/say3"] * 99))
    assert len(said.splitlines()) == 100
    done = world.since(before)
    assert (done["tls_handshakes"], done["requests"], done["ktls_refused"]) == (1, 100, 0)


def test_the_end_is_clean(world):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with world.connect(world.client_context(version)) as stream:
            stream.sendall(f"GET /say3 HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
            received = b""
            while part := stream.recv(65536):
                received += part
        assert received.startswith(b"HTTP/1.1 200") and received.endswith(b"\n")


def test_sessions_are_resumed(world):
    before = world.counts()
    context, session = world.client_context(), None
    for number in range(2):
        with world.connect(context, session=session) as stream:
            stream.sendall(f"GET /say3 HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
            assert stream.recv(65536).startswith(b"HTTP/1.1 200")
            assert stream.session_reused == (number == 1)
            session = stream.session
            stream.unwrap()
    assert world.since(before)["tls_resumed"] == 1


def test_turned_off_on_one_side(world):
    before = world.counts()
    assert world.curl("/off").startswith("TLSv1.3")
    assert world.route("/off")["offload"] == "client ktls, origin userspace"
    assert world.curl("/say4", port=OFF_PORT).startswith("TLSv1.3")
    assert world.route("/say4", listener=1)["offload"] == "client userspace, origin ktls"
    assert world.since(before)["ktls_refused"] == 2
