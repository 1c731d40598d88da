# SPDX-License-Identifier: Apache-2.0
"""The Makefile rebuilds what a change touches, and only that. Seen on a tree of a few small files."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

FILES = {
    "include/penstock/shared.h": "#define SHARED 1\n",
    "bpf/common.bpf.h": "#define ANSWER 2\n",
    "bpf/steer.bpf.c": '#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n#include "common.bpf.h"\n'
                       '#include "penstock/shared.h"\n'
                       'SEC("xdp") int steer(struct xdp_md *ctx)\n{\n\treturn ctx->data ? ANSWER : SHARED;\n}\n'
                       'char LICENSE[] SEC("license") = "GPL";\n',
    "user/one/one.h": "int one(void);\n",
    "user/one/one.c": '#include "one/one.h"\nint one(void)\n{\n\treturn 1;\n}\n',
    "user/two/two.h": "int two(void);\n",
    "user/two/two.c": '#include "two/two.h"\n#include "penstock/shared.h"\nint two(void)\n{\n\treturn 1 + SHARED;\n}\n',
    "user/three/three.h": "int three(void);\n",
    "user/three/three.c": '#include "three/three.h"\n#include "steer.skel.h"\n'
                          "int three(void)\n{\n\treturn sizeof(struct steer) > 0 ? 3 : 0;\n}\n",
    "user/main.c": '#include "one/one.h"\n#include "three/three.h"\n#include "two/two.h"\n'
                   "int main(void)\n{\n\treturn one() + two() + three() == 6 ? 0 : 1;\n}\n",
    "tests/net/open_sandbox.c": "int unused;\nint unused = 1;\n",
    # Its own one() wins over the library's.
    "tests/unit/two/test_two.c": '#include "one/one.h"\nint one(void)\n{\n\treturn 7;\n}\n'
                                 "int main(void)\n{\n\treturn one() == 7 ? 0 : 1;\n}\n",
}


@pytest.fixture
def tree(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for included in re.findall(r"^include (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE):
        (tmp_path / included).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / included).write_text("")
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def make(tree, *arguments):
    """What was made, without the folder of builds."""
    environment = {key: value for key, value in os.environ.items()
                   if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "BUILD", "CC", "CFLAGS", "CPPFLAGS", "LDFLAGS")}
    done = subprocess.run(["make", "-j2", *arguments], cwd=tree, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return {(what, path.removeprefix("build/")) for what, path in re.findall(r"^  ([A-Z]+) +(\S+)$", done.stdout,
                                                                           re.MULTILINE)}


def touch(tree, name):
    """Newer than all that was made, whatever the clock's steps."""
    newest = max(path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_file())
    os.utime(tree / name, ns=(newest + 10**9, newest + 10**9))


LINK = {("AR", "obj/libpenstock.a"), ("LD", "penstock")}
KERNEL = {("BPF", "bpf/steer.bpf.o"), ("SKEL", "bpf/steer.skel.h")}


def objects(*names):
    return {("CC", f"obj/user/{name}.o") for name in names}


@pytest.mark.parametrize("name, expected", [
    ("user/one/one.c", objects("one/one") | LINK),
    ("user/one/one.h", objects("one/one", "main") | LINK),
    ("user/main.c", objects("main") | {("LD", "penstock")}),
    ("bpf/steer.bpf.c", KERNEL | objects("three/three") | LINK),
    ("bpf/common.bpf.h", KERNEL | objects("three/three") | LINK),
    ("include/penstock/shared.h", KERNEL | objects("two/two", "three/three") | LINK),
])
def test_a_touched_file(tree, name, expected):
    first = make(tree, "all")
    assert first == KERNEL | objects("one/one", "two/two", "three/three", "main") | LINK
    assert make(tree, "all") == set()
    touch(tree, name)
    assert make(tree, "all") == expected
    assert subprocess.run([tree / "build/penstock"]).returncode == 0


def test_flags_and_compiler(tree):
    make(tree, "all")
    user = objects("one/one", "two/two", "three/three", "main") | LINK
    assert make(tree, "all", "CFLAGS=-O1") == user
    assert make(tree, "all", "CFLAGS=-O1") == set()
    assert make(tree, "all", "CFLAGS=-O1", "CC=clang") == user
    assert make(tree, "all", "CFLAGS=-O1", "CC=clang", "V=1") == set()


def test_files_come_and_go(tree):
    make(tree, "all")
    (tree / "user/one/more.c").write_text("int more(void);\nint more(void)\n{\n\treturn 0;\n}\n")
    assert make(tree, "all") == objects("one/more") | LINK
    (tree / "user/one/more.c").unlink()
    assert make(tree, "all") == LINK
    (tree / "user/one/one.h").rename(tree / "user/one/uno.h")
    for name in ("user/one/one.c", "user/main.c"):
        (tree / name).write_text((tree / name).read_text().replace("one/one.h", "one/uno.h"))
        touch(tree, name)
    assert make(tree, "all") == objects("one/one", "main") | LINK


def test_tests_are_linked_with_their_fakes(tree):
    made = make(tree, "test-binaries")
    assert ("LD", "asan/tests/unit/two/test_two") in made
    assert not any(path.startswith("obj/") for _, path in made)
    assert subprocess.run([tree / "build/asan/tests/unit/two/test_two"]).returncode == 0
    assert make(tree, "test-binaries") == set()


def test_all_that_is_made_is_in_build(tree):
    before = {path for path in tree.rglob("*")}
    make(tree, "all", "test-binaries", "BUILD=elsewhere")
    assert {path.relative_to(tree).parts[0] for path in set(tree.rglob("*")) - before} == {"elsewhere"}


def test_help_is_the_default_and_needs_nothing(tree):
    done = subprocess.run(["make"], cwd=tree, capture_output=True, text=True)
    for target in ("help", "all", "deps", "demo", "check", "test", "bench", "vm-test", "lint", "format", "compdb",
                   "install", "clean"):
        assert re.search(rf"^  {target} ", done.stdout, re.MULTILINE), target
    assert not (tree / "build").exists()
