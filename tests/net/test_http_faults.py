# SPDX-License-Identifier: Apache-2.0
"""The terminate lane where clients or origins do wrong: attempts to smuggle, too much, too slow, and what breaks off."""
import os
import pathlib
import re
import signal
import socket
import struct
import threading
import time

import pytest

import lab as laboratory
from http_ends import (MIB, PORT, RAW_PORT, config, curl, length, origin_of, random_file, receive_response, talk)

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
    routes = [{"path": "/refuse", "to": "nobody"}, {"path": "/hang", "to": "slow"}, {"to": "raw"}]
    daemon = start(config(lab, routes=routes, origins=origins))
    client = lab.client.connect(lab.node.address, PORT)
    for target, status, reason in (("refuse", "502", "origin_refused"), ("hang", "504", "origin_timeout"),
                                   ("reset", "502", "origin_reset"), ("close", "502", "origin_truncated"),
                                   ("garbage", "502", "origin_malformed"), ("ok", "200", None)):
        client.sendall(f"GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert receive_response(client)[0] == status, target
        if reason:
            daemon.expect(**{reason: 1})
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
    daemon.expect(origin_truncated=2)


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
    start(config(lab, timeouts={"keepalive": "4s", "request": "4s"}))
    with lab.client.connect(lab.node.address, PORT) as client:
        for _ in range(3):
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\n")
            assert receive_response(client) == ("200", b"abc")
        assert client.recv(1) == b""


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
    before = laboratory.own_memory_kib(worker)
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
    assert laboratory.own_memory_kib(worker) - before < 5 * 192 + 2048
    for client in clients:
        client.close()
    laboratory.wait_until(lambda: daemon.status()["closes"]["client_abort"] == 5, "the clients are found to be gone")
