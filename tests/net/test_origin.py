# SPDX-License-Identifier: Apache-2.0
"""Balancing, places and queues, backups, ejection, retries: real servers, counted at the servers."""
import contextlib
import select
import socket
import threading

import pytest

import lab as laboratory

PORT = 9000
WEB_PORT = 8080
ORIGIN_PORT = 7000


def config(lab, servers=None, threads=2, **origin):
    """The same origin behind the splice and the terminate lane."""
    servers = servers or [f"{host.address}:{ORIGIN_PORT}" for host in lab.origins]
    timeouts = {"connect": "20s", **origin.pop("timeouts", {})}
    return {
        "listeners": [{"bind": f"{lab.node.address}:{PORT}", "routes": [{"pass": "service"}]},
                      {"bind": f"{lab.node.address}:{WEB_PORT}", "routes": [{"to": "service"}]}],
        "origins": {"service": {"servers": servers, "timeouts": timeouts, **origin}},
        "process": {"drain_timeout": "2s", "threads": threads},
    }


class Server:
    """Says its name to whoever connects, and closes when the client has."""

    def __init__(self, namespace, name, port=ORIGIN_PORT):
        self.name = name
        self.listener = namespace.listen(port)
        self.listener.settimeout(None)
        self.n_open = 0
        self.most_open = 0
        self.peers = []
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, peer = self.listener.accept()
                with self.lock:
                    self.peers.append(peer[0])
                    self.n_open += 1
                    self.most_open = max(self.most_open, self.n_open)
                threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.sendall(self.name.encode())
            connection.settimeout(120)
            while connection.recv(100):
                pass
            with self.lock:  # before the proxy can know of it
                self.n_open -= 1

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)


@pytest.fixture
def servers(lab):
    with contextlib.ExitStack() as stack:
        made = [Server(host, f"s{k}") for k, host in enumerate(lab.origins)]
        for server in made:
            stack.callback(server.close)
        yield made


def connect(lab, source=None):
    client = lab.client.socket()
    client.settimeout(20)
    if source:
        client.bind((source, 0))
    client.connect((lab.node.address, PORT))
    return client


def visit(lab, source=None, keep=False):
    """The name of the server that answered; "" where the connection was closed instead."""
    client = connect(lab, source)
    try:
        name = client.recv(100).decode()
    except ConnectionResetError:
        name = ""
    if keep:
        return name, client
    client.close()
    return name


def server_status(daemon, address):
    for server in daemon.status()["origins"][0]["servers"]:
        if server["address"].startswith(f"{address}:"):
            return server
    raise AssertionError(f"no server {address}")


def wait_load(daemon, total):
    laboratory.wait_until(lambda: sum(server["load"] for server in daemon.status()["origins"][0]["servers"]) == total,
                          f"{total} places are taken")


def test_round_robin_alternates(lab, start, servers):
    start(config(lab, threads=1))
    names = [visit(lab) for _ in range(8)]
    assert names in (["s0", "s1"] * 4, ["s1", "s0"] * 4)


def test_least_connections_fills_the_emptier(lab, start, servers):
    daemon = start(config(lab, balance="least_connections"))
    held = [visit(lab, keep=True) for _ in range(6)]
    assert sorted(name for name, _ in held) == ["s0"] * 3 + ["s1"] * 3
    for name, client in held:
        if name == "s0":
            client.close()
    wait_load(daemon, 3)
    # All threads see the load of all: whoever accepts, the empty one is next.
    again = [visit(lab, keep=True) for _ in range(3)]
    assert [name for name, _ in again] == ["s0"] * 3
    for _, client in held + again:
        client.close()


@pytest.mark.parametrize("balance", ["source_hash", "maglev"])
def test_source_keeps_its_server_over_threads_and_restarts(lab, start, servers, balance):
    sources = [f"192.0.2.{k}" for k in range(20, 40)]
    lab.client.add_address("eth0", *(f"{source}/24" for source in sources))
    daemon = start(config(lab, balance=balance))
    chosen = {source: visit(lab, source) for source in sources}
    assert set(chosen.values()) == {"s0", "s1"}
    for source in sources * 2:
        assert visit(lab, source) == chosen[source]
    daemon.stop()
    start(config(lab, balance=balance), name="again")
    for source in sources:
        assert visit(lab, source) == chosen[source]


def test_backup_takes_over_and_leaves(lab, start):
    first, second = (f"{host.address}:{ORIGIN_PORT}" for host in lab.origins)
    backup = Server(lab.origins[1], "backup")
    primary = Server(lab.origins[0], "primary")
    start(config(lab, servers=[first, {"address": second, "backup": True}]))
    assert {visit(lab) for _ in range(4)} == {"primary"}
    primary.close()
    assert {visit(lab) for _ in range(4)} == {"backup"}
    primary = Server(lab.origins[0], "primary")
    assert {visit(lab) for _ in range(4)} == {"primary"}
    primary.close()
    backup.close()


def test_queue_serves_in_order_and_in_bounds(lab, start, servers):
    daemon = start(config(lab, limits={"connections": 2, "queue": 3, "queue_timeout": "30s"}))
    held = [visit(lab, keep=True) for _ in range(2)]
    assert all(name for name, _ in held)
    waiting = []
    for k in range(3):
        waiting.append(connect(lab))
        laboratory.wait_until(lambda: daemon.status()["origins"][0]["waiting"] == k + 1, "one more waits")
    assert visit(lab) == ""
    assert daemon.status()["closes"]["origin_queue_full"] == 1
    assert select.select(waiting, [], [], 0)[0] == []
    for _, client in held:
        client.close()
    # Two threads, two places: each waits for its own turn, nobody for ever.
    done = []
    while len(done) < 3:
        ready = select.select([client for client in waiting if client not in done], [], [], 20)[0]
        assert ready, "a place came free and nobody got it"
        for client in ready:
            assert client.recv(100).startswith(b"s")
            client.close()
            done.append(client)
    wait_load(daemon, 0)
    assert max(server.most_open for server in servers) <= 2
    assert daemon.status()["counters"]["origin_queued"] == 3
    assert daemon.status()["counters"]["origin_waiting"] == 0


def test_queue_timeout_closes_or_answers_503(lab, start, servers):
    daemon = start(config(lab, limits={"connections": 1, "queue": 8, "queue_timeout": "100ms"}))
    _, held = visit(lab, keep=True)
    assert visit(lab) == ""
    answer = lab.client.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                            f"http://{lab.node.address}:{WEB_PORT}/").stdout
    assert answer == "503"
    daemon.expect(origin_queue_timeout=2)
    held.close()


def test_client_that_leaves_the_queue_takes_no_place(lab, start, servers):
    daemon = start(config(lab, limits={"connections": 1, "queue": 8, "queue_timeout": "30s"}))
    _, held = visit(lab, keep=True)
    leaves = connect(lab)
    laboratory.wait_until(lambda: daemon.status()["origins"][0]["waiting"] == 1, "one waits")
    leaves.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    leaves.close()
    laboratory.wait_until(lambda: daemon.status()["origins"][0]["waiting"] == 0, "nobody waits")
    held.close()
    assert visit(lab).startswith("s")


def test_per_server_limit(lab, start, servers):
    limited = [{"address": f"{host.address}:{ORIGIN_PORT}", "max_connections": 2} for host in lab.origins]
    daemon = start(config(lab, servers=limited))
    held = [visit(lab, keep=True) for _ in range(4)]
    assert sorted(name for name, _ in held) == ["s0", "s0", "s1", "s1"]
    assert visit(lab) == ""
    assert daemon.status()["closes"]["origin_queue_full"] == 1
    for _, client in held:
        client.close()
    wait_load(daemon, 0)
    assert visit(lab).startswith("s")


def test_many_clients_never_exceed_the_places(lab, start, servers):
    limited = [{"address": f"{host.address}:{ORIGIN_PORT}", "max_connections": 3} for host in lab.origins]
    daemon = start(config(lab, servers=limited, limits={"queue": 1000, "queue_timeout": "60s"}))
    names = []

    def clients():
        for _ in range(25):
            names.append(visit(lab))

    threads = [threading.Thread(target=clients) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(names) == 400 and set(names) == {"s0", "s1"}
    wait_load(daemon, 0)
    assert daemon.status()["closes"]["done"] == 400
    assert max(server.most_open for server in servers) <= 3


def test_failing_server_is_ejected_and_returns(lab, start):
    good = Server(lab.origins[0], "good")
    daemon = start(config(lab, threads=1, health={"eject": {"failures": 3, "time": "1s", "max": "50%"}}))
    bad = lab.origins[1].address
    # Every client is served: a server that refuses is followed by another before any byte.
    laboratory.wait_until(lambda: visit(lab) == "good" and server_status(daemon, bad)["ejections"] == 1, "ejected")
    assert server_status(daemon, bad)["failures"] == 3
    returned = Server(lab.origins[1], "returned")
    laboratory.wait_until(lambda: visit(lab) == "returned", "the server is used again")
    assert server_status(daemon, bad)["state"] == "up"
    assert daemon.status()["closes"]["origin_refused"] == 0
    returned.close()
    good.close()


def test_all_servers_refuse(lab, start):
    daemon = start(config(lab, retries=1, health={"eject": "off"}))
    assert visit(lab) == ""
    assert daemon.status()["closes"]["origin_refused"] == 1
    assert sum(server["failures"] for server in daemon.status()["origins"][0]["servers"]) == 2


def test_no_retry_where_none_is_wanted(lab, start):
    good = Server(lab.origins[0], "good")
    start(config(lab, threads=1, retries=0, health={"eject": "off"}))
    assert sorted(visit(lab) for _ in range(6)) == [""] * 3 + ["good"] * 3
    good.close()


def test_connections_come_from_the_source(lab, start, servers):
    lab.node.add_address("origin0", "198.51.100.9/28")
    start(config(lab, servers=[f"{lab.origins[0].address}:{ORIGIN_PORT}"], source="198.51.100.9"))
    assert visit(lab) == "s0"
    assert servers[0].peers == ["198.51.100.9"]


def test_requests_are_balanced_over_kept_connections(lab, start):
    webs = [laboratory.Nginx(host, name=f"web{k}", http=f"server {{ listen {ORIGIN_PORT}; return 200 w{k}; }}")
            for k, host in enumerate(lab.origins)]
    daemon = start(config(lab, threads=1))
    address = f"http://{lab.node.address}:{WEB_PORT}/"
    bodies = lab.client.run("curl", "-s", *[address] * 20).stdout
    assert bodies.count("w0") == bodies.count("w1") == 10
    assert daemon.status()["counters"]["origin_connects"] == 2
    assert daemon.status()["counters"]["origin_reuses"] == 18
    wait_load(daemon, 0)  # those kept take no place
    for web in webs:
        web.stop()
