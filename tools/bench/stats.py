# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of the benchmark: what a run's raw figures mean, and how runs become one row. Pure."""

import statistics
from dataclasses import dataclass
from typing import Callable


@dataclass(frozen=True)
class Metric:
    """One figure of a run; `value` takes a run as the load tool printed it, plus `proxy_core`."""

    name: str
    unit: str
    better: str  # "lower" or "higher"
    value: Callable[[dict], float]
    of_proxy: bool = False  # meaningless where there is no proxy


def per(amount, count):
    """A quotient; nothing done at all gives no figure."""
    return amount / count if count else None


def busy_s(run):
    return run["busy_s"][run["proxy_core"]]


METRICS = {
    metric.name: metric
    for metric in (
        Metric("throughput", "MB/s", "higher", lambda run: per(run["bytes"] / 1e6, run["seconds"])),
        Metric("cpu_per_gb", "CPU-s/GB", "lower", lambda run: per(busy_s(run), run["bytes"] / 1e9), True),
        Metric("requests", "1/s", "higher", lambda run: per(run["exchanges"], run["seconds"])),
        Metric("cpu_per_request", "us", "lower", lambda run: per(busy_s(run) * 1e6, run["exchanges"]), True),
        Metric("connections", "1/s", "higher", lambda run: per(run["exchanges"], run["seconds"])),
        Metric("cpu_per_connection", "us", "lower", lambda run: per(busy_s(run) * 1e6, run["exchanges"]), True),
        Metric("own_per_connection", "us", "lower", lambda run: per(run["own_s"] * 1e6, run["exchanges"]), of_proxy=True),
        Metric("instructions_per_byte", "1/B", "lower", lambda run: per(run["own_s"] * 1e9, run["bytes"]), of_proxy=True),
        Metric("instructions_per_request", "thousand", "lower", lambda run: per(run["own_s"] * 1e6, run["exchanges"]),
               of_proxy=True),
        Metric("p50", "us", "lower", lambda run: run["p50_us"]),
        Metric("p99", "us", "lower", lambda run: run["p99_us"]),
        Metric("memory", "MiB", "lower", lambda run: run["memory_kib"] / 1024, of_proxy=True),
        Metric("memory_mapped", "MiB", "lower", lambda run: run["mapped_kib"] / 1024, of_proxy=True),
        Metric("memory_per_connection", "B", "lower",
               lambda run: per((run["memory_kib"] - run["before_kib"]) * 1024, run["open"]), of_proxy=True),
    )
}


def median(values):
    return statistics.median(values) if values else None


def spread(values):
    """Lowest and highest: with a handful of runs, quartiles would only be an interpolation of these."""
    return [min(values), max(values)] if values else None


def best(values, better):
    """The best of those that are there, or None."""
    values = [value for value in values if value is not None]
    if not values:
        return None
    return max(values) if better == "higher" else min(values)


def ratio(value, reference):
    if value is None or reference is None or reference == 0:
        return None
    return value / reference


def advantage(value, reference, better):
    """How many times as good as the reference: above 1 is better, whichever way the metric counts."""
    if better == "higher":
        return ratio(value, reference)
    return ratio(reference, value)


def rounded(value, digits=4):
    """Significant digits; the files stay readable and do not claim more than was measured."""
    if isinstance(value, list):
        return [rounded(item, digits) for item in value]
    return None if value is None else float(f"{value:.{digits}g}")


def figures(metric, runs):
    return [value for value in map(metric.value, runs) if value is not None]


def summarize(row_id, metric, runs, peers, main="penstock", floor="floor"):
    """
    One result row. `runs` maps a contestant to the list of its runs; one that is absent, or never finished a run, has
    null. ratio_to_best is plainly main / best peer: with `better` it says who won.
    """
    values = {name: figures(metric, done) for name, done in runs.items()}
    middle = {name: median(values.get(name, [])) for name in [main, *peers, floor]}
    if metric.of_proxy:
        middle[floor] = None
    shown = [name for name in [main, *peers, floor] if middle[name] is not None]
    return {
        "id": row_id,
        "metric": metric.name,
        "unit": metric.unit,
        "better": metric.better,
        "penstock": rounded(middle[main]),
        "peers": {name: rounded(middle[name]) for name in peers},
        "ratio_to_best": rounded(ratio(middle[main], best([middle[name] for name in peers], metric.better))),
        "floor": rounded(middle[floor]),
        "spread": {name: rounded(spread(values[name])) for name in shown},
    }


def disturbed(run, foreign_limit=0.02, steal_limit=0.02):
    """True where other programs, or the host, took a share of the machine that can move a result."""
    cores = len(run["busy_s"])
    machine_s = run["seconds"] * cores
    return run["foreign_s"] > foreign_limit * machine_s or sum(run["steal_s"]) > steal_limit * machine_s
