# SPDX-License-Identifier: Apache-2.0
"""tools/run-tests counts what ran, what did not, and what broke."""
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load():
    path = str(ROOT / "tools/run-tests")
    loader = importlib.machinery.SourceFileLoader("run_tests", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("run_tests", loader))
    loader.exec_module(module)
    return module


runner = load()

TAP = """\
1..4
ok 1 - a
why it cannot
not ok 2 # SKIP b
not ok 3 - c
# 0x1 != 0x2
ok 4 - d
"""


@pytest.mark.parametrize("status, output, passed, n_failures, n_skips", [
    (1, TAP, 2, 1, 1),
    (0, "1..2\nok 1 - a\nok 2 - b\n", 2, 0, 0),
    (0, "1..1\nok 1 - a\n1..1\nok 1 - b\n", 2, 0, 0),
    (-6, "1..3\nok 1 - a\n", 1, 2, 0),  # a test that does not report has failed
    (-6, "1..1\nok 1 - a\n", 1, 1, 0),  # it died after its last test
    (1, "1..1\nok 1 - a\n", 1, 1, 0),  # what LeakSanitizer finds at the end
    (0, "", 0, 1, 0),
    (127, "no such file\n", 0, 1, 0),
    (None, "1..2\nok 1 - a\n", 1, 1, 0),
])
def test_tap(status, output, passed, n_failures, n_skips):
    got = runner.read_tap("x", status, output)
    assert (got[0], len(got[1]), len(got[2])) == (passed, n_failures, n_skips), got


def test_skips_have_their_reason():
    assert runner.read_tap("x", 1, TAP)[2] == ["x: b: why it cannot"]


def test_time_limit_ends_the_process_group():
    status, output = runner.execute(["sh", "-c", "echo begun; sleep 1000 & wait"], 1)
    assert status is None and output == "begun\n"


PASSES = "#!/bin/sh\nprintf '1..1\\nok 1 - a\\n'\n"
CRASHES = "#!/bin/sh\nprintf '1..2\\nok 1 - a\\n'; kill -SEGV $$\n"


def environment():
    """Without what this program itself was told by a runner."""
    return {key: value for key, value in os.environ.items() if key not in ("ONLY", "BUILD")}


@pytest.fixture
def project(tmp_path):
    """A folder that looks like this one to the runner; its make can do one thing."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/run-tests", tmp_path / "tools")
    (tmp_path / "Makefile").write_text("all:\n\ttrue\nbroken:\n\tfalse\n")

    def add(name, script):
        (tmp_path / f"tests/unit/m/{name}.c").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"tests/unit/m/{name}.c").write_text("")
        if script:
            binary = tmp_path / f"build/asan/tests/unit/m/{name}"
            binary.parent.mkdir(parents=True, exist_ok=True)
            binary.write_text(script)
            binary.chmod(0o755)

    def run(*suites):
        done = subprocess.run([sys.executable, "tools/run-tests", *suites], cwd=tmp_path, capture_output=True, text=True,
                              env=environment())
        summaries = re.findall(r"^\d+ passed, \d+ failed, \d+ skipped$", done.stdout, re.MULTILINE)
        assert len(summaries) == 1 and done.stdout.splitlines()[-1] == summaries[0], done.stdout
        return done.returncode, summaries[0]

    return tmp_path, add, run


def test_all_is_well(project):
    _, add, run = project
    add("test_one", PASSES)
    assert run("build:all", "unit") == (0, "2 passed, 0 failed, 0 skipped")


def test_a_broken_suite_hides_no_other(project):
    _, add, run = project
    add("test_crash", CRASHES)
    add("test_missing", None)
    add("test_one", PASSES)
    assert run("build:broken", "unit", "build:all") == (1, "3 passed, 3 failed, 0 skipped")


def test_failures_of_pytest_are_named_with_their_messages(project):
    folder, _, _ = project
    (folder / "tests/net").mkdir(parents=True)
    (folder / "tests/net/test_x.py").write_text("def test_fine(): pass\ndef test_bad(): assert 0, 'one\\ntwo'\n")
    done = subprocess.run([sys.executable, "tools/run-tests", "net"], cwd=folder, capture_output=True, text=True,
                          env={**environment(), "PYTHON": sys.executable})
    assert done.stdout.splitlines()[-3:] == ["       net/test_x.test_bad: AssertionError: one",
                                             "  failed net/test_x.test_bad: AssertionError: one",
                                             "1 passed, 1 failed, 0 skipped"], done.stdout


def test_a_fuzzer_needs_a_corpus(project):
    folder, _, run = project
    (folder / "tests/fuzz").mkdir(parents=True)
    (folder / "tests/fuzz/fuzz_x.c").write_text("")
    binary = folder / "build/fuzz/tests/fuzz/fuzz_x"
    binary.parent.mkdir(parents=True)
    binary.write_text("#!/bin/sh\nexit 0\n")
    binary.chmod(0o755)
    assert run("corpus") == (1, "0 passed, 1 failed, 0 skipped")
    (folder / "tests/fuzz/corpus/x").mkdir(parents=True)
    (folder / "tests/fuzz/corpus/x/empty").write_text("")
    assert run("corpus") == (0, "1 passed, 0 failed, 0 skipped")
    binary.write_text("#!/bin/sh\nexit 77\n")
    assert run("corpus") == (1, "0 passed, 1 failed, 0 skipped")


# The first ends when it is asked to, the second does not, and has a child that does not either.
SLEEPS = "#!/bin/sh\necho $$ >>pids\nexec sleep 1000\n"
IGNORES = "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\necho $$ $! >>pids\nwait\n"


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_ends_with_the_runner(project, number):
    folder, add, _ = project
    add("test_sleeps", SLEEPS)
    add("test_ignores", IGNORES)
    pids = folder / "pids"
    pids.touch()
    with subprocess.Popen([sys.executable, "tools/run-tests", "unit"], cwd=folder, stdout=subprocess.PIPE, text=True,
                          env=environment(), start_new_session=True) as runner_process:
        try:
            while len(pids.read_text().split()) < 2 + ((os.cpu_count() or 1) > 1):
                assert runner_process.poll() is None
                time.sleep(0.01)
            runner_process.send_signal(number)
            output, _ = runner_process.communicate(timeout=60)
        finally:
            left = [pid for pid in map(int, pids.read_text().split()) if is_alive(pid)]
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            runner_process.kill()
    assert runner_process.returncode == 128 + number
    assert output.splitlines()[-1] == f"stopped by {number.name}"
    assert not left


def test_an_unknown_suite_is_refused(project):
    done = subprocess.run([sys.executable, "tools/run-tests", "unitt"], cwd=project[0], capture_output=True, text=True)
    assert done.returncode == 2 and "Suites:" in done.stderr


def test_the_summary_shows_what_the_vm_notes(monkeypatch, capsys, tmp_path):
    script = tmp_path / "tests/vm/run"
    script.parent.mkdir(parents=True)
    script.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "execute", lambda *_, **__: (0, "passed a\nnoted 6.1: booted at try 2 of 3\npassed b\n"))
    results = runner.Results()
    runner.suite_vm(results, None)
    results.summary()
    lines = capsys.readouterr().out.splitlines()
    assert "vm/6.1: booted at try 2 of 3" in lines[-2]
    assert lines[-1] == "2 passed, 0 failed, 0 skipped"
