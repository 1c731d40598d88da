# SPDX-License-Identifier: Apache-2.0
"""Servers that the operator takes out of service: nothing new comes, what is open stays, in every lane."""
import json

import pytest

import lab as laboratory

PORT = 9000
ORIGIN_PORT = 7000


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


def addresses(lab):
    return [f"{origin.address}:{ORIGIN_PORT}" for origin in lab.origins]


def config(lab, origin=None, **more):
    return {
        "process": {"threads": 2, "drain_timeout": "2s"},
        "listeners": [{"name": "edge", "bind": f"{lab.node.address}:{PORT}", "routes": [{"pass": "service"}]}],
        "origins": {"service": {"servers": addresses(lab), **(origin or {})}},
        **more,
    }


def drain(daemon, *arguments, check=True):
    return daemon.command("drain", "--runtime-dir", daemon.runtime_dir, *arguments, check=check)


def states(daemon, name="service"):
    [origin] = [origin for origin in daemon.status()["origins"] if origin["name"] == name]
    return [server["state"] for server in origin["servers"]]


class Services:
    """Both servers, which say their number to each client first."""

    def __init__(self, lab):
        self.lab = lab
        self.listeners = [origin.listen(ORIGIN_PORT) for origin in lab.origins]
        self.open = []
        for listener in self.listeners:
            listener.setblocking(False)

    def connect(self):
        """A client and its origin's end, and which server that is."""
        client = self.lab.client.connect(self.lab.node.address, PORT)

        def accepted():
            for number, listener in enumerate(self.listeners):
                try:
                    sock, _ = listener.accept()
                    sock.settimeout(20)
                    return number, sock
                except BlockingIOError:
                    pass
            return None

        number, origin = laboratory.wait_until(accepted, "a server is connected to")
        self.open += [client, origin]
        return number, client, origin

    def numbers(self, times=8):
        return {self.connect()[0] for _ in range(times)}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in (*self.open, *self.listeners):
            sock.close()


def test_what_is_open_stays_and_nothing_new_comes(lab, start):
    daemon = start(config(lab))
    first = addresses(lab)[0]
    with Services(lab) as services:
        kept = []
        while not kept:
            number, client, origin = services.connect()
            kept += [(client, origin)] if number == 0 else []
        done = drain(daemon, "service", first)
        assert done.stdout == f"{first} of service gets nothing new; open connections: 1; other servers: 1\n"
        assert states(daemon) == ["drained", "up"]
        assert "drained" in daemon.command("status", "--runtime-dir", daemon.runtime_dir).stdout
        assert services.numbers() == {1}
        [(client, origin)] = kept
        client.sendall(b"still here")
        assert origin.recv(10) == b"still here"
        # Asked for twice is no error, and no difference.
        drain(daemon, "service", first)
        # A reload changes nothing about it, be the origin as it was or another one.
        daemon.reload(config(lab))
        assert (states(daemon), services.numbers()) == (["drained", "up"], {1})
        daemon.reload(config(lab, {"timeouts": {"connect": "3s"}}))
        assert (states(daemon), services.numbers()) == (["drained", "up"], {1})
        done = drain(daemon, "--undo", "service", first)
        assert done.stdout == f"{first} of service is in service again\n"
        assert (states(daemon), services.numbers()) == (["up", "up"], {0, 1})
        assert "server is drained, as was asked for" in daemon.log()


def test_server_that_left_the_configuration_comes_back_in_service(lab, start):
    daemon = start(config(lab))
    drain(daemon, "service", addresses(lab)[0])
    daemon.reload(config(lab, {"servers": addresses(lab)[1:]}))
    daemon.reload(config(lab))
    assert states(daemon) == ["up", "up"]


def test_last_server(lab, start):
    daemon = start(config(lab))
    with Services(lab) as services:
        for address in addresses(lab):
            done = drain(daemon, "service", address)
        assert "no server of this origin is left" in done.stderr
        client = lab.client.connect(lab.node.address, PORT)
        try:
            assert client.recv(1) == b""
        except ConnectionResetError:
            pass
        assert daemon.status()["closes"]["origin_down"] == 1
        drain(daemon, "--undo", "service", addresses(lab)[1])
        assert services.numbers(2) == {1}


def test_what_is_refused_and_why(lab, start):
    daemon = start(config(lab))
    first, second = addresses(lab)
    cases = (
        (("servce", first), 1, "penstock: no origin has this name; there is: service\n"),
        (("service", "192.0.2.99:1"), 1, f"penstock: the origin has no such server; there is: {first}, {second}\n"),
        (("--undo", "service", first), 1, "penstock: the server is not drained\n"),
        (("service",), 2, "penstock: the name of an origin and one of its servers are needed, as `penstock status` "
                          "shows them\n"),
    )
    for arguments, status, text in cases:
        done = drain(daemon, *arguments, check=False)
        assert (done.returncode, done.stderr) == (status, text)
    assert states(daemon) == ["up", "up"]
    done = json.loads(drain(daemon, "--json", "service", first).stdout)
    assert done == {"origin": "service", "server": first, "drained": True, "open": 0, "others": 1}
    done = drain(daemon, "--undo", "service", second, check=False)
    assert (done.returncode, done.stderr) == (1, f"penstock: the server is not drained; there is: {first}\n")


def test_host_name_with_the_addresses_that_it_gets_later(lab, start):
    names = laboratory.Dnsmasq(lab.origins[1], {"db.example.com": lab.origins[0].address})
    name = f"db.example.com:{ORIGIN_PORT}"
    daemon = start(config(lab, {"servers": [name, addresses(lab)[1]]}, resolver={"servers": [lab.origins[1].address]}))
    drain(daemon, "service", name)
    laboratory.wait_until(lambda: "drained" in states(daemon), "the name has an address, which is drained")
    with Services(lab) as services:
        assert services.numbers() == {1}
        drain(daemon, "--undo", "service", name)
        assert services.numbers() == {0, 1}
        # One of its addresses alone.
        drain(daemon, "service", addresses(lab)[0])
        assert services.numbers() == {1}
    names.stop()


def test_steered_flows_avoid_it(lab, start):
    daemon = start({
        "listeners": [{"bind": f"{lab.node.address}:53", "protocol": "udp", "routes": [{"steer": "dns"}]}],
        "origins": {"dns": {"servers": [f"{origin.address}:53" for origin in lab.origins]}},
    })
    servers = [laboratory.Dnsmasq(origin, {"www.example.com": f"192.0.2.{80 + k}"}, name=f"dns{k}")
               for k, origin in enumerate(lab.origins)]

    def answers(times=12):
        asked = [lab.client.run("dig", "+short", "+tries=1", "+time=10", f"@{lab.node.address}", "www.example.com")
                 for _ in range(times)]
        return {done.stdout.strip() for done in asked}

    assert answers(24) == {"192.0.2.80", "192.0.2.81"}
    drain(daemon, "dns", f"{lab.origins[0].address}:53")
    assert answers() == {"192.0.2.81"}
    drain(daemon, "--undo", "dns", f"{lab.origins[0].address}:53")
    assert answers(24) == {"192.0.2.80", "192.0.2.81"}
    for server in servers:
        server.stop()
