#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
What two threads that make TLS handshakes cost each other: a daemon with two threads beside two daemons with one, which
share nothing, all on both cores together with client and origin, half of the connections for each of two clients. They
take turns, and each turn is compared with that of the two daemons before or after it: a host that goes slower for some
seconds does so for all. With them nginx, whose two processes share nothing either, and one thread that has a core for
itself.

Prints the processes' own CPU time for a connection, median and quartiles of the turns, and as a share of the two daemons'.

  threads.py [ROW...]      tls-handshake-2, tls-resume-2; BENCH_RUNS=N (20), BUILD; PENSTOCK, PEER_NGINX
"""

import dataclasses
import json
import os
import pathlib
import signal
import statistics
import sys
import time

import rows
from peers import Nginx, Penstock
from place import SERVER_NAME, LabError, Place, idle_cores_poll, on_cores, until

from lab import Penstock as Daemon

PROXY_CORE, LOAD_CORE = 0, 1
WARMUP_S, SECONDS = 0.2, 0.6
ROWS = ("tls-handshake-2", "tls-resume-2")


class Daemons(Penstock):
    """One with so many threads; each has a port and pins of its own."""

    def __init__(self, name, port, threads, cores=(PROXY_CORE, LOAD_CORE)):
        self.name, self.port, self.threads, self.cores = name, port, threads, cores

    def start(self, place, row):
        self.namespace = place.node
        place.lab.pin_dir.mkdir(exist_ok=True)
        config = self.config(place, dataclasses.replace(row, threads=self.threads))
        self.daemon = Daemon(place.node, place.lab.pin_dir / self.name, config, name=f"{row.id}-{self.name}", start=False)
        with on_cores(*self.cores):
            self.daemon.start(wait=False)
        self.process = self.daemon.process


def sides():
    """What is compared -> who runs for it."""
    return {
        "two daemons": [Daemons("first", 9201, 1), Daemons("second", 9202, 1)],
        "two threads": [Daemons("threads", 9203, 2)],
        "nginx": [Nginx()],
        "one thread": [Daemons("alone", 9204, 1, (PROXY_CORE,))],
    }


def measure(place, row, contestants, seconds=SECONDS):
    """Microseconds of the proxies' own for a connection; two clients at once."""
    pids = ",".join(str(pid) for contestant in contestants for pid in contestant.pids())
    argv = ["client", "-m", row.mode, "-c", row.connections // 2, "-w", WARMUP_S, "-d", seconds, "-b", row.body_bytes,
            "-s", SERVER_NAME, "-t", place.ca, "-p", pids]  # fmt: skip
    clients = []
    try:
        with on_cores(LOAD_CORE):
            for number in range(2):
                address = contestants[number % len(contestants)].address(place)
                clients.append(place.client.start(place.load, *argv, address, name=f"load-client-{number}"))
        if any(client.wait_end(WARMUP_S + seconds + 10) for client in clients):
            raise LabError(" ".join(client.log().strip()[-300:] for client in clients))
    finally:
        for client in clients:
            client.kill()
            place.client.processes.remove(client)
    runs = [json.loads(client.log().splitlines()[-1]) for client in clients]
    if any(run["errors"] for run in runs):
        raise LabError("wrong or broken exchanges")
    return statistics.mean(run["own_s"] for run in runs) * 1e6 / sum(run["exchanges"] for run in runs)


def measure_row(place, row, n_runs):
    """{side: [us of each turn]}"""
    started, turns = [], {name: [] for name in sides()}
    try:
        compared = sides()
        for name, contestants in compared.items():
            for contestant in contestants:
                contestant.start(place, row)
                started.append(contestant)
            until(time.monotonic() + 10, lambda contestants=contestants: measure(place, row, contestants, 0.1))
        for turn in range(n_runs):
            for name in list(compared)[:: -1 if turn % 2 else 1]:
                turns[name].append(measure(place, row, compared[name]))
    finally:
        for contestant in started:
            contestant.stop()
    return turns


def spread(values, digits):
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"


def main():
    picked = rows.pick(" ".join(sys.argv[1:] or ROWS))
    n_runs = max(2, int(os.environ.get("BENCH_RUNS") or 20))
    if os.geteuid() != 0 or not {row.id for row in picked} <= set(ROWS):
        sys.exit(f"threads.py: needs root; there are: {' '.join(ROWS)}")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    load = pathlib.Path(os.environ.get("BUILD") or "build") / "bench" / "load"
    print(f"| {'row':15} | {'who':11} | {'own CPU, us a connection':24} | {'share of two daemons':20} |")
    print(f"| {'-' * 15} | {'-' * 11} | {'-' * 24} | {'-' * 20} |")
    with idle_cores_poll(), Place(load.resolve(), PROXY_CORE, LOAD_CORE) as place:
        for row in picked:
            turns = measure_row(place, row, n_runs)
            for name, found in turns.items():
                shares = [one / base for one, base in zip(found, turns["two daemons"])]
                print(f"| {row.id:15} | {name:11} | {spread(found, 0):24} | {spread(shares, 2):20} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (LabError, ValueError) as error:
        sys.exit(f"threads.py: {error}")
