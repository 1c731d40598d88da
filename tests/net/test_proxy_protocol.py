# SPDX-License-Identifier: Apache-2.0
"""PROXY protocol: HAProxy in front, nginx behind, and peers that get it wrong."""
import json
import socket
import ssl
import struct

import pytest

import lab as laboratory

PORT = 9000
ORIGIN_PORT = 7000
HAPROXY_PORT = 8100
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 203.0.113.7 203.0.113.1 4444 443\r\n"
V2 = SIGNATURE + bytes.fromhex("2111000c cb007107 cb007101 115c01bb")
LOCAL = SIGNATURE + bytes.fromhex("20000000")


def config(lab, send="off", trusted=None, routes=None, origin=None, **listener):
    """The client's namespace is the trusted proxy, unless told otherwise."""
    return {
        "listeners": [{"bind": f"{lab.node.address}:{PORT}", "routes": routes or [{"pass": "service"}],
                       "proxy_protocol": {"from": [trusted or f"{lab.client.address}/32"]}, **listener}],
        "origins": {"service": {"servers": [f"{lab.origins[0].address}:{ORIGIN_PORT}"], "proxy_protocol": send,
                                **(origin or {})}},
        "process": {"drain_timeout": "2s"},
    }


def wait_closes(daemon, reason, count=1):
    laboratory.wait_until(lambda: daemon.status()["closes"][reason] >= count, f"{count} connections closed: {reason}")


def client_of(daemon, message="connection"):
    """The client's address in the last such line of the log."""
    lines = [line for line in daemon.log().splitlines() if message in line and "client" in line]
    entry = json.loads(lines[-1]) if lines[-1].startswith("{") else dict(
        word.split("=", 1) for word in lines[-1].split() if "=" in word)
    return entry["client"]


# ---- Other people's programs ----

HAPROXY = """\
defaults
    mode tcp
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend front
    bind {address}:{port}
    default_backend node
backend node
    server node {node}:{node_port} {send}
"""

NGINX = """\
    server {{
        listen {port} proxy_protocol;
        set_real_ip_from {node};
        real_ip_header proxy_protocol;
        location / {{
            return 200 "$remote_addr $proxy_protocol_server_addr $proxy_protocol_server_port $connection_requests $http_x_forwarded_for\\n";
        }}
    }}
"""


@pytest.mark.parametrize("lane", ("pass", "to"))
@pytest.mark.parametrize("send, option", (("v1", "send-proxy"), ("v2", "send-proxy-v2"),
                                          ("v2", "send-proxy-v2 proxy-v2-options crc32c")))
def test_between_haproxy_and_nginx(lab, start, lane, send, option):
    """HAProxy tells penstock, which tells nginx; the client's own address arrives, and HAProxy's that it came to."""
    far = lab.origins[1]
    daemon = start(config(lab, send, routes=[{lane: "service"}]))
    text = lab.directory / "haproxy.cfg"
    text.write_text(HAPROXY.format(address=lab.client.address, port=HAPROXY_PORT, node=lab.node.address, node_port=PORT,
                                   send=option))
    haproxy = lab.client.start("haproxy", "-db", "-f", text)
    haproxy.wait_port(HAPROXY_PORT)
    nginx = laboratory.Nginx(lab.origins[0], http=NGINX.format(port=ORIGIN_PORT, node="198.51.100.1"))
    url = f"http://{lab.client.address}:{HAPROXY_PORT}/"
    lines = far.run("curl", "-sS", "--fail", url, url).stdout.splitlines()
    lines += far.run("curl", "-sS", "--fail", url).stdout.splitlines()
    assert len(lines) == 3
    for k, line in enumerate(lines):
        # Spliced, both requests of one client are on one connection; terminated, each has an origin connection of
        # its own, since a kept one would tell of another client.
        nth = "2" if lane == "pass" and k == 1 else "1"
        forwarded = far.address if lane == "to" else ""
        assert line.rstrip() == f"{far.address} {lab.client.address} {HAPROXY_PORT} {nth} {forwarded}".rstrip()
    wait_closes(daemon, "done", 1)
    assert far.address in daemon.log()
    assert daemon.status()["closes"]["proxy_malformed"] == 0
    haproxy.kill()
    nginx.stop()


def test_tls_reencrypted_behind_the_header(lab, start, authority):
    """The header goes before TLS toward the origin."""
    certificate = authority.issue("origin.test")
    nginx = laboratory.Nginx(lab.origins[0], http=f"""
    server {{
        listen {ORIGIN_PORT} ssl proxy_protocol;
        ssl_certificate {certificate.chain};
        ssl_certificate_key {certificate.key};
        location / {{ return 200 "$proxy_protocol_addr\\n"; }}
    }}""")
    start(config(lab, "v2", trusted="203.0.113.0/24", routes=[{"to": "service"}],
                 origin={"tls": {"ca": str(authority.file), "server_name": "origin.test"}}))
    answer = lab.client.run("curl", "-sS", "--fail", f"http://{lab.node.address}:{PORT}/").stdout
    assert answer == f"{lab.client.address}\n"
    nginx.stop()


# ---- What comes in ----

def pair(lab, listener, data):
    client = lab.client.connect(lab.node.address, PORT)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(data)
    origin, _ = listener.accept()
    origin.settimeout(20)
    return client, origin


def receive(sock, length):
    data = b""
    while len(data) < length:
        part = sock.recv(length - len(data))
        assert part, data
        data += part
    return data


@pytest.mark.parametrize("header", (V1, V2), ids=("v1", "v2"))
def test_header_in_pieces(lab, start, header):
    """Cut anywhere; what stands behind it is the client's, and nothing is lost or added."""
    daemon = start(config(lab))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client, origin = pair(lab, listener, header + b"at once")
        assert receive(origin, 7) == b"at once"
        client.sendall(b"later")
        assert receive(origin, 5) == b"later"
        client.close()
        assert origin.recv(1) == b""
        origin.close()
        client = lab.client.connect(lab.node.address, PORT)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in header + b"byte by byte":
            client.sendall(bytes([byte]))
        origin, _ = listener.accept()
        origin.settimeout(20)
        assert receive(origin, 12) == b"byte by byte"
        client.close()
        assert origin.recv(1) == b""
        origin.close()
        # The server may speak first: the header is all that is waited for.
        client, origin = pair(lab, listener, header)
        origin.sendall(b"banner")
        assert receive(client, 6) == b"banner"
        client.close()
        assert origin.recv(1) == b""
        origin.close()
    wait_closes(daemon, "done", 3)
    assert client_of(daemon) == "203.0.113.7:4444"


def test_what_is_wrong_is_closed_and_counted(lab, start):
    daemon = start(config(lab, timeouts={"hello": "2s"}))
    clients = []
    for data in (b"GET / HTTP/1.1\r\n\r\n", V1.replace(b"203.0.113.7", b"203.0.113.256"), b"PROXY TCP4 \r\n",
                 SIGNATURE + b"\x31", SIGNATURE + b"\x21\x11\xff\xff", V2[:-1]):
        client = lab.client.connect(lab.node.address, PORT)
        client.sendall(data)
        clients.append(client)
    wait_closes(daemon, "proxy_malformed", 5)
    wait_closes(daemon, "proxy_timeout", 1)  # the last one, cut short
    silent = lab.client.connect(lab.node.address, PORT)
    wait_closes(daemon, "proxy_timeout", 2)
    gone = lab.client.connect(lab.node.address, PORT)
    gone.sendall(V1[:10])
    gone.close()
    wait_closes(daemon, "client_abort", 1)
    for client in (*clients, silent):
        client.close()
    closes = daemon.status()["closes"]
    assert (closes["proxy_malformed"], closes["proxy_timeout"], closes["client_abort"]) == (5, 2, 1)


def test_untrusted_bytes_are_bytes(lab, start):
    """A client that writes a header is not believed: the origin sees what it wrote."""
    daemon = start(config(lab, trusted="203.0.113.0/24"))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client, origin = pair(lab, listener, V1 + b"x")
        assert receive(origin, len(V1) + 1) == V1 + b"x"
        client.close()
        assert origin.recv(1) == b""
        origin.close()
    wait_closes(daemon, "done")
    assert client_of(daemon).startswith(lab.client.address + ":")


def test_local_keeps_the_real_address(lab, start):
    start(config(lab, "v1"))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        for header in (LOCAL, b"PROXY UNKNOWN\r\n"):
            client, origin = pair(lab, listener, header)
            told = f"PROXY TCP4 {lab.client.address} {lab.node.address} {client.getsockname()[1]} {PORT}\r\n".encode()
            assert receive(origin, len(told)) == told
            client.close()
            assert origin.recv(1) == b""
            origin.close()


def test_client_of_a_unix_socket_has_no_address(lab, start):
    """Neither in the log nor in the live table, where the proxy's stood until its header came."""
    daemon = start(config(lab))
    paths = b"/run/app.sock".ljust(108, b"\0") * 2
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client, origin = pair(lab, listener, SIGNATURE + struct.pack("!BBH", 0x21, 0x31, len(paths)) + paths)
        [stream] = json.loads(daemon.command("flows", "--json", "--runtime-dir", daemon.runtime_dir).stdout)["streams"]
        assert stream["client"] is None
        client.close()
        assert origin.recv(1) == b""
        origin.close()
    wait_closes(daemon, "done")
    assert client_of(daemon) == "unix:/run/app.sock"


def test_tls_behind_a_header_is_routed_by_name(lab, start, authority):
    """PROXY, then ClientHello: one after the other, also in one segment."""
    certificate = authority.issue("one.example.com")
    start(config(lab, routes=[{"sni": "one.example.com", "pass": "service"}]))
    server = laboratory.TlsServer(lab.origins[0], certificate, ORIGIN_PORT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context(cafile=authority.file).wrap_bio(incoming, outgoing,
                                                                     server_hostname="one.example.com")
    client = lab.client.connect(lab.node.address, PORT)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    client.sendall(V2 + outgoing.read())
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            incoming.write(client.recv(65536))
    assert tls.getpeercert()["subjectAltName"] == (("DNS", "one.example.com"),)
    client.close()
    server.process.kill()


# ---- Who may be here ----

def test_access_by_the_client_that_is_told(lab, start):
    daemon = start(config(lab, access={"allow": ["203.0.113.0/24"], "deny": ["203.0.113.66"]}))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client, origin = pair(lab, listener, V1)
        client.close()
        assert origin.recv(1) == b""
        origin.close()
        for denied in (V1.replace(b"203.0.113.7 ", b"203.0.113.66 "), V1.replace(b"203.0.113.7 ", b"192.0.2.77 "),
                       LOCAL):
            client = lab.client.connect(lab.node.address, PORT)
            client.sendall(denied + b"data that nobody will read")
            assert client.recv(1) == b""  # an end, not a reset
            client.close()
    assert daemon.status()["closes"]["access_denied"] == 3


def test_access_by_the_direct_client(lab, start):
    daemon = start(config(lab, trusted="203.0.113.0/24", access={"deny": [f"{lab.client.address}/32"]}))
    client = lab.client.connect(lab.node.address, PORT)
    assert client.recv(1) == b""
    client.close()
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client = lab.origins[1].connect(lab.node.address, PORT)
        origin, _ = listener.accept()
        client.close()
        origin.close()
    assert daemon.status()["closes"]["access_denied"] == 1


def test_bounds_count_the_client_that_is_told(lab, start):
    """One proxy in front is not one source."""
    daemon = start(config(lab, limits={"per_source": {"connections": 1}}))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        kept = [*pair(lab, listener, V1), *pair(lab, listener, V1.replace(b"203.0.113.7 ", b"203.0.113.8 "))]
        client = lab.client.connect(lab.node.address, PORT)
        client.sendall(V1)
        wait_closes(daemon, "limit_source")
        client.close()
        for sock in kept:
            sock.close()
        wait_closes(daemon, "done", 2)
        for sock in pair(lab, listener, V1):  # its place is free again
            sock.close()


# ---- What goes out ----

def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def split_tlvs(data):
    found = {}
    while data:
        kind, length = struct.unpack("!BH", data[:3])
        assert kind not in found and len(data) >= 3 + length
        found[kind] = data[3:3 + length]
        data = data[3 + length:]
    return found


def receive_v2(origin):
    """(source, destination, TLVs) of a header that says TCP over IPv4 and has a right checksum."""
    head = receive(origin, 16)
    assert head[:14] == SIGNATURE + b"\x21\x11"
    block = receive(origin, struct.unpack("!H", head[14:])[0])
    source, destination, *ports = struct.unpack("!4s4sHH", block[:12])
    found = split_tlvs(block[12:])
    told = struct.unpack("!I", found[3])[0]
    place = block.rindex(b"\x03\x00\x04" + found[3]) + 3
    assert crc32c(head + block[:place] + bytes(4) + block[place + 4:]) == told
    return (socket.inet_ntoa(source), ports[0]), (socket.inet_ntoa(destination), ports[1]), found


def client_hello(name, alpn):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.set_alpn_protocols(alpn)
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def test_spliced_tls_is_described(lab, start):
    start(config(lab, "v2", trusted="203.0.113.0/24",
                 routes=[{"sni": "db.example.com", "pass": "service"}, {"pass": "service"}]))
    ids = []
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        for hello, alpn, name in ((client_hello("db.example.com", ["postgresql"]), b"postgresql", b"db.example.com"),
                                  (client_hello("db.example.com", ["h2", "http/1.1"]), None, b"db.example.com"),
                                  (b"no TLS at all", None, None)):
            client, origin = pair(lab, listener, hello)
            source, destination, found = receive_v2(origin)
            assert source == client.getsockname() and destination == (lab.node.address, PORT)
            assert (found.get(1), found.get(2), found.get(0x20)) == (alpn, name, None)
            ids.append(found[5])
            assert receive(origin, len(hello)) == hello
            client.close()
            origin.close()
    assert len(set(ids)) == 3 and all(len(name) == 32 for name in ids)


def test_ended_tls_is_described(lab, start, authority):
    certificate = authority.issue("web.example.com")
    start(config(lab, "v2", trusted="203.0.113.0/24", routes=[{"to": "service"}],
                 tls={"certificates": [str(certificate.bundle)]}))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client = ssl.create_default_context(cafile=authority.file).wrap_socket(
            lab.client.connect(lab.node.address, PORT), server_hostname="web.example.com")
        ids = set()
        for _ in range(2):  # of one client: a connection for each request, and one id
            client.sendall(b"GET / HTTP/1.1\r\nHost: web.example.com\r\n\r\n")
            origin, _ = listener.accept()
            origin.settimeout(20)
            source, destination, found = receive_v2(origin)
            assert source == client.getsockname()
            assert destination == (lab.node.address, PORT) and found[2] == b"web.example.com"
            ids.add(found[5])
            assert found[0x20][0] == 1 and struct.unpack("!I", found[0x20][1:5])[0] != 0
            ssl_found = split_tlvs(found[0x20][5:])
            assert ssl_found == {0x21: client.version().encode(), 0x23: client.cipher()[0].encode()}
            while not origin.recv(65536).endswith(b"\r\n\r\n"):
                pass
            origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
            assert origin.recv(1) == b""  # not kept for others
            origin.close()
        assert len(ids) == 1
        client.close()


def test_header_follows_to_the_next_server(lab, start):
    """Each server that is tried hears it, first of all."""
    start(config(lab, "v1", trusted="203.0.113.0/24", origin={
        "servers": [f"{lab.origins[1].address}:{ORIGIN_PORT}", f"{lab.origins[0].address}:{ORIGIN_PORT}"]}))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:  # nobody listens at the other
        for _ in range(2):
            client, origin = pair(lab, listener, b"x")
            told = f"PROXY TCP4 {lab.client.address} {lab.node.address} {client.getsockname()[1]} {PORT}\r\nx".encode()
            assert receive(origin, len(told)) == told
            client.close()
            origin.close()
