# SPDX-License-Identifier: Apache-2.0
"""The daemon under test, with folders and pins of its own."""
import collections
import json
import os
import pathlib
import re
import signal
import socket

from .process import LabError, is_alive, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Where all is slow, so are the peers: their handshake alone may take more than the ten seconds that are usual.
SLOW = f"{os.environ['PENSTOCK_PATIENCE_S']}s" if "PENSTOCK_PATIENCE_S" in os.environ else None


def with_patience(config):
    """The same, waiting longer for a client's handshake and request, and for an origin's, where it says nothing of them."""
    if not SLOW:
        return config
    clients = {"hello": SLOW, "handshake": SLOW, "request": SLOW}
    listeners = [{**listener, "timeouts": {**clients, **listener.get("timeouts", {})}} if "tls" in listener else listener
                 for listener in config.get("listeners", [])]
    origins = {name: {**origin, "timeouts": {"connect": SLOW, **origin.get("timeouts", {})}}
               for name, origin in config.get("origins", {}).items()}
    return {**config, "listeners": listeners, **({"origins": origins} if origins else {})}


def binary():
    """$PENSTOCK, or what the last build made."""
    build = pathlib.Path(os.environ.get("BUILD") or "build")
    return pathlib.Path(os.environ.get("PENSTOCK") or (build if build.is_absolute() else ROOT / build) / "penstock")


class Penstock:
    """Runs `penstock run` in a namespace. `config` is a dict or YAML text; its `process` gets folders of its own."""

    def __init__(self, namespace, pin_dir, config, name="penstock", user="nobody", environment=None,
                 prefix=(), start=True):
        self.namespace = namespace
        self.name = name
        self.pin_dir = pathlib.Path(pin_dir)
        self.directory = namespace.directory / name
        self.runtime_dir = self.directory / "run"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.config = self.directory / "penstock.yaml"
        self.user = user
        self.environment = environment or {}
        self.prefix = prefix  # of its command line
        self.process = None
        self.write(config)
        if start:
            self.start()

    def write(self, config):
        """Writes the configuration as the next reload() or start() will read it."""
        # Where the kernel does TLS it shall in tests, whatever little they send.
        ours = {"runtime_dir": str(self.runtime_dir), "pin_dir": str(self.pin_dir), "user": self.user,
                "kernel_tls": "always"}
        if isinstance(config, dict):
            config = with_patience(config)
            config = {**config, "process": {**ours, **config.get("process", {})},
                      "log": {"format": "text", **config.get("log", {})}}
            text = json.dumps(config, indent=2) + "\n"
        else:
            lines = "".join(f"  {key}: {json.dumps(value)}\n" for key, value in ours.items())
            text, found = re.subn(r"^process:[ \t]*\n", lambda match: match.group() + lines, config, flags=re.MULTILINE)
            text += "" if found else "process:\n" + lines
        self.config.write_text(text)

    def start(self, wait=True):
        """Returns when the daemon says that it is ready, as it would say it to systemd."""
        path = self.directory / "notify"
        path.unlink(missing_ok=True)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.notify.bind(str(path))
        path.chmod(0o666)
        self.process = self.namespace.start(*self.prefix, binary(), "run", "-c", self.config, name=self.name,
                                            environment={**os.environ, **self.environment, "NOTIFY_SOCKET": str(path)})
        if wait:
            self.wait_notify("READY=1")

    def wait_notify(self, word):
        def heard():
            try:
                return word in self.notify.recv(4096).decode().splitlines()
            except BlockingIOError:
                return False

        self.process.wait_for(heard, f"{word} to systemd")

    def command(self, *arguments, check=True):
        """Runs another penstock command."""
        return self.namespace.run(binary(), *arguments, check=check)

    def status(self):
        """What `penstock status --json` says."""
        return json.loads(self.command("status", "--json", "--runtime-dir", self.runtime_dir).stdout)

    def counts(self):
        """Of the status: the counters, and how often connections ended for each reason."""
        status = self.status()
        return {**status["counters"], **status["closes"]}

    def expect(self, before=None, **amounts):
        """Waits until these have grown by so much: a client may have its answer, or know of an end, before it is counted."""
        def grown():
            now = self.counts()
            return {name: now[name] - (before[name] if before else 0) for name in amounts}

        try:
            wait_until(lambda: grown() == amounts, "the counters grow")
        except LabError:
            raise AssertionError(f"{grown()} instead of {amounts}") from None

    def reload(self, config=None, check=True):
        """Writes a new configuration, if one is given, and asks for it to be taken."""
        if config is not None:
            self.write(config)
        return self.command("reload", "--runtime-dir", self.runtime_dir, check=check)

    def log(self):
        return self.process.log()

    def pids(self):
        """The broker's pid and those below it."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def descriptors(self):
        """How many of each kind the worker has open: {"socket": 5, "pipe": 2, "anon_inode:[eventpoll]": 3, ...}."""
        worker = self.pids()[1]
        kinds = collections.Counter()
        for link in pathlib.Path(f"/proc/{worker}/fd").iterdir():
            try:
                target = os.readlink(link)
            except FileNotFoundError:  # closed meanwhile
                continue
            kinds[target.split(":[")[0] if target.startswith(("socket:", "pipe:")) else target] += 1
        return dict(kinds)

    def map_entries(self, name):
        """How many entries the pinned map has; none where it is not there."""
        pin = self.pin_dir / name
        if not pin.exists():
            return 0
        return len(json.loads(self.namespace.run("/usr/sbin/bpftool", "-j", "map", "dump", "pinned", pin).stdout))

    def stop(self, number=signal.SIGTERM):
        """Ends it and takes its pins away; a bad exit status is an error."""
        status = self.process.stop(number)
        self.notify.close()
        if self.pin_dir.is_dir() and any(self.pin_dir.iterdir()):
            self.command("steer", "remove", "-c", self.config)
        if status != 0:
            raise self.process.error(f"exit status {status}")

    def kill(self):
        """SIGKILL to all its processes; returns when they are gone."""
        pids = self.pids()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait_end()
        wait_until(lambda: not any(map(is_alive, pids)), "killed processes end")
        return pids
