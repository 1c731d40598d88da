# SPDX-License-Identifier: Apache-2.0
"""
Rows that are counted in a virtual machine: Debian's 6.1, which does TLS in the kernel, on one processor whose clock is
the count of its instructions (`tools/vm/run --count`). guest.py is the part inside.

As a program: the gate of continuous integration. It counts one small row of penstock alone and compares it with the
figure in tests/vm/instructions, three per cent above which is a failure.

  vm.py check      "passed NAME", "failed NAME: WHY" or "skipped NAME: WHY". What is counted is the work of Debian's packages,
                   too; where they are others than those of the figure, 10 per cent are the limit, and it is "noted"
  vm.py accept     writes the figure anew (make vm-accept)
"""

import json
import os
import pathlib
import subprocess
import sys

from rows import pick
from stats import METRICS, median

ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNEL = "6.1"
LIMIT_S = int(os.environ.get("VM_LIMIT_S") or 3600)  # for all; the machine may be busy

GATE_ROW = "vm-tls-16k"
GATE_FILE = ROOT / "tests/vm/instructions"
GATE_MARGIN = 0.03
GATE_MARGIN_ELSEWHERE = 0.10
GATE_PACKAGES = ("gcc-12", "libc6", "libssl3", "qemu-system-x86")
GATE_RUNS = 3


class Impossible(Exception):
    """This machine cannot run the guest."""


def count(build, row_ids, names, n_runs, say=lambda text: None):
    """The runs, in the order in which they were made, and what went wrong."""
    command = [ROOT / "tools/vm/run", "--kernel", KERNEL, "--count", "--timeout", str(LIMIT_S), "--", "env",
               f"BUILD={build}", "PYTHONDONTWRITEBYTECODE=1",
               f"PENSTOCK_KERNEL_TLS={os.environ.get('PENSTOCK_KERNEL_TLS', '')}",
               sys.executable, ROOT / "tools/bench/guest.py", build, str(n_runs), ",".join(names), *row_ids]
    guest = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace", cwd=ROOT)
    runs, other = [], []
    for line in guest.stdout:
        if line.startswith("{"):
            runs.append(json.loads(line))
            say(f"  {runs[-1]['id']} {runs[-1]['contestant']:8}: {runs[-1]['own_s']:.3f} thousand million instructions"
                f" for {runs[-1]['exchanges']} requests, {runs[-1]['bytes']} bytes")
        else:
            other.append(line.rstrip())
    for line in other:
        if line.startswith("booted at try"):
            say(f"noted {KERNEL}, counting: {line}")
    if guest.wait() == 77:
        raise Impossible(other[-1] if other else "no reason given")
    return runs, other if guest.returncode else []


def kernel():
    return (ROOT / (os.environ.get("BUILD") or "build") / "vm" / KERNEL).resolve().name


def versions():
    """Of all that a figure depends on: words, the kernel first."""
    asked = subprocess.run(["dpkg-query", "-W", "-f", "${Package}=${Version}\n", *GATE_PACKAGES], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, text=True, check=False)
    return [kernel(), *sorted(asked.stdout.split())]


def say_notes(text):
    if text.startswith("noted "):
        print(text)


def gate_figure(build):
    """Thousands of instructions for each request."""
    runs, trouble = count(build, [GATE_ROW], ["penstock"], GATE_RUNS, say_notes)
    if len(runs) != GATE_RUNS:
        raise SystemExit(f"failed instructions: {'; '.join(trouble[-5:]) or 'the guest counted nothing'}")
    [row] = pick(GATE_ROW)
    return median([METRICS[row.metrics[0]].value(run) for run in runs])


def check(build):
    accepted, *counted_with = GATE_FILE.read_text().split()
    accepted = float(accepted)
    figure, here = gate_figure(build), versions()
    margin = GATE_MARGIN if here == counted_with else GATE_MARGIN_ELSEWHERE
    said = f"{figure:.1f} thousand for each request, {figure / accepted - 1:+.1%} of {accepted:.1f}"
    print(f"instructions of {GATE_ROW}: {said}")
    if here != counted_with:
        others = " ".join(word for word in here if word not in counted_with)
        print(f"noted instructions: {said}, which was counted with other packages; here: {others or 'some are not there'}")
    if figure > accepted * (1 + margin):
        print(f"failed instructions: {said}; `make vm-accept` takes it as the new figure")
    else:
        print("passed instructions")


def accept(build):
    figure = gate_figure(build)
    GATE_FILE.write_text("\n".join([f"{figure:.1f}", *versions()]) + "\n")
    print(f"{GATE_FILE.relative_to(ROOT)}: {figure:.1f} thousand instructions for each request of {GATE_ROW}")


def main():
    commands = {"check": check, "accept": accept}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    try:
        commands[sys.argv[1]](pathlib.Path(os.environ.get("BUILD") or "build").resolve())
    except Impossible as reason:
        print(f"skipped instructions: {reason}")


if __name__ == "__main__":
    main()
