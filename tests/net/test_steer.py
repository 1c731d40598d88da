# SPDX-License-Identifier: Apache-2.0
"""The steer lane with real clients and servers: packets reach all servers and come back whole, with and without a daemon,
and the pinned maps say the same as penstock."""
import hashlib
import ipaddress
import json
import re
import socket
import subprocess
import threading

import pytest

import lab as laboratory

WEB, DNS, ECHO = 8000, 53, 7777
GIB = 1 << 30


def config(lab, origins=None, listeners=None, **steer):
    servers = {"web": WEB, "dns": DNS, "echo": ECHO}
    return {
        "listeners": listeners or [
            {"name": "web", "bind": f"{lab.node.address}:80", "routes": [{"steer": "web"}]},
            {"name": "dns", "bind": f"{lab.node.address}:53", "protocol": "udp", "routes": [{"steer": "dns"}]},
            {"name": "echo", "bind": f"{lab.node.address}:{ECHO}", "protocol": "udp", "routes": [{"steer": "echo"}]},
        ],
        "origins": origins or {name: {"servers": [f"{origin.address}:{port}" for origin in lab.origins]}
                               for name, port in servers.items()},
        "steer": steer,
    }


def one_tcp(lab, *servers, **steer):
    """A single TCP service on port 80."""
    return config(lab, {"web": {"servers": [f"{server.address}:{WEB}" for server in servers]}},
                  [{"name": "web", "bind": f"{lab.node.address}:80", "routes": [{"steer": "web"}]}], **steer)


@pytest.fixture
def start(lab, start):
    """Starts the daemon; what it left in the kernel is removed at the end."""
    daemons = []

    def start_daemon(configuration, **options):
        daemons.append(start(configuration, **options))
        return daemons[-1]

    yield start_daemon
    for daemon in daemons:
        if daemon.process and daemon.process.is_running():
            daemon.stop()
        lab.node.run(laboratory.penstock.binary(), "steer", "remove", "-c", daemon.config)


@pytest.fixture
def web(lab):
    """A web server on each origin that says its address, and serves what is put into the first one's root."""
    servers = [laboratory.Nginx(origin, f"nginx{k}", http=f"""
        server {{
            listen {WEB} reuseport;
            location / {{ root $root; }}
            location = /whoami {{ return 200 "{origin.address}\\n"; }}
        }}""") for k, origin in enumerate(lab.origins)]
    yield servers
    for server in servers:
        server.stop()


def bpftool(*arguments):
    return json.loads(subprocess.run(["bpftool", "-j", *map(str, arguments)], capture_output=True, text=True,
                                     check=True, env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}).stdout or "null")


def kernel_flows(pin_dir):
    """The pinned flow table as stock bpftool shows it, in the words of penstock's status."""
    rows = []
    for entry in bpftool("map", "dump", "pinned", pin_dir / "flows"):
        key, value = entry["formatted"]["key"], entry["formatted"]["value"]

        def end(record, which):
            return f"{ipaddress.ip_address(bytes(record[which + '_addr']))}:{record[which + '_port']}"

        to_origin = value["direction"] == 0
        rows.append({
            "direction": "to_origin" if to_origin else "to_client",
            "protocol": {6: "tcp", 17: "udp"}[key["protocol"]],
            "client": end(key, "src") if to_origin else end(value, "new_dst"),
            "service": end(key, "dst") if to_origin else end(value, "new_src"),
            "nat": end(value, "new_src") if to_origin else end(key, "dst"),
            "server": end(value, "new_dst") if to_origin else end(key, "src"),
            "packets": value["packets"],
            "bytes": value["bytes"],
        })
    return rows


def kernel_counters(pin_dir):
    return [sum(cpu["value"] for cpu in entry["formatted"]["values"])
            for entry in bpftool("map", "dump", "pinned", pin_dir / "counters")]


def attached(lab):
    """What the kernel says is attached to the node's devices, as lines of bpftool."""
    shown = lab.node.run("bpftool", "net", "show", env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}).stdout
    return [line for line in shown.splitlines() if re.match(r"\S+\(\d+\)", line)]


def whoami(lab, n):
    urls = [f"http://{lab.node.address}/whoami"] * n
    # A connection of its own for each.
    done = lab.client.run("curl", "-sS", "--max-time", "20", "-H", "Connection: close", *urls, timeout_s=300)
    return done.stdout.split()


class Exchange:
    """A TCP connection through the node to a listener of ours, which both ends use as they like."""

    def __init__(self, lab, listener):
        self.client = lab.client.connect(lab.node.address, 80)
        self.server, _ = listener.accept()
        self.server.settimeout(20)

    def talk(self):
        """A message each way arrives."""
        self.client.sendall(b"question")
        assert self.server.recv(100) == b"question"
        self.server.sendall(b"answer")
        assert self.client.recv(100) == b"answer"

    def close(self):
        self.client.close()
        self.server.close()


def echo_server(origin):
    """Answers UDP with its own address and what it got; ends with the process."""
    server = origin.socket(kind=socket.SOCK_DGRAM)
    server.bind((origin.address, ECHO))

    def serve():
        while True:
            data, peer = server.recvfrom(65536)
            if data == b"end":
                return
            server.sendto(f"{origin.address} {peer[0]}:{peer[1]} ".encode() + data, peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    def stop():
        server.sendto(b"end", (origin.address, ECHO))
        thread.join()
        server.close()

    return stop


@pytest.fixture
def echo(lab):
    stops = [echo_server(origin) for origin in lab.origins]
    yield
    for stop in stops:
        stop()


# ---- the lane ----

def test_tcp_and_udp_reach_every_server(lab, start, web):
    names = [laboratory.Dnsmasq(origin, {"www.example": f"203.0.113.{k}"}, name=f"dnsmasq{k}")
             for k, origin in enumerate(lab.origins)]
    daemon = start(config(lab, udp_idle="1h"))

    def service(name):
        return next(service for service in daemon.status()["steer"]["services"] if service["name"] == name)

    def shares(name, n_flows):
        told = service(name)
        assert told["flows"] == n_flows == sum(server["flows"] for server in told["servers"])
        assert min(server["flows"] for server in told["servers"]) > 0

    answers = whoami(lab, 30)
    assert set(answers) == {origin.address for origin in lab.origins} and len(answers) == 30
    shares("web", 30)
    # A port of its own for each query.
    queries = [f"@{lab.node.address}", "www.example"] * 24
    answers = lab.client.run("dig", "+short", "+tries=1", "+time=10", *queries).stdout.split()
    assert set(answers) == {"203.0.113.0", "203.0.113.1"} and len(answers) == 24
    shares("dns", 24)
    told = service("dns")
    assert told["origin"] == "dns" and told["protocol"] == "udp" and told["address"] == f"{lab.node.address}:53"
    assert told["to_origin"]["packets"] == told["to_client"]["packets"] == 24
    counters = daemon.status()["steer"]["counters"]
    assert counters["flow_new"] == 54
    assert not any(count for word, count in counters.items() if word.startswith("drop_"))
    for server in names:
        server.stop()


def test_a_gibibyte_arrives_whole(lab, start, web):
    path = web[0].root / "gib"
    with path.open("wb") as out:
        subprocess.run("openssl enc -aes-128-ctr -K 00 -iv 00 -in /dev/zero 2>/dev/null | head -c 1073741824", shell=True,
                       stdout=out, check=True)
    daemon = start(one_tcp(lab, lab.origins[0]))
    expected = subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True).stdout.split()[0]
    done = lab.client.run("sh", "-c", f"curl -sS --max-time 600 http://{lab.node.address}/gib | sha256sum",
                          timeout_s=620)
    path.unlink()
    assert done.stdout.split()[0] == expected
    service = daemon.status()["steer"]["services"][0]
    assert service["to_client"]["bytes"] > GIB


def test_both_directions_and_half_close(lab, start):
    """64 MiB up, the client's FIN, 64 MiB down."""
    block = hashlib.sha512(b"penstock").digest() * 16384
    listener = lab.origins[0].listen(WEB)
    daemon = start(one_tcp(lab, lab.origins[0]))
    seen = []

    def serve():
        peer, _ = listener.accept()
        digest = hashlib.sha256()
        while data := peer.recv(1 << 20):
            digest.update(data)
        seen.append(digest.hexdigest())
        for _ in range(64):
            peer.sendall(block[::-1])
        peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    client = lab.client.connect(lab.node.address, 80)
    for _ in range(64):
        client.sendall(block)
    client.shutdown(socket.SHUT_WR)
    digest = hashlib.sha256()
    while data := client.recv(1 << 20):
        digest.update(data)
    thread.join()
    client.close()
    listener.close()
    assert seen == [hashlib.sha256(block * 64).hexdigest()]
    assert digest.hexdigest() == hashlib.sha256(block[::-1] * 64).hexdigest()
    rows = daemon.status()["steer"]["flow_table"]
    assert {row["direction"] for row in rows} == {"to_origin", "to_client"}
    assert min(row["bytes"] for row in rows) > 64 * len(block)


def test_a_closed_port_is_refused_at_once(lab, start):
    """The server's RST comes back through the node."""
    start(one_tcp(lab, lab.origins[0]))
    with pytest.raises(ConnectionRefusedError):
        lab.client.connect(lab.node.address, 80)


def test_other_ports_of_the_address_are_the_hosts(lab, start):
    start(one_tcp(lab, lab.origins[0]))
    listener = lab.node.listen(81)
    client = lab.client.connect(lab.node.address, 81)
    peer, address = listener.accept()
    assert address[0] == lab.client.address
    for each in (client, peer, listener):
        each.close()


def test_udp_is_as_it_was_sent(lab, start, echo):
    """Sizes up to the MTU, without a checksum too, on one flow each; a fragmented one is not steered, and counted."""
    daemon = start(config(lab))
    for no_check in (0, 1):
        client = lab.client.socket(kind=socket.SOCK_DGRAM)
        client.settimeout(20)
        client.connect((lab.node.address, ECHO))
        client.setsockopt(socket.SOL_SOCKET, 11, no_check)  # SO_NO_CHECK
        seen = set()
        for size in (0, 1, 2, 17, 512, 1400):
            data = bytes(i * 31 % 256 for i in range(size))
            client.send(data)
            server, us, echoed = client.recv(65536).split(b" ", 2)
            assert echoed == data
            seen.add((server, us))
        assert len(seen) == 1
        us = us.decode()
        assert 61000 <= int(us.split(":")[1]) and not us.startswith(lab.client.address)
        before = daemon.status()["steer"]["counters"]["pass_fragment"]
        client.send(bytes(4000))
        laboratory.wait_until(lambda: daemon.status()["steer"]["counters"]["pass_fragment"] >= before + 3,
                              "three fragments are counted")
        client.close()


# ---- without the daemon, and across changes ----

def test_flows_live_without_the_daemon_and_through_the_next(lab, start):
    listener = lab.origins[0].listen(WEB)
    configuration = one_tcp(lab, lab.origins[0])
    daemon = start(configuration)
    open_before = Exchange(lab, listener)
    open_before.talk()
    pids = daemon.kill()
    assert len(pids) == 2
    open_before.talk()
    opened_without = Exchange(lab, listener)
    opened_without.talk()
    born = {row["nat"]: row for row in kernel_flows(lab.pin_dir)}
    daemon.start()
    status = daemon.status()
    assert status["steer"]["flows"] == 2
    assert {row["nat"] for row in status["steer"]["flow_table"]} == set(born)
    assert status["plane"]["notes"] == []
    for exchange in (open_before, opened_without, Exchange(lab, listener)):
        exchange.talk()
        exchange.close()
    listener.close()


def test_bpftool_and_status_agree(lab, start, web, echo):
    daemon = start(config(lab))
    assert len(whoami(lab, 10)) == 10
    client = lab.client.socket(kind=socket.SOCK_DGRAM)
    client.settimeout(20)
    client.connect((lab.node.address, ECHO))
    client.send(b"hello")
    assert client.recv(100).endswith(b"hello")
    client.close()

    def agree():
        told = sorted(daemon.status()["steer"]["flow_table"], key=str)
        return len(told) == 22 and told == sorted(kernel_flows(lab.pin_dir), key=str)

    # The last ACK of a connection may still be under way.
    laboratory.wait_until(agree, "bpftool and penstock tell the same flows")
    steer = daemon.status()["steer"]
    counted = dict(zip(steer["counters"], kernel_counters(lab.pin_dir)))
    for word, count in steer["counters"].items():
        if not word.startswith("pass_"):  # what concerns the host never stops
            assert counted[word] == count, word
    for service in steer["services"]:
        rows = [row for row in steer["flow_table"] if row["service"] == service["address"]]
        for direction in ("to_origin", "to_client"):
            for unit in ("packets", "bytes"):
                assert service[direction][unit] == sum(row[unit] for row in rows if row["direction"] == direction)
    by_name = {seen["name"] for seen in (bpftool("map", "show", "pinned", lab.pin_dir / name)
                                         for name in ("services", "servers", "flows", "counters"))}
    assert by_name == {"services", "servers", "flows", "counters"}
    key = bpftool("map", "dump", "pinned", lab.pin_dir / "services")[0]["formatted"]["key"]
    assert set(key) == {"addr", "port", "protocol", "pad"}


def test_reload_moves_new_flows_and_keeps_open_ones(lab, start):
    listeners = [origin.listen(WEB) for origin in lab.origins]
    daemon = start(one_tcp(lab, lab.origins[0]))
    old = Exchange(lab, listeners[0])
    old.talk()
    daemon.reload(one_tcp(lab, lab.origins[1]))
    new = [Exchange(lab, listeners[1]) for _ in range(8)]
    for exchange in [old, *new]:
        exchange.talk()
    # A configuration that is refused changes nothing.
    services = bpftool("map", "dump", "pinned", lab.pin_dir / "services")
    bad = one_tcp(lab, lab.origins[0])
    bad["origins"]["web"]["servers"] = [f"{lab.node.address}:80"]
    refused = daemon.reload(bad, check=False)
    assert refused.returncode != 0 and "this host itself" in refused.stdout + refused.stderr
    assert bpftool("map", "dump", "pinned", lab.pin_dir / "services") == services
    for exchange in [old, Exchange(lab, listeners[1]), *new]:
        exchange.talk()
        exchange.close()
    # The old server's set leaves the map a while later.
    laboratory.wait_until(lambda: len(bpftool("map", "dump", "pinned", lab.pin_dir / "servers")) == 1,
                          "the old server set is removed")
    for listener in listeners:
        listener.close()


def test_reload_under_load_loses_no_connection(lab, start, web):
    configurations = [one_tcp(lab, *lab.origins), one_tcp(lab, *reversed(lab.origins)), one_tcp(lab, lab.origins[0])]
    daemon = start(configurations[0])
    results, wanted, is_over = [], [], threading.Event()

    def ask():
        while not is_over.is_set():
            wanted.append(100)
            results.extend(whoami(lab, wanted[-1]))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for k in range(1, 31):
            daemon.reload(configurations[k % 3])
        laboratory.wait_until(lambda: len(results) >= 1000 or not thread.is_alive(), "requests go on", patience_s=120)
    finally:
        is_over.set()
        thread.join()
    assert len(results) == sum(wanted)
    assert daemon.status()["steer"]["counters"]["drop_no_server"] == 0


def test_silent_flows_are_swept(lab, start, echo):
    daemon = start(config(lab, udp_idle="1s"))
    client = lab.client.socket(kind=socket.SOCK_DGRAM)
    client.settimeout(20)
    client.connect((lab.node.address, ECHO))
    client.send(b"once")
    assert client.recv(100).endswith(b"once")
    assert daemon.status()["steer"]["counters"]["flow_new"] == 1
    laboratory.wait_until(lambda: daemon.status()["steer"]["flows"] == 0, "the flow is swept")
    assert kernel_flows(lab.pin_dir) == []
    client.send(b"again")
    assert client.recv(100).endswith(b"again")
    assert daemon.status()["steer"]["counters"]["flow_new"] == 2
    client.close()


# ---- devices and hooks ----

def test_devices_hooks_and_reasons(lab, start, web):
    daemon = start(one_tcp(lab, lab.origins[0]))
    plane = daemon.status()["plane"]
    assert {device["name"]: device["hook"] for device in plane["devices"]} == {"client0": "tc", "origin0": "tc"}
    assert all("veth" in device["reason"] for device in plane["devices"])
    [route] = daemon.status()["listeners"][0]["routes"]
    assert route["relay"] == ", ".join(f"tc {device['name']}" for device in plane["devices"])
    assert route["why_not_faster"] == plane["devices"][0]["reason"]  # the same of both, so once
    # The device of another server is added by a reload, and goes again.
    daemon.reload(one_tcp(lab, *lab.origins))
    assert {device["name"] for device in daemon.status()["plane"]["devices"]} == {"client0", "origin0", "origin1"}
    assert set(whoami(lab, 20)) == {origin.address for origin in lab.origins}
    daemon.reload(one_tcp(lab, lab.origins[1]))
    assert {device["name"] for device in daemon.status()["plane"]["devices"]} == {"client0", "origin1"}
    # A link, or before Linux 6.6 the mark of a filter.
    pins = {path.name.split("_", 2)[2] for path in (*lab.pin_dir.glob("link_tc_*"), *lab.pin_dir.glob("filter_tc_*"))}
    assert pins == {"client0", "origin1"}


def test_next_hops_of_servers_are_kept_resolved(lab, start):
    lab.node.run("ip", "neigh", "flush", "all")
    daemon = start(one_tcp(lab, lab.origins[0]))
    shown = lab.node.run("ip", "neigh", "show", lab.origins[0].address).stdout
    assert "managed" in shown and "lladdr" in shown or laboratory.wait_until(
        lambda: "lladdr" in lab.node.run("ip", "neigh", "show", lab.origins[0].address).stdout, "it is resolved")
    daemon.stop()
    assert "managed" not in lab.node.run("ip", "neigh", "show", lab.origins[0].address).stdout


def test_native_xdp_on_both_sides(lab, start, web, echo):
    """A veth runs native XDP once its peer makes its own checksums and polls."""
    for namespace in (lab.client, *lab.origins):
        namespace.run("ethtool", "-K", "eth0", "tx", "off", "gro", "on")
    path = web[0].root / "bulk"
    path.write_bytes(hashlib.sha512(b"bulk").digest() * (1 << 18))
    daemon = start(config(lab, {"web": {"servers": [f"{lab.origins[0].address}:{WEB}"]},
                                "dns": {"servers": [f"{lab.origins[0].address}:{DNS}"]},
                                "echo": {"servers": [f"{lab.origins[0].address}:{ECHO}"]}}, hook="xdp"))
    assert all(device["hook"] == "xdp" for device in daemon.status()["plane"]["devices"])
    assert len([line for line in attached(lab) if "driver" in line]) == 2
    # The client's address is unknown to the node: XDP leaves the answer to tc, which asks for it.
    lab.node.run("ip", "neigh", "flush", "dev", "client0")
    client = lab.client.socket(kind=socket.SOCK_DGRAM)
    client.settimeout(20)
    client.connect((lab.node.address, ECHO))
    lab.client.run("ip", "neigh", "replace", lab.node.address, "dev", "eth0", "nud", "permanent", "lladdr",
                   json.loads(lab.node.run("ip", "-j", "link", "show", "client0").stdout)[0]["address"])
    client.send(b"over")
    assert client.recv(100).endswith(b"over")
    counters = daemon.status()["steer"]["counters"]
    assert counters["pass_no_neighbour"] >= 1 and counters["steered_to_client"] == 1
    done = lab.client.run("sh", "-c", f"curl -sS --max-time 600 http://{lab.node.address}/bulk | sha256sum",
                          timeout_s=620)
    assert done.stdout.split()[0] == hashlib.sha256(path.read_bytes()).hexdigest()
    # Back to tc in the running daemon: the flow of the client goes on.
    daemon.reload(config(lab, hook="tc"))
    assert not any("driver" in line for line in attached(lab))
    client.send(b"still")
    assert client.recv(100).endswith(b"still")
    assert {row["client"] for row in daemon.status()["steer"]["flow_table"] if row["protocol"] == "udp"} == {
        "%s:%d" % client.getsockname()}
    client.close()


def test_what_cannot_work_is_refused_with_the_mend(lab, start):
    def refusal(configuration):
        daemon = start(configuration, start=False)
        done = lab.node.run(laboratory.penstock.binary(), "run", "-c", daemon.config, check=False)
        assert done.returncode != 0
        return done.stdout + done.stderr

    assert "this host itself" in refusal(one_tcp(lab, lab.node))
    assert 'no device "eth9"' in refusal(one_tcp(lab, lab.origins[0], devices=["eth9"]))
    lab.node.sysctl("net.ipv4.conf.client0.forwarding", 0)
    assert "net.ipv4.conf.client0.forwarding=1" in refusal(one_tcp(lab, lab.origins[0]))
    lab.node.sysctl("net.ipv4.conf.client0.forwarding", 1)
    lab.node.run("ip", "route", "del", "198.51.100.16/28")
    assert "no route to server" in refusal(one_tcp(lab, lab.origins[1]))
    assert not [*lab.pin_dir.glob("link_*"), *lab.pin_dir.glob("filter_*")]


def test_removing_leaves_nothing(lab, start, web):
    daemon = start(one_tcp(lab, lab.origins[0]))
    assert whoami(lab, 1) == [lab.origins[0].address]
    daemon.process.stop()
    assert whoami(lab, 1) == [lab.origins[0].address]
    lab.node.run(laboratory.penstock.binary(), "steer", "remove", "-c", daemon.config)
    assert not lab.pin_dir.exists()
    with pytest.raises(ConnectionRefusedError):
        lab.client.connect(lab.node.address, 80)
    lab.node.run(laboratory.penstock.binary(), "steer", "remove", "-c", daemon.config)  # twice is no error


def test_listeners_may_follow_a_start_without_any(lab, start, web):
    """The kernel spreads connections over one socket per thread; all of them are somebody's."""
    configuration = {**one_tcp(lab, *lab.origins), "process": {"threads": 3}}
    daemon = start(configuration)
    configuration["listeners"].append({"bind": f"{lab.node.address}:9000", "routes": [{"to": "web"}]})
    daemon.reload(configuration)
    for _ in range(30):
        with lab.client.connect(lab.node.address, 9000) as client:
            client.sendall(b"GET /whoami HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(15) == b"HTTP/1.1 200 OK"
    assert daemon.status()["threads"] == 3
