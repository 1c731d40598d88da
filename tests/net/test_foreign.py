# SPDX-License-Identifier: Apache-2.0
"""Sockets that are not what they seem: MPTCP, and those that another agent's sockmap has."""
import json
import pathlib
import re
import socket
import subprocess

import pytest

import lab as laboratory

PORT = 9000
ORIGIN_PORT = 7000
ENGINES = ("auto", "copy", "pipe", "sockmap")
MPTCP = 262


@pytest.fixture
def start(lab):
    daemons = []

    def start_daemon(relay, **options):
        daemons.append(laboratory.Penstock(lab.node, lab.pin_dir, {
            "process": {"drain_timeout": "2s"},
            "listeners": [{"bind": f"{lab.node.address}:{PORT}", "routes": [{"pass": "service", "relay": relay}]}],
            "origins": {"service": {"servers": [f"{lab.origins[0].address}:{ORIGIN_PORT}"]}}}, **options))
        return daemons[-1]

    yield start_daemon
    for daemon in daemons:
        if daemon.process.is_running():
            daemon.stop()


@pytest.fixture
def mptcp(lab):
    try:
        lab.client.socket(protocol=MPTCP).close()
    except OSError as error:
        pytest.skip(f"no MPTCP here: {error.strerror}")
    return MPTCP


def receive(sock, total):
    data = b""
    while len(data) < total:
        part = sock.recv(total - len(data))
        assert part
        data += part
    return data


def chat(client, origin, rounds=100):
    for number in range(rounds):
        for sender, receiver in ((client, origin), (origin, client)):
            word = b"word %06d" % number
            sender.sendall(word)
            assert receive(receiver, len(word)) == word


def flow(daemon):
    [stream] = json.loads(daemon.command("flows", "--json", "--runtime-dir", daemon.runtime_dir).stdout)["streams"]
    return stream


def end(client, origin):
    client.shutdown(socket.SHUT_WR)
    assert origin.recv(1) == b""
    origin.close()
    assert client.recv(1) == b""
    client.close()


@pytest.mark.parametrize("relay", ENGINES)
def test_client_that_asks_for_mptcp_gets_tcp(lab, start, mptcp, relay):
    """Our listeners are TCP, whatever the host prefers: so all engines can have these clients."""
    daemon = start(relay)
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client = lab.client.connect(lab.node.address, PORT, protocol=mptcp)
        origin, _ = listener.accept()
        origin.settimeout(20)
        chat(client, origin)
        assert flow(daemon)["engine_up"] == ("sockmap" if relay == "auto" else relay)
        end(client, origin)


@pytest.fixture(scope="session")
def all_mptcp(tmp_path_factory):
    """A library that makes all TCP sockets of a program MPTCP."""
    directory = tmp_path_factory.mktemp("mptcp")
    for folder in (directory, directory.parent):
        folder.chmod(0o755)
    library = directory / "all_mptcp.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, pathlib.Path(__file__).with_name("all_mptcp.c"), "-ldl"],
                   check=True)
    return library


@pytest.mark.release
@pytest.mark.parametrize("relay", ENGINES)
def test_daemon_whose_sockets_are_made_mptcp(lab, start, mptcp, all_mptcp, relay):
    daemon = start(relay, environment={"LD_PRELOAD": str(all_mptcp)})
    with lab.origins[0].listen(ORIGIN_PORT) as listener:
        client = lab.client.connect(lab.node.address, PORT, protocol=mptcp)
        origin, _ = listener.accept()
        origin.settimeout(20)
        chat(client, origin)
        found = flow(daemon)
        if relay in ("auto", "sockmap"):
            assert found["engine_up"] == found["engine_down"] == "copy"
            assert "MPTCP" in found["why_not_faster"]
        else:
            assert found["engine_up"] == relay
        end(client, origin)
    assert daemon.status()["counters"]["relay_mismatches"] == 0


def inode_toward(lab, port):
    """Of the node's socket whose peer is the client at this port."""
    found = lab.node.run("ss", "-tneH", "state", "established", "dport", "=", f":{port}").stdout
    return int(re.search(r"\bino:(\d+)", found).group(1))


@pytest.mark.parametrize("relay, engine_up, why", (
    ("auto", "copy", "a socket is in another program's sockmap"),
    ("copy", "copy", "copy was asked for"),
    ("pipe", "copy", "what comes cannot be spliced: another program's sockmap has it"),
))
def test_socket_that_another_agents_sockmap_has(lab, start, relay, engine_up, why):
    daemon = start(relay)
    with laboratory.ForeignSockmap() as foreign, lab.origins[0].listen(ORIGIN_PORT) as listener:
        client = lab.client.connect(lab.node.address, PORT)
        origin, _ = listener.accept()
        origin.settimeout(20)
        foreign.take(daemon.pids()[1], inode_toward(lab, client.getsockname()[1]))
        chat(client, origin)
        found = flow(daemon)
        assert found["engine_up"] == engine_up
        assert why in found["why_not_faster"]
        table = daemon.command("flows", "--runtime-dir", daemon.runtime_dir).stdout
        assert engine_up in table
        end(client, origin)
    assert daemon.status()["counters"]["relay_mismatches"] == 0
