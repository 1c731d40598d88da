# SPDX-License-Identifier: Apache-2.0
"""Routes of connections: by addresses, names and ALPN, for clients that say nothing or much; ports and UNIX sockets."""
import pathlib
import socket
import ssl
import struct
import tempfile
import threading

import pytest

import lab as laboratory

PORT = 9000
ORIGIN_PORT = 7000


@pytest.fixture
def start_routes(start):
    """Starts the daemon with the routes of one listener on all addresses."""
    return lambda routes, **listener: start({
        "listeners": [{"bind": f":{PORT}", "routes": routes, **listener}], "process": {"drain_timeout": "2s"}})


def target(lab, k, port=ORIGIN_PORT):
    return f"tcp://{lab.origins[k].address}:{port}"


def greeter(lab, k, word, port=ORIGIN_PORT):
    """A server that speaks first."""
    return lab.origins[k].start("/usr/bin/python3", "-c", f"""
import socket
server = socket.create_server(("0.0.0.0", {port}))
while True:
    client, _ = server.accept()
    client.sendall({word!r})
    client.close()
""", name=f"greeter{k}-{port}")


def hear(namespace, address, data=b""):
    with namespace.connect(address, PORT) as client:
        if data:
            client.sendall(data)
        heard = b""
        while part := client.recv(64):
            heard += part
        return heard


def wait_closes(daemon, reason, count=1):
    laboratory.wait_until(lambda: daemon.status()["closes"][reason] >= count, f"{count} connections closed: {reason}")


def test_by_source_and_destination(lab, start_routes):
    """Nothing is waited for: the servers speak first."""
    servers = [greeter(lab, 0, b"far"), greeter(lab, 1, b"inner"), greeter(lab, 1, b"rest", ORIGIN_PORT + 1)]
    for server, port in zip(servers, (ORIGIN_PORT, ORIGIN_PORT, ORIGIN_PORT + 1)):
        server.wait_port(port)
    daemon = start_routes([{"source": [f"{lab.client.address}/32"], "destination": ["198.51.100.0/28"],
                            "pass": target(lab, 1)},
                           {"source": ["192.0.2.0/24", "2001:db8:1::/64"], "pass": target(lab, 0)},
                           {"source": ["198.51.100.16/28"], "pass": target(lab, 1, ORIGIN_PORT + 1)}],
                          timeouts={"hello": "60s"})
    assert hear(lab.client, lab.node.address) == b"far"
    assert hear(lab.client, "198.51.100.1") == b"inner"
    assert hear(lab.origins[1], lab.node.address) == b"rest"
    assert hear(lab.origins[0], lab.node.address) == b""
    assert daemon.status()["closes"]["no_route"] == 1
    for server in servers:
        server.kill()


def s_client(lab, *options):
    return lab.client.run("openssl", "s_client", "-connect", f"{lab.node.address}:{PORT}", *options, check=False).stdout


def test_by_alpn(lab, start_routes, authority):
    servers = [laboratory.TlsServer(lab.origins[0], authority.issue("queue.test"), ORIGIN_PORT, name="queue",
                                    arguments=("-www", "-alpn", "mqtt,x-queue")),
               laboratory.TlsServer(lab.origins[1], authority.issue("web.test"), ORIGIN_PORT, name="web",
                                    arguments=("-www", "-alpn", "http/1.1"))]
    daemon = start_routes([{"alpn": ["mqtt", "x-queue"], "pass": target(lab, 0)},
                           {"alpn": "http/1.1", "pass": target(lab, 1)}])
    assert "CN = queue.test" in s_client(lab, "-alpn", "mqtt")
    assert "CN = queue.test" in s_client(lab, "-alpn", "h3,x-queue")
    assert "CN = web.test" in s_client(lab, "-alpn", "h2,http/1.1")
    resolve = ("--cacert", authority.file, "--resolve", f"web.test:{PORT}:{lab.node.address}", f"https://web.test:{PORT}/")
    lab.client.run("curl", "-sS", "--fail", *resolve)
    assert "no peer certificate" in s_client(lab, "-alpn", "mqt")
    assert lab.client.run("curl", "-sS", "--no-alpn", *resolve, check=False).returncode != 0
    daemon.expect(no_route=2)
    for server in servers:
        server.process.kill()


def test_alpn_chooses_between_the_lanes(lab, start_routes, authority):
    """One port: a protocol that is passed, and HTTP that is ended here."""
    certificate = authority.issue("web.test")
    server = laboratory.TlsServer(lab.origins[0], authority.issue("queue.test"), ORIGIN_PORT, name="queue")
    nginx = laboratory.Nginx(lab.origins[1], http=f"server {{ listen {ORIGIN_PORT}; location / {{ return 200 web; }} }}")
    start_routes([{"alpn": "mqtt", "pass": target(lab, 0)}, {"to": f"http://{lab.origins[1].address}:{ORIGIN_PORT}"}],
          tls={"certificates": [str(certificate.bundle)]})
    assert "CN = queue.test" in s_client(lab, "-alpn", "mqtt")
    assert lab.client.run("curl", "-sS", "--fail", "--cacert", authority.file, "--resolve",
                          f"web.test:{PORT}:{lab.node.address}", f"https://web.test:{PORT}/").stdout == "web"
    server.process.kill()
    nginx.stop()


def test_server_speaks_first_beside_names(lab, start_routes, authority):
    """A port with names and a route of all else: who says nothing is passed to the latter when the time for a
    ClientHello is over; who says something that is not TLS goes there at once."""
    server = greeter(lab, 0, b"SSH-2.0-lab\r\n")
    server.wait_port(ORIGIN_PORT)
    tls = laboratory.TlsServer(lab.origins[1], authority.issue("web.test"), ORIGIN_PORT)
    daemon = start_routes([{"sni": "web.test", "pass": target(lab, 1)}, {"pass": target(lab, 0)}],
                          timeouts={"hello": "3s"})
    assert hear(lab.client, lab.node.address) == b"SSH-2.0-lab\r\n"
    assert "CN = web.test" in s_client(lab, "-servername", "web.test")
    with lab.client.connect(lab.node.address, PORT) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01")  # half a ClientHello is not silence
        wait_closes(daemon, "hello_timeout")
    server.kill()
    tls.process.kill()


def test_silent_where_all_is_names(lab, start_routes):
    daemon = start_routes([{"sni": "web.test", "pass": target(lab, 1)}], timeouts={"hello": "300ms"})
    assert hear(lab.client, lab.node.address) == b""
    assert daemon.status()["closes"]["hello_timeout"] == 1


def test_silent_where_the_rest_is_http(lab, start_routes):
    """HTTP servers do not speak first: nothing is gained by waiting longer."""
    daemon = start_routes([{"sni": "web.test", "pass": target(lab, 1)},
                    {"to": f"http://{lab.origins[0].address}:{ORIGIN_PORT}"}], timeouts={"hello": "300ms"})
    assert hear(lab.client, lab.node.address) == b""
    wait_closes(daemon, "hello_timeout")


# ---- ClientHellos of every kind ----

def with_extensions(name, *extensions):
    """A ClientHello message for this name with more extensions, (type, data), behind its own."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    body = outgoing.read()[9:]  # behind the headers of the record and of the message
    at = 34
    at += 1 + body[at]
    at += 2 + int.from_bytes(body[at:at + 2], "big")
    at += 1 + body[at]
    more = b"".join(struct.pack("!HH", kind, len(data)) + data for kind, data in extensions)
    body = body[:at] + struct.pack("!H", int.from_bytes(body[at:at + 2], "big") + len(more)) + body[at + 2:] + more
    return b"\x01" + len(body).to_bytes(3, "big") + body


def in_records(message, size):
    return b"".join(b"\x16\x03\x01" + struct.pack("!H", len(message[at:at + size])) + message[at:at + size]
                    for at in range(0, len(message), size))


def arrives(lab, data, step):
    """Sends the bytes in pieces; origin 0 must get exactly them."""
    with lab.origins[0].listen(ORIGIN_PORT) as listener, lab.client.connect(lab.node.address, PORT) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), step):
            client.sendall(data[at:at + step])
        origin, _ = listener.accept()
        with origin:
            origin.settimeout(20)
            got = b""
            while len(got) < len(data):
                got += origin.recv(65536)
            return got == data


def test_encrypted_client_hello_goes_by_its_outer_name(lab, start_routes):
    """RFC 9849: the name that is sealed inside is the server's to know; the one outside leads there."""
    start_routes([{"sni": "outer.example.com", "pass": target(lab, 0)}, {"pass": target(lab, 1)}])
    ech = struct.pack("!BHHBH", 0, 1, 1, 7, 32) + bytes(32) + struct.pack("!H", 240) + b"inner.example.com".ljust(240, b"x")
    assert arrives(lab, in_records(with_extensions("outer.example.com", (0xfe0d, ech)), 16384), 1 << 20)


@pytest.mark.parametrize("record, step", ((16384, 1 << 20), (16384, 1000), (100, 1400), (3, 60000)))
def test_hello_of_64_kib_in_records_and_segments_of_any_size(lab, start_routes, record, step):
    """As large as the limit lets it be, with its headers; post-quantum key shares are what fills it."""
    daemon = start_routes([{"sni": "large.example.com", "pass": target(lab, 0)}, {"pass": target(lab, 1)}])
    room = 65536 * record // (record + 5)
    message = with_extensions("large.example.com", (0x5a5a, b""))
    message = with_extensions("large.example.com", (0x5a5a, bytes(room - len(message) - 600)))
    data = in_records(message, record)
    assert 60000 < len(data) <= 65536
    assert arrives(lab, data, step)
    larger = in_records(with_extensions("large.example.com", (0x5a5a, bytes(64900))), 300)
    assert len(larger) > 65536
    with lab.client.connect(lab.node.address, PORT) as client:
        client.sendall(larger)
        wait_closes(daemon, "hello_too_large")


def test_tls_and_other_protocols_on_one_port(lab, start_routes, authority):
    """Nothing is waited for: the first bytes tell."""
    servers = [laboratory.TlsServer(lab.origins[1], authority.issue("web.test"), ORIGIN_PORT)]
    daemon = start_routes([{"sni": "web.test", "pass": target(lab, 1)}, {"sni": "*.web.test", "pass": target(lab, 1)},
                           {"pass": target(lab, 0)}], timeouts={"hello": "60s"})
    for word in (b"SSH-2.0-client\r\n", b"GET / HTTP/1.0\r\n\r\n", b"\x16\x02", b"\x00" * 8, b"*1\r\n$4\r\nPING\r\n"):
        assert arrives(lab, word, 1 << 20), word
    assert "CN = web.test" in s_client(lab, "-servername", "web.test")
    assert "CN = web.test" in s_client(lab, "-servername", "a.web.test")
    assert arrives(lab, in_records(with_extensions("other.test"), 16384), 1 << 20)  # TLS, and of no name that is known
    assert daemon.status()["closes"]["hello_timeout"] == 0
    servers[0].process.kill()


# ---- where connections come in, and go ----

def test_ports_of_a_range(lab, start):
    daemon = start({
        "listeners": [{"name": "many", "bind": [f"{lab.node.address}:9100-9104", f"[{lab.node.address6}]:9100-9101"],
                       "routes": [{"pass": target(lab, 0)}]}], "process": {"drain_timeout": "2s", "threads": 2}})
    assert daemon.status()["listeners"][0]["binds"] == [f"{lab.node.address}:9100-9104",
                                                        f"[{lab.node.address6}]:9100-9101"]
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        for port in range(9100, 9105):
            with lab.client.connect(lab.node.address, port) as client:
                client.sendall(b"%d" % port)
                origin, _ = listener.accept()
                with origin:
                    origin.settimeout(20)
                    assert origin.recv(4) == b"%d" % port
        with pytest.raises(ConnectionRefusedError):
            lab.client.connect(lab.node.address, 9105)
        # A reload that moves the range keeps what is in both.
        with lab.client.connect(lab.node.address, 9104) as client:
            origin, _ = listener.accept()
            daemon.reload({
                "listeners": [{"name": "many", "bind": f"{lab.node.address}:9104-9106",
                               "routes": [{"pass": target(lab, 0)}]}], "process": {"drain_timeout": "2s", "threads": 2}})
            client.sendall(b"kept")
            with origin:
                origin.settimeout(20)
                assert origin.recv(4) == b"kept"
        lab.client.connect(lab.node.address, 9106).close()
        with pytest.raises(ConnectionRefusedError):
            lab.client.connect(lab.node.address, 9100)


@pytest.fixture
def open_directory():
    """Where the worker's user gets to, other than to the folders of pytest."""
    with tempfile.TemporaryDirectory(prefix="penstock-test-") as directory:
        path = pathlib.Path(directory)
        path.chmod(0o755)
        yield path


@pytest.mark.parametrize("relay", ("auto", "copy", "pipe", "sockmap"))
@pytest.mark.parametrize("sides", ("client", "origin", "both"))
def test_unix_sockets(lab, start, open_directory, relay, sides):
    door, room = lab.directory / "door.sock", open_directory / "room.sock"
    bind = f"unix:{door}" if sides != "origin" else f"{lab.node.address}:{PORT}"
    server = f"unix:{room}" if sides != "client" else f"{lab.origins[0].address}:{ORIGIN_PORT}"
    if sides == "client":
        listener = lab.origins[0].listen(ORIGIN_PORT)
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(room))
        room.chmod(0o777)
        listener.listen(8)
    daemon = start({"listeners": [{"bind": bind, "routes": [{"pass": "service", "relay": relay}]}],
                    "origins": {"service": {"servers": [server]}}, "process": {"drain_timeout": "2s"}})
    with listener:
        if sides == "origin":
            client = lab.client.connect(lab.node.address, PORT)
        else:
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(20)
            client.connect(str(door))
        listener.settimeout(20)
        origin, _ = listener.accept()
        block = bytes(range(256)) * 8192
        with client, origin:
            for sender, receiver in ((client, origin), (origin, client)):
                sender.settimeout(20)
                thread = threading.Thread(target=lambda: (sender.sendall(block), sender.shutdown(socket.SHUT_WR)))
                thread.start()
                got = b""
                while part := receiver.recv(1 << 20):
                    got += part
                thread.join()
                assert got == block
    laboratory.wait_until(lambda: daemon.status()["closes"]["done"] == 1, "it has ended well")
    # A sockmap takes none of them, and so many bytes then go by a pipe.
    route = daemon.status()["listeners"][0]["routes"][0]
    assert route["relay"] == ("copy" if relay == "copy" else "pipe"), route["why_not_faster"]
