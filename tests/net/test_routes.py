# SPDX-License-Identifier: Apache-2.0
"""Routes of connections: by source, destination and ALPN, and for clients that say nothing."""
import pytest

import lab as laboratory

PORT = 9000
ORIGIN_PORT = 7000


@pytest.fixture
def start_routes(start):
    """Starts the daemon with the routes of one listener on all addresses."""
    return lambda routes, **listener: start({
        "listeners": [{"bind": f":{PORT}", "routes": routes, **listener}], "process": {"drain_timeout": "2s"}})


def target(lab, k, port=ORIGIN_PORT):
    return f"tcp://{lab.origins[k].address}:{port}"


def greeter(lab, k, word, port=ORIGIN_PORT):
    """A server that speaks first."""
    return lab.origins[k].start("/usr/bin/python3", "-c", f"""
import socket
server = socket.create_server(("0.0.0.0", {port}))
while True:
    client, _ = server.accept()
    client.sendall({word!r})
    client.close()
""", name=f"greeter{k}-{port}")


def hear(namespace, address, data=b""):
    with namespace.connect(address, PORT) as client:
        if data:
            client.sendall(data)
        heard = b""
        while part := client.recv(64):
            heard += part
        return heard


def wait_closes(daemon, reason, count=1):
    laboratory.wait_until(lambda: daemon.status()["closes"][reason] >= count, f"{count} connections closed: {reason}")


def test_by_source_and_destination(lab, start_routes):
    """Nothing is waited for: the servers speak first."""
    servers = [greeter(lab, 0, b"far"), greeter(lab, 1, b"inner"), greeter(lab, 1, b"rest", ORIGIN_PORT + 1)]
    for server, port in zip(servers, (ORIGIN_PORT, ORIGIN_PORT, ORIGIN_PORT + 1)):
        server.wait_port(port)
    daemon = start_routes([{"source": [f"{lab.client.address}/32"], "destination": ["198.51.100.0/28"],
                            "pass": target(lab, 1)},
                           {"source": ["192.0.2.0/24", "2001:db8:1::/64"], "pass": target(lab, 0)},
                           {"source": ["198.51.100.16/28"], "pass": target(lab, 1, ORIGIN_PORT + 1)}],
                          timeouts={"hello": "60s"})
    assert hear(lab.client, lab.node.address) == b"far"
    assert hear(lab.client, "198.51.100.1") == b"inner"
    assert hear(lab.origins[1], lab.node.address) == b"rest"
    assert hear(lab.origins[0], lab.node.address) == b""
    assert daemon.status()["closes"]["no_route"] == 1
    for server in servers:
        server.kill()


def s_client(lab, *options):
    return lab.client.run("openssl", "s_client", "-connect", f"{lab.node.address}:{PORT}", *options, check=False).stdout


def test_by_alpn(lab, start_routes, authority):
    servers = [laboratory.TlsServer(lab.origins[0], authority.issue("queue.test"), ORIGIN_PORT, name="queue",
                                    arguments=("-www", "-alpn", "mqtt,x-queue")),
               laboratory.TlsServer(lab.origins[1], authority.issue("web.test"), ORIGIN_PORT, name="web",
                                    arguments=("-www", "-alpn", "http/1.1"))]
    daemon = start_routes([{"alpn": ["mqtt", "x-queue"], "pass": target(lab, 0)},
                           {"alpn": "http/1.1", "pass": target(lab, 1)}])
    assert "CN = queue.test" in s_client(lab, "-alpn", "mqtt")
    assert "CN = queue.test" in s_client(lab, "-alpn", "h3,x-queue")
    assert "CN = web.test" in s_client(lab, "-alpn", "h2,http/1.1")
    resolve = ("--cacert", authority.file, "--resolve", f"web.test:{PORT}:{lab.node.address}", f"https://web.test:{PORT}/")
    lab.client.run("curl", "-sS", "--fail", *resolve)
    assert "no peer certificate" in s_client(lab, "-alpn", "mqt")
    assert lab.client.run("curl", "-sS", "--no-alpn", *resolve, check=False).returncode != 0
    assert daemon.status()["closes"]["no_route"] == 2
    for server in servers:
        server.process.kill()


def test_alpn_chooses_between_the_lanes(lab, start_routes, authority):
    """One port: a protocol that is passed, and HTTP that is ended here."""
    certificate = authority.issue("web.test")
    server = laboratory.TlsServer(lab.origins[0], authority.issue("queue.test"), ORIGIN_PORT, name="queue")
    nginx = laboratory.Nginx(lab.origins[1], http=f"server {{ listen {ORIGIN_PORT}; location / {{ return 200 web; }} }}")
    start_routes([{"alpn": "mqtt", "pass": target(lab, 0)}, {"to": f"http://{lab.origins[1].address}:{ORIGIN_PORT}"}],
          tls={"certificates": [str(certificate.bundle)]})
    assert "CN = queue.test" in s_client(lab, "-alpn", "mqtt")
    assert lab.client.run("curl", "-sS", "--fail", "--cacert", authority.file, "--resolve",
                          f"web.test:{PORT}:{lab.node.address}", f"https://web.test:{PORT}/").stdout == "web"
    server.process.kill()
    nginx.stop()


def test_server_speaks_first_beside_names(lab, start_routes, authority):
    """A port with names and a route of all else: who says nothing is passed to the latter when the time for a
    ClientHello is over; who says something that is not TLS goes there at once."""
    server = greeter(lab, 0, b"SSH-2.0-lab\r\n")
    server.wait_port(ORIGIN_PORT)
    tls = laboratory.TlsServer(lab.origins[1], authority.issue("web.test"), ORIGIN_PORT)
    daemon = start_routes([{"sni": "web.test", "pass": target(lab, 1)}, {"pass": target(lab, 0)}],
                          timeouts={"hello": "300ms"})
    assert hear(lab.client, lab.node.address) == b"SSH-2.0-lab\r\n"
    assert "CN = web.test" in s_client(lab, "-servername", "web.test")
    with lab.client.connect(lab.node.address, PORT) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01")  # half a ClientHello is not silence
        wait_closes(daemon, "hello_timeout")
    server.kill()
    tls.process.kill()


def test_silent_where_all_is_names(lab, start_routes):
    daemon = start_routes([{"sni": "web.test", "pass": target(lab, 1)}], timeouts={"hello": "300ms"})
    assert hear(lab.client, lab.node.address) == b""
    assert daemon.status()["closes"]["hello_timeout"] == 1


def test_silent_where_the_rest_is_http(lab, start_routes):
    """HTTP servers do not speak first: nothing is gained by waiting longer."""
    daemon = start_routes([{"sni": "web.test", "pass": target(lab, 1)},
                    {"to": f"http://{lab.origins[0].address}:{ORIGIN_PORT}"}], timeouts={"hello": "300ms"})
    assert hear(lab.client, lab.node.address) == b""
    wait_closes(daemon, "hello_timeout")
