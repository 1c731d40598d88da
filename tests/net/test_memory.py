# SPDX-License-Identifier: Apache-2.0
"""What many connections may hold whose receivers never read: user memory, and what the kernel keeps for them."""
import fcntl
import re
import select
import socket
import struct
import termios
import time

import pytest

import lab as laboratory

PORT = 9000
ORIGIN_PORT = 7000
ENGINES = ("auto", "copy", "pipe", "sockmap")
CLIENTS = 200
KIB = 1024
BUFFER = 128 * KIB  # of each socket, by configuration
WINDOW = 256 * KIB  # of sockmap
SCRATCH = 64 * KIB  # what copying may keep of a direction
PIPE = 1024 * KIB
SIOCOUTQ = termios.TIOCOUTQ
SIOCINQ = termios.FIONREAD

# What a direction holds between the two sockets, by the engine that carries it.
BETWEEN = {"copy": SCRATCH, "pipe": PIPE, "sockmap": WINDOW + SCRATCH, "auto": max(PIPE, WINDOW + SCRATCH)}


def config(lab, relay):
    buffers = {"receive_buffer": f"{BUFFER // KIB}KiB", "send_buffer": f"{BUFFER // KIB}KiB"}
    return {
        "process": {"drain_timeout": "2s", "threads": 2},
        "log": {"access": "off"},
        "relay": {"window": f"{WINDOW // KIB}KiB"},
        "listeners": [{"bind": f"{lab.node.address}:{PORT}", "socket": buffers,
                       "routes": [{"pass": "service", "relay": relay}]}],
        "origins": {"service": {"servers": [f"{lab.origins[0].address}:{ORIGIN_PORT}"], "socket": buffers}},
    }


def queued(sock, request):
    return struct.unpack("i", fcntl.ioctl(sock, request, bytes(4)))[0]


def push(origins):
    """Sends to all until none of them has taken a byte for a while; how many bytes in all."""
    block, pushed = bytes(1 << 18), 0
    for origin in origins:
        origin.setblocking(False)
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 1.5:
        for origin in select.select([], origins, [], 0.05)[1]:
            try:
                pushed += origin.send(block)
                quiet_since = time.monotonic()
            except BlockingIOError:
                pass
    return pushed


def chat(pairs):
    """Enough small messages to have auto move a pair to sockmap."""
    for client, origin in pairs:
        for _ in range(40):
            client.sendall(b"ask")
            assert origin.recv(3, socket.MSG_WAITALL) == b"ask"
            origin.sendall(b"say")
            assert client.recv(3, socket.MSG_WAITALL) == b"say"


def socket_memory(lab):
    """Bytes of kernel memory that the node's sockets are charged with: received, and sent."""
    text = lab.node.run("ss", "-tmnH", "state", "established").stdout
    found = re.findall(r"skmem:\(r(\d+),rb(\d+),t\d+,tb(\d+),f\d+,w(\d+)", text)
    return [tuple(map(int, line)) for line in found]


def read_all(pairs, pushed):
    """Lets the clients read what was pushed: it must be all of it."""
    got = 0
    for client, origin in pairs:
        origin.setblocking(True)
        origin.shutdown(socket.SHUT_WR)
    for client, _ in pairs:
        while data := client.recv(1 << 20):
            got += len(data)
    assert got == pushed


@pytest.mark.release
@pytest.mark.parametrize("relay", ENGINES)
def test_clients_that_never_read_are_bounded_by_the_configuration(lab, relay):
    daemon = laboratory.Penstock(lab.node, lab.pin_dir, config(lab, relay))
    worker = daemon.pids()[1]
    # Small, so that what is counted below is the node's; and the machine's memory is left alone.
    lab.client.sysctl("net.ipv4.tcp_rmem", "4096 65536 65536")
    lab.origins[0].sysctl("net.ipv4.tcp_wmem", "4096 65536 65536")
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        before = laboratory.own_memory_kib(worker)
        pairs = []
        for _ in range(CLIENTS):
            client = lab.client.connect(lab.node.address, PORT)
            pairs.append((client, listener.accept()[0]))
        chat(pairs[::2] if relay == "auto" else [])
        pushed = push([origin for _, origin in pairs])
        # Each byte is with its origin still, with its client already, or held here.
        held = pushed - sum(queued(origin, SIOCOUTQ) for _, origin in pairs)
        held -= sum(queued(client, SIOCINQ) for client, _ in pairs)
        assert CLIENTS * SCRATCH < held < CLIENTS * (2 * BUFFER + BETWEEN[relay])
        sockets = socket_memory(lab)
        assert len(sockets) == 2 * CLIENTS
        # The kernel stops a socket at its buffer, but for the segments under way when it was full.
        slack = 64 * KIB
        assert all(rb <= BUFFER and tb <= BUFFER for _, rb, tb, _ in sockets), sockets
        assert all(r <= BUFFER + slack and w <= BUFFER + slack for r, _, _, w in sockets), sockets
        # User memory: at most one scratch a direction, and what a connection is by itself.
        assert laboratory.own_memory_kib(worker) - before < CLIENTS * (SCRATCH // KIB + 4) + 2048
        read_all(pairs, pushed)
        for client, origin in pairs:
            client.close()
            origin.close()
    laboratory.wait_until(lambda: daemon.status()["counters"]["connections_open"] == 0, "all have ended")
    assert daemon.status()["counters"]["relay_mismatches"] == 0
    daemon.stop()
