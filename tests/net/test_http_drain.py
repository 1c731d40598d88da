# SPDX-License-Identifier: Apache-2.0
"""The terminate lane when many ask at once, while the configuration changes, and when the daemon ends."""
import os
import signal
import ssl
import threading

import pytest

import lab as laboratory
from http_ends import NAME, PORT, WEB_PORT, config, length, origin_of, receive_response


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


class Plain:
    """A client that asks at once."""

    def __init__(self, sock, request):
        sock.sendall(request)
        self.answer = lambda: receive_response(sock)


class Tls:
    """A client that says hello at once, and asks in the segment that ends the handshake."""

    def __init__(self, sock, request, context):
        self.sock, self.request = sock, request
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=NAME)
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        sock.sendall(self.outgoing.read())

    def call(self, function):
        while True:
            try:
                return function()
            except ssl.SSLWantReadError:
                data = self.sock.recv(65536)
                assert data, "the server closed"
                self.incoming.write(data)

    def recv(self, size):
        return self.call(lambda: self.tls.read(size))

    def answer(self):
        self.call(self.tls.do_handshake)
        self.tls.write(self.request)
        self.sock.sendall(self.outgoing.read())
        return receive_response(self)


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_drain_serves_who_waits_in_the_queue(lab, start, raw, authority, is_tls):
    """The worker stands still while clients connect and ask, and hears of them and of the end at once."""
    raw(lambda request, _: length(b"served"))
    configuration = config(lab, process={"drain_timeout": "60s"}, timeouts={"handshake": "60s"})
    site = authority.issue(NAME)
    if is_tls:
        configuration["listeners"][0]["tls"] = {"certificates": [str(site.bundle)]}
    context = ssl.create_default_context(cafile=str(authority.file))
    daemon = start(configuration)
    worker = daemon.pids()[1]
    request = f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()
    os.kill(worker, signal.SIGSTOP)
    socks = [lab.client.connect(lab.node.address, PORT) for _ in range(20)]
    clients = [Tls(sock, request, context) if is_tls else Plain(sock, request) for sock in socks]
    daemon.process.send(signal.SIGTERM)
    daemon.process.wait_line("draining")
    os.kill(worker, signal.SIGCONT)
    assert [client.answer() for client in clients] == [("200", b"served")] * len(clients)
    for sock in socks:
        sock.close()
    assert daemon.process.wait_end() == 0
