# SPDX-License-Identifier: Apache-2.0
"""TLS clients that do what clients seldom do: all in one segment or a byte a segment, huge, half, or no TLS at all.

Each has its outcome and its counter, and leaves no descriptor behind; under ASan (the suite "leaks"), no memory either.
"""
import os
import socket
import ssl
import struct

import pytest

import lab as laboratory
from tls_ends import NAME, PORT, VERSIONS, Middle, client_context, only_version, shared_world, split_responses

MIXED_PORT = 9444  # here the daemon reads the ClientHello itself, to route by the name
IMPATIENT_PORT = 9445
WEB_PORT = 7000
PAGE = b"hello\n"
GET = f"GET / HTTP/1.1\r\nHost: {NAME}\r\n".encode()
ASK = GET + b"\r\n"
ASK_AND_END = GET + b"Connection: close\r\n\r\n"


class World(Middle):
    def __init__(self, lab, authority):
        self.authority = authority
        # It closes after each response, so that no kept connection is among the descriptors.
        self.nginx = laboratory.Nginx(lab.origins[0], http=f"""
            server {{ listen {WEB_PORT}; keepalive_timeout 0; location / {{ return 200 '{PAGE.decode()}'; }} }}""")
        tls = {"certificates": [str(authority.issue(NAME).bundle)]}
        web = {"to": f"http://{lab.origins[0].address}:{WEB_PORT}"}
        passed = {"sni": "passed.example.com", "pass": f"tcp://{lab.origins[0].address}:{WEB_PORT}"}
        super().__init__(lab, {"listeners": [
            {"bind": f"{lab.node.address}:{PORT}", "tls": tls, "routes": [web]},
            {"bind": f"{lab.node.address}:{MIXED_PORT}", "tls": tls, "routes": [passed, web]},
            {"bind": f"{lab.node.address}:{IMPATIENT_PORT}", "tls": tls, "routes": [web],
             "timeouts": {"handshake": "200ms"}},
        ]})

    def connect(self, port=PORT):
        connection = self.lab.client.connect(self.lab.node.address, port)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def stop(self):
        super().stop()
        self.nginx.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory, authority):
    with shared_world(tmp_path_factory.mktemp("tls-faults"), lambda lab: World(lab, authority)) as one:
        yield one


@pytest.fixture
def world(shared):
    """When a test is over, the daemon holds what it held before."""
    before = shared.n_descriptors()
    yield shared
    laboratory.wait_until(lambda: shared.counts()["connections_open"] == 0, "all connections are closed")
    laboratory.wait_until(lambda: shared.n_descriptors() == before, "descriptors as before")


class Peer:
    """A TLS client whose bytes are sent by hand: `out()` gives what it wants to send."""

    def __init__(self, world, version="1.3", port=PORT, session=None, alpn=(), context=None):
        self.context = only_version(context, version) if context else client_context(world.authority, version)
        if alpn:
            self.context.set_alpn_protocols(alpn)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_hostname=NAME, session=session)
        self.socket = world.connect(port)

    def out(self):
        return self.outgoing.read()

    def step(self):
        """Goes on with the handshake as far as it can; True at its end."""
        try:
            self.tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False

    def take(self):
        """Waits for bytes of the server."""
        data = self.socket.recv(1 << 16)
        assert data, "the server closed"
        self.incoming.write(data)

    def first_flight(self):
        assert not self.step()
        return self.out()

    def shake(self, send=None):
        """The whole handshake but for the last flight, if it is ours: that is returned."""
        send = send or self.socket.sendall
        send(self.first_flight())
        while True:
            self.take()
            if self.step():
                return self.out()
            send(self.out())

    def read_all(self):
        """All that comes until close_notify; an end without it is an error."""
        received = b""
        while True:
            try:
                part = self.tls.read(1 << 16)
                if not part:
                    return received
                received += part
            except ssl.SSLZeroReturnError:
                return received
            except ssl.SSLWantReadError:
                self.take()

    def close_notify(self):
        """Ends our direction; the other one goes on."""
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()

    def leave(self):
        """After the server's end: ours, which it may no longer hear."""
        self.tls.unwrap()
        try:
            self.socket.sendall(self.out())
        except ConnectionError:
            pass
        self.socket.close()

    def reset(self):
        reset(self.socket)


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def receive_all(connection):
    received = b""
    try:
        while part := connection.recv(1 << 16):
            received += part
    except ConnectionResetError:
        pass
    return received


def one_page(received):
    return split_responses(received) == [("200", PAGE)]


def new_session(world, version):
    """A session to resume, with the context that it belongs to. Its connection is over when this returns."""
    before = world.counts()
    peer = Peer(world, version)
    peer.socket.sendall(peer.shake())
    peer.tls.write(ASK_AND_END)
    peer.socket.sendall(peer.out())
    assert one_page(peer.read_all())
    peer.leave()
    world.expect(before, done=1)
    return {"session": peer.tls.session, "context": peer.context}


@pytest.mark.parametrize("port", [PORT, MIXED_PORT])
@pytest.mark.parametrize("version, resumed", [("1.3", False), ("1.3", True), ("1.2", True)])
def test_request_in_the_segment_of_finished(world, port, version, resumed):
    """In a full handshake of TLS 1.2 the server has the last word."""
    session = new_session(world, version) if resumed else {}
    before = world.counts()
    peer = Peer(world, version, port, **session)
    last = peer.shake()
    assert peer.tls.session_reused == resumed
    peer.tls.write(ASK_AND_END)
    peer.socket.sendall(last + peer.out())
    assert one_page(peer.read_all())
    peer.leave()
    world.expect(before, tls_handshakes=1, tls_resumed=int(resumed), requests=1, responses_2xx=1, done=1,
                 tls_truncations=0)


@pytest.mark.parametrize("is_clean", [True, False], ids=["close_notify", "FIN alone"])
def test_half_close_in_the_segment_of_finished(world, is_clean):
    """The request is whole, so it is answered; what more the client may have sent, nobody knows without the alert."""
    before = world.counts()
    peer = Peer(world)
    last = peer.shake()
    peer.tls.write(ASK)
    if is_clean:
        peer.close_notify()
    peer.socket.sendall(last + peer.out())
    peer.socket.shutdown(socket.SHUT_WR)
    assert one_page(peer.read_all())
    peer.socket.close()
    world.expect(before, tls_handshakes=1, requests=1, responses_2xx=1, done=1, tls_truncations=int(not is_clean))


def test_half_a_request_and_no_more(world):
    before = world.counts()
    peer = Peer(world)
    peer.socket.sendall(peer.shake())
    peer.tls.write(GET)
    peer.socket.sendall(peer.out())
    peer.socket.shutdown(socket.SHUT_WR)
    receive_all(peer.socket)
    peer.socket.close()
    world.expect(before, tls_handshakes=1, tls_truncations=1, tls_truncated=1, origin_connects=0)


@pytest.mark.parametrize("port", [PORT, MIXED_PORT])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_byte_a_segment(world, version, port):
    before = world.counts()
    peer = Peer(world, version, port)

    def send(data):
        for k in range(len(data)):
            peer.socket.sendall(data[k:k + 1])

    send(peer.shake(send))
    peer.tls.write(ASK_AND_END)
    send(peer.out())
    assert one_page(peer.read_all())
    peer.leave()
    world.expect(before, tls_handshakes=1, requests=1, done=1)


def reset_at_once(world, port):
    reset(world.connect(port))


def reset_after_half_a_hello(world, port):
    peer = Peer(world, port=port)
    peer.socket.sendall(peer.first_flight()[:100])
    peer.reset()


def reset_after_the_hello(world, port):
    peer = Peer(world, port=port)
    peer.socket.sendall(peer.first_flight())
    peer.reset()


def reset_after_the_server_flight(world, port):
    peer = Peer(world, port=port)
    peer.socket.sendall(peer.first_flight())
    peer.take()
    peer.reset()


def reset_after_half_of_finished(world, port):
    peer = Peer(world, port=port)
    last = peer.shake()
    peer.socket.sendall(last[:-10])
    peer.reset()


RESETS = [reset_at_once, reset_after_half_a_hello, reset_after_the_hello, reset_after_the_server_flight,
          reset_after_half_of_finished]
BEFORE_A_HELLO = RESETS[:2]


@pytest.mark.parametrize("port", [PORT, MIXED_PORT])
@pytest.mark.parametrize("step", RESETS, ids=[step.__name__ for step in RESETS])
def test_reset_during_the_handshake(world, step, port):
    before = world.counts()
    step(world, port)
    is_handshake = port == PORT or step not in BEFORE_A_HELLO
    world.expect(before, connections_accepted=1, tls_handshakes=0, handshake_failed=int(is_handshake),
                 tls_handshakes_failed=int(is_handshake), client_reset=int(not is_handshake))


def test_reset_after_the_handshake(world):
    before = world.counts()
    peer = Peer(world)
    peer.socket.sendall(peer.shake())
    peer.take()  # tickets: the server has seen the end of the handshake
    peer.reset()
    world.expect(before, tls_handshakes=1, client_reset=1, requests=0)


def vector(data, n_bytes):
    return len(data).to_bytes(n_bytes, "big") + data


def extension(number, data):
    return struct.pack("!H", number) + vector(data, 2)


def client_hello(padding=0, n_shares=0):
    """A ClientHello of TLS 1.3 (RFC 8446, 4.1.2) in as many records as it takes; nobody holds its keys."""
    name = NAME.encode()
    others = [0x2000 + k for k in range(n_shares)]  # groups that nobody has
    groups = struct.pack(f"!{len(others) + 1}H", *others, 0x001d)
    shares = b"".join(struct.pack("!H", group) + vector(bytes(100), 2) for group in others)
    extensions = b"".join([
        extension(0, vector(b"\0" + vector(name, 2), 2)),
        extension(10, vector(groups, 2)),
        extension(13, vector(bytes.fromhex("040308040401"), 2)),
        extension(43, vector(bytes.fromhex("0304"), 1)),
        extension(51, vector(shares + struct.pack("!H", 0x001d) + vector(os.urandom(32), 2), 2)),
        extension(21, bytes(padding)),
    ])
    body = b"\x03\x03" + os.urandom(32) + vector(os.urandom(32), 1) + vector(bytes.fromhex("130113021303"), 2) + b"\1\0"
    message = b"\1" + vector(body + vector(extensions, 2), 3)
    return b"".join(b"\x16\x03\x01" + vector(message[k:k + 16384], 2) for k in range(0, len(message), 16384))


@pytest.mark.parametrize("port", [PORT, MIXED_PORT])
@pytest.mark.parametrize("version", VERSIONS)
def test_hello_of_24_kib(world, version, port):
    before = world.counts()
    peer = Peer(world, version, port, alpn=[f"{k:0250}" for k in range(96)] + ["http/1.1"])
    last = peer.shake()
    assert peer.tls.selected_alpn_protocol() == "http/1.1"
    peer.socket.sendall(last)
    peer.tls.write(ASK_AND_END)
    peer.socket.sendall(peer.out())
    assert one_page(peer.read_all())
    peer.leave()
    world.expect(before, tls_handshakes=1, requests=1, done=1)


@pytest.mark.parametrize("port", [PORT, MIXED_PORT])
@pytest.mark.parametrize("what", [{"padding": 24000}, {"n_shares": 230}], ids=["padding", "key shares"])
def test_hello_of_24_kib_by_other_extensions(world, what, port):
    before = world.counts()
    client = world.connect(port)
    hello = client_hello(**what)
    assert len(hello) > 24000
    client.sendall(hello)
    answer = client.recv(6)
    assert (answer[0], answer[5]) == (22, 2)  # a handshake record, and in it a ServerHello
    client.close()
    world.expect(before, handshake_failed=1, tls_handshakes=0)


def test_hello_beyond_bounds(world):
    """One says that it is of 1 MiB; 64 KiB is what the daemon reads itself."""
    before = world.counts()
    start = b"\x16\x03\x01" + vector(b"\1" + (1 << 20).to_bytes(3, "big") + bytes(100), 2)
    for port, hello in ((PORT, start), (MIXED_PORT, start), (MIXED_PORT, client_hello(padding=65400))):
        client = world.connect(port)
        client.sendall(hello)
        receive_all(client)
        client.close()
    world.expect(before, handshake_failed=1, hello_too_large=2, tls_handshakes=0)


# What comes in place of a ClientHello; where the daemon reads it itself, is it TLS at all?
GARBAGE = {
    "HTTP": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", False),
    "zeros": (bytes(300), False),
    "SSH": (b"SSH-2.0-client\r\n" + bytes(range(256)), False),
    "a hello of SSL 2": (bytes.fromhex("802b0100020012000000100100800700c0030080060040020080040080") + bytes(16), False),
    "an alert": (bytes.fromhex("15030100020128"), False),
    "data": (b"\x17\x03\x03" + vector(bytes(64), 2), False),
    "a record that is too long": (b"\x16\x03\x01\xff\xff" + bytes(300), True),
    "a message that is no hello": (b"\x16\x03\x01" + vector(b"\2" + vector(bytes(40), 3), 2), True),
    "a hello with wrong lengths": (
        b"\x16\x03\x01" + vector(b"\1" + vector(b"\3\3" + bytes(32) + b"\xff" + bytes(8), 3), 2), True),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_in_place_of_a_hello(world, name):
    data, is_tls = GARBAGE[name]
    before = world.counts()
    for port in (PORT, MIXED_PORT):
        client = world.connect(port)
        client.sendall(data)
        answer = receive_all(client)
        assert answer == b"" or (answer[0] == 21 and len(answer) == 7), answer  # an alert at most
        client.close()
    world.expect(before, tls_handshakes=0, requests=0, handshake_failed=1, hello_malformed=int(is_tls),
                 no_route=int(not is_tls))


def test_slow_handshakes_are_timed_out(world):
    before = world.counts()
    silent = world.connect(IMPATIENT_PORT)
    half = Peer(world, port=IMPATIENT_PORT)
    half.socket.sendall(half.first_flight()[:100])
    rest = Peer(world, port=IMPATIENT_PORT)
    rest.socket.sendall(rest.first_flight())
    for client in (silent, half.socket, rest.socket):
        receive_all(client)
        client.close()
    world.expect(before, handshake_timeout=3, tls_handshakes_failed=3, tls_handshakes=0)
