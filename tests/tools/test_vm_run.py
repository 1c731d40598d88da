# SPDX-License-Identifier: Apache-2.0
"""tools/vm/run: how often a guest is started, and that its clock is right."""
import importlib.machinery
import importlib.util
import os
import pathlib
import types

import pytest

PATH = pathlib.Path(__file__).resolve().parents[2] / "tools/vm/run"


@pytest.fixture
def vm(monkeypatch):
    loader = importlib.machinery.SourceFileLoader("vm_run", str(PATH))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("vm_run", loader))
    loader.exec_module(module)
    monkeypatch.setattr(module, "check_programs", lambda: None)
    monkeypatch.setattr(module, "find_kernel", lambda name: (None, None, name))
    return module


@pytest.mark.parametrize("lives, booted, expected, n_boots", [
    ([(0, False)], True, 0, 1),
    ([(3, False)], True, 3, 1),
    ([(None, False), (0, False)], False, 0, 2),  # died before it had come up
    ([(None, False)] * 3, False, 125, 3),
    ([(None, False), (0, False)], True, 125, 1),  # what it was given has killed it
    ([(None, True), (0, False)], False, 124, 1),
])
def test_only_a_boot_is_tried_again(vm, monkeypatch, tmp_path, capsys, lives, booted, expected, n_boots):
    left = list(lives)

    def boot(_options, _work, share, _kernel):
        life = left.pop(0)
        if booted or life[0] is not None:
            (share / "booted").write_text("40.00\n")
        if life[0] is not None:
            (share / "ended").write_text("40.01\n")
        return life

    monkeypatch.setattr(vm, "boot", boot)
    options = types.SimpleNamespace(kernel="6.1", share=None, timeout=1, count=False, command=["true"])
    assert vm.run(options, tmp_path) == expected
    assert len(lives) - len(left) == n_boots
    assert ("booted at try 2 of 3" in capsys.readouterr().err) == (n_boots == 2)


@pytest.mark.parametrize("time_is_up, has_booted, late", [(False, False, False), (True, True, True), (True, False, True)])
def test_a_boot_that_hangs_ends(vm, time_is_up, has_booted, late):
    reader, writer = os.pipe()
    guest = types.SimpleNamespace(poll=lambda: None)
    assert vm.pump_output(reader, guest, 0 if time_is_up else float("inf"), lambda: has_booted, 0) == late
    os.close(reader), os.close(writer)


def test_what_a_guest_said_last_is_read(vm, capfdbinary):
    reader, writer = os.pipe()
    lives = [None, 0, 0]
    guest = types.SimpleNamespace(poll=lambda: lives.pop(0))
    os.write(writer, b"passed a\n")
    os.close(writer)
    assert not vm.pump_output(reader, guest, float("inf"), lambda: True, 0)
    assert capfdbinary.readouterr().out == b"passed a\n"
    os.close(reader)


@pytest.mark.parametrize("seconds_there, is_wrong", [(100, False), (104, False), (350, True), (20, True)])
def test_a_wrong_clock_is_told(vm, tmp_path, capsys, seconds_there, is_wrong):
    for name, here, there in (("booted", 1000, 40), ("ended", 1100, 40 + seconds_there)):
        (tmp_path / name).write_text(f"{there}.00\n")
        os.utime(tmp_path / name, (here, here))
    vm.say_of_clock(tmp_path)
    said = f"the guest's clock was wrong: {seconds_there} s went by there, 100 s here\n"
    assert capsys.readouterr().err == (said if is_wrong else "")


def test_the_guest_is_told_how_fast_its_clock_counts(vm):
    """The same each time, however busy this machine is."""
    speeds = [vm.ticks_khz() for _ in range(3)]
    assert 500_000 < min(speeds) and max(speeds) - min(speeds) < max(speeds) / 1000
