# SPDX-License-Identifier: Apache-2.0
"""What a source may have, how fast a stream may be, and servers that go down or move."""
import json
import os
import re
import signal
import socket

import lab as laboratory

PORT = 9000
ORIGIN_PORT = 7000


def config(lab, listener=None, route=None, origin=None, threads=2, **more):
    return {
        "process": {"threads": threads, "drain_timeout": "2s"},
        "listeners": [{"name": "edge", "bind": f"{lab.node.address}:{PORT}",
                       "routes": [{"pass": "service", **(route or {})}], **(listener or {})}],
        "origins": {"service": {"servers": [f"{lab.origins[0].address}:{ORIGIN_PORT}"], **(origin or {})}},
        **more,
    }


def pair(lab, listener):
    client = lab.client.connect(lab.node.address, PORT)
    origin, _ = listener.accept()
    origin.settimeout(20)
    return client, origin


def receive(sock, total):
    while total > 0:
        data = sock.recv(total)
        assert data
        total -= len(data)


def is_refused(client):
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_connections_of_a_source(lab, start):
    daemon = start(config(lab, {"limits": {"per_source": {"connections": 2}}}))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        kept = [pair(lab, listener) for _ in range(2)]
        assert is_refused(lab.client.connect(lab.node.address, PORT))
        assert daemon.status()["closes"]["limit_source"] == 1
        for end in kept.pop():
            end.close()
        laboratory.wait_until(lambda: daemon.status()["counters"]["connections_open"] == 1, "a place is free")
        client, origin = pair(lab, listener)
        client.sendall(b"x")
        assert origin.recv(1) == b"x"


def test_rate_of_new_connections(lab, start):
    daemon = start(config(lab, {"limits": {"rate": 3}}))
    with lab.origins[0].listen(ORIGIN_PORT):
        clients = [lab.client.connect(lab.node.address, PORT) for _ in range(20)]
        laboratory.wait_until(lambda: daemon.status()["closes"]["limit_rate"] > 0, "some come too fast")
        for client in clients:
            client.close()


def test_bandwidth_is_left_to_the_pacing_of_both_sockets(lab, start):
    start(config(lab, route={"limits": {"bandwidth": "1MiB"}}))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client, origin = pair(lab, listener)
        for sender, receiver in ((client, origin), (origin, client)):
            sender.sendall(bytes(100000))
            receive(receiver, 100000)
        sockets = lab.node.run("ss", "-tinH", "state", "established").stdout
        rates = [float(value) * {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}[unit] / 8
                 for value, unit in re.findall(r"pacing_rate [\d.]+\w*/([\d.]+)([KMG]?)bps", sockets)]
        assert len(rates) == 2, sockets
        assert all(abs(rate - (1 << 20)) < 0.02 * (1 << 20) for rate in rates), sockets
        client.close()
        origin.close()


def test_socket_options_reach_connections_and_follow_a_reload(lab, start):
    daemon = start(config(lab, {"socket": {"backlog": 77, "keepalive": {"idle": "50s"}, "user_timeout": "9s"}}))

    def listening():
        return lab.node.run("ss", "-tlnH", "sport", "=", f":{PORT}").stdout

    assert re.search(r"LISTEN\s+0\s+77\s", listening())
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client, origin = pair(lab, listener)

        def has_its_timer():
            # 50 s less what has gone by, rounded to the kernel's ticks.
            established = lab.node.run("ss", "-tnoH", "state", "established", "sport", "=", f":{PORT}").stdout
            return re.search(r"timer:\(keepalive,(50|[34]\d)", established)

        laboratory.wait_until(has_its_timer, "the kernel's keepalive timer runs")
        daemon.reload(config(lab, {"socket": {"backlog": 66}}))
        assert re.search(r"LISTEN\s+0\s+66\s", listening())
        client.close()
        origin.close()


def servers(daemon, name="service"):
    [origin] = [origin for origin in daemon.status()["origins"] if origin["name"] == name]
    return {server["address"]: server for server in origin["servers"]}


def test_checks_take_a_server_out_and_in(lab, start):
    addresses = [f"{origin.address}:{ORIGIN_PORT}" for origin in lab.origins]
    daemon = start(config(lab, origin={
        "servers": addresses,
        "health": {"check": "tcp", "send": "ping\n", "expect": "pong", "interval": "100ms", "timeout": "5s",
                   "rise": 2, "fall": 2}}))
    processes = []

    def serve(origin):
        processes.append(origin.start("socat", f"TCP-LISTEN:{ORIGIN_PORT},reuseaddr,fork",
                                      "SYSTEM:read word; test \"$word\" = ping && echo pong from $HOSTNAME",
                                      name=f"socat{len(processes)}"))
        processes[-1].wait_port(ORIGIN_PORT)
        return processes[-1]

    first = serve(lab.origins[0])
    laboratory.wait_until(lambda: servers(daemon)[addresses[1]]["state"] == "down", "the silent server goes down")
    laboratory.wait_until(lambda: servers(daemon)[addresses[0]]["state"] == "up", "the other one is up")
    for _ in range(4):
        with lab.client.connect(lab.node.address, PORT) as client:
            client.sendall(b"ping\n")
            assert client.recv(4, socket.MSG_WAITALL) == b"pong"
    serve(lab.origins[1])
    laboratory.wait_until(lambda: servers(daemon)[addresses[1]]["state"] == "up", "it comes back")
    first.kill()
    laboratory.wait_until(lambda: servers(daemon)[addresses[0]]["state"] == "down", "the first one goes down")
    daemon.process.wait_line(r"server is down .*Connection refused")
    for process in processes:
        if process.is_running():
            process.kill()


def test_steered_flows_avoid_servers_that_are_down(lab, start):
    daemon = start({
        "listeners": [{"bind": f"{lab.node.address}:53", "protocol": "udp", "routes": [{"steer": "dns"}]}],
        "origins": {"dns": {"servers": [f"{origin.address}:53" for origin in lab.origins],
                            "health": {"check": "tcp", "interval": "100ms", "timeout": "5s", "rise": 2, "fall": 2}}},
    })
    server = laboratory.Dnsmasq(lab.origins[0], {"www.example.com": "192.0.2.80"})
    laboratory.wait_until(lambda: [s["state"] for s in servers(daemon, "dns").values()] == ["up", "down"],
                          "the checks tell them apart")
    for _ in range(8):
        answer = lab.client.run("dig", "+short", "+tries=1", "+time=10", f"@{lab.node.address}", "www.example.com")
        assert answer.stdout.strip() == "192.0.2.80"
    server.stop()


def test_names_of_servers_are_followed(lab, start):
    names = laboratory.Dnsmasq(lab.origins[1], {"db.example.com": lab.origins[0].address})
    daemon = start(config(lab, origin={"servers": [f"db.example.com:{ORIGIN_PORT}"]},
                          resolver={"servers": [lab.origins[1].address]}))
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        daemon.process.wait_line("a server's name has new addresses")
        client, origin = pair(lab, listener)
        origin.sendall(b"y")
        assert client.recv(1) == b"y"
        client.close()
        origin.close()
    assert json.dumps(daemon.status()["origins"]).count(f"{lab.origins[0].address}:{ORIGIN_PORT}") >= 1
    names.stop()


def with_file_at(path, place):
    """Before a command: it finds this file in the place of the host's, in a mount namespace of its own."""
    return ("unshare", "--mount", "sh", "-c", f'mount --bind {path} {place} && exec "$@"', "sh")


def test_hosts_file_and_localhost(lab, start):
    hosts = lab.directory / "hosts"
    hosts.write_text(f"{lab.origins[0].address} db.example.com\n")
    hosts.chmod(0o644)
    configuration = config(lab, origin={"servers": [f"db.example.com:{ORIGIN_PORT}"]},
                           resolver={"servers": [lab.origins[1].address]})  # where nobody answers
    daemon = start(configuration, prefix=with_file_at(hosts, "/etc/hosts"))
    laboratory.wait_until(lambda: servers(daemon)[f"{lab.origins[0].address}:{ORIGIN_PORT}"]["name"] ==
                          f"db.example.com:{ORIGIN_PORT}", "the name has its address")
    # A reload reads the file again, and localhost needs no file.
    hosts.write_text(f"{lab.origins[1].address} db.example.com\n")
    daemon.reload(config(lab, origin={"servers": [f"db.example.com:{ORIGIN_PORT}", f"localhost:{ORIGIN_PORT + 1}"]},
                         resolver={"servers": [lab.origins[1].address]}))
    laboratory.wait_until(lambda: set(servers(daemon)) == {f"{lab.origins[1].address}:{ORIGIN_PORT}",
                                                           f"127.0.0.1:{ORIGIN_PORT + 1}", f"[::1]:{ORIGIN_PORT + 1}"},
                          "the new address and those of this host")
    with lab.origins[1].listen(ORIGIN_PORT) as listener:
        client, origin = pair(lab, listener)
        origin.sendall(b"y")
        assert client.recv(1) == b"y"
        client.close()
        origin.close()


def test_files_about_names_are_followed(lab, start):
    """Without a reload, and though the configuration's own files are not watched; a new worker has them too."""
    resolv, hosts = lab.directory / "resolv.conf", lab.directory / "hosts"
    resolv.write_text(f"nameserver {lab.origins[0].address}\n")
    hosts.write_text("127.0.0.1 localhost\n")
    for file in (resolv, hosts):
        file.chmod(0o644)
    dns = [laboratory.Dnsmasq(origin, {"db.example.com": origin.address}, name=f"dns{i}")
           for i, origin in enumerate(lab.origins)]
    daemon = start(config(lab, origin={"servers": [f"db.example.com:{ORIGIN_PORT}"]}),
                   prefix=(*with_file_at(resolv, "/etc/resolv.conf"), *with_file_at(hosts, "/etc/hosts")[2:]))

    def address_is(address):
        laboratory.wait_until(lambda: list(servers(daemon)) == [f"{address}:{ORIGIN_PORT}"], f"the name has {address}")

    address_is(lab.origins[0].address)
    generation = daemon.status()["generation"]
    resolv.write_text(f"# another network\nnameserver {lab.origins[1].address}\n")
    address_is(lab.origins[1].address)
    hosts.write_text("192.0.2.9 db.example.com\n")
    address_is("192.0.2.9")
    os.kill(daemon.status()["pid"], signal.SIGKILL)
    daemon.process.wait_line("a new worker serves")
    address_is("192.0.2.9")
    hosts.write_text("")
    address_is(lab.origins[1].address)
    assert daemon.status()["generation"] == generation
    # The configuration's own go before them, from the next reload on.
    daemon.reload(config(lab, origin={"servers": [f"db.example.com:{ORIGIN_PORT}"]},
                         resolver={"servers": [lab.origins[0].address]}))
    address_is(lab.origins[0].address)
    for server in dns:
        server.stop()


def test_names_without_an_address_are_shown_with_the_reason(lab, start):
    names = laboratory.Dnsmasq(lab.origins[1], {"db.example.com": lab.origins[0].address})
    daemon = start(config(lab, origin={"servers": [f"none.example.com:{ORIGIN_PORT}", f"db.example.com:{ORIGIN_PORT}"],
                                       "health": {"check": "tcp", "interval": "100ms", "fall": 1}},
                          resolver={"servers": [lab.origins[1].address]}))
    name = f"none.example.com:{ORIGIN_PORT}"
    assert servers(daemon)[name]["state"] == "unresolved"

    def why(address):
        return servers(daemon).get(address, {}).get("why", "")

    laboratory.wait_until(lambda: "not found" in why(name) or "Domain name" in why(name) or "DNS server" in why(name),
                          "the reason is known")
    # Of a server that is down, too.
    laboratory.wait_until(lambda: why(f"{lab.origins[0].address}:{ORIGIN_PORT}") == "Connection refused",
                          "the check's reason is known")
    table = daemon.command("status", "--runtime-dir", daemon.runtime_dir).stdout
    assert re.search(rf"{name} +unresolved +\S", table), table
    assert f"{lab.origins[0].address}:{ORIGIN_PORT} (db.example.com:{ORIGIN_PORT})" in table, table
    names.stop()
