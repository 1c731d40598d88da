# SPDX-License-Identifier: Apache-2.0
"""The terminate lane where the kernel does the TLS records on both hops, with curl, Python and nginx at the ends.

Skipped where this kernel has no TLS; tools/vm runs them on one that has. All share one daemon: under emulation each
start costs seconds.
"""
import contextlib
import os
import re

import pytest

import lab as laboratory
from tls_ends import (NAME, PORT, SIZE, SUITES, VERSIONS, client_context, curl_tls, kernel_has_tls, nginx_tls, sha256,
                      shared_world)

OFF_PORT = 9444  # here the configuration keeps the records in user space
BULK_PORT = 9445  # of another daemon, whose kernel waits for bulk
# One server of nginx for each suite, on ports from there on; one route for each, by path.
WEB_PORT = 7443
INNER = "inner.example.com"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(not kernel_has_tls(), reason="no tls module in this kernel (`make vm-test` has one)"),
]


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
        """Another one, while it lasts. What it has the kernel do at its start is not for stop() to count."""
        before = self.counts()
        daemon = laboratory.Penstock(self.lab.node, self.lab.pin_dir / name, {
            "process": {"kernel_tls": use}, "listeners": [self.listener(port, "auto")], "origins": self.origins(),
        }, name=name)
        after = self.counts()
        self.start |= {key: self.start[key] + after[key] - before[key] for key in after if key.startswith("Tls")}
        try:
            yield daemon
            self.start["ktls_handovers"] -= daemon.status()["counters"]["ktls_handovers"]  # so that stop() counts them
        finally:
            daemon.stop()

    def server(self, k):
        return f"""
            server {{
                listen {WEB_PORT + k} ssl;{nginx_tls(self.inner, SUITES[k])}
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
        return self.lab.client.run("curl", "-sS", "--fail", "--max-time", 5 * laboratory.PATIENCE_S, "--cacert", self.authority.file,
                                   "--resolve", f"{NAME}:{port}:{self.lab.node.address}", *options,
                                   f"https://{NAME}:{port}{path}", timeout_s=6 * laboratory.PATIENCE_S).stdout

    def counts(self):
        """The daemon's counters, and what the kernel counted in its namespace: clients and origins are elsewhere."""
        text = self.lab.node.run("cat", "/proc/net/tls_stat").stdout
        kernel = {name: int(value) for name, value in re.findall(r"(\w+)\s+(\d+)", text)}
        return {**self.daemon.status()["counters"], **kernel}

    def since(self, before):
        now = self.counts()
        return {name: now[name] - before.get(name, 0) for name in now}

    def wait_requests(self, before, n_requests):
        """A client may have its answer before the daemon counts it, and tells of it in its log."""
        laboratory.wait_until(lambda: self.since(before)["requests"] == n_requests, f"{n_requests} requests are counted")

    def route(self, path, listener=0):
        return next(route for route in self.daemon.status()["listeners"][listener]["routes"]
                    if route["match"].strip() == f"path {path}")

    def connect(self, context, **options):
        """A TLS connection to which an end without close_notify is an error."""
        return context.wrap_socket(self.lab.client.connect(self.lab.node.address, PORT), server_hostname=NAME,
                                   suppress_ragged_eofs=False, **options)

    def stop(self):
        """Every connection that the daemon counted as the kernel's was one, both ways, and no record was refused."""
        done = self.since(self.start)
        self.daemon.stop()
        self.nginx.stop()
        assert done["ktls_handovers"] == done["TlsTxSw"] == done["TlsRxSw"]
        assert done["TlsDecryptError"] == 0


@pytest.fixture(scope="module")
def world(tmp_path_factory, authority):
    with shared_world(tmp_path_factory.mktemp("kernel-tls"), lambda lab: World(lab, authority)) as one:
        yield one


@pytest.mark.parametrize("k", [0, 3], ids=["TLSv1.2", "TLSv1.3"])
def test_bodies_both_ways(world, tmp_path, k):
    source, fetched, put = (world.nginx.root / f"body{k}" / "big", tmp_path / "fetched",
                            world.nginx.root / f"body{k}" / "put")
    source.parent.mkdir(mode=0o777)
    source.write_bytes(os.urandom(SIZE))
    before = world.counts()
    options = ["--tls-max", SUITES[k][0]]
    world.curl(f"/body{k}/big", *options, "-o", str(fetched))
    assert sha256(fetched.read_bytes()) == sha256(source.read_bytes())
    world.wait_requests(before, 1)
    route = world.route(f"/body{k}")
    assert (route["offload"], route["relay"]) == ("client ktls, origin ktls", "pipe")
    world.curl(f"/body{k}/put", *options, "-T", str(fetched))
    assert sha256(put.read_bytes()) == sha256(source.read_bytes())
    world.wait_requests(before, 2)
    done = world.since(before)
    assert done["ktls_handovers"] >= 3 and done["ktls_refused"] == 0
    lines = [line for line in world.daemon.log().splitlines() if f"/body{k}/" in line]
    assert len(lines) == 2 and all("client_tls=ktls" in line and "origin_tls=ktls" in line for line in lines)


@pytest.mark.parametrize("k", [0, 3], ids=["TLSv1.2", "TLSv1.3"])
def test_bulk_goes_to_the_kernel(world, tmp_path, k):
    """By default user space does the records of what is small, and the kernel goes on where bulk begins."""
    source, fetched, put = (world.nginx.root / f"body{k}" / "bulk", tmp_path / "fetched",
                            world.nginx.root / f"body{k}" / "put-bulk")
    source.parent.mkdir(mode=0o777, exist_ok=True)
    source.write_bytes(os.urandom(SIZE))
    small = source.with_name("small")
    small.write_bytes(os.urandom(60000))
    with world.daemon_of(BULK_PORT, "auto", f"bulk{k}") as daemon:
        options = ["--tls-max", SUITES[k][0]]
        url = f"https://{NAME}:{BULK_PORT}/body{k}"
        world.curl(f"/body{k}/small", "-o", "/dev/null", *([f"{url}/small", "-o", "/dev/null"] * 5), *options, port=BULK_PORT)
        daemon.expect(requests=6, ktls_handovers=0, relay_spliced_bytes=0)
        world.curl(f"/body{k}/small", f"{url}/small", "-o", "/dev/null", f"{url}/bulk", "-o", str(fetched), "-o", "/dev/null",
                   *options, port=BULK_PORT)
        assert sha256(fetched.read_bytes()) == sha256(source.read_bytes())
        world.curl(f"/body{k}/put-bulk", *options, "-T", str(fetched), port=BULK_PORT)
        assert sha256(put.read_bytes()) == sha256(source.read_bytes())
        daemon.expect(requests=10)
        counts = daemon.counts()
        assert counts["ktls_handovers"] >= 3 and counts["relay_spliced_bytes"] > SIZE
        lines = [line for line in daemon.log().splitlines() if f"/body{k}/" in line]
        assert sum("client_tls=ktls" in line for line in lines) == 3, lines
        assert "there was no bulk" in lines[0]


def test_every_cipher_on_both_hops(world):
    before = world.counts()
    for k, (version, cipher) in enumerate(SUITES):
        assert world.curl(f"/say{k}", *curl_tls(SUITES[k])) == f"TLSv{version} {cipher}\n"
        world.wait_requests(before, k + 1)
        assert world.route(f"/say{k}")["offload"] == "client ktls, origin ktls"
    done = world.since(before)
    assert (done["requests"], done["tls_handshakes"], done["ktls_refused"]) == (6, 6, 0)


def test_many_requests_on_one_connection(world):
    before = world.counts()
    said = world.curl("/say3", *([f"https://{NAME}:{PORT}/say3"] * 99))
    assert len(said.splitlines()) == 100
    world.wait_requests(before, 100)
    done = world.since(before)
    assert (done["tls_handshakes"], done["requests"], done["ktls_refused"]) == (1, 100, 0)


def test_the_end_is_clean(world):
    before = world.counts()
    for version in VERSIONS:
        with world.connect(client_context(world.authority, version)) as stream:
            stream.sendall(f"GET /say3 HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
            received = b""
            while part := stream.recv(65536):
                received += part
        assert received.startswith(b"HTTP/1.1 200") and received.endswith(b"\n")
    world.wait_requests(before, len(VERSIONS))


def test_sessions_are_resumed(world):
    before = world.counts()
    context, session = client_context(world.authority, "1.3"), None
    for number in range(2):
        with world.connect(context, session=session) as stream:
            stream.sendall(f"GET /say3 HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
            assert stream.recv(65536).startswith(b"HTTP/1.1 200")
            assert stream.session_reused == (number == 1)
            session = stream.session
            stream.unwrap()
    world.wait_requests(before, 2)
    assert world.since(before)["tls_resumed"] == 1


def test_turned_off_on_one_side(world):
    before = world.counts()
    assert world.curl("/off").startswith("TLSv1.3")
    world.wait_requests(before, 1)
    assert world.route("/off")["offload"] == "client ktls, origin userspace"
    assert world.curl("/say4", port=OFF_PORT).startswith("TLSv1.3")
    world.wait_requests(before, 2)
    assert world.route("/say4", listener=1)["offload"] == "client userspace, origin ktls"
    assert world.since(before)["ktls_refused"] == 2
