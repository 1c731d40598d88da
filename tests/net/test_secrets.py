# SPDX-License-Identifier: Apache-2.0
"""Keys and passphrases: out of reach for other users, wiped when they are not needed any more, and never logged."""
import base64
import pathlib
import re
import subprocess

import pytest

import lab as laboratory
from lab.authority import openssl

PORT = 9443
WEB_PORT = 7443
NAME = "site.example.com"
WORD = "an-easily-found-passphrase"


def readable(pid):
    """What of a process's memory could hold a secret: all that it may write to."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            start, end, mode = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()
            if mode.startswith("rw") and "[v" not in line:
                memory.seek(int(start, 16))
                try:
                    yield memory.read(int(end, 16) - int(start, 16))
                except OSError:  # of a device
                    pass


def has(pid, *secrets):
    return any(secret in part for part in readable(pid) for secret in secrets)


def secret_number(key):
    """The secret of an EC key: as it is in files, and as OpenSSL computes with it."""
    text = openssl("pkey", "-in", key, "-noout", "-text")
    number = bytes.fromhex(re.search(r"priv:\s+([0-9a-f:\s]+?)\npub", text)[1].replace(":", "").replace(" ", "").replace(
        "\n", ""))[-32:]
    return number, number[::-1]


def lines_of(key):
    """A part of the file that cannot be there by chance: in base64 and decoded."""
    body = "".join(key.read_text().splitlines()[1:-1])
    return body[40:72].encode(), base64.b64decode(body)[30:60]


@pytest.fixture
def keys(lab, start, authority):
    """The daemon with two certificates, one of them locked; one that it shows to origins; tickets from a file."""
    site, locked = authority.issue(NAME), authority.issue("locked.example.com")
    shown = authority.issue("edge.example.com", client=True)
    word, key, tickets = (lab.node.directory / name for name in ("word", "locked.key", "tickets"))
    word.write_text(WORD + "\n")
    openssl("pkey", "-in", locked.key, "-aes256", "-passout", f"file:{word}", "-out", key)
    tickets.write_bytes(bytes(range(80)))
    for path in (word, tickets):
        path.chmod(0o600)
    config = {
        "listeners": [{"bind": f"{lab.node.address}:{PORT}", "routes": [{"to": "origin"}], "tls": {
            "certificates": [str(site.bundle), {"chain": str(locked.chain), "key": str(key), "passphrase": str(word)}],
            "tickets": {"keys": str(tickets)}}}],
        "origins": {"origin": {"servers": [f"{lab.origins[0].address}:{WEB_PORT}"],
                               "tls": {"ca": str(authority.file), "server_name": NAME, "certificate": str(shown.bundle)}}},
        "log": {"level": "debug"}, "process": {"threads": 2},
    }
    nginx = laboratory.Nginx(lab.origins[0], http=f"""
        server {{ listen {WEB_PORT} ssl; ssl_certificate {site.chain}; ssl_certificate_key {site.key}; return 200 ok;
                  ssl_verify_client optional; ssl_client_certificate {authority.file}; }}""")
    daemon = start(config)
    for name in (NAME, "locked.example.com"):
        for _ in range(3):
            assert lab.client.run("curl", "-sS", "--cacert", authority.file, "--resolve", f"{name}:{PORT}:{lab.node.address}",
                                  f"https://{name}:{PORT}/").stdout == "ok"
    yield daemon, config, {"site": site, "locked": locked, "shown": shown}
    nginx.stop()


@pytest.mark.release
def test_other_users_cannot_look_in(keys):
    """Neither strangers nor the worker's own user; the latter is who a second service of that user would be."""
    daemon = keys[0]
    worker = daemon.pids()[1]
    for user in (65534, 2):
        for name in ("mem", "environ", "fd/0", "maps", "auxv"):
            done = subprocess.run(["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "head", "-c1",
                                   f"/proc/{worker}/{name}"], capture_output=True, text=True)
            assert done.returncode != 0 and "Permission denied" in done.stderr, (user, name)
        attach = ("import ctypes,os,sys; libc=ctypes.CDLL(None,use_errno=True);"
                  f"r=libc.ptrace(16,{worker},0,0); sys.exit(ctypes.get_errno() if r else 0)")
        done = subprocess.run(["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "/usr/bin/python3", "-c",
                               attach])
        assert done.returncode == 1  # EPERM


@pytest.mark.release
def test_keys_are_only_where_they_must_be(keys):
    """In the worker as numbers to compute with; no files' texts, no passphrase; nothing in the broker."""
    daemon, config, certificates = keys
    broker, worker = daemon.pids()[:2]
    for certificate in certificates.values():
        assert has(worker, *secret_number(certificate.key))  # the search finds what is there
        assert not has(worker, *lines_of(certificate.key))
        assert not has(broker, *secret_number(certificate.key), *lines_of(certificate.key))
    for pid in (broker, worker):
        assert not has(pid, WORD.encode())


@pytest.mark.release
def test_keys_are_wiped_when_they_are_given_up(keys):
    daemon, config, certificates = keys
    worker = daemon.pids()[1]
    listener = config["listeners"][0]
    listener["tls"] = {"certificates": [listener["tls"]["certificates"][0]]}
    del config["origins"]["origin"]["tls"]["certificate"]
    daemon.reload(config)
    daemon.process.wait_line("configuration taken generation=2")

    def gone(name):
        return not has(worker, *secret_number(certificates[name].key))

    for name in ("locked", "shown"):
        laboratory.wait_until(lambda name=name: gone(name), f"the key of {name} is wiped")
    assert not gone("site")
    laboratory.wait_until(lambda: not has(worker, bytes(range(16, 80))), "the ticket keys are wiped")


def test_nothing_is_logged(keys):
    daemon, config, certificates = keys
    text = daemon.log() + daemon.command("status", "--json", "--runtime-dir", daemon.runtime_dir).stdout
    assert WORD not in text and "PRIVATE KEY" not in text
    for certificate in certificates.values():
        number = secret_number(certificate.key)[0]
        assert number.hex() not in text.lower()
        assert lines_of(certificate.key)[0].decode() not in text
