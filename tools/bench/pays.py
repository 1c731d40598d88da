#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Whether TLS by the kernel pays, and from when on: rows.PAYS_ROWS with the records done by the kernel, by user space, and
sent by the kernel while user space receives. Counted in the virtual machine, see vm.py. Prints a table: thousands of
instructions for each request, median, lowest and highest of the runs, and the first as a share of the second.

  pays.py [ROW...]      BENCH_RUNS=N (3), BUILD
"""

import os
import pathlib
import sys

import vm
from peers import RECORDS
from report import number
from rows import PAYS_ROWS, pick
from stats import METRICS, figures, median, ratio, spread

METRIC = METRICS["instructions_per_request"]


def line(row, runs):
    counted = {
        contestant.name: figures(METRIC, [run for run in runs if (run["id"], run["contestant"]) == (row.id, contestant.name)])
        for contestant in RECORDS
    }
    cells = [row.id]
    for values in counted.values():
        low, high = spread(values) or (None, None)
        cells.append(f"{number(median(values))} ({number(low)}..{number(high)})" if values else "-")
    share = ratio(median(counted["kernel"]), median(counted["user"]))
    return [*cells, "-" if share is None else f"{share:.3f}"]


def main():
    try:
        picked = pick(" ".join(sys.argv[1:]), PAYS_ROWS)
    except ValueError as error:
        sys.exit(f"pays: {error}")
    build = pathlib.Path(os.environ.get("BUILD") or "build").resolve()
    names = [contestant.name for contestant in RECORDS]
    try:
        runs, trouble = vm.count(build, [row.id for row in picked], names, int(os.environ.get("BENCH_RUNS") or 3),
                                 lambda text: print(text, file=sys.stderr, flush=True))  # fmt: skip
    except vm.Impossible as reason:
        sys.exit(f"pays: {reason}")
    lines = [["row", *names, "kernel / user"], ["---"] * (len(names) + 2), *(line(row, runs) for row in picked)]
    print("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    print("\n".join(trouble), file=sys.stderr)
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
