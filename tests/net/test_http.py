# SPDX-License-Identifier: Apache-2.0
"""The terminate lane with real clients and origins: routes, bodies, headers, failures, attempts to smuggle."""
import hashlib
import os
import pathlib
import re
import signal
import socket
import ssl
import struct
import threading
import time

import pytest

import lab as laboratory

PORT = 9000
TLS_PORT = 9443
WEB_PORT = 7000
RAW_PORT = 7001
NAME = "site.example.com"
MIB = 1 << 20


class Request:
    def __init__(self, head, body):
        line, *fields = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = line.split(" ")
        self.fields = [(name.lower(), value.strip()) for name, _, value in (field.partition(":") for field in fields)]
        self.body = body

    def all(self, name):
        return [value for key, value in self.fields if key == name]


def read_chunks(stream):
    body = b""
    while True:
        size = int(stream.readline().split(b";")[0], 16)
        part = stream.read(size + 2)
        if size == 0:
            return body
        body += part[:-2]


class RawOrigin:
    """An origin that does exactly what `answer(request, connection)` says: bytes to send, or None to close."""

    def __init__(self, namespace, answer, port=RAW_PORT):
        self.answer = answer
        self.requests = []
        self.n_connections = 0
        self.listener = namespace.listen(port, timeout_s=None)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.n_connections += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        stream = connection.makefile("rb")
        try:
            while self.serve_one(connection, stream):
                pass
        except (ConnectionError, ValueError, OSError):
            pass
        finally:
            stream.close()
            connection.close()

    def serve_one(self, connection, stream):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                return False
            head += line
        request = Request(head[:-4], b"")
        if request.all("expect"):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.all("transfer-encoding"):
            request.body = read_chunks(stream)
        elif request.all("content-length"):
            request.body = stream.read(int(request.all("content-length")[0]))
            if len(request.body) != int(request.all("content-length")[0]):
                return False
        self.requests.append(request)
        response = self.answer(request, connection)
        if response is not None:
            connection.sendall(response)
        return response is not None

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def length(body, status="200 OK"):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def origin_of(namespace, port=RAW_PORT, **timeouts):
    return {"servers": [f"{namespace.address}:{port}"], "timeouts": {"connect": "500ms", **timeouts}}


def config(lab, routes=None, origins=None, timeouts=None, process=None):
    return {
        "listeners": [{"bind": f"{lab.node.address}:{PORT}", "timeouts": timeouts or {},
                       "routes": routes or [{"to": "raw"}]}],
        "origins": {"raw": origin_of(lab.origins[0], response="20s"), **(origins or {})},
        "process": {"drain_timeout": "2s", **(process or {})},
    }


@pytest.fixture
def raw(lab):
    """Starts raw origins in the first origin's namespace."""
    origins = []

    def start_origin(answer):
        origins.append(RawOrigin(lab.origins[0], answer))
        return origins[-1]

    yield start_origin
    for origin in origins:
        origin.close()


@pytest.fixture
def nginx(lab):
    servers = []

    def start_nginx(namespace, http, **options):
        servers.append(laboratory.Nginx(namespace, http=http, name=f"nginx-{len(servers)}", **options))
        return servers[-1]

    yield start_nginx
    for server in servers:
        server.stop()


def curl(lab, path, *options, host=None, check=True, **more):
    """Body, status and what curl said of itself."""
    arguments = ["-sS", "--max-time", "100", *options]
    if host:
        arguments += ["-H", f"Host: {host}"]
    url = path if "://" in path else f"http://{lab.node.address}:{PORT}{path}"
    return lab.client.run("curl", *arguments, url, check=check, timeout_s=120, **more)


def talk(lab, data, half_close=True):
    """Everything that comes back for these bytes."""
    client = lab.client.connect(lab.node.address, PORT)
    client.sendall(data)
    if half_close:
        client.shutdown(socket.SHUT_WR)
    received = b""
    try:
        while part := client.recv(65536):
            received += part
    finally:
        client.close()
    return received


def receive_response(client):
    """One response with a length, off a socket."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = client.recv(65536)
        assert part, f"ended within a head: {data!r}"
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    size = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
    while len(body) < size:
        part = client.recv(65536)
        assert part, "ended within a body"
        body += part
    assert len(body) == size
    return head.split(b"\r\n")[0].split(b" ", 2)[1].decode(), body


def rss_kib(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text).group(1))


def sha256_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(MIB):
            digest.update(block)
    return digest.hexdigest()


def random_file(path, size):
    block = os.urandom(MIB)
    with open(path, "wb") as file:
        for number in range(size // MIB):
            file.write(struct.pack("!Q", number) + block[8:])
    return sha256_file(path)


def test_routes_on_host_and_path(lab, start, nginx):
    for k, origin in enumerate(lab.origins):
        nginx(origin, f"server {{ listen {WEB_PORT}; return 200 'origin{k} $request_uri'; }}")
    daemon = start(config(lab, routes=[
        {"host": NAME, "path": "/api", "to": f"http://{lab.origins[1].address}:{WEB_PORT}"},
        {"host": NAME, "to": f"http://{lab.origins[0].address}:{WEB_PORT}"},
        {"host": "*.example.net", "to": f"http://{lab.origins[1].address}:{WEB_PORT}"},
    ]))
    for host, path, expected in (
            (NAME, "/", "origin0 /"), (NAME, "/api", "origin1 /api"), (NAME, "/api/x?y", "origin1 /api/x?y"),
            (NAME, "/apix", "origin0 /apix"), (NAME.upper() + ":80", "/api", "origin1 /api"),
            (NAME, "/x/../api/y", "origin1 /x/../api/y"), (NAME, "/%61pi", "origin1 /%61pi"),
            ("a.example.net", "/", "origin1 /")):
        assert curl(lab, path, "--path-as-is", host=host).stdout == expected
    missing = curl(lab, "/", "-w", "%{http_code}", host="other.example.org").stdout
    assert missing.endswith("404")
    counters = daemon.status()["counters"]
    assert (counters["requests"], counters["responses_2xx"], counters["responses_4xx"]) == (9, 8, 1)
    assert daemon.status()["closes"]["no_route"] == 1


def test_forwarding_headers_are_ours(lab, start, raw):
    origin = raw(lambda request, _: length(b"ok"))
    start(config(lab))
    curl(lab, "/", "-H", "X-Forwarded-For: 203.0.113.9", "-H", "X_Forwarded_For: 203.0.113.9", "-H",
         "Forwarded: for=203.0.113.9", "-H", "X-Real-IP: 203.0.113.9", "-H", "X-Forwarded-Proto: https", "-H",
         "X-Forwarded-Host: evil", "-H", "Connection: keep-alive, X-Secret-Hop", "-H", "X-Secret-Hop: 1", "-H",
         "TE: trailers", "-H", "Upgrade: websocket", "-H", "X-Kept: yes", host=NAME)
    request = origin.requests[0]
    assert request.version == "HTTP/1.1"
    assert request.all("x-forwarded-for") == [lab.client.address]
    assert request.all("x-forwarded-proto") == ["http"]
    assert request.all("x-forwarded-host") == [NAME]
    assert request.all("host") == [NAME]
    assert request.all("x-kept") == ["yes"]
    for name in ("x_forwarded_for", "forwarded", "x-real-ip", "connection", "x-secret-hop", "te", "upgrade"):
        assert request.all(name) == []


def test_keep_alive_on_both_sides(lab, start, raw):
    origin = raw(lambda request, _: length(request.target.encode()))
    daemon = start(config(lab, process={"threads": 1}))
    client = lab.client.connect(lab.node.address, PORT)
    for number in range(100):
        client.sendall(f"GET /{number} HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        assert receive_response(client) == ("200", f"/{number}".encode())
    client.close()
    assert origin.n_connections == 1
    assert daemon.status()["counters"]["origin_reuses"] == 99


def test_pipelined_requests_are_answered_in_order(lab, start, raw):
    raw(lambda request, _: length(request.target.encode() + request.body))
    start(config(lab))
    data = b"".join(f"POST /{number} HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 3\r\n\r\nabc".encode()
                    for number in range(200))
    received = talk(lab, data)
    assert re.findall(rb"/\d+abc", received) == [f"/{number}abc".encode() for number in range(200)]


@pytest.mark.parametrize("lane", ("http-http", "https-https"))
def test_gibibyte_down_and_up(lab, start, nginx, authority, tmp_path, lane):
    size = 1 << 30 if lane == "http-http" else 128 * MIB
    site, inner = authority.issue(NAME), authority.issue("inner.example.com")
    listen = f"listen {WEB_PORT}" + (" ssl" if lane == "https-https" else "")
    server = nginx(lab.origins[0], f"""
        server {{
            {listen};
            ssl_certificate {inner.chain};
            ssl_certificate_key {inner.key};
            root $root;
            dav_methods PUT;
            client_body_temp_path $root;
        }}""")
    origins = {"web": origin_of(lab.origins[0], WEB_PORT)}
    configuration = config(lab, routes=[{"to": "web"}], origins=origins)
    url = f"http://{lab.node.address}:{PORT}"
    options = []
    if lane == "https-https":
        origins["web"]["tls"] = {"ca": str(authority.file), "server_name": "inner.example.com"}
        configuration = config(lab, routes=[{"to": "web"}], origins=origins)
        configuration["listeners"][0]["tls"] = {"certificates": [str(site.bundle)]}
        url = f"https://{NAME}:{PORT}"
        options = ["--cacert", str(authority.file), "--resolve", f"{NAME}:{PORT}:{lab.node.address}"]
    daemon = start(configuration)
    digest = random_file(server.root / "big", size)
    fetched = tmp_path / "fetched"
    curl(lab, f"{url}/big", *options, "--fail", "-o", str(fetched))
    assert sha256_file(fetched) == digest
    curl(lab, f"{url}/put", *options, "--fail", "-T", str(fetched))
    assert sha256_file(server.root / "put") == digest
    route = daemon.status()["listeners"][0]["routes"][0]
    assert route["bytes_from_client"] > size and route["bytes_to_client"] > size
    if lane == "http-http":
        assert route["relay"] in ("pipe", "none")
    for path in (fetched, server.root / "put", server.root / "big"):
        path.unlink()


def test_reencryption_is_verified(lab, start, nginx, authority, tmp_path):
    inner = authority.issue("inner.example.com")
    other = laboratory.Authority(tmp_path / "other", name="another CA")
    nginx(lab.origins[0], f"""
        server {{ listen {WEB_PORT} ssl; ssl_certificate {inner.chain}; ssl_certificate_key {inner.key};
                  return 200 'over $ssl_protocol'; }}""")

    def origin(**tls):
        return {**origin_of(lab.origins[0], WEB_PORT), "tls": tls}

    daemon = start(config(lab, routes=[{"path": f"/{name}", "to": name} for name in ("right", "name", "ca")], origins={
        "right": origin(ca=str(authority.file), server_name="inner.example.com"),
        "name": origin(ca=str(authority.file), server_name="wrong.example.com"),
        "ca": origin(ca=str(other.file), server_name="inner.example.com"),
    }))
    assert curl(lab, "/right").stdout.startswith("over TLSv1.")
    for path in ("/name", "/ca"):
        assert curl(lab, path, "-o", "/dev/null", "-w", "%{http_code}").stdout == "502"
    assert daemon.status()["closes"]["origin_unverified"] == 2


def test_chunked_up_and_down(lab, start, raw, tmp_path):
    source, fetched = tmp_path / "source", tmp_path / "fetched"
    digest = random_file(source, 20 * MIB)

    def answer(request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n")
        for at in range(0, len(request.body), 54321):
            part = request.body[at:at + 54321]
            connection.sendall(b"%x;ignored=1\r\n%s\r\n" % (len(part), part))
        return b"0\r\nT: end\r\n\r\n"

    origin = raw(answer)
    start(config(lab))
    for _ in range(2):
        curl(lab, "/", "-T", str(source), "-H", "Transfer-Encoding: chunked", "-o", str(fetched))
        assert origin.requests[-1].all("transfer-encoding") == ["chunked"]
        assert origin.requests[-1].all("content-length") == []
        assert hashlib.sha256(origin.requests[-1].body).hexdigest() == digest
        assert sha256_file(fetched) == digest
    # HTTP/1.0 knows no chunks.
    done = curl(lab, "/", "--http1.0", "-T", str(source), "-D", "-", "-o", str(fetched))
    assert "transfer-encoding" not in done.stdout.lower()
    assert sha256_file(fetched) == digest


def test_until_close(lab, start, raw):
    def answer(request, connection):
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello")
        if request.target == "/reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    raw(answer)
    start(config(lab))
    assert curl(lab, "/whole").stdout == "hello"
    assert curl(lab, "/reset", check=False).returncode != 0


def test_responses_without_body(lab, start, raw):
    def answer(request, _):
        return {"/head": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
                "/204": b"HTTP/1.1 204 No Content\r\n\r\n",
                "/304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: \"e\"\r\n\r\n"}[request.target]

    origin = raw(answer)
    start(config(lab, process={"threads": 1}))
    done = lab.client.run("curl", "-sS", "-I", f"http://{lab.node.address}:{PORT}/head", "--next", "-sS", "-i",
                          f"http://{lab.node.address}:{PORT}/204", "--next", "-sS", "-i",
                          f"http://{lab.node.address}:{PORT}/304")
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("HTTP/1.1")] == ["200", "204", "304"]
    assert origin.n_connections == 1


def test_continue(lab, start, raw, tmp_path):
    origin = raw(lambda request, _: length(b"got %d" % len(request.body)))
    start(config(lab))
    body = tmp_path / "body"
    random_file(body, 2 * MIB)
    done = curl(lab, "/", "-v", "-H", "Expect: 100-continue", "--expect100-timeout", "60", "--data-binary", f"@{body}")
    assert done.stdout == f"got {2 * MIB}"
    assert "100 Continue" in done.stderr
    assert origin.requests[0].all("expect") == ["100-continue"]


HEAD = b"POST / HTTP/1.1\r\nHost: site.example.com\r\n"
SMUGGLING = {
    "length and coding": HEAD + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
    "coding and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX",
    "two lengths": HEAD + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
    "list of lengths": HEAD + b"Content-Length: 0, 44\r\n\r\n",
    "signed length": HEAD + b"Content-Length: +5\r\n\r\nhello",
    "hex length": HEAD + b"Content-Length: 0x5\r\n\r\nhello",
    "huge length": HEAD + b"Content-Length: 18446744073709551617\r\n\r\nh",
    "space before colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "tab before colon": HEAD + b"Content-Length\t: 5\r\n\r\nhello",
    "folded coding": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "two codings": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "list of codings": HEAD + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "odd coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "vertical tab": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "coding in 1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare LF": b"POST / HTTP/1.1\r\nHost: a\nContent-Length: 0\r\n\r\n",
    "bare LF at the end": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: a\r\nA: b\rContent-Length: 5\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "host with a user": b"GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n",
    "connection strips the host": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n",
    "connection strips the length": HEAD + b"Connection: content-length\r\nContent-Length: 5\r\n\r\nhello",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "request in the target": b"GET / HTTP/1.1\x0b\r\nHost: a\r\n\r\n",
    "CONNECT": b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "above the root": b"GET /../x HTTP/1.1\r\nHost: a\r\n\r\n",
    "encoded NUL": b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
}
LATER = {  # refused when the body comes; the head may have gone to the origin
    "size with a sign": b"+1\r\na\r\n0\r\n\r\n",
    "size with a prefix": b"0x1\r\na\r\n0\r\n\r\n",
    "size too long": b"00000000000000001\r\na\r\n0\r\n\r\n",
    "size overflows": b"ffffffffffffffff1\r\na\r\n0\r\n\r\n",
    "bare LF after the size": b"1\na\r\n0\r\n\r\n",
    "no end of chunk": b"1\r\nabc\r\n0\r\n\r\n",
    "bare LF in an extension": b"1;a\nb\r\na\r\n0\r\n\r\n",
    "bad trailer": b"0\r\nA b\r\n\r\n",
}


def test_what_could_smuggle_is_refused(lab, start, raw):
    origin = raw(lambda request, _: length(b"reached"))
    start(config(lab, routes=[{"to": "raw"}]))
    second = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    for name, data in SMUGGLING.items():
        received = talk(lab, data + second)
        assert re.match(rb"HTTP/1\.1 (400|431|501|505) ", received), (name, received)
        assert b"connection: close" in received.lower() or name in ("above the root", "encoded NUL"), name
        if name not in ("above the root", "encoded NUL"):
            assert received.count(b"HTTP/1.1 ") == 1, (name, received)
            assert origin.requests == [], name
        origin.requests.clear()
    for name, body in LATER.items():
        received = talk(lab, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + second)
        assert received.startswith(b"HTTP/1.1 400 "), (name, received)
        assert received.count(b"HTTP/1.1 ") == 1, name
        assert [request.target for request in origin.requests] == [], name


def test_head_limits(lab, start, raw):
    raw(lambda request, _: length(b"ok"))
    start(config(lab))
    start_line = b"GET / HTTP/1.1\r\nHost: a\r\n"
    assert talk(lab, start_line + b"A: " + b"x" * 30000 + b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert talk(lab, start_line + b"A: " + b"x" * 40000 + b"\r\n\r\n").startswith(b"HTTP/1.1 431 ")
    assert talk(lab, start_line + b"A: b\r\n" * 120 + b"\r\n").startswith(b"HTTP/1.1 200 ")
    assert talk(lab, start_line + b"A: b\r\n" * 200 + b"\r\n").startswith(b"HTTP/1.1 431 ")
    assert talk(lab, b"GET /" + b"x" * 40000 + b" HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.1 414 ")


def test_slow_clients_are_timed_out(lab, start, raw):
    origin = raw(lambda request, _: length(b"ok"))
    daemon = start(config(lab, timeouts={"request": "2s", "keepalive": "300ms", "idle": "300ms"}))
    assert talk(lab, b"GET / HTTP/1.1\r\nHo", half_close=False).startswith(b"HTTP/1.1 408 ")
    assert talk(lab, HEAD + b"Content-Length: 10\r\n\r\nhel", half_close=False).startswith(b"HTTP/1.1 408 ")
    # One byte at a time does not help: the whole head has one time.
    client = lab.client.connect(lab.node.address, PORT)
    for byte in b"GET / HTTP/1.1\r\nA: " + b"a" * 100000:
        try:
            client.sendall(bytes([byte]))
        except ConnectionError:
            break
        client.settimeout(0.01)
        try:
            assert client.recv(13) == b"HTTP/1.1 408 "
            break
        except TimeoutError:
            pass
    else:
        raise AssertionError("never timed out")
    client.close()
    client = lab.client.connect(lab.node.address, PORT)
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert receive_response(client) == ("200", b"ok")
    assert client.recv(1) == b""
    laboratory.wait_until(lambda: daemon.status()["closes"]["keepalive_timeout"] == 1, "the idle connection is closed")
    assert len(origin.requests) == 1


def test_origin_that_refuses_hangs_or_resets(lab, start, raw):
    def answer(request, connection):
        if request.target == "/hang":
            released.wait(20)
        elif request.target == "/reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif request.target == "/garbage":
            connection.sendall(b"220 ready\r\n")
        elif request.target == "/ok":
            return length(b"ok")

    released = threading.Event()
    raw(answer)
    origins = {"slow": origin_of(lab.origins[0], response="300ms"), "nobody": origin_of(lab.origins[1])}
    daemon = start(config(lab, routes=[{"path": "/refuse", "to": "nobody"}, {"path": "/hang", "to": "slow"}, {"to": "raw"}],
                          origins=origins))
    client = lab.client.connect(lab.node.address, PORT)
    for target, status, reason in (("refuse", "502", "origin_refused"), ("hang", "504", "origin_timeout"),
                                   ("reset", "502", "origin_reset"), ("close", "502", "origin_truncated"),
                                   ("garbage", "502", "origin_malformed"), ("ok", "200", None)):
        client.sendall(f"GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert receive_response(client)[0] == status, target
        if reason:
            assert daemon.status()["closes"][reason] == 1, target
    client.close()
    released.set()


def test_truncated_bodies_are_seen(lab, start, raw):
    def answer(request, connection):
        if request.target == "/length":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf")

    raw(answer)
    daemon = start(config(lab))
    for path in ("/length", "/chunked"):
        assert curl(lab, path, check=False).returncode in (18, 56)
    assert daemon.status()["closes"]["origin_truncated"] == 2


def test_stale_connection_is_not_seen_by_the_client(lab, start, raw):
    """The origin closes each kept connection when the next request arrives on it."""
    served = set()

    def answer(request, connection):
        if connection in served:
            return None
        served.add(connection)
        return length(b"ok")

    raw(answer)
    daemon = start(config(lab, process={"threads": 1}))
    client = lab.client.connect(lab.node.address, PORT)
    for _ in range(20):
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert receive_response(client) == ("200", b"ok")
    client.close()
    assert daemon.status()["counters"]["responses_5xx"] == 0


def stop_threads(pid):
    """Returns when none of them runs any more."""
    os.kill(pid, signal.SIGSTOP)
    stats = [task / "stat" for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
    laboratory.wait_until(lambda: all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in stats),
                          "the process stands still")


@pytest.mark.release
def test_request_that_must_not_be_sent_twice_meets_no_closed_connection(lab, start):
    """The origin closes an idle connection after the client has asked, and before the daemon looks: both are there."""
    requests = (b"POST /a HTTP/1.1\r\nHost: a\r\n\r\n",
                b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
                b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    daemon = start(config(lab, process={"threads": 1}))
    worker = daemon.pids()[1]
    with lab.origins[0].listen(RAW_PORT) as listener, lab.client.connect(lab.node.address, PORT) as client:
        kept = None
        for request in requests * 3:
            if kept:
                stop_threads(worker)
            client.sendall(request)
            if kept:
                kept.close()
                laboratory.wait_until(lambda: "CLOSE-WAIT" in lab.node.run(
                    "ss", "-tnH", "dport", "=", f":{RAW_PORT}").stdout, "the node's socket has the origin's end")
                os.kill(worker, signal.SIGCONT)
            kept, _ = listener.accept()
            kept.settimeout(20)
            path = request.split()[1]
            data = b""
            while not data.endswith(b"\r\n\r\n" if path == b"/a" else b"abc" if path == b"/b" else b"0\r\n\r\n"):
                part = kept.recv(65536)
                assert part
                data += part
            kept.sendall(length(path))
            assert receive_response(client) == ("200", path)
        kept.close()
    assert daemon.status()["counters"]["responses_5xx"] == 0


def test_empty_lines_after_a_request_are_no_request(lab, start, raw):
    """RFC 9112, 2.2. The connection is closed without a word when nothing follows."""
    raw(lambda request, _: length(request.body))
    start(config(lab, timeouts={"keepalive": "2s", "request": "1s"}))
    with lab.client.connect(lab.node.address, PORT) as client:
        for _ in range(3):
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\n")
            assert receive_response(client) == ("200", b"abc")
        assert client.recv(1) == b""


@pytest.mark.parametrize("how", ("interrupt", "timeout"))
def test_requests_under_way_at_a_hard_stop_are_logged(lab, start, raw, how):
    asked = threading.Event()
    goes_on = threading.Event()

    def answer(request, _):
        asked.set()
        goes_on.wait(60)
        return None

    raw(answer)
    daemon = start(config(lab, process={"drain_timeout": "200ms" if how == "timeout" else "1h"}))
    with lab.client.connect(lab.node.address, PORT) as client:
        client.sendall(b"POST /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert asked.wait(20)
        assert daemon.process.stop(signal.SIGTERM if how == "timeout" else signal.SIGINT) == 0
        goes_on.set()
    [line] = [line for line in daemon.log().splitlines() if " request " in line]
    assert "method=POST" in line and "path=/slow" in line and "reason=shutdown" in line, line


def test_early_answer_to_a_large_upload(lab, start, raw, tmp_path):
    """The origin refuses by the head alone, and the client still reads why."""
    listener = lab.origins[1].listen(RAW_PORT)
    read = threading.Event()

    def refuse():
        connection, _ = listener.accept()
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        connection.sendall(length(b"too large\n", "413 Content Too Large"))
        read.wait(60)  # bytes are unread then: closing resets
        connection.close()

    threading.Thread(target=refuse, daemon=True).start()
    start(config(lab, routes=[{"to": "other"}], origins={"other": origin_of(lab.origins[1])}))
    body = tmp_path / "body"
    random_file(body, 64 * MIB)
    done = curl(lab, "/", "-T", str(body), "-H", "Expect:", "-w", "%{http_code}", check=False)
    assert done.stdout == "too large\n413"
    read.set()
    listener.close()


@pytest.mark.parametrize("framing", ("length", "chunked", "close"))
def test_client_that_stops_reading_is_bounded(lab, start, raw, framing):
    head = {"length": b"Content-Length: 100000000000\r\n", "chunked": b"Transfer-Encoding: chunked\r\n", "close": b""}
    piece = b"10000\r\n" + bytes(65536) + b"\r\n" if framing == "chunked" else bytes(65536)
    pushed = [0]

    def answer(_, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head[framing] + b"\r\n")
        while True:
            connection.sendall(piece)
            pushed[0] += len(piece)

    raw(answer)
    daemon = start(config(lab))
    worker = daemon.pids()[1]
    before = rss_kib(worker)
    clients = [lab.client.connect(lab.node.address, PORT) for _ in range(5)]
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(9) == b"HTTP/1.1 "
    last = -1
    while pushed[0] != last:  # until nothing moves any more
        last = pushed[0]
        time.sleep(0.5)
    limits = lab.node.run("cat", "/proc/sys/net/ipv4/tcp_rmem", "/proc/sys/net/ipv4/tcp_wmem").stdout.split()
    assert pushed[0] < 5 * (2 * (int(limits[2]) + int(limits[5])) + 2 * MIB)
    # User memory holds at most one scratch a connection.
    assert rss_kib(worker) - before < 5 * 192 + 2048
    for client in clients:
        client.close()
    laboratory.wait_until(lambda: daemon.status()["closes"]["client_abort"] == 5, "the clients are found to be gone")


def test_five_hundred_clients_at_once(lab, start, nginx):
    nginx(lab.origins[0], f"server {{ listen {WEB_PORT}; return 200 '$request_uri'; }}")
    daemon = start(config(lab, routes=[{"to": "web"}], origins={"web": origin_of(lab.origins[0], WEB_PORT)}))
    clients = [lab.client.connect(lab.node.address, PORT) for _ in range(500)]
    for turn in range(3):
        for number, client in enumerate(clients):
            client.sendall(f"GET /{turn}/{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        for number, client in enumerate(clients):
            assert receive_response(client) == ("200", f"/{turn}/{number}".encode())
    assert daemon.status()["counters"]["connections_open"] == 500
    for client in clients:
        client.close()
    laboratory.wait_until(lambda: daemon.status()["counters"]["connections_open"] == 0, "all are closed")
    assert daemon.status()["counters"]["responses_2xx"] == 1500


def test_reload_under_load_loses_nothing(lab, start, nginx):
    nginx(lab.origins[0], f"server {{ listen {WEB_PORT}; return 200 'a'; }}")
    configuration = config(lab, routes=[{"to": "web"}], origins={"web": origin_of(lab.origins[0], WEB_PORT)})
    daemon = start(configuration)
    stop = threading.Event()
    failures, counts = [], [0] * 4

    def hammer(k):
        try:
            client = None
            while not stop.is_set():
                if k % 2 or client is None:  # half of them connect anew for each request
                    client = lab_connect()
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert receive_response(client) == ("200", b"a")
                counts[k] += 1
        except (OSError, AssertionError) as error:
            failures.append(repr(error))

    lock = threading.Lock()

    def lab_connect():
        with lock:
            return lab.client.connect(lab.node.address, PORT)

    threads = [threading.Thread(target=hammer, args=(k,), daemon=True) for k in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(5):
        seen = list(counts)
        laboratory.wait_until(lambda: failures or all(now > then + 20 for now, then in zip(counts, seen)), "requests go on")
        configuration["log"] = {"access": "on" if turn % 2 else "off"}
        daemon.reload(configuration)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert failures == []


def test_drain_finishes_what_is_under_way(lab, start, raw):
    reached, released = threading.Event(), threading.Event()

    def answer(request, _):
        reached.set()
        released.wait(20)
        return length(b"whole")

    raw(answer)
    daemon = start(config(lab, process={"drain_timeout": "20s"}))
    idle, busy = (lab.client.connect(lab.node.address, PORT) for _ in range(2))
    busy.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert reached.wait(20)
    stopper = threading.Thread(target=daemon.stop, daemon=True)
    stopper.start()
    assert idle.recv(1) == b""
    released.set()
    received = b""
    while part := busy.recv(65536):
        received += part
    assert received.endswith(b"\r\n\r\nwhole") and b"Connection: close" in received
    stopper.join(20)


def strict_wrap(authority, sock):
    """A TLS client that takes an end without close_notify for the error that it is."""
    context = ssl.create_default_context(cafile=str(authority.file))
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context.wrap_socket(sock, server_hostname=NAME, suppress_ragged_eofs=False)


def test_tls_client_speaks_http(lab, start, raw, authority):
    origin = raw(lambda request, _: length(b"ok"))
    site = authority.issue(NAME)
    configuration = config(lab)
    configuration["listeners"][0]["tls"] = {"certificates": [str(site.bundle)]}
    start(configuration)
    with lab.client.connect(lab.node.address, PORT) as sock, strict_wrap(authority, sock) as client:
        for _ in range(3):
            client.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
            assert receive_response(client) == ("200", b"ok")
        client.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
        assert receive_response(client) == ("200", b"ok")
        assert client.recv(1) == b""
    assert origin.requests[0].all("x-forwarded-proto") == ["https"]


def test_tls_idle_connection_ends_cleanly(lab, start, raw, authority):
    raw(lambda request, _: length(b"ok"))
    configuration = config(lab, timeouts={"keepalive": "100ms"})
    configuration["listeners"][0]["tls"] = {"certificates": [str(authority.issue(NAME).bundle)]}
    daemon = start(configuration)
    with lab.client.connect(lab.node.address, PORT) as sock, strict_wrap(authority, sock) as client:
        client.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        assert receive_response(client) == ("200", b"ok")
        assert client.recv(1) == b""
    laboratory.wait_until(lambda: daemon.status()["closes"].get("keepalive_timeout") == 1, "the end is counted")


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_drain_serves_who_waits_in_the_queue(lab, start, raw, authority, is_tls):
    """The worker stands still while clients connect and ask, and hears of them and of the end at once."""
    raw(lambda request, _: length(b"served"))
    configuration = config(lab, process={"drain_timeout": "20s"})
    site = authority.issue(NAME)
    if is_tls:
        configuration["listeners"][0]["tls"] = {"certificates": [str(site.bundle)]}
    context = ssl.create_default_context(cafile=str(authority.file))
    daemon = start(configuration)
    worker = daemon.pids()[1]
    answers = []

    def ask(sock):
        with context.wrap_socket(sock, server_hostname=NAME) if is_tls else sock as client:
            client.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
            answers.append(receive_response(client))

    os.kill(worker, signal.SIGSTOP)
    clients = [lab.client.connect(lab.node.address, PORT) for _ in range(20)]
    threads = [threading.Thread(target=ask, args=(sock,), daemon=True) for sock in clients]
    for thread in threads:
        thread.start()
    daemon.process.send(signal.SIGTERM)
    daemon.process.wait_line("draining")
    os.kill(worker, signal.SIGCONT)
    for thread in threads:
        thread.join(20)
    assert answers == [("200", b"served")] * len(clients)
    assert daemon.process.wait_end() == 0
