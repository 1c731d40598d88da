# SPDX-License-Identifier: Apache-2.0
"""TLS ended around protocols that the proxy does not know, by programs that nobody here wrote: PostgreSQL with psql and
pgbench, whose TLS is socat's on the client's side and HAProxy's on the origin's; and streams that end one direction first."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

import lab as laboratory

PORT, ONE_PORT = 9443, 9444
NAME, INNER = "db.example.com", "inner.example.com"
DATABASE_PORT, TLS_PORT, SUM_PORT, LOCAL_PORT = 5432, 7443, 7000, 5433


def run_as_postgres(*command):
    return ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *map(str, command))


@pytest.fixture(scope="module")
def programs():
    return max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))


@pytest.fixture(scope="module")
def cluster(programs):
    """The folder of a fresh database cluster, without durability; pytest keeps others out of its own folders."""
    with tempfile.TemporaryDirectory(prefix="penstock-database-") as folder:
        shutil.chown(folder, "postgres", "postgres")
        data = pathlib.Path(folder) / "data"
        subprocess.run(run_as_postgres(programs / "initdb", "-D", data, "--auth=trust", "--no-sync", "-E", "UTF8",
                                       "--locale=C"), check=True, capture_output=True, cwd="/")
        with (data / "pg_hba.conf").open("a", encoding="ascii") as file:
            file.write("host all all 192.0.2.0/24 trust\nhost all all 198.51.100.0/24 trust\n")
        yield data


@pytest.fixture
def database(lab, programs, cluster):
    origin = lab.origins[0]
    server = origin.start(*run_as_postgres(
        programs / "postgres", "-D", cluster, "-c", f"listen_addresses={origin.address}", "-c", f"port={DATABASE_PORT}", "-c",
        "unix_socket_directories=", "-c", "fsync=off"), name="postgres")
    server.wait_line("database system is ready to accept connections")
    yield server
    server.stop()


class World:
    def __init__(self, lab, authority):
        self.lab, self.authority = lab, authority
        self.origin = lab.origins[0].address
        self.site, self.inner = authority.issue(NAME, "*.example.com"), authority.issue(INNER)

    def config(self, server_name=INNER):
        return {
            "process": {"drain_timeout": "5s"},
            "listeners": [{"bind": f"{self.lab.node.address}:{PORT}", "tls": {"certificates": [str(self.site.bundle)]},
                           "routes": [{"sni": "plain.example.com", "to": f"tcp://{self.origin}:{DATABASE_PORT}"},
                                      {"sni": "again.example.com", "to": "again"},
                                      {"sni": "sum.example.com", "to": f"tcp://{self.origin}:{SUM_PORT}"}]},
                          {"bind": f"{self.lab.node.address}:{ONE_PORT}", "tls": {"certificates": [str(self.site.bundle)]},
                           "routes": [{"to": f"tcp://{self.origin}:{DATABASE_PORT}"}]}],
            "origins": {"again": {"servers": [f"{self.origin}:{TLS_PORT}"], "protocol": "tcp", "retries": 0,
                                  "tls": {"ca": str(self.authority.file), "server_name": server_name}}},
        }

    def tls_before_database(self):
        """HAProxy ends TLS in front of the database, as an origin that has TLS of its own."""
        if " cx16" not in pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii"):
            pytest.skip("haproxy needs cmpxchg16b, which this processor does not have")
        config = self.lab.directory / "haproxy.cfg"
        config.write_text(f"""
            defaults
                mode tcp
                timeout connect 20s
                timeout client 60s
                timeout server 60s
            listen database
                bind {self.origin}:{TLS_PORT} ssl crt {self.inner.bundle}
                server one {self.origin}:{DATABASE_PORT}\n""")
        server = self.lab.origins[0].start("haproxy", "-db", "-f", config)
        server.wait_port(TLS_PORT)
        return server

    def tunnel(self, name, local=f"TCP-LISTEN:{LOCAL_PORT},bind=127.0.0.1,reuseaddr,fork"):
        """The client's TLS, verified."""
        return ("socat", "-t60", local, f"OPENSSL:{self.lab.node.address}:{PORT},cafile={self.authority.file},"
                f"commonname={name},snihost={name}")

    def open_tunnel(self, name):
        tunnel = self.lab.client.start(*self.tunnel(name), name="tunnel")
        tunnel.wait_port(LOCAL_PORT)
        return tunnel

    def psql(self, *commands, check=True):
        """In the clear, to the tunnel's end."""
        return self.lab.client.run("psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1",
                                   f"host=127.0.0.1 port={LOCAL_PORT} dbname=postgres user=postgres sslmode=disable",
                                   *(word for command in commands for word in ("-c", command)), check=check)


def all_closed(daemon):
    """Of wait_until(): the status, when it knows of no open connection."""
    def look():
        status = daemon.status()
        return status if sum(status["closes"].values()) == status["counters"]["connections_accepted"] else None
    return look


@pytest.fixture
def world(lab, authority):
    return World(lab, authority)


@pytest.mark.parametrize("way", ["plain", "again"])
def test_postgresql(world, start, database, programs, way):
    """Tables as large as a relay's buffers are not, there and back; then many sessions at once."""
    lab, daemon = world.lab, start(world.config())
    servers = [world.tls_before_database()] if way == "again" else []
    servers.append(world.open_tunnel(f"{way}.example.com"))
    lines, back = lab.directory / "lines", lab.directory / "back"
    lines.write_text("".join(f"{hashlib.sha256(str(i).encode()).hexdigest() * 8}\n" for i in range(32768)))
    world.psql("drop table if exists t", "create table t (id serial, line text)", f"\\copy t (line) from {lines}")
    digest = hashlib.sha256(lines.read_bytes()).hexdigest()
    assert world.psql("select encode(sha256(convert_to(string_agg(line || E'\\n', '' order by id), 'UTF8')), 'hex') from t"
                      ).stdout.strip() == digest
    world.psql(f"\\copy (select line from t order by id) to {back}")
    assert hashlib.sha256(back.read_bytes()).hexdigest() == digest
    bench = (programs / "pgbench", "-h", "127.0.0.1", "-p", str(LOCAL_PORT), "-U", "postgres")
    lab.client.run(*bench, "-i", "-q", "postgres", env={**os.environ, "PGSSLMODE": "disable"})
    done = lab.client.run(*bench, "-n", "-c", "8", "-t", "25", "postgres", env={**os.environ, "PGSSLMODE": "disable"})
    assert "number of transactions actually processed: 200/200" in done.stdout
    route = daemon.status()["listeners"][0]["routes"][0 if way == "plain" else 1]
    size = lines.stat().st_size
    assert route["failures"] == 0 and route["bytes_from_client"] > size and route["bytes_to_client"] > size
    status = laboratory.wait_until(all_closed(daemon), "all sessions have ended")
    assert {reason for reason, n in status["closes"].items() if n} == {"done"}
    assert status["counters"]["connections_accepted"] > 8
    for server in servers:
        server.stop()


def test_a_database_that_cannot_be_verified(world, start, database):
    daemon = start(world.config(server_name="other.example.com"))
    servers = [world.tls_before_database(), world.open_tunnel("again.example.com")]
    assert "server closed the connection" in world.psql("select 1", check=False).stderr
    daemon.process.wait_line(rf"origin=again .*reason=origin_unverified .*{world.origin}:{TLS_PORT}: .*other.example.com")
    assert daemon.status()["counters"]["origin_tls_wrong_name"] == 1
    for server in servers:
        server.stop()


def test_postgresql_that_negotiates_is_refused(world, start, database):
    """Before version 17 its clients ask in the clear whether TLS is spoken (SSLRequest): that is no ClientHello."""
    daemon = start(world.config())
    for port, words in ((PORT, "reason=no_route .*as PostgreSQL's do; it must begin with TLS"),
                        (ONE_PORT, "reason=handshake_failed .*what came is not TLS")):
        done = world.lab.client.run("psql", f"host={world.lab.node.address} port={port} dbname=postgres user=postgres "
                                    "sslmode=require", "-c", "select 1", check=False)
        assert done.returncode != 0
        daemon.process.wait_line(words)


@pytest.mark.parametrize("size", [0, 1, 64 << 20])
def test_one_direction_ends_first(world, start, size):
    """The origin hears the end of what the client sends, and answers after it."""
    start(world.config())
    origin = world.lab.origins[0].start("socat", "-t60", f"TCP-LISTEN:{SUM_PORT},reuseaddr,fork", "EXEC:sha256sum", name="sum")
    origin.wait_port(SUM_PORT)
    data = os.urandom(1 << 20) * (size >> 20) if size > 1 else b"x" * size
    sent = world.lab.directory / "sent"
    sent.write_bytes(data)
    tunnel = world.tunnel("sum.example.com", local="STDIO")
    done = world.lab.client.run("sh", "-c", f'exec "$@" <{sent}', "sh", *tunnel)
    assert done.stdout.split() == [hashlib.sha256(data).hexdigest(), "-"]
    origin.stop()
