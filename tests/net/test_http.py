# SPDX-License-Identifier: Apache-2.0
"""The terminate lane with real clients and origins: routes, bodies, headers, kept connections, TLS."""
import hashlib
import re
import socket
import ssl
import struct

import pytest

import lab as laboratory
from http_ends import (MIB, NAME, PORT, WEB_PORT, config, curl, length, origin_of, random_file, receive_response,
                       sha256_file, talk)


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
    daemon.expect(requests=9, responses_2xx=8, responses_4xx=1, no_route=1)


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
    daemon.expect(requests=2)
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
    daemon.expect(origin_unverified=2)


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
