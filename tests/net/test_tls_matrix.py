# SPDX-License-Identifier: Apache-2.0
"""Lanes x sides x versions x ciphers x records by the kernel or in user space x upload, download, both at once.

The lanes: HTTP is read, or TLS ends around a stream. The sides: TLS with the client, or with the origin.

Every body is compared by its hash, and /proc/net/tls_stat is the witness of who did the records. Where this kernel has
no TLS, the half in user space runs. All share one daemon: under emulation each start costs seconds.
"""
import hashlib
import os
import pathlib
import re
import socket
import threading

import pytest

import lab as laboratory
from tls_ends import SUITES, curl_tls, kernel_has_tls, nginx_tls, sha256, shared_world

FIRST_PORT = 9100
ORIGIN_PORT = 7080
INNER_PORT = 7443
NAME = {"http": "site.example.com", "stream": "stream.example.com"}
INNER = "inner.example.com"
# Not a whole number of records, nor of pages.
SIZE = (1 << 20) + 4097

# One TLS server for each suite, on ports from INNER_PORT on.
SWITCH = {"ktls": "auto", "userspace": "off"}
CELLS = [(lane, side, by, k) for lane in ("http", "stream") for side in ("client", "origin")
         for k in range(len(SUITES)) for by in SWITCH]


def port_of(*cell):
    return FIRST_PORT + CELLS.index(cell)


class Origin:
    """HTTP without TLS. GET: `body`; PUT .../up: the hash of what came; PUT .../both: what comes, as it comes."""

    def __init__(self, namespace, body):
        self.body = body
        self.listener = namespace.listen(ORIGIN_PORT, timeout_s=None)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            with sock, sock.makefile("rb") as reader:
                while self.answer(sock, reader):
                    pass
        except OSError:
            pass  # the client sees it

    def answer(self, sock, reader):
        line, length = reader.readline().decode(), 0
        if not line:
            return False
        while header := reader.readline().strip():
            name, _, value = header.decode().partition(":")
            length = int(value) if name.lower() == "content-length" else length
        method, path, _ = line.split()
        if method == "GET":
            self.say(sock, len(self.body))
            sock.sendall(self.body)
            return True
        is_echo, digest = path.endswith("/both"), hashlib.sha256()
        if is_echo:
            self.say(sock, length)
        while length > 0:
            data = reader.read1(min(length, 65536))
            if not data:
                return False
            length -= len(data)
            sock.sendall(data) if is_echo else digest.update(data)
        if not is_echo:
            self.say(sock, 64)
            sock.sendall(digest.hexdigest().encode())
        return True

    @staticmethod
    def say(sock, length):
        sock.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode())

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class World:
    """penstock between curl and the origin, with TLS on one side at a time; nginx is the TLS of the origin."""

    def __init__(self, lab, authority):
        self.lab = lab
        self.authority = authority
        self.site, self.inner = authority.issue(*NAME.values()), authority.issue(INNER)
        self.body = os.urandom(SIZE)
        self.file = lab.directory / "body"
        self.file.write_bytes(self.body)
        self.hash = sha256(self.body)
        self.origin = Origin(lab.origins[0], self.body)
        self.nginx = laboratory.Nginx(lab.origins[0], stream="".join(map(self.server, range(len(SUITES)))))
        self.daemon = laboratory.Penstock(lab.node, lab.pin_dir, {
            "listeners": [self.listener(*cell) for cell in CELLS], "origins": self.origins()})

    def listener(self, lane, side, by, k):
        """One for each cell; there the origin has a name of its own."""
        bind = {"bind": f"{self.lab.node.address}:{port_of(lane, side, by, k)}"}
        if side == "origin":
            return {**bind, "routes": [{"to": f"{lane}-{by}-{k}"}]}
        scheme = "http" if lane == "http" else "tcp"
        return {**bind, "tls": {"certificates": [str(self.site.bundle)], "kernel": SWITCH[by]},
                "routes": [{"to": f"{scheme}://{self.lab.origins[0].address}:{ORIGIN_PORT}"}]}

    def origins(self):
        return {f"{lane}-{by}-{k}": {
            "servers": [f"{self.lab.origins[0].address}:{INNER_PORT + k}"], "protocol": "http1" if lane == "http" else "tcp",
            "tls": {"ca": str(self.authority.file), "server_name": INNER, "kernel": SWITCH[by]},
        } for lane, side, by, k in CELLS if side == "origin"}

    def server(self, k):
        return f"""
            server {{
                listen {INNER_PORT + k} ssl;{nginx_tls(self.inner, SUITES[k])}
                proxy_pass {self.lab.origins[0].address}:{ORIGIN_PORT};
            }}"""

    def transfer(self, url, options):
        """A download, an upload, and one of each at once, over one connection; nothing where all went well."""
        files = {word: self.lab.directory / f"got-{word}" for word in ("down", "up", "both")}
        command = ["curl", "-sS"]
        for word, file in files.items():
            file.unlink(missing_ok=True)
            command += ["--next"] if word != "down" else []
            command += ["--fail", "--max-time", 5 * laboratory.PATIENCE_S, "-H", "Expect:", *options, f"{url}/{word}", "-o", file]
            command += ["-T", self.file] if word != "down" else []
        self.lab.client.run(*command, timeout_s=6 * laboratory.PATIENCE_S)
        got = {word: sha256(file.read_bytes()) for word, file in files.items()}
        got["up"] = files["up"].read_text()
        return [word for word, digest in got.items() if digest != self.hash]

    def kernel_counts(self):
        """Of connections that the kernel took, sending and receiving, in the daemon's namespace; the refused records."""
        stat = pathlib.Path(f"/proc/{self.daemon.process.pid}/net/tls_stat")
        counts = dict(re.findall(r"(\w+)\s+(\d+)", stat.read_text() if stat.exists() else ""))
        return [int(counts.get(name, 0)) for name in ("TlsTxSw", "TlsRxSw", "TlsDecryptError")]

    def stop(self):
        self.daemon.stop()
        self.nginx.stop()
        self.origin.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory, authority):
    with shared_world(tmp_path_factory.mktemp("tls-matrix"), lambda lab: World(lab, authority)) as one:
        yield one


def cell_parameters():
    def parameter(cell, **options):
        return pytest.param(*cell, id="-".join((*cell[:3], *SUITES[cell[3]])), **options)

    if kernel_has_tls():
        return [parameter(cell) for cell in CELLS]
    skip = pytest.mark.skip(reason="and all others of ktls: no tls module in this kernel (`make vm-test` has one)")
    first = next(cell for cell in CELLS if cell[2] == "ktls")
    return [parameter(first, marks=skip), *(parameter(cell) for cell in CELLS if cell[2] == "userspace")]


@pytest.mark.parametrize(("lane", "side", "by", "k"), cell_parameters())
def test_matrix(world, lane, side, by, k):
    before = world.kernel_counts()
    address, port = world.lab.node.address, port_of(lane, side, by, k)
    if side == "client":
        wrong = world.transfer(f"https://{NAME[lane]}:{port}", [
            "--cacert", world.authority.file, "--resolve", f"{NAME[lane]}:{port}:{address}", *curl_tls(SUITES[k])])
    else:
        wrong = world.transfer(f"http://{address}:{port}", [])
    assert wrong == []
    sent, received, refused = (now - then for now, then in zip(world.kernel_counts(), before))
    assert (sent, received, refused) == ((1, 1, 0) if by == "ktls" else (0, 0, 0))


def test_status_tells_who_did_the_records(world):
    """After all of the above."""
    offloads = {cell: listener["routes"][0]["offload"] for cell, listener in zip(CELLS, world.daemon.status()["listeners"])}
    wrong = {cell: said for cell, said in offloads.items()
             if said and f"{cell[1]} {cell[2]}" not in said}
    assert wrong == {} and any(offloads.values())
