#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Inside the virtual machine of `tools/vm/run --count`: rows of the benchmark over its loopback, whose clock counts
instructions. A line of JSON for each run: what the load tool says, with the row's id and the contestant.

  guest.py FOLDER RUNS CONTESTANT[,CONTESTANT...] ROW...

Everything is on one processor and one network, so that there is nothing to wait for and nothing to vary. What a proxy's
processes execute is counted, with the kernel's work for them; what they send is received by the kernel at once, so the
peers' receive path is in the count, and theirs has the proxy's.
"""

import dataclasses
import json
import pathlib
import sys
import types

import rows
from peers import CONTESTANTS, RECORDS
from place import SERVER_NAME, LabError, Place, own_memory_kib, processes

from lab import Authority, Namespace

WARMUP_S = 0.05  # of the virtual clock: so many thousand million instructions


class Loopback(Namespace):
    """The guest's own network, used as if it were a namespace."""

    def __init__(self, directory):
        self.directory = directory
        self.processes = []
        self.address = "127.0.0.1"

    def wrap(self, argv):
        return [*map(str, argv)]


class Guest(Place):
    def __init__(self, folder, load):
        super().__init__(load, 0, 0)
        self.directory = folder

    def __enter__(self):
        self.client = self.node = self.origin = Loopback(self.directory)
        self.lab = types.SimpleNamespace(pin_dir=pathlib.Path("/sys/fs/bpf/penstock-bench"))
        authority = Authority(self.directory / "authority")
        self.ca = authority.file
        self.site = authority.issue(SERVER_NAME).bundle
        self.start_origin()
        return self

    def __exit__(self, *_):
        for process in self.node.processes:
            process.kill()


def kernel_threads_s():
    """What has run outside of all processes, in the whole guest."""
    ran_ns = 0
    for pid, (parent, _) in processes().items():
        try:
            if parent == 2:
                ran_ns += int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0])
        except OSError:
            pass  # it has ended
    return ran_ns / 1e9


def wait_until_it_works(place, row, contestant):
    address = contestant.address(place)

    def works():
        try:
            place.measure(row, address, True, warmup_s=0.01, duration_s=0.02)
        except LabError:
            return False
        return True

    try:
        contestant.process.wait_for(works, "it answers")
    except LabError:
        raise LabError(f"{contestant.name} does not answer: {contestant.last_words()}") from None


def count(place, row, contestant, n_runs):
    contestant.start(place, row)
    try:
        wait_until_it_works(place, dataclasses.replace(row, connections=1, idle=0), contestant)
        facts = {"id": row.id, "contestant": contestant.name, "before_kib": own_memory_kib(contestant.pids())}
        for _ in range(1 if row.idle else n_runs):  # a crowd takes minutes to gather, and is always the same
            kernel_s = kernel_threads_s()
            run = place.measure(row, contestant.address(place), True, contestant.pids(), WARMUP_S, row.vm_seconds)
            facts["kernel_threads_s"] = kernel_threads_s() - kernel_s
            print(json.dumps({**run, **facts}), flush=True)
    finally:
        contestant.stop()


def main():
    folder, n_runs, names, *ids = sys.argv[1:]
    build = pathlib.Path(folder)
    picked = rows.pick(" ".join(ids), rows.ROWS + rows.PAYS_ROWS)
    scratch = pathlib.Path("/run/bench")
    scratch.mkdir(mode=0o755)
    failed = False
    with Guest(scratch, (build / "bench/load").resolve()) as place:
        for row in picked:
            for contestant in CONTESTANTS + RECORDS:
                if contestant.name not in names.split(","):
                    continue
                try:
                    count(place, row, contestant, int(n_runs))
                except (LabError, OSError) as error:
                    failed = True
                    print(f"{row.id}: {contestant.name}: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
