# SPDX-License-Identifier: Apache-2.0
"""
make bench-engines: the relay engines of penstock beside each other, in answers of many sizes to small requests, and in the
rows of `make bench` that are of the splice lane. One penstock for each engine; they take turns.

CPU here is the run time of penstock's threads, and of the kernel threads of its core: the sockmap's writer is one. It
is from schedstat, so a busy machine blurs it less than the core's account; what soft interrupts do in the time of others
is missed.

Environment: BENCH="id id" picks rows, BENCH_RUNS=N (3).
"""

import os
import pathlib
import re
import signal
import statistics
import sys
import time

import rows
from peers import Penstock
from place import LabError, Place, idle_cores_poll, on_cores, until

from lab import Penstock as Daemon

ENGINES = ("copy", "pipe", "sockmap", "auto")
PROXY_CORE, LOAD_CORE = 0, 1
SECONDS = 1
SIZES = {"1k": 1 << 10, "4k": 4 << 10, "16k": 16 << 10, "32k": 32 << 10, "128k": 128 << 10, "512k": 512 << 10}
HEAD_BYTES = 256  # of an answer, at most: with it the answer is no larger than its name says
ANSWERS = [rows.Row(f"answer-{name}", "l4", "http", "http", 16, (), body_bytes=size - HEAD_BYTES, in_packet_path=True)
           for name, size in SIZES.items()]  # fmt: skip
LANE = [row for row in rows.ROWS if row.lane == "l4" and row.idle == 0]


class Engine(Penstock):
    """penstock with one engine, on a port and with pins of its own."""

    def __init__(self, engine, port):
        self.name, self.port = engine, port

    def config(self, place, row):
        config = super().config(place, row)
        config["listeners"][0]["routes"][0]["relay"] = self.name
        return config

    def start(self, place, row):
        self.namespace = place.node
        place.lab.pin_dir.mkdir(exist_ok=True)
        self.daemon = Daemon(place.node, place.lab.pin_dir / self.name, self.config(place, row), name=f"{row.id}-{self.name}",
                             start=False)  # fmt: skip
        with on_cores(place.proxy_core):
            self.daemon.start(wait=False)
        self.process = self.daemon.process


def kernel_threads(core):
    """Of this core alone."""
    for entry in pathlib.Path("/proc").iterdir():
        try:
            name = (entry / "comm").read_text() if entry.name.isdigit() else ""
        except OSError:
            continue
        if re.match(rf"(kworker/{core}:|ksoftirqd/{core}\b)", name):
            yield int(entry.name)


def unit(row):
    return "GB" if row.mode == "bulk" else "connection" if row.mode == "short" else "answer"


def measure_row(place, row, n_runs):
    """{engine: (rate, CPU us)} for a unit of work; medians."""
    place.receive_on_own_core(row.in_packet_path)
    engines = [Engine(name, 9101 + index) for index, name in enumerate(ENGINES)]
    started, runs = [], {name: [] for name in ENGINES}
    try:
        for engine in engines:
            engine.start(place, row)
            started.append(engine)
            until(time.monotonic() + 10, lambda address=engine.address(place): place.measure(row, address, False, (), 0, 0.1))
        for _ in range(n_runs):
            for engine in engines:
                pids = [*engine.pids(), *kernel_threads(PROXY_CORE)]
                run = place.measure(row, engine.address(place), False, pids, 0.3, SECONDS)
                units = run["bytes"] / 1e9 if row.mode == "bulk" else run["exchanges"]
                runs[engine.name].append((units / run["seconds"], run["own_s"] * 1e6 / units))
    finally:
        for engine in started:
            engine.stop()
    return {name: tuple(map(statistics.median, zip(*found))) for name, found in runs.items()}


def main():
    wanted = os.environ.get("BENCH", "").split()
    known = {row.id: row for row in [*ANSWERS, *LANE]}
    if os.geteuid() != 0 or set(wanted) - set(known):
        sys.exit(f"bench-engines: needs root; there are: {' '.join(known)}")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    os.sched_setaffinity(0, {LOAD_CORE})
    load = pathlib.Path(os.environ.get("BUILD") or "build") / "bench" / "load"
    print("CPU us for each unit (units a second)\n")
    print(f"| {'row':11} | {'unit':10} | " + " | ".join(f"{name:>18}" for name in ENGINES) + " |")
    print("| ----------- | ---------- | " + " | ".join("-----------------:" for _ in ENGINES) + " |")
    with idle_cores_poll(), Place(load.resolve(), PROXY_CORE, LOAD_CORE) as place:
        for row in known.values():
            if not wanted or row.id in wanted:
                found = measure_row(place, row, int(os.environ.get("BENCH_RUNS") or 3))
                cells = [f"{cpu:.4g} ({rate:.4g})" for rate, cpu in (found[name] for name in ENGINES)]
                print(f"| {row.id:11} | {unit(row):10} | " + " | ".join(f"{cell:>18}" for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (LabError, ValueError) as error:
        sys.exit(f"bench-engines: {error}")
