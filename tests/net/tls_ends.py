# SPDX-License-Identifier: Apache-2.0
"""What the tests with TLS clients and servers of others share: names, a daemon between the two, and its accounts."""
import contextlib
import hashlib
import os
import pathlib
import shutil
import socket
import ssl

import pytest

import lab as laboratory

PORT = 9443
NAME = "site.example.com"
MIB = 1 << 20
SIZE = int(os.environ.get("PENSTOCK_BODY_MIB") or 8) * MIB
VERSIONS = ("1.2", "1.3")
# Versions and ciphers that the kernel knows, too.
SUITES = [
    ("1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"), ("1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"), ("1.3", "TLS_AES_128_GCM_SHA256"),
    ("1.3", "TLS_AES_256_GCM_SHA384"), ("1.3", "TLS_CHACHA20_POLY1305_SHA256"),
]


def needs(program, package):
    """Skips a test where the program is not there."""
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed (package {package})")


def kernel_has_tls():
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.IPPROTO_TCP, 31, b"tls")  # TCP_ULP
        except OSError as error:
            return error.errno == 107  # ENOTCONN: it looked for a connection, so the module is there
    return True


def nginx_tls(certificate, suite):
    """What makes a server of nginx speak this version and cipher alone."""
    version, cipher = suite
    word = "ssl_ciphers" if version == "1.2" else "ssl_conf_command Ciphersuites"
    return f"""
                ssl_certificate {certificate.chain};
                ssl_certificate_key {certificate.key};
                ssl_protocols TLSv{version};
                {word} {cipher};"""


def curl_tls(suite):
    """The same for curl."""
    version, cipher = suite
    return ["--tls-max", version, "--ciphers" if version == "1.2" else "--tls13-ciphers", cipher]


def client_context(authority, version):
    """A client of Python that speaks this version alone."""
    context = ssl.create_default_context(cafile=str(authority.file))
    return only_version(context, version)


def only_version(context, version):
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, f"TLSv{version.replace('.', '_')}")
    return context


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
        return self.daemon.counts()

    def expect(self, before, **amounts):
        self.daemon.expect(before, **amounts)

    def n_descriptors(self):
        return sum(len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir())) for pid in self.daemon.pids())

    def stop(self):
        self.daemon.stop()


def show_logs(lab):
    for log in sorted(lab.directory.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}")


@contextlib.contextmanager
def shared_world(directory, make):
    """What make(lab) gives, for all tests of a file; at their end its stop() must go well. The logs are shown."""
    with laboratory.Lab(n_origins=1, directory=directory) as lab:
        try:
            world = make(lab)
            yield world
            world.stop()
        finally:
            show_logs(lab)
