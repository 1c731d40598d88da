# SPDX-License-Identifier: Apache-2.0
"""Many verified transfers of random sizes with every kind of end. SOAK=10000 runs that many in all (default 800)."""
import concurrent.futures
import hashlib
import os
import random
import socket
import struct
import threading
import time

import pytest

import lab as laboratory

PORT = 9000
ORIGIN_PORT = 7000
SPLICE_MAPS = ("splice_src", "splice_tgt", "splice_ids")
ENGINES = ("auto", "copy", "pipe", "sockmap")
TOTAL = int(os.environ.get("SOAK") or 800)
WORKERS = 16
BLOCK = os.urandom(1 << 20)

# What the client asks of the origin: scenario, bytes up, bytes down.
HEADER = struct.Struct("!BII")
SCENARIOS = ("plain", "half_close", "chat", "slow_client", "slow_origin", "client_reset", "origin_reset", "early_close")


def part(size, seed):
    start = seed % (len(BLOCK) - size + 1) if size < len(BLOCK) else 0
    return memoryview(BLOCK)[start:start + size]


def read_exactly(sock, size, pause=0.0):
    digest, left = hashlib.sha256(), size
    while left:
        data = sock.recv(min(left, 4096 if pause else 1 << 18))
        if not data:
            raise EOFError(f"{left} of {size} bytes are missing")
        digest.update(data)
        left -= len(data)
        if pause:
            time.sleep(pause)
    return digest.digest()


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def chat(sock, rounds, speaks_first):
    """Small messages in turns; each is the answer to the one before."""
    word = b"\0" * 32
    for _ in range(rounds):
        if speaks_first:
            sock.sendall(word)
        heard = b""
        while len(heard) < 32:
            data = sock.recv(32 - len(heard))
            if not data:
                raise EOFError("the other side stopped talking")
            heard += data
        if not speaks_first:
            sock.sendall(hashlib.sha256(heard).digest())
        elif heard != hashlib.sha256(word).digest():
            raise ValueError("not the answer to what was said")
        word = heard


def serve_one(sock):
    """The origin's part; a failure is seen by the client."""
    sock.settimeout(2 * laboratory.PATIENCE_S)
    try:
        with sock:
            scenario, up, down = HEADER.unpack(sock.recv(HEADER.size, socket.MSG_WAITALL))
            name = SCENARIOS[scenario]
            if name == "chat":
                chat(sock, up, speaks_first=False)
            elif name == "origin_reset":
                sock.sendall(part(down, up))
                reset(sock)
                return
            elif name == "early_close":
                sock.sendall(part(down, up))
                return
            else:
                digest = read_exactly(sock, up, 0.0005 if name == "slow_origin" else 0.0)
                if name == "half_close" and sock.recv(1) != b"":
                    return
                sock.sendall(digest)
                sock.sendall(part(down, up))
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1 << 16):
                pass
    except OSError:
        pass  # the client has gone, as some scenarios want it


def transfer(lab, seed):
    """None where all is well, else what is not."""
    chance = random.Random(seed)
    name = chance.choice(SCENARIOS)
    up = int(2 ** chance.uniform(0, 19))
    down = int(2 ** chance.uniform(0, 19))
    if name in ("slow_client", "slow_origin"):
        up, down = min(up, 65536), min(down, 65536)
    if name == "chat":
        up = chance.randrange(1, 200)
    try:
        with lab.client.connect(lab.node.address, PORT, timeout_s=2 * laboratory.PATIENCE_S) as sock:
            sock.sendall(HEADER.pack(SCENARIOS.index(name), up, down))
            return {"chat": lambda: chat(sock, up, speaks_first=True),
                    "client_reset": lambda: (sock.sendall(part(up, seed)), reset(sock)) and None,
                    "origin_reset": lambda: expect_prefix(sock, up, down),
                    "early_close": lambda: expect_whole(sock, up, down)}.get(
                        name, lambda: exchange(sock, name, seed, up, down))()
    except (OSError, EOFError, ValueError) as error:
        return f"{seed} {name} up {up} down {down}: {error!r}"


def exchange(sock, name, seed, up, down):
    sent = part(up, seed)
    sender = threading.Thread(target=send_all, args=(sock, sent, name == "half_close"))
    sender.start()
    pause = 0.0005 if name == "slow_client" else 0.0
    digest = sock_read(sock, 32)
    body = read_exactly(sock, down, pause)
    sender.join()
    if digest != hashlib.sha256(sent).digest():
        return f"{seed} {name}: the origin got other bytes than were sent"
    if body != hashlib.sha256(part(down, up)).digest():
        return f"{seed} {name}: the client got other bytes than were sent"
    if sock.recv(1) != b"":
        return f"{seed} {name}: bytes after the end"
    return None


def send_all(sock, data, ends):
    try:
        sock.sendall(data)
        if ends:
            sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the reader tells


def sock_read(sock, size):
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise EOFError("no answer")
        data += more
    return data


def expect_whole(sock, up, down):
    if read_exactly(sock, down) != hashlib.sha256(part(down, up)).digest():
        return "early_close: other bytes than were sent"
    return None if sock.recv(1) == b"" else "early_close: bytes after the end"


def expect_prefix(sock, up, down):
    """A reset may overtake bytes, but never change them; it must not look like an end."""
    got = b""
    try:
        while data := sock.recv(1 << 18):
            got += data
        return f"origin_reset: looked like an end after {len(got)} of {down} bytes"
    except ConnectionResetError:
        return None if bytes(part(down, up))[:len(got)] == got else "origin_reset: other bytes than were sent"


class Origin:
    """Serves transfers until it is closed."""

    def __init__(self, namespace):
        self.listener = namespace.listen(ORIGIN_PORT, timeout_s=None)
        self.pool = concurrent.futures.ThreadPoolExecutor(WORKERS * 4)
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.pool.submit(serve_one, sock)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        self.pool.shutdown()


@pytest.mark.release
@pytest.mark.parametrize("relay", ENGINES)
def test_transfers(lab, relay):
    daemon = laboratory.Penstock(lab.node, lab.pin_dir, {
        "process": {"drain_timeout": "2s"}, "log": {"access": "off"},
        "listeners": [{"bind": f"{lab.node.address}:{PORT}", "max_connections": 1000,
                       "routes": [{"pass": f"tcp://{lab.origins[0].address}:{ORIGIN_PORT}", "relay": relay}]}]})
    origin = Origin(lab.origins[0])
    try:
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            wrong = [word for word in pool.map(lambda seed: transfer(lab, seed), range(TOTAL // len(ENGINES))) if word]
        assert wrong == []
        laboratory.wait_until(lambda: daemon.status()["counters"]["connections_open"] == 0, "all have ended")
        assert daemon.status()["counters"]["relay_mismatches"] == 0
        assert [name for name in SPLICE_MAPS if daemon.map_entries(name) != 0] == []
        descriptors = daemon.descriptors()
        assert descriptors["socket"] < 20, descriptors
        assert descriptors.get("pipe", 0) <= 2 * 64 * 2 + 2, descriptors
    finally:
        origin.close()
        daemon.stop()
