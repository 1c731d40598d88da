# SPDX-License-Identifier: Apache-2.0
"""TLS ended at L4: the bytes within go on as a plain stream, or in a TLS session of the proxy's own."""
import hashlib
import json
import os
import socket
import ssl
import struct
import subprocess
import threading

import pytest

import lab as laboratory

PORT = 9443
PLAIN_PORT = 9000
ORIGIN_PORT = 7000
TLS_PORT = 7443
NAME = "site.example.com"
INNER = "inner.example.com"


class Tls:
    """One end of a TLS connection over a socket of the test's, by whose calls ends and cuts can be told apart."""

    def __init__(self, sock, context, name=None):
        sock.settimeout(laboratory.PATIENCE_S)
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=name is None, server_hostname=name)
        self.call(self.tls.do_handshake)

    def flush(self):
        if data := self.outgoing.read():
            self.sock.sendall(data)

    def call(self, function):
        while True:
            try:
                result = function()
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
            if data := self.sock.recv(65536):
                self.incoming.write(data)
            else:
                self.incoming.write_eof()

    def send(self, data):
        self.call(lambda: self.tls.write(data))

    def recv(self, n=65536):
        """b"" after close_notify; ssl.SSLError where FIN came without one."""
        try:
            return self.call(lambda: self.tls.read(n))
        except ssl.SSLZeroReturnError:
            return b""

    def end(self):
        """close_notify, and no FIN: the other direction stays open."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self.flush()

    def close(self):
        self.sock.close()


class Plain:
    def __init__(self, sock):
        sock.settimeout(laboratory.PATIENCE_S)
        self.sock = sock
        self.send, self.recv, self.close = sock.sendall, lambda n=65536: sock.recv(n), sock.close

    def end(self):
        self.sock.shutdown(socket.SHUT_WR)


class World:
    """One configuration for all ways; what is sent to `origin` ends up at a socket of the test's."""

    def __init__(self, lab, authority):
        self.lab, self.authority = lab, authority
        self.site, self.inner = authority.issue(NAME, "*.example.com"), authority.issue(INNER)

    def config(self, relay="auto", timeouts=None, **origin):
        plain = f"tcp://{self.lab.origins[0].address}:{ORIGIN_PORT}"
        return {
            "listeners": [
                {"bind": f"{self.lab.node.address}:{PORT}", "timeouts": timeouts or {},
                 "tls": {"certificates": [str(self.site.bundle)]},
                 "routes": [{"sni": "plain.example.com", "to": plain, "relay": relay},
                            {"sni": "again.example.com", "to": "again", "relay": relay},
                            {"sni": "passed.example.com", "pass": f"tcp://{self.lab.origins[1].address}:{TLS_PORT}"},
                            {"alpn": "postgresql", "to": plain},
                            {"host": "web.example.com", "to": f"http://{self.lab.origins[1].address}:80"}]},
                {"bind": f"{self.lab.node.address}:{PLAIN_PORT}", "routes": [{"to": "again", "relay": relay}]}],
            "origins": {"again": {"servers": [f"{self.lab.origins[0].address}:{TLS_PORT}"], "protocol": "tcp",
                                  "timeouts": {"connect": "5s"},
                                  "tls": {"ca": str(self.authority.file), "server_name": INNER}, **origin}},
            "process": {"drain_timeout": "2s"},
        }

    def context(self, server=False):
        """Python's own would take FIN without close_notify for an end."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        if server:
            context.load_cert_chain(self.inner.bundle)
        else:
            context.load_verify_locations(self.authority.file)
        return context

    def connect(self, way, prepare=lambda context: None):
        """A client and the origin's end of its stream: "plain", "again", or "in clear", which is TLS to the origin only."""
        port = ORIGIN_PORT if way == "plain" else TLS_PORT
        with self.lab.origins[0].listen(port) as listener:
            listener.settimeout(laboratory.PATIENCE_S)
            ends = []
            accepting = threading.Thread(target=lambda: ends.append(self.accept(way, listener)), daemon=True)
            accepting.start()
            context = self.context()
            prepare(context)
            if way == "in clear":
                client = Plain(self.lab.client.connect(self.lab.node.address, PLAIN_PORT))
            else:
                client = Tls(self.lab.client.connect(self.lab.node.address, PORT), context, f"{way}.example.com")
            accepting.join(laboratory.PATIENCE_S)
            assert ends, "nothing came to the origin"
            return client, ends[0]

    def accept(self, way, listener):
        sock = listener.accept()[0]
        return Plain(sock) if way == "plain" else Tls(sock, self.context(server=True))


@pytest.fixture
def world(lab, authority):
    return World(lab, authority)


@pytest.fixture
def start(lab):
    daemons = []

    def start_daemon(configuration):
        daemons.append(laboratory.Penstock(lab.node, lab.pin_dir, configuration))
        return daemons[-1]

    yield start_daemon
    for daemon in daemons:
        if daemon.process.is_running():
            daemon.stop()


WAYS = ("plain", "again", "in clear")


def receive_all(end):
    digest, total = hashlib.sha256(), 0
    while data := end.recv():
        digest.update(data)
        total += len(data)
    return digest.hexdigest(), total


def send_all(end, blocks):
    digest = hashlib.sha256()
    for block in blocks:
        end.send(block)
        digest.update(block)
    end.end()
    return digest.hexdigest(), sum(map(len, blocks))


def in_thread(function, *arguments):
    result = []

    def run():
        try:
            result.append(function(*arguments))
        except Exception as error:  # pylint: disable=broad-except
            result.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def wait():
        thread.join(6 * laboratory.PATIENCE_S)
        assert result, "the other side did not finish"
        if isinstance(result[0], Exception):
            raise result[0]
        return result[0]

    return wait


def wait_closes(daemon, reason, count=1):
    laboratory.wait_until(lambda: daemon.status()["closes"][reason] >= count, f"{count} connections closed: {reason}")


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("relay", ["auto", "copy", "pipe"])
@pytest.mark.parametrize("way", WAYS)
def test_both_directions_end_one_by_one(world, start, way, relay):
    """close_notify and FIN stand for each other: one direction ends, the other goes on."""
    daemon = start(world.config(relay))
    client, origin = world.connect(way)
    blocks = [os.urandom(size) for size in (1, 16383, 16384, 16385, 65536, 1 << 20, 3 << 20)]
    received = in_thread(receive_all, origin)
    assert send_all(client, blocks) == received()
    received = in_thread(receive_all, client)
    assert send_all(origin, blocks[::-1]) == received()
    wait_closes(daemon, "done")
    status = daemon.status()
    assert status["counters"]["relay_mismatches"] == status["closes"]["tls_truncated"] == 0
    size = sum(map(len, blocks))
    routes = status["listeners"][way == "in clear"]["routes"]
    route = next(route for route in routes if route["connections"])
    assert (route["bytes_from_client"], route["bytes_to_client"], route["failures"]) == (size, size, 0)
    assert route["offload"].startswith("client " + ("plain" if way == "in clear" else ""))
    client.close(), origin.close()


@pytest.mark.parametrize("way", WAYS)
def test_origin_ends_first(world, start, way):
    daemon = start(world.config())
    client, origin = world.connect(way)
    origin.send(b"that is all")
    origin.end()
    assert receive_all(client) == (hashlib.sha256(b"that is all").hexdigest(), 11)
    client.send(b"and mine")
    client.end()
    assert receive_all(origin)[1] == 8
    wait_closes(daemon, "done")
    client.close(), origin.close()


@pytest.mark.parametrize("way", ["plain", "again"])
def test_fin_without_close_notify_is_a_reset(world, start, way):
    """The origin must not take what came so far for all."""
    daemon = start(world.config())
    client, origin = world.connect(way)
    client.send(b"half of it")
    assert origin.recv(10) == b"half of it"
    client.sock.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError):
        origin.recv()
    wait_closes(daemon, "tls_truncated")
    status = daemon.status()
    assert status["counters"]["tls_truncations"] == 1 and status["closes"]["done"] == 0
    line = next(line for line in daemon.log().splitlines() if "reason=tls_truncated" in line)
    assert "client: the peer closed without close_notify" in line and "lane=terminate" in line
    assert ("client_tls=ktls" in line) != ("user_tls_reason=\"" in line)  # in the kernel, or it says why not
    client.close(), origin.close()


@pytest.mark.parametrize("way", ["again", "in clear"])
def test_origin_that_is_cut_off_is_a_reset(world, start, way):
    daemon = start(world.config())
    client, origin = world.connect(way)
    origin.send(b"half of it")
    assert client.recv(10) == b"half of it"
    origin.sock.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError):
        client.recv()
    wait_closes(daemon, "tls_truncated")
    assert "origin: the peer closed without close_notify" in daemon.log()
    client.close(), origin.close()


@pytest.mark.parametrize("way", WAYS)
def test_resets_are_passed_on(world, start, way):
    daemon = start(world.config())
    for one in (0, 1):
        ends = world.connect(way)
        ends[0].send(b"x"), ends[1].recv(1)
        reset(ends[one].sock)
        with pytest.raises(ConnectionResetError):
            ends[1 - one].recv()
        ends[1 - one].close()
    wait_closes(daemon, "client_reset")
    wait_closes(daemon, "origin_reset")


@pytest.mark.parametrize("way", WAYS)
def test_slow_receiver_holds_the_sender_back(world, start, way):
    """A receiver that does not read: what is under way is bounded, and arrives whole once it reads."""
    daemon = start(world.config())
    client, origin = world.connect(way)
    origin.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    blocks = [os.urandom(1 << 20)] * 48
    sent = in_thread(send_all, client, blocks)
    laboratory.wait_until(lambda: daemon.status()["counters"]["client_received_bytes"] > 1 << 17, "bytes flow")
    assert daemon.status()["counters"]["client_received_bytes"] < 24 << 20
    assert receive_all(origin) == sent()
    client.close(), origin.close()


def test_one_port_for_all(world, start, lab):
    """By the name in the ClientHello: ended, encrypted again, passed on unopened, or HTTP."""
    start(world.config())
    passed = laboratory.TlsServer(lab.origins[1], world.authority.issue("passed.example.com"), TLS_PORT)
    web = laboratory.Nginx(lab.origins[1], http="server { listen 80; location / { return 200 'web'; } }")
    for way in ("plain", "again"):
        client, origin = world.connect(way)
        certificate = client.tls.getpeercert()
        assert ("DNS", NAME) in certificate["subjectAltName"]
        origin.send(b"here"), origin.end()
        assert client.recv() == b"here"
        client.close(), origin.close()
    said = lab.client.run("openssl", "s_client", "-connect", f"{lab.node.address}:{PORT}", "-servername",
                          "passed.example.com", check=False).stdout
    assert "subject=CN = passed.example.com" in said
    said = lab.client.run("curl", "-sS", "--max-time", "30", "--cacert", world.authority.file, "--resolve",
                          f"web.example.com:{PORT}:{lab.node.address}", f"https://web.example.com:{PORT}/").stdout
    assert said == "web"
    passed.stop(), web.stop()


def test_alpn_of_the_route_is_answered(world, start):
    """A database asks for its protocol's name; HTTP's would be wrong, and none too."""
    start(world.config())
    with world.lab.origins[0].listen(ORIGIN_PORT) as listener:
        context = world.context()
        context.set_alpn_protocols(["nothing", "postgresql"])
        client = Tls(world.lab.client.connect(world.lab.node.address, PORT), context, NAME)
        assert client.tls.selected_alpn_protocol() == "postgresql"
        client.close(), listener.accept()[0].close()
    client, origin = world.connect("plain", prepare=lambda context: context.set_alpn_protocols(["any"]))
    assert client.tls.selected_alpn_protocol() is None
    client.close(), origin.close()


def test_openssl_s_client_and_s_server(world, start, lab):
    """Two programs that nobody here wrote, with the proxy between."""
    daemon = start(world.config())
    server = lab.origins[0].start("openssl", "s_server", "-accept", f"0.0.0.0:{TLS_PORT}", "-cert", world.inner.chain,
                                  "-key", world.inner.key, "-rev", "-quiet", name="reverser")
    server.wait_port(TLS_PORT)
    answered = lab.directory / "answered"  # the client's input ends when its answer has come
    os.mkfifo(answered)
    said = lab.client.run("sh", "-c", f"(printf 'penstock\\n'; cat {answered}) | openssl s_client -quiet -no_ign_eof "
                          f"-verify_return_error -CAfile {world.authority.file} -servername again.example.com "
                          f"-connect {lab.node.address}:{PORT} | (read line; echo $line; : >{answered})").stdout
    assert said == "kcotsnep\n"
    wait_closes(daemon, "done")
    server.kill()


def test_proxy_header_tells_of_tls(world, start):
    daemon = start(world.config(proxy_protocol="v2"))
    with world.lab.origins[0].listen(TLS_PORT) as listener:
        client = Tls(world.lab.client.connect(world.lab.node.address, PORT), world.context(), "again.example.com")
        sock = listener.accept()[0]
        head = sock.recv(16, socket.MSG_WAITALL)
        assert head[:12] == b"\r\n\r\n\x00\r\nQUIT\n"
        body = sock.recv(struct.unpack("!H", head[14:16])[0], socket.MSG_WAITALL)
        assert socket.inet_ntoa(body[:4]) == world.lab.client.address
        assert b"again.example.com" in body and b"TLSv1.3" in body and b"TLS_AES_" in body
        origin = Tls(sock, world.context(server=True))
        client.send(b"within"), client.end()
        assert receive_all(origin)[1] == 6
    client.close(), origin.close(), daemon.stop()


def test_origin_that_cannot_be_had(world, start):
    """Neither one that refuses nor one that is another: the client sees no end of a stream, but a connection that broke."""
    daemon = start(world.config(tls={"ca": str(world.authority.file), "server_name": "other.example.com"}))

    def client_breaks():
        client = Tls(world.lab.client.connect(world.lab.node.address, PORT), world.context(), "again.example.com")
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            client.recv()
        client.close()
        return True

    client_breaks()
    wait_closes(daemon, "origin_refused")
    with world.lab.origins[0].listen(TLS_PORT) as listener:
        done = in_thread(client_breaks)
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            Tls(listener.accept()[0], world.context(server=True)).recv()
        assert done()
    wait_closes(daemon, "origin_unverified")
    assert 'certificate not accepted: hostname mismatch (expected \\"other.example.com\\")' in daemon.log()


def test_timeouts(world, start):
    daemon = start(world.config(timeouts={"idle": "2s", "half_closed": "300ms"}))
    client, origin = world.connect("again")
    client.send(b"x"), origin.recv(1)
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        client.recv()
    wait_closes(daemon, "idle_timeout")
    client.close(), origin.close()
    client, origin = world.connect("again")
    client.end()
    assert origin.recv() == b""
    wait_closes(daemon, "half_closed_timeout")
    client.close(), origin.close()


def test_flows_show_it(world, start):
    daemon = start(world.config())
    client, origin = world.connect("again")
    client.send(b"12345"), origin.recv(5), origin.send(b"123"), client.recv(3)

    def flow():
        text = daemon.command("flows", "--json", "--runtime-dir", daemon.runtime_dir).stdout
        found = [flow for flow in json.loads(text)["streams"] if flow["bytes_down"] == 3]
        return found[0] if found else None

    laboratory.wait_until(flow, "the stream is in the table")
    seen = flow()
    assert (seen["lane"], seen["bytes_up"], seen["engine_up"]) == ("terminate", 5, "copy")
    assert {seen["client_tls"], seen["origin_tls"]} <= {"userspace", "ktls"}
    assert seen["origin"] == f"{world.lab.origins[0].address}:{TLS_PORT}"
    client.end(), origin.end()
    wait_closes(daemon, "done")
    client.close(), origin.close()


class Shell:
    """openssl s_client with commands on its input; what it prints is waited for line by line."""

    def __init__(self, world, *options):
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{world.lab.client.name}", "openssl", "s_client", "-brief", "-servername",
             "plain.example.com", "-connect", f"{world.lab.node.address}:{PORT}", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)

    def say(self, text):
        self.process.stdin.write(text.encode() + b"\n")

    def hear(self, text):
        while line := self.process.stdout.readline():
            if text in line.decode():
                return
        raise AssertionError(f"s_client ended without {text}")

    def close(self):
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.wait(laboratory.PATIENCE_S)
        self.process.stdout.close()


def kernel_rekeys():
    return tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 14)


@pytest.mark.parametrize("command", ["k", "K"])
def test_key_update(world, start, command):
    """New keys of the client, and where it asks ours too, between data and with nothing else to say."""
    daemon = start(world.config())
    with world.lab.origins[0].listen(ORIGIN_PORT) as listener:
        client = Shell(world)
        client.hear("CONNECTION ESTABLISHED")
        origin = listener.accept()[0]
        origin.settimeout(laboratory.PATIENCE_S)
        client.say("first")
        assert origin.recv(100) == b"first\n"
        follows = daemon.status()["counters"]["ktls_handovers"] == 0 or kernel_rekeys()
        for _ in range(2 if follows else 1):
            client.say(command)
            client.hear("KEYUPDATE")
        if follows:
            client.say("second")
            assert origin.recv(100) == b"second\n"
            origin.sendall(b"answer\n")
            client.hear("answer")
        else:
            with pytest.raises(ConnectionResetError):
                origin.recv(100)
            wait_closes(daemon, "tls_key_update")
        client.close()
        origin.close()


def hold_handshake(world, name="plain.example.com"):
    """A client whose last handshake message is made, but not sent."""
    sock = world.lab.client.connect(world.lab.node.address, PORT)
    sock.settimeout(laboratory.PATIENCE_S)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = world.context().wrap_bio(incoming, outgoing, server_hostname=name)
    while True:
        try:
            tls.do_handshake()
            return sock, tls, outgoing
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(65536))


def test_data_and_end_in_one_segment_with_finished(world, start):
    daemon = start(world.config())
    with world.lab.origins[0].listen(ORIGIN_PORT) as listener:
        for ends in (False, True):
            sock, tls, outgoing = hold_handshake(world)
            tls.write(b"early")
            if ends:
                with pytest.raises(ssl.SSLWantReadError):
                    tls.unwrap()
            sock.sendall(outgoing.read())
            if ends:
                sock.shutdown(socket.SHUT_WR)
            origin = listener.accept()[0]
            origin.settimeout(laboratory.PATIENCE_S)
            assert origin.recv(100, socket.MSG_WAITALL if ends else 0) == b"early"
            origin.close()
            while sock.recv(65536):  # closing with unread bytes would be a reset
                pass
            sock.close()
    wait_closes(daemon, "done")


def test_resets_in_the_handshake(world, start):
    daemon = start(world.config())
    sock, _, _ = hold_handshake(world)
    reset(sock)
    wait_closes(daemon, "handshake_failed")
    sock = world.lab.client.connect(world.lab.node.address, PORT)
    sock.sendall(b"\x16\x03\x01\x02\x00\x01")
    laboratory.wait_until(lambda: daemon.status()["counters"]["connections_open"] == 1, "it is read")
    reset(sock)
    laboratory.wait_until(lambda: daemon.status()["counters"]["connections_open"] == 0, "both are gone")
    assert daemon.status()["closes"]["handshake_failed"] == 1


def test_byte_by_byte(world, start):
    """Handshake and data in segments of one byte."""
    daemon = start(world.config())
    with world.lab.origins[0].listen(ORIGIN_PORT) as listener:
        sock = world.lab.client.connect(world.lab.node.address, PORT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        class Slow:
            settimeout, recv, close = sock.settimeout, sock.recv, sock.close

            @staticmethod
            def sendall(data):
                for byte in data:
                    sock.sendall(bytes([byte]))

        client = Tls(Slow, world.context(), "plain.example.com")
        origin = Plain(listener.accept()[0])
        for byte in b"slowly":
            client.send(bytes([byte]))
        client.end()
        assert receive_all(origin)[1] == 6
        origin.end()
        assert client.recv() == b""
    wait_closes(daemon, "done")
    client.close(), origin.close()


def test_long_client_hello(world, start):
    start(world.config())
    client, origin = world.connect("plain", prepare=lambda context: context.set_alpn_protocols(
        [f"{number:0200}" for number in range(120)]))
    client.send(b"x")
    assert origin.recv(1) == b"x"
    client.close(), origin.close()


@pytest.mark.parametrize("garbage", [b"\x17\x03\x03\x00\x20" + b"g" * 32, b"\x16\x03\x03\x00\x20" + b"g" * 32,
                                     b"GET / HTTP/1.1\r\n\r\n", b"\x15\x03\x03\x00\x02\x01\x00"],
                         ids=["data", "handshake", "no TLS", "alert in the clear"])
def test_garbage_after_the_handshake(world, start, garbage):
    daemon = start(world.config())
    client, origin = world.connect("plain")
    client.send(b"x"), origin.recv(1)
    client.sock.sendall(garbage)
    with pytest.raises(ConnectionResetError):
        origin.recv()
    wait_closes(daemon, "tls_broken")
    client.close(), origin.close()
