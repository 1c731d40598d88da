# SPDX-License-Identifier: Apache-2.0
"""
make bench-calls: what each contestant asks of the kernel for one unit of a row's work (a GB, an exchange, a connection).
It counts where `make bench` times, so a busy machine matters less: system calls, wake-ups, and the packets of the proxy's
namespace, where a large one counts once. So that a proxy is not kept waiting by others, which would find it more work
at once and so save it calls, its threads run before theirs (SCHED_RR).

perf does the counting; it and its tracepoints have to be there (Debian: linux-perf), `tools/deps` does not install it.

Environment: BENCH="id id" picks rows; PENSTOCK, PEER_HAPROXY, PEER_NGINX and PENSTOCK_RELAY as in `make bench`.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import rows
from peers import CONTESTANTS
from place import LabError, Place, idle_cores_poll, until

# perf takes a tenth of a second for each, so only those that a proxy may use.
CALLS = """accept4 bind bpf clock_gettime close connect epoll_ctl epoll_pwait epoll_wait fcntl getpeername getsockname
    getsockopt ioctl pipe2 read readv recvfrom recvmsg sendmsg sendto setsockopt shutdown socket splice write writev""".split()
WAITS = "sched:sched_switch"
ROWS = "l4-bulk-1 l4-bulk-16 l4-rr-1 l4-rr-64 l4-short l4-add-10 l4-add-8000"
UNITS = {"bulk": "GB", "rr": "exchange", "short": "connection"}
PROXY_CORE, LOAD_CORE = 0, 1
SECONDS = 2


def hurry(pids):
    """On a quiet machine a proxy that is woken runs at once."""
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(1))


class Counter:
    """perf stat over some processes, from start() to stop()."""

    def __init__(self, pids):
        orders, self.orders = os.pipe()
        self.answers, answers = os.pipe()
        argv = ["perf", "stat", "-x", ";", "-D", "-1", "--control", f"fd:{orders},{answers}", "-p", ",".join(map(str, pids))]
        for name in CALLS:
            argv += ["-e", f"syscalls:sys_enter_{name}"]
        argv += ["-e", WAITS, "--filter", "prev_state != 0"]
        self.process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, pass_fds=(orders, answers))
        os.close(orders)
        os.close(answers)

    def tell(self, order):
        """Returns when perf has done it."""
        os.write(self.orders, order)
        if not os.read(self.answers, 16):
            raise LabError(f"perf: {self.process.communicate()[1].strip()[-300:]}")

    def start(self):
        self.tell(b"enable\n")

    def stop(self):
        """{what: how many}"""
        self.tell(b"disable\n")
        self.process.send_signal(signal.SIGINT)
        lines = [line.split(";") for line in self.process.communicate(timeout=30)[1].splitlines()]
        counts = {fields[2]: int(fields[0]) for fields in lines if len(fields) > 2 and fields[0].isdigit()}
        named = {name.removeprefix("syscalls:sys_enter_"): number for name, number in counts.items() if name != WAITS}
        return named | {"all system calls": sum(named.values()), "wake-ups": counts.get(WAITS, 0)}

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.orders)
        os.close(self.answers)


def traffic(place):
    """{what: how many} so far, of what the proxy's namespace sent and received."""
    found = {}
    for line in place.node.run("cat", "/proc/net/dev").stdout.splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() in ("client0", "origin0"):
            fields, peer = numbers.split(), name.strip()[:-1]
            found[f"packets from {peer}"], found[f"packets to {peer}"] = int(fields[1]), int(fields[9])
    return found


def count(place, row, contestant):
    """{what: how many} for a unit of work."""

    def work(seconds):
        return place.measure(row, contestant.address(place), False, contestant.pids(), 0, seconds)

    until(time.monotonic() + 10, lambda: work(0.1))
    hurry(contestant.pids())
    counter = Counter(contestant.pids())
    try:
        counter.start()
        before = traffic(place)
        run = work(SECONDS)
        found = {name: number - before[name] for name, number in traffic(place).items()}
        found |= counter.stop()
    finally:
        counter.close()
    found["own CPU, us"] = run["own_s"] * 1e6
    units = run["bytes"] / 1e9 if row.mode == "bulk" else run["exchanges"]
    return {name: number / units for name, number in found.items()}


def count_row(place, row):
    """{contestant: what count() found}"""
    tables = {}
    place.receive_on_own_core(row.in_packet_path)
    for contestant in CONTESTANTS:
        contestant.start(place, row)
        try:
            tables[contestant.name] = count(place, row, contestant)
        finally:
            contestant.stop()
    return tables


def show(row, tables):
    """As a table; what nobody did is left out."""
    names = {name: None for table in tables.values() for name in table}
    found = [name for name in names if max(table.get(name, 0) for table in tables.values()) >= 0.05]
    calls = sorted(name for name in found if name in CALLS)
    print(f"\n| {row.id + ', for each ' + UNITS[row.mode]:32} | " + " | ".join(f"{name:>8}" for name in tables) + " |")
    print(f"| {'-' * 32} | " + " | ".join("-------:" for _ in tables) + " |")
    for name in [*calls, *(name for name in found if name not in CALLS)]:
        print(f"| {name:32} | " + " | ".join(f"{table.get(name, 0):8.3g}" for table in tables.values()) + " |", flush=True)


def main():
    picked = rows.pick(os.environ.get("BENCH", "") or ROWS)
    if any(row.lane != "l4" or "memory" in row.metrics[:1] for row in picked):
        sys.exit(f"bench-calls: there are: {ROWS}")
    if os.geteuid() != 0 or not shutil.which("perf"):
        sys.exit("bench-calls: needs root, and perf (Debian: linux-perf)")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    os.sched_setaffinity(0, {LOAD_CORE})
    load = pathlib.Path(os.environ.get("BUILD") or "build") / "bench" / "load"
    with idle_cores_poll(), Place(load.resolve(), PROXY_CORE, LOAD_CORE) as place:
        for row in picked:
            show(row, count_row(place, row))


if __name__ == "__main__":
    try:
        main()
    except (LabError, ValueError) as error:
        sys.exit(f"bench-calls: {error}")
