# SPDX-License-Identifier: Apache-2.0
"""What fails in a guest is told outside of it."""
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_pytest_in_the_guest(tmp_path):
    python = program(tmp_path / "python", "#!/bin/sh\ncat <<'end'\n"
                     "PASSED tests/net/test_splice.py::test_a[pipe]\n"
                     "FAILED tests/net/test_splice.py::test_b[auto] - assert (15168 - 13288) < 1664\n"
                     "ERROR tests/net/test_splice.py::test_c\n"
                     "end\nexit 1\n")
    done = subprocess.run([ROOT / "tests/vm/guest", "splice"], capture_output=True, text=True, cwd=tmp_path,
                          env={**os.environ, "PYTHON": str(python), "BUILD": str(tmp_path)})
    assert done.stdout.splitlines()[:4] == ["splice begins", "passed splice.test_a[pipe]", "failed splice.test_b[auto]",
                                            "failed splice.test_c"]


def test_the_kernel_is_named(tmp_path):
    (tmp_path / "tests/vm").mkdir(parents=True)
    shutil.copy(ROOT / "tests/vm/run", tmp_path / "tests/vm")
    program(tmp_path / "tools/vm/run", "#!/bin/sh\nprintf 'passed a\\nfailed b\\nskipped c: why\\n'\n")
    done = subprocess.run([tmp_path / "tests/vm/run"], capture_output=True, text=True,
                          env={**os.environ, "VM_KERNELS": "6.1", "BUILD": str(tmp_path)})
    assert done.stdout.splitlines() == ["passed 6.1/a", "failed 6.1/b", "skipped 6.1/c: why"]
