# SPDX-License-Identifier: Apache-2.0
"""tools/vm/run: how often a guest is started."""
import importlib.machinery
import importlib.util
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
            (share / "booted").touch()
        return life

    monkeypatch.setattr(vm, "boot", boot)
    options = types.SimpleNamespace(kernel="6.1", share=None, timeout=1, command=["true"])
    assert vm.run(options, tmp_path) == expected
    assert len(lives) - len(left) == n_boots
    assert ("booted at try 2 of 3" in capsys.readouterr().err) == (n_boots == 2)
