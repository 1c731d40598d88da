# SPDX-License-Identifier: Apache-2.0
"""What the tests with TLS clients and servers of others share: names, a daemon between the two, and its accounts."""
import hashlib
import os
import pathlib
import shutil

import pytest

import lab as laboratory

PORT = 9443
NAME = "site.example.com"
MIB = 1 << 20
SIZE = int(os.environ.get("PENSTOCK_BODY_MIB") or 8) * MIB
VERSIONS = ("1.2", "1.3")


def needs(program, package):
    """Skips a test where the program is not there."""
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed (package {package})")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def split_responses(data):
    """(status, body) of each response in these bytes; every one must have a length and be whole."""
    responses = []
    while data:
        head, found, rest = data.partition(b"\r\n\r\n")
        assert found, f"not a head: {head[:200]!r}"
        line, *fields = head.decode("latin-1").split("\r\n")
        values = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        size = int(values["content-length"])
        assert len(rest) >= size, f"{len(rest)} bytes of {size}"
        responses.append((line.split(" ")[1], rest[:size]))
        data = rest[size:]
    return responses


class Middle:
    """The daemon in the node, and what it counted."""

    def __init__(self, lab, configuration):
        self.lab = lab
        self.daemon = laboratory.Penstock(lab.node, lab.pin_dir, configuration)

    def counts(self):
        status = self.daemon.status()
        return {**status["counters"], **status["closes"]}

    def expect(self, before, **amounts):
        """Waits until these counters have grown by so much: a client may know of an end before the daemon counts it."""
        def grown():
            now = self.counts()
            return {name: now[name] - before[name] for name in amounts}

        try:
            laboratory.wait_until(lambda: grown() == amounts, "the counters grow", patience_s=10)
        except laboratory.LabError:
            raise AssertionError(f"{grown()} instead of {amounts}") from None

    def n_descriptors(self):
        return sum(len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir())) for pid in self.daemon.pids())

    def stop(self):
        self.daemon.stop()


def show_logs(lab):
    for log in sorted(lab.directory.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}")
