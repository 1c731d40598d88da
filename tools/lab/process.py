# SPDX-License-Identifier: Apache-2.0
"""Processes of a lab: their output goes to a file, and waiting means for a fact, never for a time."""
import os
import pathlib
import re
import signal
import subprocess
import time

# How long for what should be there soon. PENSTOCK_PATIENCE_S: where all is slow (under emulation).
PATIENCE_S = int(os.environ.get("PENSTOCK_PATIENCE_S") or 30)


class LabError(Exception):
    """What went wrong in the lab, with the log of whom it concerns."""


def wait_until(condition, what, patience_s=PATIENCE_S):
    """The first true value of condition(); LabError if there is none in time."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {patience_s} s")
        time.sleep(0.01)


def is_alive(pid):
    """Is there such a process, and not only its exit status for somebody to read?"""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def own_memory_kib(pid):
    """What it allocated and touched, without the pages of programs, libraries and maps."""
    return int(re.search(r"^RssAnon:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE).group(1))


def listening(pid, protocol, port):
    """Does some socket of this process's network namespace listen on (TCP) or own (UDP) this port?"""
    for table in (protocol, protocol + "6"):
        try:
            lines = pathlib.Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            is_ours = int(fields[1].rsplit(":", 1)[1], 16) == port
            if is_ours and (protocol == "udp" or fields[3] == "0A"):
                return True
    return False


class Process:
    """A program that runs until it is stopped. It dies with us, and its log outlives it."""

    def __init__(self, argv, log, name=None, environment=None):
        self.name = name or pathlib.Path(argv[0]).name
        self.log_path = pathlib.Path(log)
        with self.log_path.open("ab") as out:
            self.popen = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, argv)], env=environment,
                                          stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        self.pid = self.popen.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def is_running(self):
        return self.popen.poll() is None

    def error(self, what):
        tail = "\n".join("    " + line for line in self.log().splitlines()[-30:])
        return LabError(f"{self.name}: {what}; its log ends:\n{tail}")

    def wait_for(self, condition, what, patience_s=PATIENCE_S):
        """Until condition() is true. An end of the process meanwhile is an error."""
        def check():
            value = condition()
            if not value and not self.is_running():
                raise self.error(f"ended with status {self.popen.returncode} before: {what}")
            return value

        try:
            return wait_until(check, what, patience_s)
        except LabError as error:
            raise error if self.name in str(error) else self.error(str(error)) from None

    def wait_port(self, port, protocol="tcp", patience_s=PATIENCE_S):
        self.wait_for(lambda: listening(self.pid, protocol, port), f"{protocol} port {port} is open", patience_s)

    def wait_line(self, pattern, patience_s=PATIENCE_S):
        """The match of the first such line of the log."""
        regex = re.compile(pattern, re.MULTILINE)
        return self.wait_for(lambda: regex.search(self.log()), f"a line like {pattern!r} in its log", patience_s)

    def wait_end(self, patience_s=PATIENCE_S):
        """Its exit status, negative for a signal."""
        try:
            return self.popen.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise self.error(f"still running after {patience_s} s") from None

    def send(self, number):
        if self.is_running():
            self.popen.send_signal(number)

    def stop(self, number=signal.SIGTERM, patience_s=PATIENCE_S):
        """Asks it to end, and returns its exit status. It is killed where it does not, which is an error."""
        self.send(number)
        try:
            return self.wait_end(patience_s)
        except LabError:
            self.kill()
            raise

    def kill(self):
        self.popen.kill()
        self.popen.wait()
