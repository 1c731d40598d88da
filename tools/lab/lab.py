# SPDX-License-Identifier: Apache-2.0
"""The network itself: who is where, and that nothing of it remains.

    client ------------------- node ------------------- origins[0], origins[1], ...
    192.0.2.2        192.0.2.1      198.51.100.1 + 16k  198.51.100.2 + 16k
    2001:db8:1::2    2001:db8:1::1  2001:db8:2:k::1     2001:db8:2:k::2

Devices: `eth0` in the client and in each origin; `client0` and `origin0`, `origin1`, ... in the node, which forwards.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from .namespace import Namespace, remove_namespace

BPFFS = pathlib.Path("/sys/fs/bpf")
# Not $TMPDIR: sockets are below it, whose paths are short, and servers that give up root must come to it.
TEMPORARY = "/tmp"
COUNT = 0


def remove_pins(pin_dir):
    """Unpins all that is below a folder of the BPF file system; what is held by nothing else ends with it."""
    if pin_dir.is_dir():
        for path in sorted(pin_dir.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        pin_dir.rmdir()


def guard(names, pin_dir, directory):
    """Forks a process that cleans up when this one is gone, however it went. Returns the pipe that it watches, its pid."""
    watched, held = os.pipe()
    pid = os.fork()
    if pid != 0:
        os.close(watched)
        return held, pid
    try:
        os.setsid()
        os.closerange(3, watched)
        os.closerange(watched + 1, 1024)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        silence = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(silence, descriptor)
        if os.read(watched, 1) == b"":
            for name in names:
                remove_namespace(name)
            remove_pins(pin_dir)
            if directory:
                shutil.rmtree(directory, ignore_errors=True)
    finally:
        os._exit(0)


class Lab:
    """Use it in a `with` statement, or call close(). Root only."""

    def __init__(self, n_origins=1, directory=None):
        global COUNT
        COUNT += 1
        tag = f"{os.getpid()}-{COUNT}"
        own = None if directory else tempfile.mkdtemp(prefix=f"penstock-lab-{tag}-", dir=TEMPORARY)
        self.own_directory = own
        self.directory = pathlib.Path(directory or own)
        self.directory.chmod(0o755)  # servers that give up root read it
        self.pin_dir = BPFFS / f"penstock-test-{tag}"
        self.mounted_bpffs = False
        self.names = [f"penstock-{tag}-{who}" for who in ("client", "node", *(f"origin{k}" for k in range(n_origins)))]
        self.guard, self.guard_pid = guard(self.names, self.pin_dir, own)
        self.namespaces = []
        try:
            self.build(n_origins)
        except BaseException:
            self.close()
            raise

    def build(self, n_origins):
        if not os.path.ismount(BPFFS):
            subprocess.run(["mount", "-t", "bpf", "bpf", str(BPFFS)], check=True)
            self.mounted_bpffs = True
        for name in self.names:
            self.namespaces.append(Namespace(name, self.directory))
        self.client, self.node, *self.origins = self.namespaces
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.node.sysctl(key, 1)
        self.join(self.client, "client0", "192.0.2.2/24", "192.0.2.1/24", "2001:db8:1::2/64", "2001:db8:1::1/64")
        for k, origin in enumerate(self.origins):
            self.join(origin, f"origin{k}", f"198.51.100.{16 * k + 2}/28", f"198.51.100.{16 * k + 1}/28",
                      f"2001:db8:2:{k}::2/64", f"2001:db8:2:{k}::1/64")
        self.node.address, self.node.address6 = "192.0.2.1", "2001:db8:1::1"

    def join(self, edge, device, here, there, here6, there6):
        """Ties a client or origin to the node, which becomes its way to everywhere."""
        edge.link(self.node, "eth0", device)
        edge.add_address("eth0", here, here6)
        self.node.add_address(device, there, there6)
        edge.add_route("default", there.split("/")[0])
        edge.add_route("::/0", there6.split("/")[0])
        edge.address, edge.address6 = here.split("/")[0], here6.split("/")[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def move(self, directory):
        """What is started from now on writes its files there."""
        self.directory = pathlib.Path(directory)
        self.directory.chmod(0o755)
        for namespace in self.namespaces:
            namespace.directory = self.directory

    def clear_pins(self):
        left = []
        if self.pin_dir.is_dir():
            left += [f"{path} was still pinned" for path in self.pin_dir.rglob("*") if not path.is_dir()]
            remove_pins(self.pin_dir)
        return left

    def clear(self):
        """Ends what runs and what is pinned, for the next user. Returns sentences about what should have ended before."""
        return [sentence for namespace in self.namespaces for sentence in namespace.clear()] + self.clear_pins()

    def close(self):
        """Removes everything, the network too. Returns the same sentences."""
        if self.guard is None:
            return []
        left = []
        for namespace in reversed(self.namespaces):
            left += namespace.close()
        for name in self.names[len(self.namespaces):]:  # a signal may have come before build() knew of it
            remove_namespace(name)
        left += self.clear_pins()
        if self.mounted_bpffs:
            subprocess.run(["umount", str(BPFFS)], check=False)
        if self.own_directory:
            shutil.rmtree(self.own_directory, ignore_errors=True)
        os.write(self.guard, b"0")
        os.close(self.guard)
        os.waitpid(self.guard_pid, 0)
        self.guard = None
        return left
