# SPDX-License-Identifier: Apache-2.0
"""A certificate authority made on the spot with openssl(1)."""
import dataclasses
import pathlib
import subprocess

from .process import LabError


@dataclasses.dataclass(frozen=True)
class Certificate:
    chain: pathlib.Path  # PEM, leaf first
    key: pathlib.Path
    bundle: pathlib.Path  # chain and key in one file


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"openssl {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def key_options(kind):
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["-newkey", "rsa:2048"]


class Authority:
    """Its certificate is `file`; nothing outside the lab trusts it."""

    def __init__(self, directory, name="penstock lab CA"):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.file = self.directory / "ca.pem"
        self.key = self.directory / "ca.key"
        self.count = 0
        openssl("req", "-x509", "-nodes", *key_options("ec"), "-days", 30, "-subj", f"/CN={name}", "-addext",
                "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout",
                self.key, "-out", self.file)

    def issue(self, *names, kind="ec", days=30, client=False):
        """A certificate for these DNS names and IP addresses; days < 0: one that has expired."""
        self.count += 1
        stem = self.directory / f"{self.count}-{names[0].replace('*', '_').replace(':', '_')}"
        chain, key, bundle, request, extensions = (stem.with_name(stem.name + end)
                                                   for end in (".crt", ".key", ".pem", ".csr", ".ext"))
        alternatives = ",".join(("IP:" if name.replace(".", "").isdigit() or ":" in name else "DNS:") + name
                                for name in names)
        usage = "clientAuth" if client else "serverAuth"
        extensions.write_text(f"basicConstraints=CA:FALSE\nkeyUsage=digitalSignature,keyEncipherment\n"
                              f"extendedKeyUsage={usage}\nsubjectAltName={alternatives}\n")
        openssl("req", "-new", "-nodes", *key_options(kind), "-subj", f"/CN={names[0]}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key, "-set_serial", self.count,
                "-days", days, "-extfile", extensions, "-out", chain)
        bundle.touch(mode=0o600)
        bundle.write_text(chain.read_text() + key.read_text())
        return Certificate(chain, key, bundle)
