# SPDX-License-Identifier: Apache-2.0
"""One network namespace: a name, links, addresses, and programs that run in it."""
import ctypes
import os
import signal
import socket
import subprocess

from .process import PATIENCE_S, LabError, Process, is_alive, wait_until


def ip(*arguments):
    """ip(8), or its words as an error."""
    done = subprocess.run(["ip", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"ip {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def set_namespace(descriptor):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, 0x40000000) != 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    """Commands enter only the network namespace: files, and what is pinned below /sys/fs/bpf, are those of the host."""

    def __init__(self, name, directory):
        self.name = name
        self.directory = directory
        self.processes = []
        self.address = None  # IPv4 and IPv6 by which others reach it
        self.address6 = None
        ip("netns", "add", name)
        # Link-local addresses are usable at once, and so is the way to a router.
        for scope in ("all", "default"):
            self.sysctl(f"net.ipv6.conf.{scope}.accept_dad", 0)
        ip("-n", name, "link", "set", "lo", "up")

    def wrap(self, argv):
        return ["nsenter", f"--net=/run/netns/{self.name}", *map(str, argv)]

    def run(self, *argv, check=True, timeout_s=3 * PATIENCE_S, **options):
        """Runs a command to its end; its output is text unless text=False is given. LabError if it fails and check."""
        options = {"capture_output": True, "text": True, **options}
        if "input" not in options:
            options["stdin"] = subprocess.DEVNULL
        done = subprocess.run(self.wrap(argv), timeout=timeout_s, check=False, **options)
        if check and done.returncode != 0:
            raise LabError(f"{' '.join(map(str, argv))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def start(self, *argv, name=None, environment=None):
        """Starts a Process; its log is NAME.log in the lab's directory."""
        name = name or os.path.basename(str(argv[0]))
        process = Process(self.wrap(argv), self.directory / f"{name}.log", name, environment)
        self.processes.append(process)
        return process

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
        """A socket that lives in this namespace; sockets stay where they were made, so only this call moves there."""
        home, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            set_namespace(there)
            try:
                return socket.socket(family, kind, protocol)
            finally:
                set_namespace(home)
        finally:
            os.close(home)
            os.close(there)

    def connect(self, address, port, timeout_s=PATIENCE_S, protocol=0):
        """A TCP connection from here, or by another protocol of its kind."""
        client = self.socket(protocol=protocol)
        client.settimeout(timeout_s)
        client.connect((address, port))
        return client

    def listen(self, port, backlog=1024, timeout_s=PATIENCE_S):
        """A TCP listener on all addresses of this namespace."""
        server = self.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.settimeout(timeout_s)
        server.bind(("0.0.0.0", port))
        server.listen(backlog)
        return server

    def sysctl(self, key, value):
        self.run("sh", "-c", f"echo {value} >/proc/sys/{key.replace('.', '/')}")

    def link(self, other, here, there):
        """Ties this namespace to another by a veth pair: `here` is our device, `there` the other's."""
        ip("-n", self.name, "link", "add", here, "type", "veth", "peer", "name", there, "netns", other.name)
        for namespace, device in ((self, here), (other, there)):
            ip("-n", namespace.name, "link", "set", "dev", device, "up")

    def add_address(self, device, *addresses):
        for address in addresses:
            ip("-n", self.name, "address", "add", address, "dev", device, *(["nodad"] if ":" in address else []))

    def add_route(self, to, via):
        ip("-n", self.name, "route", "add", to, "via", via)

    def pids(self):
        done = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True)
        return [int(pid) for pid in done.stdout.split()]

    def clear(self):
        """Kills what is left in the namespace; what nobody had stopped is returned as sentences."""
        left = [f"{process.name} (pid {process.pid}) was still running" for process in self.processes
                if process.is_running()]
        kill_inside(self.name)
        for process in self.processes:
            process.kill()
        self.processes = []
        return left

    def close(self):
        """The same, and the namespace goes."""
        left = self.clear()
        remove_namespace(self.name)
        return left


def kill_inside(name):
    done = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
    pids = [int(pid) for pid in done.stdout.split()]
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    wait_until(lambda: not any(map(is_alive, pids)), f"the processes in {name} end")


def remove_namespace(name):
    """Right also when it is gone already."""
    kill_inside(name)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True)
