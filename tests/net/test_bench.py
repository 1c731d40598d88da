# SPDX-License-Identifier: Apache-2.0
"""The benchmark harness: its arithmetic, its load tool, and that it reports what is missing and leaves nothing behind."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = ROOT / "tools" / "bench"
sys.path.insert(0, str(BENCH))

import lab as laboratory  # noqa: E402
import report  # noqa: E402
import rows  # noqa: E402
import stats  # noqa: E402
import vm  # noqa: E402


def run_of(**changed):
    """A run as the load tool prints it: two seconds, the proxy on core 0 for half of the time."""
    run = {"seconds": 2.0, "bytes": 4_000_000_000, "exchanges": 10_000, "errors": 0, "p50_us": 10.0, "p90_us": 20.0,
           "p99_us": 30.0, "p999_us": 40.0, "busy_s": [1.0, 1.5], "steal_s": [0.0, 0.0], "own_s": 0.9,
           "memory_kib": 2048, "mapped_kib": 1024, "before_kib": 1048, "open": 1000, "proxy_core": 0, "foreign_s": 0.0}
    return {**run, **changed}


def test_metrics_have_the_units_they_claim():
    values = {name: metric.value(run_of()) for name, metric in stats.METRICS.items()}
    assert values == {"throughput": 2000, "cpu_per_gb": 0.25, "requests": 5000, "cpu_per_request": 100,
                      "connections": 5000, "cpu_per_connection": 100, "own_per_connection": 90,
                      "instructions_per_byte": 0.225,
                      "instructions_per_request": 90, "p50": 10, "p99": 30, "memory": 2, "memory_mapped": 1,
                      "memory_per_connection": 1024}


@pytest.mark.parametrize("figure, kernel, word", [
    (90.0, "k1", "passed"), (100.0, "k1", "passed"), (102.9, "k1", "passed"), (103.1, "k1", "failed"),
    (109.9, "k2", "passed"), (110.1, "k2", "failed"),  # its own part is in the figure
])
def test_gate_of_instructions(monkeypatch, tmp_path, capsys, figure, kernel, word):
    monkeypatch.setattr(vm, "GATE_FILE", tmp_path / "instructions")
    monkeypatch.setattr(vm, "gate_figure", lambda build: figure)
    monkeypatch.setattr(vm, "versions", lambda: [kernel, "libssl3=3.0.22"])
    vm.GATE_FILE.write_text("100.0\nk1\nlibssl3=3.0.22\n")
    vm.check(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"{word} instructions")
    assert [line for line in lines if line.startswith("noted") and line.endswith("here: k2")] == lines[1:-1]


def test_cpu_is_that_of_the_proxy_core():
    assert stats.METRICS["cpu_per_gb"].value(run_of(proxy_core=1)) == 0.375


def test_nothing_done_gives_no_figure():
    assert stats.METRICS["cpu_per_request"].value(run_of(exchanges=0)) is None


@pytest.mark.parametrize("values, middle, ends", [([3, 1, 2], 2, [1, 3]), ([4, 1, 2, 3], 2.5, [1, 4]),
                                                  ([7], 7, [7, 7]), ([], None, None)])
def test_median_and_spread(values, middle, ends):
    assert stats.median(values) == middle
    assert stats.spread(values) == ends


def test_best_depends_on_the_direction():
    assert stats.best([2, None, 3], "higher") == 3
    assert stats.best([2, None, 3], "lower") == 2
    assert stats.best([None], "lower") is None


def test_advantage_is_above_one_where_it_is_better():
    assert stats.advantage(200, 100, "higher") == 2
    assert stats.advantage(50, 100, "lower") == 2
    assert stats.advantage(None, 100, "lower") is None


def test_ratio_is_against_the_best_peer():
    runs = {"penstock": [run_of(p50_us=value) for value in (5, 6, 20)],
            "haproxy": [run_of(p50_us=value) for value in (10, 12, 14)],
            "nginx": [run_of(p50_us=value) for value in (24, 24, 24)], "floor": [run_of(p50_us=2)]}
    row = stats.summarize("x", stats.METRICS["p50"], runs, ["haproxy", "nginx"])
    assert row == {"id": "x", "metric": "p50", "unit": "us", "better": "lower", "penstock": 6,
                   "peers": {"haproxy": 12, "nginx": 24}, "ratio_to_best": 0.5, "floor": 2,
                   "spread": {"penstock": [5, 20], "haproxy": [10, 14], "nginx": [24, 24], "floor": [2, 2]}}


def test_a_missing_contestant_is_null():
    runs = {"haproxy": [run_of()], "floor": []}
    row = stats.summarize("x", stats.METRICS["throughput"], runs, ["haproxy", "nginx"])
    assert (row["penstock"], row["peers"], row["ratio_to_best"], row["floor"]) == \
        (None, {"haproxy": 2000, "nginx": None}, None, None)
    assert set(row["spread"]) == {"haproxy"}
    assert "-" in report.table([row], ["haproxy", "nginx"])


def test_no_floor_for_what_only_a_proxy_has():
    runs = {"haproxy": [run_of()], "floor": [run_of()]}
    row = stats.summarize("x", stats.METRICS["memory"], runs, ["haproxy"])
    assert row["floor"] is None and "floor" not in row["spread"]


@pytest.mark.parametrize("changed, expected", [({}, False), ({"foreign_s": 0.07}, False), ({"foreign_s": 0.09}, True),
                                               ({"steal_s": [0.0, 0.09]}, True)])
def test_two_percent_of_the_machine_disturb(changed, expected):
    assert stats.disturbed(run_of(**changed)) is expected


def test_rows_are_picked_by_name():
    assert rows.pick("") == list(rows.ROWS)
    assert [row.id for row in rows.pick("h1-tls l4-rr-1")] == ["l4-rr-1", "h1-tls"]
    with pytest.raises(ValueError, match="no-such"):
        rows.pick("l4-rr-1 no-such")


def test_every_metric_of_a_row_exists():
    assert all(name in stats.METRICS for row in rows.ROWS for name in row.metrics)
    assert len({row.id for row in rows.ROWS}) == len(rows.ROWS)


# ---- with the load tool and real peers -----------------------------------------------------------------------------

def build_folder():
    folder = pathlib.Path(os.environ.get("BUILD") or "build")
    return folder if folder.is_absolute() else ROOT / folder


@pytest.fixture(scope="module")
def load():
    subprocess.run(["make", "-s", f"BUILD={build_folder()}", f"{build_folder()}/bench/load"], cwd=ROOT, check=True)
    return build_folder() / "bench" / "load"


def start_harness(load, folder, **environment):
    """The harness with results in a folder of its own, one short run of one row, and no penstock."""
    (folder / "bench").mkdir()
    (folder / "bench" / "load").symlink_to(load)
    settings = {"BUILD": folder, "BENCH": "l4-rr-1-rps", "BENCH_RUNS": 1, "BENCH_SECONDS": 1, "BENCH_RETRIES": 0,
                "PENSTOCK": "/bin/false", **environment}
    return subprocess.Popen(["/usr/bin/python3", BENCH], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, env={**os.environ, **{k: str(v) for k, v in settings.items()}})


def leftovers(pid):
    """Namespaces and pins of the harness with this pid."""
    places = [*pathlib.Path("/run/netns").glob(f"*-{pid}-*"), *pathlib.Path("/sys/fs/bpf").glob(f"*-{pid}-*")]
    return [str(path) for path in places]


needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmark needs two cores")


@needs_two_cores
def test_what_does_not_start_is_missing(load, tmp_path):
    harness = start_harness(load, tmp_path, PEER_NGINX="/bin/false")
    output, _ = harness.communicate(timeout=120)
    assert harness.returncode == 1, output
    assert "missing: l4-rr-1-rps: penstock: it ended" in output
    assert "missing: l4-rr-1-rps: nginx: it ended" in output
    result = {row["metric"]: row for row in json.loads((tmp_path / "bench" / "results.json").read_text())}
    assert set(result) == {"p50", "p99", "requests", "cpu_per_request"}
    assert set(result["p50"]) == {"id", "metric", "unit", "better", "penstock", "peers", "ratio_to_best", "floor", "spread"}
    assert result["p50"]["penstock"] is None and result["p50"]["peers"]["nginx"] is None
    for who in ("floor", "haproxy"):  # which of them is faster, a busy machine decides
        p50, p99 = ({**result[metric], **result[metric]["peers"]}[who] for metric in ("p50", "p99"))
        assert p50 and p99 and p50 <= p99, output
    assert result["cpu_per_request"]["peers"]["haproxy"] > 0, output
    assert result["cpu_per_request"]["floor"] is None, output
    assert leftovers(harness.pid) == []


@needs_two_cores
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_remains_after_a_signal(load, tmp_path, number):
    harness = start_harness(load, tmp_path, BENCH_SECONDS=60)
    deadline = time.monotonic() + 60
    while not leftovers(harness.pid) and harness.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert leftovers(harness.pid) != []
    harness.send_signal(number)
    output, _ = harness.communicate(timeout=60)
    assert harness.returncode == (-number if number == signal.SIGKILL else 128 + number), output
    laboratory.wait_until(lambda: leftovers(harness.pid) == [], "all is gone", patience_s=60)
    assert not (tmp_path / "bench" / "results.json").exists()


def test_nothing_remains_of_a_half_made_namespace(monkeypatch):
    """As if a signal came right after `ip netns add`, before the lab has the namespace in its list."""
    def interrupt(*_):
        raise SystemExit(130)

    before = leftovers(os.getpid())
    monkeypatch.setattr(laboratory.Namespace, "sysctl", interrupt)
    with pytest.raises(SystemExit):
        laboratory.Lab()
    assert leftovers(os.getpid()) == before


def test_a_crowd_is_open_meanwhile(load, lab):
    """The idle connections are there, have had their answer, and cost the measured ones nothing."""
    origin = lab.client.start(load, "origin", "echo=127.0.0.1:7002")
    origin.wait_port(7002)
    client = lab.client.start(load, "client", "-m", "rr", "-i", 50, "-w", 0, "-d", 30, "-p", origin.pid, "127.0.0.1:7002")
    laboratory.wait_until(lambda: len(list(pathlib.Path(f"/proc/{origin.pid}/fd").iterdir())) >= 50 + 1, "they are open")
    client.kill()
    done = lab.client.run(load, "client", "-m", "rr", "-i", 50, "-w", 0, "-d", 1, "-p", origin.pid, "127.0.0.1:7002")
    result = json.loads(done.stdout)
    assert result["errors"] == 0 and result["exchanges"] > 0
    assert result["memory_kib"] > 0 and result["mapped_kib"] > 0
    origin.stop()
    refused = lab.client.run(load, "client", "-m", "rr", "-i", 1, "-w", 0, "-d", 0.2, "127.0.0.1:7002", check=False)
    assert refused.returncode != 0


def test_wrong_answers_are_errors(load, tmp_path, lab):
    """A client that expects 64 bytes back meets HTTP, and one that expects HTTP meets an echo."""
    origin = lab.client.start(load, "origin", "echo=127.0.0.1:7002", "http=127.0.0.1:7003")
    for mode, port in (("http", 7002), ("rr", 7003)):
        origin.wait_port(port)
        done = lab.client.run(load, "client", "-m", mode, "-w", 0, "-d", 0.5, f"127.0.0.1:{port}", check=False)
        assert done.returncode != 0 or json.loads(done.stdout)["errors"] > 0
    done = lab.client.run(load, "client", "-m", "http", "-b", 100_000, "-w", 0, "-d", 1, "127.0.0.1:7003")
    result = json.loads(done.stdout)
    assert result["errors"] == 0 and result["exchanges"] > 0
    assert result["bytes"] >= result["exchanges"] * 100_000
    assert 0 < result["p50_us"] <= result["p90_us"] <= result["p99_us"] <= result["p999_us"]
    origin.stop()
