# SPDX-License-Identifier: Apache-2.0
"""The splice lane with real sockets: routing on SNI, every end of a stream, bounds, failures."""
import hashlib
import json
import os
import select
import socket
import ssl
import struct
import threading
import time

import pytest

import lab as laboratory

PORT = 9000
ORIGIN_PORT = 7000
ENGINES = ("auto", "copy", "pipe", "sockmap")


def config(lab, relay="auto", timeouts=None, servers=None, connect=f"{laboratory.PATIENCE_S}s", **listener):
    servers = servers or [f"{lab.origins[0].address}:{ORIGIN_PORT}"]
    return {
        "listeners": [{"bind": f"{lab.node.address}:{PORT}", "timeouts": timeouts or {},
                       "routes": [{"pass": "service", "relay": relay}], **listener}],
        "origins": {"service": {"servers": servers, "timeouts": {"connect": connect}}},
        "process": {"drain_timeout": "2s"},
    }


SPLICE_MAPS = ("splice_ids", "splice_src", "splice_tgt")


def expect_nothing_left(daemon, at_start):
    """Of connections that have ended: no socket, and no entry in a map. Pipes stay in their pool."""
    laboratory.wait_until(lambda: daemon.status()["counters"]["connections_open"] == 0, "all connections have ended")
    laboratory.wait_until(lambda: daemon.descriptors()["socket"] == at_start["socket"], "all sockets are closed")
    assert {name: daemon.map_entries(name) for name in SPLICE_MAPS} == dict.fromkeys(SPLICE_MAPS, 0)


@pytest.fixture
def start(start):
    """Starts the daemon; at the end its connections must have left nothing open."""
    daemons = []

    def start_daemon(configuration, **options):
        daemon = start(configuration, **options)
        daemons.append((daemon, daemon.descriptors()))
        return daemon

    yield start_daemon
    for daemon, at_start in daemons:
        if daemon.process.is_running():
            expect_nothing_left(daemon, at_start)


def pair(lab, listener):
    """A client's connection and the origin's end of it."""
    client = lab.client.connect(lab.node.address, PORT)
    origin, _ = listener.accept()
    origin.settimeout(laboratory.PATIENCE_S)
    return client, origin


def talk(client, origin, rounds):
    for _ in range(rounds):
        for one, other in ((client, origin), (origin, client)):
            one.sendall(b"word")
            if not other.recv(4):
                return  # the daemon knows why


def receive_all(sock):
    digest, total = hashlib.sha256(), 0
    while data := sock.recv(1 << 20):
        digest.update(data)
        total += len(data)
    return digest.hexdigest(), total


def send_all(sock, total, block):
    digest = hashlib.sha256()
    while total > 0:
        part = block[:total]
        sock.sendall(part)
        digest.update(part)
        total -= len(part)
    sock.shutdown(socket.SHUT_WR)
    return digest.hexdigest()


def in_thread(function, *arguments):
    result = []
    thread = threading.Thread(target=lambda: result.append(function(*arguments)), daemon=True)
    thread.start()

    def wait():
        thread.join(30 * laboratory.PATIENCE_S)
        assert result, "the other side did not finish"
        return result[0]

    return wait


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def kernel_bound(lab):
    """What the sockets of one relayed direction and a pipe may hold: two receive and two send buffers."""
    limits = lab.node.run("cat", "/proc/sys/net/ipv4/tcp_rmem", "/proc/sys/net/ipv4/tcp_wmem").stdout.split()
    return 2 * (int(limits[2]) + int(limits[5])) + (2 << 20)


def wait_closes(daemon, reason, count=1):
    laboratory.wait_until(lambda: daemon.status()["closes"][reason] >= count, f"{count} connections closed: {reason}")


@pytest.mark.release
@pytest.mark.parametrize("relay", ENGINES)
def test_gibibyte_each_way_and_half_close(lab, start, relay):
    total = int(os.environ.get("PENSTOCK_BODY_MIB") or (1024 if relay == "auto" else 64)) << 20
    daemon = start(config(lab, relay))
    block = os.urandom(1 << 20)
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client, origin = pair(lab, listener)
        received = in_thread(receive_all, origin)
        sent = in_thread(send_all, client, total, block)
        assert received() == (sent(), total)
        # The client has ended; the other direction is still open.
        received = in_thread(receive_all, client)
        sent = in_thread(send_all, origin, total, block)
        assert received() == (sent(), total)
        client.close()
        origin.close()
    wait_closes(daemon, "done")
    route = daemon.status()["listeners"][0]["routes"][0]
    assert (route["bytes_from_client"], route["bytes_to_client"]) == (total, total)
    assert route["relay"] == ("pipe" if relay == "auto" else relay)
    assert daemon.status()["counters"]["relay_mismatches"] == 0


@pytest.mark.parametrize("relay", ENGINES)
def test_reset_by_the_client_reaches_the_origin(lab, start, relay):
    daemon = start(config(lab, relay))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client, origin = pair(lab, listener)
        client.sendall(b"x")
        assert origin.recv(1) == b"x"
        reset(client)
        with pytest.raises(ConnectionResetError):
            origin.recv(1)
    wait_closes(daemon, "client_reset")


@pytest.mark.parametrize("relay", ENGINES)
def test_reset_by_the_origin_reaches_the_client(lab, start, relay):
    daemon = start(config(lab, relay))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client, origin = pair(lab, listener)
        client.sendall(b"x")
        assert origin.recv(1) == b"x"
        reset(origin)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    wait_closes(daemon, "origin_reset")


@pytest.mark.release
@pytest.mark.parametrize("relay", ENGINES)
def test_client_that_does_not_read_is_bounded(lab, start, relay):
    daemon = start(config(lab, relay))
    worker = daemon.pids()[1]
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        clients = [pair(lab, listener) for _ in range(5)]
        before = laboratory.own_memory_kib(worker)
        pushed = 0
        for _, origin in clients:
            origin.setblocking(False)
        block = bytes(1 << 20)
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 1.0:
            for _, origin in clients:
                try:
                    pushed += origin.send(block)
                    quiet_since = time.monotonic()
                except BlockingIOError:
                    pass
            select.select([], [origin for _, origin in clients], [], 0.05)
        assert pushed < 5 * kernel_bound(lab)
        # User memory holds at most one scratch a flow.
        assert laboratory.own_memory_kib(worker) - before < 5 * 128 + 1024
        for client, origin in clients:
            client.close()
            origin.close()


ENDINGS = ("half_close", "client_reset", "origin_reset", "reset_when_full")


def receive(sock, total):
    while total > 0:
        data = sock.recv(total)
        assert data
        total -= len(data)


def end_one(lab, listener, ending, block):
    """One connection with some bytes both ways, and its end."""
    client, origin = pair(lab, listener)
    for sender, receiver in ((client, origin), (origin, client)):
        sent = in_thread(sender.sendall, block)
        receive(receiver, len(block))
        sent()
    if ending == "half_close":
        client.shutdown(socket.SHUT_WR)
        assert origin.recv(1) == b""
        origin.close()
        assert client.recv(1) == b""
        client.close()
        return
    if ending == "reset_when_full":  # with bytes on their way that nobody takes
        origin.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                origin.send(block)
        origin.close()
    failed, other = (origin, client) if ending == "origin_reset" else (client, origin)
    reset(failed)
    other.close()


@pytest.mark.release
@pytest.mark.parametrize("relay", ENGINES)
def test_descriptors_and_entries_come_back(lab, start, relay):
    """One connection after the other, so that all of them can use the same pipes."""
    daemon = start({**config(lab, relay), "process": {"threads": 1, "drain_timeout": "2s"}})
    block = os.urandom(700000)
    rounds = []
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        for _ in range(4):
            for ending in ENDINGS:
                for _ in range(3):
                    end_one(lab, listener, ending, block)
            laboratory.wait_until(lambda: daemon.status()["counters"]["connections_open"] == 0, "all have ended")
            rounds.append(daemon.descriptors())
            assert {name: daemon.map_entries(name) for name in SPLICE_MAPS} == dict.fromkeys(SPLICE_MAPS, 0)
    # No more pipes in the pool than one connection uses; and nothing but what the first round has opened for good.
    pipes = [descriptors.pop("pipe", 0) for descriptors in rounds]
    assert max(pipes) <= 2 * 2
    assert rounds[1:] == rounds[:1] * 3


def test_five_hundred_connections_at_once(lab, start):
    daemon = start(config(lab))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        pairs = {}
        clients = []
        for number in range(500):
            client = lab.client.connect(lab.node.address, PORT)
            client.sendall(struct.pack("!I", number))
            clients.append(client)
        for _ in range(500):
            origin, _ = listener.accept()
            origin.settimeout(laboratory.PATIENCE_S)
            pairs[struct.unpack("!I", origin.recv(4, socket.MSG_WAITALL))[0]] = origin
        assert daemon.status()["counters"]["connections_open"] == 500
        for number, client in enumerate(clients):
            pairs[number].sendall(struct.pack("!I", number ^ 0xffffffff))
            pairs[number].close()
            assert client.recv(4, socket.MSG_WAITALL) == struct.pack("!I", number ^ 0xffffffff)
            client.close()
    wait_closes(daemon, "done", 500)
    laboratory.wait_until(lambda: daemon.status()["counters"]["connections_open"] == 0, "all are closed")


def test_refused_at_once(lab, start):
    daemon = start(config(lab))
    client = lab.client.connect(lab.node.address, PORT)
    try:
        assert client.recv(1) == b""
    except ConnectionResetError:
        pass
    wait_closes(daemon, "origin_refused")


def test_next_server_where_one_refuses(lab, start):
    start(config(lab, servers=[f"{lab.origins[1].address}:{ORIGIN_PORT}", f"{lab.origins[0].address}:{ORIGIN_PORT}"]))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        for _ in range(4):
            client, origin = pair(lab, listener)
            origin.sendall(b"y")
            assert client.recv(1) == b"y"


def test_hanging_origin_times_out(lab, start):
    lab.origins[0].run("ip", "route", "add", "blackhole", f"{lab.client.address}/32")
    lab.origins[0].run("sh", "-c", "ip link set eth0 down")
    daemon = start(config(lab, connect="500ms"))
    # The neighbour never answers: the connect neither succeeds nor is refused before the timeout.
    client = lab.client.connect(lab.node.address, PORT)
    try:
        assert client.recv(1) == b""
    except ConnectionResetError:
        pass
    closes = daemon.status()["closes"]
    assert closes["origin_connect_timeout"] + closes["origin_unreachable"] == 1


def test_idle_and_half_closed_timeouts(lab, start):
    """Each with the other far away: a busy machine may sleep for a second between two lines."""
    daemon = start(config(lab, timeouts={"idle": "1h", "half_closed": "300ms"}))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client, origin = pair(lab, listener)
        client.shutdown(socket.SHUT_WR)
        assert origin.recv(1) == b""
        assert client.recv(1) == b""
        wait_closes(daemon, "half_closed_timeout")
        daemon.reload(config(lab, timeouts={"idle": "300ms", "half_closed": "1h"}))
        client, origin = pair(lab, listener)
        assert client.recv(1) == b""
        wait_closes(daemon, "idle_timeout")


def test_streams_that_talk_in_the_kernel_are_never_idle(lab, start):
    """The timers of many come due together: while the first is seen to, the kernel moves the others on."""
    daemon = start(config(lab, "sockmap", timeouts={"idle": "1h", "half_closed": "20ms"}))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        pairs = [pair(lab, listener) for _ in range(150)]
        talkers = [threading.Thread(target=talk, args=(client, origin, 150)) for client, origin in pairs]
        for talker in talkers:
            talker.start()
        for talker in talkers:
            talker.join()
        assert daemon.status()["closes"]["idle_timeout"] == 0
        assert daemon.status()["counters"]["relay_sockmap_entered"] == len(pairs)
        for sock in (sock for both in pairs for sock in both):
            sock.close()


def test_half_closed_timeout_counts_from_the_half_close(lab, start):
    """However long both sides were silent before: never early, so there is no upper bound to miss."""
    start(config(lab, timeouts={"idle": "1h", "half_closed": "1s"}))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client, origin = pair(lab, listener)
        time.sleep(1.5)
        began = time.monotonic()
        client.shutdown(socket.SHUT_WR)
        assert origin.recv(1) == b""
        assert client.recv(1) == b""
        assert time.monotonic() - began >= 1
        client.close()
        origin.close()


def tls_config(lab, hello="5s"):
    return {
        "listeners": [{"bind": f"{lab.node.address}:{PORT}", "timeouts": {"hello": hello}, "routes": [
            {"sni": "one.example.com", "pass": f"tcp://{lab.origins[0].address}:{ORIGIN_PORT}"},
            {"sni": "*.example.net", "pass": f"tcp://{lab.origins[1].address}:{ORIGIN_PORT}"},
        ]}],
    }


def client_hello(name):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_sni_leads_to_the_origins_own_certificate(lab, authority, start):
    daemon = start(tls_config(lab))
    servers = [laboratory.TlsServer(lab.origins[0], authority.issue("one.example.com"), ORIGIN_PORT, name="one"),
               laboratory.TlsServer(lab.origins[1], authority.issue("two.example.net"), ORIGIN_PORT, name="two")]
    for name in ("one.example.com", "two.example.net"):
        lab.client.run("curl", "-sS", "--fail", "--cacert", authority.file, "--resolve",
                       f"{name}:{PORT}:{lab.node.address}", f"https://{name}:{PORT}/", "-o", "/dev/null")
    refused = lab.client.run("curl", "-sS", "--cacert", authority.file, "--resolve",
                             f"other.example.org:{PORT}:{lab.node.address}", f"https://other.example.org:{PORT}/",
                             check=False)
    assert refused.returncode != 0 and "unrecognized name" in refused.stderr
    daemon.expect(no_route=1)
    for server in servers:
        server.process.kill()


@pytest.mark.parametrize("step", (1, 100))
def test_hello_in_pieces(lab, start, step):
    start(tls_config(lab))
    hello = client_hello("one.example.com")
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client = lab.client.connect(lab.node.address, PORT)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(hello), step):
            client.sendall(hello[at:at + step])
        origin, _ = listener.accept()
        origin.settimeout(laboratory.PATIENCE_S)
        assert origin.recv(len(hello), socket.MSG_WAITALL) == hello


def test_hello_that_does_not_come_or_is_garbage(lab, start):
    daemon = start(tls_config(lab, hello="300ms"))
    hello = client_hello("one.example.com")
    silent = lab.client.connect(lab.node.address, PORT)
    partial = lab.client.connect(lab.node.address, PORT)
    partial.sendall(hello[:50])
    wait_closes(daemon, "hello_timeout", 2)
    damaged = lab.client.connect(lab.node.address, PORT)
    damaged.sendall(hello[:5] + b"\x01\x00\x00\x02\x03\x03" + bytes(len(hello) - 11))
    wait_closes(daemon, "hello_malformed")
    plain = lab.client.connect(lab.node.address, PORT)
    plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
    wait_closes(daemon, "no_route")
    for client in (silent, partial, damaged, plain):
        client.close()


def test_connection_limit(lab, start):
    daemon = start({**config(lab, max_connections=2), "process": {"threads": 1, "drain_timeout": "2s"}})
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        kept = [pair(lab, listener) for _ in range(2)]
        extra = lab.client.connect(lab.node.address, PORT)
        try:
            assert extra.recv(1) == b""
        except ConnectionResetError:
            pass
        assert daemon.status()["closes"]["limit_connections"] == 1
        for client, origin in kept:
            client.sendall(b"z")
            assert origin.recv(1) == b"z"


@pytest.mark.release
def test_out_of_descriptors_pauses_and_resumes(lab, start):
    daemon = start({**config(lab), "process": {"threads": 1, "drain_timeout": "2s"}})
    worker = daemon.pids()[1]
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        in_use = len(os.listdir(f"/proc/{worker}/fd"))
        # As the worker's own user, who may lower the limit of what runs.
        lab.node.run("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "prlimit",
                     f"--nofile={in_use + 20}:", "--pid", worker)
        clients = [lab.client.connect(lab.node.address, PORT) for _ in range(80)]
        laboratory.wait_until(lambda: "accepting paused" in daemon.log(), "accepting pauses")
        for client in clients:
            client.close()
        fresh = lab.client.connect(lab.node.address, PORT)
        fresh.sendall(b"fresh")
        accepted = []

        def is_served():
            while select.select([listener], [], [], 0)[0]:
                accepted.append(listener.accept()[0])
            for origin in select.select(accepted, [], [], 0)[0]:
                if origin.recv(5, socket.MSG_PEEK) == b"fresh":
                    return True
                accepted.remove(origin)
                origin.close()
            return False

        laboratory.wait_until(is_served, "a connection after the shortage is served")
        for sock in (*accepted, fresh):
            sock.close()


def flows(daemon):
    return json.loads(daemon.command("flows", "--json", "--runtime-dir", daemon.runtime_dir).stdout)["streams"]


@pytest.mark.parametrize("relay", ["auto", "copy"])  # with copy alone no program is loaded
def test_open_streams_are_listed_with_live_numbers(lab, start, relay):
    daemon = start(config(lab, relay))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client, origin = pair(lab, listener)
        client.sendall(b"x" * 1000)
        assert len(origin.recv(1000, socket.MSG_WAITALL)) == 1000
        origin.sendall(b"y" * 500)
        assert len(client.recv(500, socket.MSG_WAITALL)) == 500
        # Who got the bytes may know before the table does.
        laboratory.wait_until(lambda: [(flow["bytes_up"], flow["bytes_down"]) for flow in flows(daemon)] == [(1000, 500)],
                              "the bytes are counted")
        [flow] = flows(daemon)
        assert flow["client"] == f"{lab.client.address}:{client.getsockname()[1]}"
        assert flow["origin"] == f"{lab.origins[0].address}:{ORIGIN_PORT}"
        assert (flow["lane"], flow["engine_up"], flow["engine_down"]) == ("splice", "copy", "copy")
        assert flow["why_not_faster"] != ""
        laboratory.wait_until(lambda: flows(daemon)[0]["client_rtt_us"] > 0, "the round-trip time is measured")
        dump = json.loads(lab.node.run("/usr/sbin/bpftool", "-j", "map", "dump", "pinned",
                                       lab.pin_dir / "streams").stdout)
        [stream] = [entry["formatted"]["value"] for entry in dump if entry["formatted"]["value"]["id"] != 0]
        assert (stream["bytes_up"], stream["bytes_down"]) == (1000, 500)
        assert stream["client_port"] == client.getsockname()[1]
        table = daemon.command("flows", "--runtime-dir", daemon.runtime_dir).stdout
        assert flow["client"] in table and "copy/copy" in table
        client.close()
        origin.close()
    laboratory.wait_until(lambda: flows(daemon) == [], "the stream leaves the list")
    assert "Nothing is open" in daemon.command("flows", "--runtime-dir", daemon.runtime_dir).stdout
