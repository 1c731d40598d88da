#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
make bench: penstock beside its peers, and beside no proxy at all.

The place: three network namespaces, client - proxy - origin, joined by veth pairs. The proxy's core is its alone; client
and origin share another. Every proxy has one worker. All contestants of a row run at once on ports of their own and take
turns: A B C floor, A B C floor, ...; an idle one costs nothing. Each run is a warm-up, then a measured window. Idle cores
poll (place.idle_cores_poll), so that what is measured is the proxy and not the waking of a virtual core.

What "CPU" means here: the time in which the proxy's core was not idle, during the measured window, divided by the work
done in it. That holds what a proxy makes the kernel do in system calls, soft interrupts, kernel threads and BPF programs,
where a process's own account (schedstat; in runs.json, for comparison) misses what did not run in its own context. It is
taken from the idle counters of /proc/stat, which are exact where the kernel stops its tick when idle; the user, system
and softirq columns beside them are samples, and were off by up to 26 % in a test. The load tool reads the counters itself,
at the ends of the window.

A veth delivers packets on the core of the sender. So the proxy's core has the receive path of its peers, and theirs has
the proxy's: as much is given as is taken, for every proxy that ends TCP. It is not so for work that is done on the
packets' way (XDP, tc, sockmap). Rows with `in_packet_path` therefore turn receive packet steering on, for all contestants
alike: each end's packets are then received on its own core. It is not on everywhere because each hand-over is an
interrupt between cores, which on a virtual machine costs about as much as all of a small request.

The price of a whole core's account: whatever else runs there counts too. So the CPU time of all other programs is
watched; a run in which they took more than 2 % of the machine is repeated, and what stays disturbed is reported.

The floor is the client talking to the origin itself, its packets forwarded by the kernel of the proxy's namespace: what
the machine can do with no proxy.

A proxy that does not start is reported as missing, with its last words. A run that fails is an error at the end.

Environment: BENCH="id id" picks rows, BENCH_RUNS=N (5), BENCH_SECONDS=S (2) per run, BENCH_RETRIES=N (2) for disturbed
runs, BENCH_PROXY_CORE (0), BENCH_LOAD_CORE (1); PENSTOCK, PEER_HAPROXY and PEER_NGINX name other binaries. BUILD is the
folder with the load tool and the daemon; the results go to BUILD/bench.
"""

import dataclasses
import os
import pathlib
import platform
import signal
import sys
import time

import report
import rows
import vm
from peers import CONTESTANTS, LANES, PEERS
from place import LabError, ORIGIN_PORTS, Place, idle_cores_poll, own_memory_kib, until
from stats import METRICS, disturbed, summarize

START_TIMEOUT_S = 10
WARMUP_S = 0.5
VM_RUNS = 3  # they hardly differ


def say(text):
    print(text, file=sys.stderr, flush=True)


def setting(name, default, convert):
    text = os.environ.get(name, "")
    try:
        value = convert(text) if text else default
    except ValueError:
        sys.exit(f"bench: {name}={text}: not a number")
    if value < 0:
        sys.exit(f"bench: {name}={text}: must not be negative")
    return value


class Entry:
    """Whose turn it is: a contestant that runs, or the floor, which is none."""

    def __init__(self, name, address, tls, contestant=None):
        self.name = name
        self.address = address
        self.tls = tls
        self.contestant = contestant
        self.before_kib = 0  # its own memory when it has started, and served one connection
        self.runs = []

    def pids(self):
        return self.contestant.pids() if self.contestant else ()


def wait_until_it_works(place, row, entry):
    """A proxy is ready when one connection does the row's own work through it."""
    probe = dataclasses.replace(row, connections=1, idle=0)

    def attempt():
        if entry.contestant.is_running():
            place.measure(probe, entry.address, entry.tls, warmup_s=0.02, duration_s=0.05)

    try:
        until(time.monotonic() + START_TIMEOUT_S, attempt)
    except LabError as error:
        raise LabError(f"it does not answer ({error}): {entry.contestant.last_words()}") from None
    if not entry.contestant.is_running():
        raise LabError(f"it ended: {entry.contestant.last_words()}")


class Bench:
    def __init__(self, place, runs, seconds, retries):
        self.place = place
        self.n_runs = runs
        self.seconds = seconds
        self.retries = retries
        self.results = []
        self.raw = []
        self.missing = {}
        self.failures = []
        self.n_done = 0
        self.n_disturbed = 0

    def start(self, row, contestant):
        """The running contestant, or None; then the reason is kept."""
        try:
            contestant.start(self.place, row)
        except (LabError, OSError) as error:
            return self.miss(row, contestant, error)
        entry = Entry(contestant.name, contestant.address(self.place), LANES[row.lane], contestant)
        try:
            wait_until_it_works(self.place, row, entry)
        except LabError as error:
            contestant.stop()
            return self.miss(row, contestant, error)
        entry.before_kib = own_memory_kib(entry.pids())
        return entry

    def miss(self, row, contestant, error):
        self.missing[(row.id, contestant.name)] = str(error)
        say(f"  {row.id}: {contestant.name} is missing: {error}")

    def floor(self, row):
        """The client speaks with the origin as it would with the proxy: with TLS or without."""
        service = "https" if LANES[row.lane] else row.origin
        return Entry("floor", f"{self.place.origin.address}:{ORIGIN_PORTS[service]}", LANES[row.lane])

    def run_once(self, row, entry, label):
        """One run, again while the machine is disturbed and patience lasts."""
        for attempt in range(self.retries + 1):
            run = self.place.measure(row, entry.address, entry.tls, entry.pids(), WARMUP_S, self.seconds)
            if not disturbed(run):
                break
            say(f"  {label}: disturbed, {'repeated' if attempt < self.retries else 'kept'}")
        else:
            self.n_disturbed += 1
        run.update(id=row.id, contestant=entry.name, disturbed=disturbed(run), before_kib=entry.before_kib)
        self.raw.append(run)
        self.n_done += 1
        entry.runs.append(run)
        shown = "  ".join(
            f"{metric.name} {report.number(metric.value(run))} {metric.unit}"
            for metric in (METRICS[name] for name in row.metrics)
            if entry.contestant or not metric.of_proxy
        )
        say(f"  {label}: {shown}")

    def count_rows(self, picked, build):
        """In the virtual machine; all at once, because starting it takes longer than a run."""
        if not picked:
            return
        names = [contestant.name for contestant in CONTESTANTS]
        try:
            runs, trouble = vm.count(build, [row.id for row in picked], names, min(self.n_runs, VM_RUNS), say)
        except vm.Impossible as reason:
            self.missing.update({(row.id, "all"): str(reason) for row in picked})
            return
        self.failures += trouble
        self.n_done += len(runs)
        self.raw += runs
        for row in picked:
            done = {name: [run for run in runs if (run["id"], run["contestant"]) == (row.id, name)] for name in names}
            self.results += [summarize(row.id, METRICS[name], done, PEERS) for name in row.metrics]

    def measure_row(self, row):
        self.place.receive_on_own_core(row.in_packet_path)
        entries = [entry for entry in (self.start(row, contestant) for contestant in CONTESTANTS) if entry]
        floor = self.floor(row)
        try:
            for turn in range(self.n_runs):
                for entry in [*entries, floor]:
                    label = f"{row.id} {turn + 1}/{self.n_runs} {entry.name:8}"
                    try:
                        self.run_once(row, entry, label)
                    except LabError as error:
                        self.failures.append(f"{label}: {error}")
                        say(f"  {label}: FAILED: {error}")
        finally:
            for entry in entries:
                entry.contestant.stop()
        runs = {entry.name: entry.runs for entry in [*entries, floor]}
        self.results += [summarize(row.id, METRICS[name], runs, PEERS) for name in row.metrics]


def machine(polling):
    """One line of what was measured on."""
    model = "unknown CPU"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory_kib = int(pathlib.Path("/proc/meminfo").read_text().split()[1])
    versions = ", ".join(f"{contestant.name} {contestant.version()}" for contestant in CONTESTANTS)
    return f"Linux {platform.release()}, {os.cpu_count()} cores of {model}, {memory_kib >> 20} GiB{'' if polling else ', idle cores sleep'}; {versions}"


def finish(bench, picked, folder, facts):
    """Prints and writes; the exit status."""
    print(report.table(bench.results, PEERS))
    print(f"{facts}; medians of {bench.n_runs} runs of {bench.seconds:g} s, in brackets the lowest and the highest")
    report.write_json(folder / "results.json", bench.results)
    report.write_json(folder / "runs.json", {"machine": facts, "runs": bench.raw})
    (folder / "results.md").write_text(report.table(bench.results, PEERS, markdown=True) + "\n")
    drawn = report.picture(folder / "results.png", bench.results, PEERS, facts)
    print(f"wrote {folder}/results.json, results.md, runs.json{', results.png' if drawn else '; no picture: no matplotlib'}")
    for (row_id, name), reason in bench.missing.items():
        print(f"missing: {row_id}: {name}: {reason}")
    if bench.n_disturbed:
        print(f"warning: {bench.n_disturbed} of {bench.n_done} runs were disturbed by other programs on this machine")
    for failure in bench.failures:
        print(f"error: {failure}")
    lost = sorted({name for _, name in bench.missing if name == "penstock"})
    print(f"{len(picked)} rows, {bench.n_done} runs, {len(bench.failures)} failed, {len(bench.missing)} missing")
    return 1 if bench.failures or lost else 0


def on_signal(number, _frame):
    """Once is enough: the clean-up is not to be interrupted."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    raise SystemExit(128 + number)


def check_cores(proxy_core, load_core):
    if not {proxy_core, load_core} <= os.sched_getaffinity(0) or proxy_core == load_core:
        sys.exit(f"bench: needs two different cores, for the proxy ({proxy_core}) and for the load ({load_core})")


def main():
    try:
        picked = rows.pick(os.environ.get("BENCH", ""))
    except ValueError as error:
        sys.exit(f"bench: {error}")
    if os.geteuid() != 0:
        sys.exit("bench: needs root, for network namespaces")
    folder = pathlib.Path(os.environ.get("BUILD") or "build") / "bench"
    proxy_core = setting("BENCH_PROXY_CORE", 0, int)
    load_core = setting("BENCH_LOAD_CORE", 1, int)
    n_runs = max(1, setting("BENCH_RUNS", 5, int))
    seconds = setting("BENCH_SECONDS", 2.0, float)
    retries = setting("BENCH_RETRIES", 2, int)
    check_cores(proxy_core, load_core)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, on_signal)
    os.sched_setaffinity(0, {load_core})
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with idle_cores_poll() as polling, Place((folder / "load").resolve(), proxy_core, load_core) as place:
            facts = machine(polling)
            say(facts)
            bench = Bench(place, n_runs, seconds, retries)
            for place_in_list, row in enumerate(picked):
                say(f"[{place_in_list + 1}/{len(picked)}] {row.id}{': later, in the VM' if row.in_vm else ''}")
                if not row.in_vm:
                    bench.measure_row(row)
        os.sched_setaffinity(0, {proxy_core, load_core})
        bench.count_rows([row for row in picked if row.in_vm], folder.parent.resolve())
    except LabError as error:
        sys.exit(f"bench: {error}")
    sys.exit(finish(bench, picked, folder, facts))


if __name__ == "__main__":
    main()
