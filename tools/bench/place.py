# SPDX-License-Identifier: Apache-2.0
"""
The place where the benchmark runs: the laboratory of tools/lab (client, node, origin), made fit for measuring, with the
origin of the load tool in it. Leaving the `with` block undoes all of it.
"""

import contextlib
import json
import os
import pathlib
import resource
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab import Authority, Lab, LabError  # noqa: E402

ORIGIN_PORTS = {"source": 7001, "echo": 7002, "http": 7003, "https": 7004}
SERVER_NAME = "bench.test"

# Ports are not to run out, and TIME_WAIT is bounded so that every run meets the same state. Reno, because every kernel
# allows it in a namespace: a host's BBR paces with timers, which are load and noise, and nothing is lost here anyway.
SYSCTLS = {
    "net.ipv4.ip_local_port_range": "10000 65000",
    "net.ipv4.tcp_tw_reuse": 1,
    "net.ipv4.tcp_max_tw_buckets": 1024,
    "net.ipv4.tcp_max_syn_backlog": 4096,
    "net.ipv4.tcp_syncookies": 0,
    "net.ipv4.tcp_congestion_control": "reno",
}


def allow_descriptors():
    """As many as the system gives, for us and all that we start."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextlib.contextmanager
def on_cores(*cores):
    """What is started inside runs on these cores, and so do its children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cores))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def idle_cores_poll():
    """
    Idle cores wait for work instead of sleeping, while this is held (PM QoS; the kernel undoes it when we end). On a
    virtual machine a sleeping core costs tens of microseconds to wake, more than any proxy, and more noise.
    """
    try:
        latency = os.open("/dev/cpu_dma_latency", os.O_WRONLY)
    except OSError:
        yield False
        return
    try:
        os.write(latency, struct.pack("i", 0))
        yield True
    finally:
        os.close(latency)


def processes():
    """{pid: (parent's pid, CPU ticks of it and of the children that it reaped)} of every process."""
    table = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = pathlib.Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        fields = text[text.rindex(")") + 2 :].split()
        table[int(entry)] = (int(fields[1]), sum(map(int, fields[11:15])))
    return table


def descendants(root, table):
    """`root` and every process below it."""
    found, grown = {root}, True
    while grown:
        more = {pid for pid, (parent, _) in table.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def foreign_ticks():
    """
    CPU time of the processes that are not ours. Kernel threads (children of 2) are left out: they may work for us. A
    reaped child is part of its parent's count, so that a compiler that came and went does not escape.
    """
    table = processes()
    ours = descendants(os.getpid(), table) | descendants(2, table)
    return sum(ticks for pid, (_, ticks) in table.items() if pid not in ours)


class Place:
    def __init__(self, load, proxy_core, load_core):
        self.load = load
        self.proxy_core = proxy_core
        self.load_core = load_core

    def __enter__(self):
        allow_descriptors()
        self.lab = Lab()
        try:
            for namespace in self.lab.namespaces:
                for key, value in SYSCTLS.items():
                    namespace.sysctl(key, value)
            self.client, self.node, (self.origin,) = self.lab.client, self.lab.node, self.lab.origins
            self.directory = self.lab.directory
            authority = Authority(self.directory / "authority")
            self.ca = authority.file
            self.site = authority.issue(SERVER_NAME).bundle
            self.start_origin()
        except BaseException:
            self.lab.close()
            raise
        return self

    def __exit__(self, *_):
        self.lab.close()

    def start_origin(self):
        services = [f"{name}={self.origin.address}:{port}" for name, port in ORIGIN_PORTS.items()]
        with on_cores(self.load_core):
            program = self.origin.start(self.load, "origin", "-k", self.site, *services, name="load-origin")
        for port in ORIGIN_PORTS.values():
            program.wait_port(port)

    def proxy_cores(self, row):
        """One worker has a core for itself; two take the load's, too."""
        return {self.proxy_core, self.load_core} if row.threads > 1 else {self.proxy_core}

    def start_proxy(self, row, argv, name):
        with on_cores(*self.proxy_cores(row)):
            return self.node.start(*argv, name=name)

    def receive_on_own_core(self, wanted):
        """
        Whether packets are received on the core of whom they are for (receive packet steering), as a network card
        would have it, or, the default of veth, on the core of the sender.
        """
        for namespace, device, core in ((self.client, "eth0", self.load_core), (self.origin, "eth0", self.load_core),
                                        (self.node, "client0", self.proxy_core), (self.node, "origin0", self.proxy_core)):
            mask = f"{1 << core if wanted else 0:x}"
            # A /sys that shows this namespace's devices has to be mounted, and goes with the shell's mount namespace.
            namespace.run("unshare", "--mount", "sh", "-ec", "mount -t sysfs sysfs /sys\n"
                          f"for queue in /sys/class/net/{device}/queues/rx-*; do echo {mask} >$queue/rps_cpus; done")

    def measure(self, row, address, tls, pids=(), warmup_s=0.5, duration_s=2.0):
        """One run of the load tool against `address`, as a dict. LabError where it fails or a response was wrong."""
        argv = ["client", "-m", row.mode, "-c", row.connections, "-i", row.idle, "-w", warmup_s, "-d", duration_s,
                "-b", row.body_bytes, "-s", SERVER_NAME]
        if tls:
            argv += ["-t", self.ca]
        if pids:
            argv += ["-p", ",".join(map(str, pids))]
        log = self.directory / "load-client.log"
        log.unlink(missing_ok=True)
        foreign = foreign_ticks()
        with on_cores(self.load_core):
            program = self.client.start(self.load, *argv, address, name="load-client")
        try:
            status = program.wait_end(warmup_s + duration_s + 10 + row.idle / (10 if row.in_vm else 200))
        finally:
            program.kill()
            self.client.processes.remove(program)
        foreign = foreign_ticks() - foreign
        if status != 0:
            raise LabError(program.log().strip() or f"the load client ended with status {status}")
        run = json.loads(program.log())
        if run["errors"]:
            raise LabError(f"{run['errors']} wrong or broken exchanges")
        run["proxy_core"] = self.proxy_core
        run["open"] = row.connections + row.idle
        run["foreign_s"] = max(0, foreign) / os.sysconf("SC_CLK_TCK")
        return run


def own_memory_kib(pids):
    """What usage_memory() of the load tool calls the processes' own."""
    words = [word.split() for pid in pids for word in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(word[1]) for word in words if word[0] in ("Pss_Anon:", "Pss_Shmem:"))


def until(deadline, action, pause_s=0.1):
    """Tries until it does not raise LabError; past the deadline the error goes up."""
    while True:
        try:
            return action()
        except LabError:
            if time.monotonic() > deadline:
                raise
            time.sleep(pause_s)
