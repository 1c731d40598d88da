# SPDX-License-Identifier: Apache-2.0
"""TLS with clients that others wrote: curl, openssl s_client, gnutls-cli; certificates, policies, reloads."""
import json
import os
import re

import pytest

import lab as laboratory
from lab.authority import openssl

PORT = 9443
WEB_PORT = 7000
NAME = "site.example.com"


@pytest.fixture
def start(lab):
    daemons, servers = [], []

    def start_penstock(tls, name="penstock", **more):
        """The node serves https on PORT; `tls` is the listener's. `more` goes beside the listeners."""
        if not servers:
            servers.append(laboratory.Nginx(lab.origins[0], http=f"server {{ listen {WEB_PORT}; return 200 served; }}"))
        port = PORT + len(daemons)
        daemons.append(laboratory.Penstock(lab.node, f"{lab.pin_dir}-{name}" if daemons else lab.pin_dir, {
            "listeners": [{"name": "web", "bind": f"{lab.node.address}:{port}", "tls": tls,
                           "routes": [{"to": f"http://{lab.origins[0].address}:{WEB_PORT}"}]}], **more}, name=name))
        daemons[-1].port = port
        return daemons[-1]

    yield start_penstock
    for server in (*daemons, *servers):
        if server.process.is_running():
            server.stop()


def curl(lab, authority, *options, name=NAME, port=PORT, check=True):
    return lab.client.run("curl", "-sS", "--max-time", "20", "--cacert", authority.file, "--resolve",
                          f"{name}:{port}:{lab.node.address}", *options, f"https://{name}:{port}/", check=check)


def s_client(lab, authority, *options, name=NAME, port=PORT, text="Q\n"):
    """What openssl says of a handshake."""
    done = lab.client.run("openssl", "s_client", "-connect", f"{lab.node.address}:{port}",
                          *(["-servername", name] if name else ["-noservername"]), "-CAfile", authority.file, *options,
                          input=text, check=False)
    return done.stdout + done.stderr


def gnutls(lab, authority, *options, name=NAME, port=PORT):
    return lab.client.run("gnutls-cli", "--x509cafile", authority.file, "--verify-hostname", name, "--sni-hostname", name,
                          "-p", str(port), *options, lab.node.address, input="", check=False)


def status_closes(daemon):
    return daemon.status()["closes"]


def test_the_client_chooses_the_kind_of_key(lab, start, authority):
    certificates = [str(authority.issue(NAME, kind=kind).bundle) for kind in ("rsa", "ec")]
    start({"certificates": [*certificates, str(authority.issue("*.example.com").bundle)]})
    assert curl(lab, authority).stdout == "served"
    for version in ("-tls1_2", "-tls1_3"):
        assert "Peer signature type: ECDSA" in s_client(lab, authority, version)
        assert re.search("Peer signature type: RSA(-PSS)?\n", s_client(
            lab, authority, version, "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"))
        assert "Verify return code: 0 (ok)" in s_client(lab, authority, version, name="other.example.com")
    for priority, kind in (("NORMAL", "EC/ECDSA"), ("NORMAL:-SIGN-ALL:+SIGN-RSA-PSS-RSAE-SHA256", "RSA")):
        done = gnutls(lab, authority, "--priority", priority)
        assert f"`{kind}'" not in done.stderr and re.search(rf"{kind}.* key \d+ bits", done.stdout), done.stdout
        assert "Handshake was completed" in done.stdout


def test_names_are_strict_where_asked(lab, start, authority):
    daemon = start({"certificates": [str(authority.issue(NAME).bundle)], "strict_sni": True})
    assert curl(lab, authority).stdout == "served"
    assert "unrecognized name" in s_client(lab, authority, name="other.example.net")
    done = gnutls(lab, authority, name="other.example.net")
    assert done.returncode != 0 and "The server name sent was not recognized" in done.stdout + done.stderr
    assert "CONNECTED" in s_client(lab, authority, name=None)
    assert re.search(r'sni=other.example.net .*strict_sni', daemon.log())
    laboratory.wait_until(lambda: status_closes(daemon)["handshake_failed"] == 2, "both are counted")


@pytest.mark.parametrize("tls, option, taken", [
    ({"policy": "modern"}, "-tls1_2", False),
    ({"policy": "modern"}, "-tls1_3", True),
    ({}, "-tls1_2", True),
    ({}, "-tls1_1", False),
    ({"versions": "TLSv1.2"}, "-tls1_3", False),
    ({"ciphers": ["ECDHE-ECDSA-AES128-SHA256"], "versions": "TLSv1.2"}, "-tls1_2", True),
], ids=["modern-1.2", "modern-1.3", "intermediate-1.2", "intermediate-1.1", "only-1.2", "ciphers"])
def test_policies(lab, start, authority, tls, option, taken):
    start({"certificates": [str(authority.issue(NAME).bundle)], **tls})
    said = s_client(lab, authority, option, "-cipher", "ALL:@SECLEVEL=0")
    assert ("Verify return code: 0 (ok)" in said and "Cipher is (NONE)" not in said) == taken, said
    if "ciphers" in tls:
        assert "Cipher is ECDHE-ECDSA-AES128-SHA256" in said


def test_protocols(lab, start, authority):
    start({"certificates": [str(authority.issue(NAME).bundle)]})
    assert "ALPN protocol: http/1.1" in s_client(lab, authority, "-alpn", "h2,http/1.1")
    assert "no application protocol" in s_client(lab, authority, "-alpn", "h2")
    assert curl(lab, authority, "--http2").stdout == "served"
    assert "No ALPN negotiated" in s_client(lab, authority)


def test_staple_and_locked_key(lab, start, authority, tmp_path):
    site = authority.issue(NAME)
    locked, passphrase, response, index = (tmp_path / name for name in ("locked.key", "pass", "ocsp", "index"))
    openssl("ec", "-in", site.key, "-aes256", "-passout", "pass:secret words", "-out", locked)
    passphrase.touch(0o600)
    passphrase.write_text("secret words\n")
    serial = openssl("x509", "-in", site.chain, "-noout", "-serial").strip().split("=")[1]
    index.write_text(f"V\t350101000000Z\t\t{serial}\tunknown\t/CN={NAME}\n")
    openssl("ocsp", "-index", index, "-CA", authority.file, "-rsigner", authority.file, "-rkey", authority.key,
            "-issuer", authority.file, "-cert", site.chain, "-respout", response, "-ndays", "2")
    chain = tmp_path / "chain.pem"
    chain.write_text(site.chain.read_text() + authority.file.read_text())  # curl looks there for the issuer
    daemon = start({"certificates": [{"chain": str(chain), "key": str(locked), "passphrase": str(passphrase),
                                      "ocsp": str(response)}]})
    assert curl(lab, authority, "--cert-status").stdout == "served"
    assert "OCSP Response Status: successful" in s_client(lab, authority, "-status")
    passphrase.write_text("other words\n")
    refused = daemon.reload(check=False)
    assert refused.returncode != 0 and "does not open the private key" in refused.stdout + refused.stderr
    assert "secret words" not in daemon.log() and "other words" not in daemon.log()


def put(source, file):
    """Replaces a file as a whole."""
    fresh = file.with_suffix(".new")
    fresh.touch(0o600)
    fresh.write_text(source.read_text())
    os.rename(fresh, file)


def served(lab, authority):
    """The certificate that a client gets, in PEM."""
    said = s_client(lab, authority)
    return re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", said, re.DOTALL).group()


def test_reload_takes_new_files_or_none(lab, start, authority, tmp_path):
    chain, key = tmp_path / "site.crt", tmp_path / "site.key"
    old, new = authority.issue(NAME), authority.issue(NAME)
    put(old.chain, chain)
    put(old.key, key)
    daemon = start({"certificates": [{"chain": str(chain), "key": str(key)}]})
    assert served(lab, authority) in old.chain.read_text()
    put(new.chain, chain)
    refused = daemon.reload(check=False)
    assert refused.returncode != 0 and "does not belong to the certificate" in refused.stdout + refused.stderr
    assert served(lab, authority) in old.chain.read_text()
    put(new.key, key)
    daemon.reload()
    assert served(lab, authority) in new.chain.read_text()


def test_watched_files_are_taken_in_pairs_or_not_at_all(lab, start, authority, tmp_path):
    chain, key = tmp_path / "site.crt", tmp_path / "site.key"
    old, new = authority.issue(NAME), authority.issue(NAME)
    put(old.chain, chain)
    put(old.key, key)
    daemon = start({"certificates": [{"chain": str(chain), "key": str(key)}]}, process={"watch_files": True})
    daemon.config.write_text("not a configuration")  # only the files are watched
    with lab.client.connect(lab.node.address, PORT) as before:
        put(new.chain, chain)
        daemon.process.wait_line("refused.*does not belong to the certificate")
        assert served(lab, authority) in old.chain.read_text()
        key.write_bytes(new.key.read_bytes())  # in place, this time
        laboratory.wait_until(lambda: served(lab, authority) in new.chain.read_text(), "the new pair is served")
        assert daemon.log().count("configuration refused") == 1
        assert daemon.status()["counters"]["tls_handshakes_open"] == 1  # the old connection goes on
        before.close()


def test_watched_folder_behind_a_link(lab, start, authority, tmp_path):
    """As secrets are mounted: the names stay, and a link to a folder is turned."""
    pairs = [authority.issue(NAME), authority.issue(NAME)]
    for number, pair in enumerate(pairs):
        (tmp_path / f"data{number}").mkdir()
        put(pair.chain, tmp_path / f"data{number}" / "tls.crt")
        put(pair.key, tmp_path / f"data{number}" / "tls.key")
    link = tmp_path / "data"
    link.symlink_to("data0")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"data/{name}")
    start({"certificates": [{"chain": str(tmp_path / "tls.crt"), "key": str(tmp_path / "tls.key")}]},
          process={"watch_files": True})
    (tmp_path / "fresh").symlink_to("data1")
    os.rename(tmp_path / "fresh", link)
    laboratory.wait_until(lambda: served(lab, authority) in pairs[1].chain.read_text(), "the new pair is served")


def test_watched_folder_that_is_made_anew(lab, start, authority, tmp_path):
    """With it goes what was watched."""
    old, new = authority.issue(NAME), authority.issue(NAME)
    folder = tmp_path / "site"
    files = {"tls.crt": "chain", "tls.key": "key"}

    def fill(pair):
        folder.mkdir()
        for name, part in files.items():
            put(getattr(pair, part), folder / name)

    fill(old)
    daemon = start({"certificates": [{"chain": str(folder / "tls.crt"), "key": str(folder / "tls.key")}]},
                   process={"watch_files": True})
    for name in files:
        (folder / name).unlink()
    folder.rmdir()
    daemon.process.wait_line("configuration refused")
    assert served(lab, authority) in old.chain.read_text()
    fill(new)
    laboratory.wait_until(lambda: served(lab, authority) in new.chain.read_text(), "the new pair is served")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_nodes_resume_each_others_sessions(lab, start, authority, tmp_path, version):
    keys, session = tmp_path / "tickets.keys", tmp_path / "session"
    old, new = os.urandom(80), os.urandom(80)
    keys.touch(0o600)
    keys.write_bytes(old)
    tls = {"certificates": [str(authority.issue(NAME).bundle)], "tickets": {"keys": str(keys)}}
    one, other = start(tls), start(tls, name="other")

    def ask(daemon, *options):
        """"New" or "Reused", after a request, so that the tickets of TLS 1.3 have come."""
        request = f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"
        said = s_client(lab, authority, version, "-ign_eof", *options, port=daemon.port, text=request)
        assert "served" in said
        return re.search(r"^(New|Reused), TLSv", said, re.MULTILINE).group(1)

    assert ask(one, "-sess_out", session) == "New"
    for daemon in (other, one):
        assert ask(daemon, "-sess_in", session) == "Reused"
    keys.write_bytes(new + old)
    other.reload()
    assert ask(other, "-sess_in", session) == "Reused"
    keys.write_bytes(new)
    other.reload()
    assert ask(other, "-sess_in", session) == "New"
    assert other.status()["counters"]["tls_resumed"] == 2
    rules = other.status()["listeners"][0]["tls_rules"]
    assert rules["tickets"] == {"keys": "file", "file": str(keys), "lifetime_s": 86400}
    assert f" {keys}, 1d 0h\n" in other.command("status", "--runtime-dir", other.runtime_dir).stdout


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_survive_a_reload(lab, start, authority, tmp_path, version):
    tls = {"certificates": [str(authority.issue(NAME).bundle)]}
    daemon, session = start(tls), tmp_path / "session"
    request = f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"
    assert "New, TLSv" in s_client(lab, authority, version, "-ign_eof", "-sess_out", session, text=request)
    daemon.reload()
    assert "Reused, TLSv" in s_client(lab, authority, version, "-ign_eof", "-sess_in", session, text=request)
    assert "This is a resumed session" in gnutls(lab, authority, "--resume", "--waitresumption").stdout


def test_no_tickets_where_off(lab, start, authority):
    start({"certificates": [str(authority.issue(NAME).bundle)], "tickets": False})
    request = f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"
    for version in ("-tls1_2", "-tls1_3"):
        said = s_client(lab, authority, version, "-ign_eof", text=request)
        assert "served" in said and "TLS session ticket" not in said


def test_status_tells_of_certificates_and_alerts(lab, start, authority):
    short, long = authority.issue(NAME, days=3), authority.issue("*.example.net", "example.net", kind="rsa", days=20)
    daemon = start({"certificates": [str(short.bundle), {"chain": str(long.chain), "key": str(long.key)}]})
    assert f'the certificate in "{short.bundle}" ({NAME}) expires on' in daemon.log().replace("\\", "")
    one, other = daemon.status()["listeners"][0]["certificates"]
    assert (one["names"], one["key"], one["file"]) == (NAME, "ECDSA P-256", str(short.bundle))
    assert (other["names"], other["key"]) == ("*.example.net, example.net", "RSA 2048")
    assert one["days_left"] in (2, 3) and other["days_left"] in (19, 20)  # a second more or less
    ends = openssl("x509", "-in", long.chain, "-noout", "-enddate", "-dateopt", "iso_8601").strip()
    assert ends == "notAfter=" + other["expires"].replace("T", " ")
    table = daemon.command("status", "--runtime-dir", daemon.runtime_dir).stdout
    assert "Certificates" in table and "*.example.net, example.net" in table and "ECDSA P-256" in table

    s_client(lab, authority, "-alpn", "h2")
    s_client(lab, authority, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert curl(lab, authority).stdout == "served"
    lab.client.run("curl", "-sS", "--resolve", f"{NAME}:{PORT}:{lab.node.address}", f"https://{NAME}:{PORT}/", check=False)

    def alerts(direction):
        return {kind: count for kind, count in daemon.status()[f"alerts_{direction}"].items() if count}

    laboratory.wait_until(lambda: alerts("received") == {"unknown_ca": 1, "close_notify": 1}, "alerts of clients")
    sent = alerts("sent")
    assert (sent["no_application_protocol"], sent["protocol_version"]) == (1, 1)
    counters = daemon.status()["counters"]
    assert (counters["tls_handshakes"], counters["tls_handshakes_open"]) == (1, 0)
    assert counters["tls_handshakes_failed"] == 3
    table = daemon.command("status", "--runtime-dir", daemon.runtime_dir).stdout
    assert "TLS alerts from clients" in table and "no application protocol in common" in table


def test_key_log_is_loud_and_true(lab, start, authority, tmp_path):
    log = tmp_path / "keys"
    daemon = start({"certificates": [str(authority.issue(NAME).bundle)], "key_log": str(log)})
    assert re.search(r"warn .*THE KEYS OF ALL TLS SESSIONS ARE WRITTEN", daemon.log())
    assert f"WARNING: the keys of all TLS sessions are written to {log}" in daemon.command(
        "status", "--runtime-dir", daemon.runtime_dir).stdout
    assert log.stat().st_mode & 0o777 == 0o600
    theirs = tmp_path / "theirs"
    for version in ("-tls1_2", "-tls1_3"):
        s_client(lab, authority, version, "-keylogfile", theirs)
    lines = [line for line in theirs.read_text().splitlines() if line and not line.startswith("#")]
    laboratory.wait_until(lambda: set(lines) <= set(log.read_text().splitlines()), "both sides wrote the same keys")
    assert any(line.startswith("CLIENT_RANDOM ") for line in lines) and len(lines) > 4
    before = log.read_text()
    configuration = json.loads(daemon.config.read_text())
    del configuration["listeners"][0]["tls"]["key_log"]
    daemon.reload(configuration)
    s_client(lab, authority)
    assert log.read_text() == before and "key_log" not in daemon.status()["listeners"][0]
    (tmp_path / "link").symlink_to(log)
    configuration["listeners"][0]["tls"]["key_log"] = str(tmp_path / "link")
    assert "cannot append to" in daemon.reload(configuration, check=False).stderr


def test_status_tells_what_is_spoken(lab, start, authority):
    site = str(authority.issue(NAME).bundle)

    daemon = start({"certificates": [site]})
    configuration = json.loads(daemon.config.read_text())

    def told(**tls):
        configuration["listeners"][0]["tls"] = {"certificates": [site], **tls}
        daemon.reload(configuration)
        return daemon.status()["listeners"][0]["tls_rules"]

    usual = {"policy": "intermediate", "versions": ["TLSv1.2", "TLSv1.3"], "alpn": ["http/1.1", "http/1.0"],
             "strict_sni": False, "tickets": {"keys": "ring", "lifetime_s": 86400}, "client_certificates": {"verify": "off"}}
    assert told() == usual
    assert told(policy="modern") == {**usual, "policy": "modern", "versions": ["TLSv1.3"]}
    assert told(versions="TLSv1.2", strict_sni=True, tickets=False, max_handshakes=7) == {
        **usual, "versions": ["TLSv1.2"], "strict_sni": True, "tickets": {"keys": "off"}, "max_handshakes": 7}
    assert told(ciphers="TLS_AES_128_GCM_SHA256", alpn="http/1.1", tickets={"lifetime": "1h"}) == {
        **usual, "policy": "own ciphers", "alpn": ["http/1.1"], "tickets": {"keys": "ring", "lifetime_s": 3600}}


def test_handshakes_are_bounded_in_number_and_time(lab, start, authority):
    daemon = start({"certificates": [str(authority.issue(NAME).bundle)], "max_handshakes": 2}, process={"threads": 1})
    idle = [lab.client.connect(lab.node.address, PORT) for _ in range(2)]
    laboratory.wait_until(lambda: daemon.status()["counters"]["tls_handshakes_open"] == 2, "two shake hands")
    with lab.client.connect(lab.node.address, PORT) as third:
        assert third.recv(1) == b""
    assert status_closes(daemon)["limit_handshakes"] == 1
    idle.pop().close()
    laboratory.wait_until(lambda: daemon.status()["counters"]["tls_handshakes_open"] == 1, "one went")
    assert curl(lab, authority).stdout == "served"
    configuration = json.loads(daemon.config.read_text())
    configuration["listeners"][0]["timeouts"] = {"handshake": "100ms"}
    daemon.reload(configuration)
    with lab.client.connect(lab.node.address, PORT) as slow:
        assert slow.recv(1) == b""
    laboratory.wait_until(lambda: status_closes(daemon)["handshake_timeout"] >= 1, "the time is over")
    idle.pop().close()
