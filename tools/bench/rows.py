# SPDX-License-Identifier: Apache-2.0
"""The rows of the benchmark. A new row is one more entry of ROWS; a new kind of metric is one entry of stats.METRICS."""

from dataclasses import dataclass

BULK = ("throughput", "cpu_per_gb")
LATENCY = ("p50", "p99", "requests")
ROUND_TRIP = ("p50", "p99", "requests", "cpu_per_request")
CONNECT = ("connections", "cpu_per_connection", "p50", "p99")
SHAKE = ("connections", "cpu_per_connection", "own_per_connection", "p50", "p99")
SHAKE_2 = ("own_per_connection",)
HTTP = ("requests", "cpu_per_request", "p50", "p99", "memory")

MEMORY = ("memory", "memory_per_connection")
PER_BYTE = ("instructions_per_byte",)
PER_REQUEST = ("instructions_per_request",)


@dataclass(frozen=True)
class Row:
    id: str
    lane: str  # what the proxy does, a key of peers.LANES
    origin: str  # which service of the origin is behind it, a key of place.ORIGIN_PORTS
    mode: str  # what the client does: `load client -m`
    connections: int
    metrics: tuple
    body_bytes: int = 128  # HTTP only
    in_packet_path: bool = False  # some contestant works on packets: see the head of __main__.py
    idle: int = 0  # connections that are open and silent meanwhile
    threads: int = 1  # workers of each proxy: two share both cores with the load, so only their own time counts
    in_vm: bool = False  # what the proxy's processes execute is counted, where the kernel does TLS: vm.py
    vm_seconds: float = 0.25  # of the virtual clock: so many thousand million instructions


ROWS = (
    Row("l4-bulk-1", "l4", "source", "bulk", 1, BULK),
    Row("l4-bulk-16", "l4", "source", "bulk", 16, BULK),
    Row("l4-rr-1", "l4", "echo", "rr", 1, LATENCY),
    Row("l4-rr-1-rps", "l4", "echo", "rr", 1, ROUND_TRIP, in_packet_path=True),
    Row("l4-rr-64", "l4", "echo", "rr", 64, ROUND_TRIP + ("memory", "memory_mapped"), in_packet_path=True),
    Row("l4-short", "l4", "echo", "short", 32, CONNECT),
    Row("l4-add-10", "l4", "echo", "short", 8, CONNECT, idle=10),
    Row("l4-add-8000", "l4", "echo", "short", 8, CONNECT, idle=8000),
    Row("l4-idle-mem", "l4", "echo", "rr", 1, ("memory", "memory_mapped", "memory_per_connection"), idle=8000),
    Row("h1-plain", "http", "http", "http", 32, HTTP),
    Row("h1-tls", "tls", "http", "http", 32, HTTP),
    Row("h1-reencrypt", "reencrypt", "https", "http", 32, HTTP),
    Row("tls-handshake", "tls", "http", "http-short", 32, SHAKE),
    Row("tls-resume", "tls", "http", "http-resume", 32, SHAKE),
    Row("tls-handshake-2", "tls", "http", "http-short", 32, SHAKE_2, threads=2),
    Row("tls-resume-2", "tls", "http", "http-resume", 32, SHAKE_2, threads=2),
    Row("tls-idle-mem", "tls", "http", "http", 1, MEMORY, idle=1000),
    Row("vm-tls-down", "tls", "http", "http", 1, PER_BYTE, body_bytes=4 << 20, in_vm=True),
    Row("vm-tls-up", "tls", "http", "put", 1, PER_BYTE, body_bytes=4 << 20, in_vm=True),
    Row("vm-tls-16k", "tls", "http", "http", 4, PER_REQUEST, body_bytes=16384, in_vm=True),
    Row("vm-tls-reencrypt", "reencrypt", "https", "http", 1, PER_BYTE, body_bytes=4 << 20, in_vm=True),
    Row("vm-tls-idle-mem", "tls", "http", "http", 1, MEMORY, idle=250, in_vm=True),
)


def pays(name, mode, body_bytes, lanes=("tls", "reencrypt"), connections=4, **more):
    """The same work with TLS on the client's side, and on both."""
    return tuple(Row(f"pays-{name}{'' if lane == 'tls' else '-both'}", lane, "http" if lane == "tls" else "https", mode,
                     connections, PER_REQUEST, body_bytes, in_vm=True, **more) for lane in lanes)  # fmt: skip


# Who had better do the records, and from when on: `vm.py pays`.
PAYS_ROWS = (
    *pays("short", "http-short", 128, ("tls",), connections=8, vm_seconds=2),
    *pays("short", "http-short", 128, ("reencrypt-short",), connections=8, vm_seconds=4),
    *pays("resumed", "http-resume", 128, ("tls",), connections=8, vm_seconds=2),
    *(row for size in (128, 1024, 4096, 16384, 65536, 1 << 20) for row in pays(f"get-{size}", "http", size)),
    *(row for size in (4096, 16384, 65536, 1 << 20) for row in pays(f"put-{size}", "put", size)),
)


def pick(words, table=ROWS):
    """The rows named in a BENCH variable, in the order of the table; unknown names are a ValueError."""
    wanted = words.replace(",", " ").split()
    known = [row.id for row in table]
    unknown = [word for word in wanted if word not in known]
    if unknown:
        raise ValueError(f"no such row: {' '.join(unknown)}; there are: {' '.join(known)}")
    return [row for row in table if not wanted or row.id in wanted]
