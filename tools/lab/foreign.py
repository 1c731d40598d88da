# SPDX-License-Identifier: Apache-2.0
"""Another agent on the host: a sockmap of its own, with a program that lets all pass, over sockets of others."""
import ctypes
import os
import pathlib

SYS_PIDFD_GETFD = 438
BPF_MAP_TYPE_SOCKHASH = 18
BPF_PROG_TYPE_SK_SKB = 14
BPF_SK_SKB_STREAM_VERDICT = 5

# r0 = 0; if skb->len == 0 exit (a bare FIN); r0 = SK_PASS; exit
PROGRAM = bytes.fromhex("b700000000000000" "6112000000000000" "1502010000000000" "b700000001000000" "9500000000000000")


def checked(value, what):
    if value < 0:
        raise OSError(ctypes.get_errno(), what)
    return value


class ForeignSockmap:
    """Use it in a `with` statement. What is in it leaves with it."""

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.bpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
        self.map = checked(self.bpf.bpf_map_create(BPF_MAP_TYPE_SOCKHASH, b"foreign", 8, 8, 64, None), "sockhash")
        self.program = checked(self.bpf.bpf_prog_load(BPF_PROG_TYPE_SK_SKB, b"foreign", b"GPL", PROGRAM,
                                                      ctypes.c_size_t(len(PROGRAM) // 8), None), "sk_skb program")
        checked(self.bpf.bpf_prog_attach(self.program, self.map, BPF_SK_SKB_STREAM_VERDICT, 0), "attaching it")

    def take(self, pid, inode):
        """Puts the socket of that process in."""
        [fd] = [int(link.name) for link in pathlib.Path(f"/proc/{pid}/fd").iterdir()
                if os.readlink(link) == f"socket:[{inode}]"]
        pidfd = os.pidfd_open(pid)
        ours = checked(self.libc.syscall(SYS_PIDFD_GETFD, pidfd, fd, 0), "pidfd_getfd")
        key, value = ctypes.c_uint64(inode), ctypes.c_uint64(ours)
        try:
            checked(self.bpf.bpf_map_update_elem(self.map, ctypes.byref(key), ctypes.byref(value), ctypes.c_uint64(0)),
                    "inserting a socket")
        finally:
            os.close(ours)
            os.close(pidfd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.map)
        os.close(self.program)
