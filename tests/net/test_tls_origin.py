# SPDX-License-Identifier: Apache-2.0
"""TLS with origins that others wrote: nginx, HAProxy, openssl s_server, gnutls-serv; what is shown to them, what of theirs is
accepted, and how each refusal is called."""
import base64
import hashlib
import re

import pytest

import lab as laboratory
from lab.authority import openssl

PORT = 9000
TLS_PORT = 7443
NAME = "inner.example.com"


def pin(certificate):
    """Of its key, as `pins` takes it."""
    public = openssl("x509", "-in", certificate.chain, "-noout", "-pubkey")
    path = certificate.chain.with_suffix(".pub")
    path.write_text(public)
    openssl("pkey", "-pubin", "-in", path, "-outform", "der", "-out", path.with_suffix(".der"))
    return "sha256/" + base64.b64encode(hashlib.sha256(path.with_suffix(".der").read_bytes()).digest()).decode()


def nginx(lab, certificate, *lines, port=TLS_PORT, name="nginx", versions="TLSv1.2 TLSv1.3"):
    """It answers with the TLS version, whether the session was resumed, and the client's certificate."""
    return laboratory.Nginx(lab.origins[0], name=name, http=f"""
        server {{
            listen {port} ssl; ssl_protocols {versions};
            ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key};
            {" ".join(lines)}
            location / {{ return 200 "$ssl_protocol $ssl_session_reused $ssl_client_verify $ssl_client_s_dn"; }}
        }}""")


def routes(lab, variants, port=TLS_PORT, **more):
    """A configuration with a path for each variant of `tls`: {"name": {"pins": ...}}. No connection is kept."""
    return {
        "listeners": [{"name": "web", "bind": f"{lab.node.address}:{PORT}",
                       "routes": [{"path": f"/{name}", "to": name} for name in variants]}],
        "origins": {name: {"servers": [f"{lab.origins[0].address}:{port}"], "max_idle": 0, "retries": 0,
                           "tls": {"server_name": NAME, **tls}, **more} for name, tls in variants.items()},
    }


def fetch(lab, path):
    """The status and the body."""
    done = lab.client.run("curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}",
                          f"http://{lab.node.address}:{PORT}/{path}").stdout
    body, _, status = done.rpartition("\n")
    return int(status), body


def test_our_certificate_is_shown(lab, start, authority):
    ours, locked = authority.issue("edge.example.com", client=True), authority.directory / "locked.key"
    word = authority.directory / "word"
    word.write_text("open sesame\n")
    openssl("pkey", "-in", ours.key, "-aes256", "-passout", f"file:{word}", "-out", locked)
    server = nginx(lab, authority.issue(NAME), f"ssl_client_certificate {authority.file}; ssl_verify_client optional;")
    ca = {"ca": str(authority.file)}
    daemon = start(routes(lab, {
        "none": ca,
        "bundle": {**ca, "certificate": str(ours.bundle)},
        "locked": {**ca, "certificate": {"chain": str(ours.chain), "key": str(locked), "passphrase": str(word)}},
        "old": {**ca, "certificate": str(ours.bundle), "versions": "TLSv1.2"},
    }))
    assert fetch(lab, "none") == (200, "TLSv1.3 . NONE ")
    assert fetch(lab, "bundle") == (200, "TLSv1.3 . SUCCESS CN=edge.example.com")
    assert fetch(lab, "locked") == (200, "TLSv1.3 . SUCCESS CN=edge.example.com")
    assert fetch(lab, "old") == (200, "TLSv1.2 . SUCCESS CN=edge.example.com")
    server.stop()
    told = {origin["name"]: origin for origin in daemon.status()["origins"]}
    assert "certificates" not in told["none"]
    (shown,) = told["locked"]["certificates"]
    assert (shown["names"], shown["key"], shown["file"]) == ("edge.example.com", "ECDSA P-256", str(ours.chain))
    ends = openssl("x509", "-in", ours.chain, "-noout", "-enddate", "-dateopt", "iso_8601").strip()
    assert ends == "notAfter=" + shown["expires"].replace("T", " ")
    assert told["old"]["tls_rules"] == {
        "verify": True, "ca": str(authority.file), "server_name": NAME, "pins": 0, "policy": "intermediate",
        "versions": ["TLSv1.2"], "alpn": ["http/1.1"], "sessions": True}
    table = daemon.command("status", "--runtime-dir", daemon.runtime_dir).stdout
    assert re.search(rf"  old +verified +{authority.file} +{NAME} +intermediate +TLSv1.2 +http/1.1 +on\n", table)
    assert re.search(rf"Certificates shown to origins\n.*\n  bundle +edge.example.com +ECDSA P-256 +{shown['expires']}", table)


def test_a_certificate_that_they_refuse(lab, start, authority, tmp_path):
    """With TLS 1.3 the refusal comes after our handshake, and is told all the same."""
    stranger = laboratory.Authority(tmp_path / "stranger", "stranger CA").issue("edge.example.com", client=True)
    servers = [laboratory.TlsServer(lab.origins[0], authority.issue(NAME), TLS_PORT + i, name=f"strict-{i}", arguments=(
        "-www", "-Verify", "2", "-verify_return_error", "-CAfile", str(authority.file), version))
        for i, version in enumerate(("-tls1_2", "-tls1_3"))]
    variants = {"none": {"ca": str(authority.file)},
                "stranger": {"ca": str(authority.file), "certificate": str(stranger.bundle)}}
    config = routes(lab, {f"{name}-{i}": tls for name, tls in variants.items() for i in (0, 1)})
    for name, origin in config["origins"].items():
        origin["servers"] = [f"{lab.origins[0].address}:{TLS_PORT + int(name[-1])}"]
    daemon = start(config)
    for name in config["origins"]:
        assert fetch(lab, name)[0] == 502
        daemon.process.wait_line(rf"request .*path=/{name} .*origin={name} .*{lab.origins[0].address}:\d+.*alert")
    for server in servers:
        server.process.kill()


def test_pins(lab, start, authority):
    site, other = authority.issue(NAME), authority.issue("other.example.com")
    server = nginx(lab, site)
    ca = {"ca": str(authority.file)}
    daemon = start(routes(lab, {
        "right": {**ca, "pins": [pin(other), pin(site)]},
        "wrong": {**ca, "pins": pin(other)},
        "alone": {"verify": "off", "pins": pin(site)[len("sha256/"):]},
        "alone-wrong": {"verify": "off", "pins": pin(other)},
    }))
    assert fetch(lab, "right")[0] == fetch(lab, "alone")[0] == 200
    assert fetch(lab, "wrong")[0] == fetch(lab, "alone-wrong")[0] == 502
    status = daemon.status()
    assert status["counters"]["origin_tls_not_pinned"] == 2
    assert {origin["name"]: origin["tls"] for origin in status["origins"]} == {
        "right": "verified, pinned", "wrong": "verified, pinned", "alone": "pinned, NOT VERIFIED",
        "alone-wrong": "pinned, NOT VERIFIED"}
    daemon.process.wait_line(rf"origin=wrong .*reason=origin_unverified .*{lab.origins[0].address}:{TLS_PORT}: "
                             rf".*its key is not pinned \(it is {re.escape(pin(site))}")
    daemon.process.wait_line("only its key is compared with")
    server.stop()


REFUSALS = {  # name: counter, words in the log
    "expired": ("origin_tls_expired", "certificate has expired"),
    "name": ("origin_tls_wrong_name", 'expected \\\\?"inner.example.com'),
    "untrusted": ("origin_tls_untrusted", "unable to get local issuer certificate"),
    "version": ("origin_tls_alert", 'the peer sent the alert \\\\?"protocol version'),
    "plain": ("origin_tls_protocol", "wrong version number"),
    "purpose": ("origin_tls_bad_certificate", "unsuitable certificate purpose"),
    "closing": ("origin_tls_closed", "during the TLS handshake"),
    "silent": ("origin_tls_timeout", "TLS handshake timed out"),
}


def test_each_refusal_has_its_name(lab, start, authority, tmp_path):
    other = laboratory.Authority(tmp_path / "other", "other CA")
    certificates = {"expired": authority.issue(NAME, days=-1), "name": authority.issue("wrong.example.com"),
                    "untrusted": other.issue(NAME), "version": authority.issue(NAME),
                    "purpose": authority.issue(NAME, client=True)}
    ports = {name: TLS_PORT + i for i, name in enumerate(REFUSALS)}
    servers = [nginx(lab, certificate, port=ports[name], name=name,
                     **({"versions": "TLSv1.2"} if name == "version" else {}))
               for name, certificate in certificates.items()]
    servers.append(laboratory.Nginx(lab.origins[0], name="plain", http=f"server {{ listen {ports['plain']}; }}"))
    servers.append(laboratory.Nginx(lab.origins[0], name="closing", stream=f"""
        server {{ listen {ports['closing']}; return ""; }}"""))
    config = routes(lab, {name: {"ca": str(authority.file), **({"versions": "TLSv1.3"} if name == "version" else {})}
                          for name in REFUSALS})
    for name, origin in config["origins"].items():
        origin["servers"] = [f"{lab.origins[0].address}:{ports[name]}"]
    config["origins"]["silent"]["timeouts"] = {"connect": "300ms"}
    silent = lab.origins[0].listen(ports["silent"])
    daemon = start(config)
    for name, (counter, words) in REFUSALS.items():
        before = daemon.status()["counters"]
        assert fetch(lab, name)[0] == (504 if name == "silent" else 502)
        after = daemon.status()["counters"]
        changed = {key for key in after if key.startswith("origin_tls_") and after[key] != before[key]}
        assert changed == {counter}, name
        daemon.process.wait_line(rf'origin={name} .*detail="{lab.origins[0].address}:{ports[name]}: .*{words}')
    silent.close()
    for server in servers:
        server.stop()


def test_a_failure_is_told_of_its_server(lab, start, authority):
    """Also where another server did, so that no client has seen it."""
    bad = nginx(lab, authority.issue("other.example.com"))
    good = nginx(lab, authority.issue(NAME), port=TLS_PORT + 1, name="good")
    config = routes(lab, {"pair": {"ca": str(authority.file)}}, health={"eject": {"failures": 2, "time": "1h"}})
    addresses = [f"{lab.origins[0].address}:{TLS_PORT + i}" for i in range(2)]
    config["origins"]["pair"].update(servers=addresses, retries=1)
    daemon = start(config | {"process": {"threads": 1}})
    assert [fetch(lab, "pair")[0] for _ in range(4)] == [200] * 4
    wrong, right = daemon.status()["origins"][0]["servers"]
    reason = f'certificate not accepted: hostname mismatch (expected "{NAME}")'
    assert (wrong["state"], wrong["failures"], wrong["last_failure"], wrong["why"]) == ("ejected", 2, reason, reason)
    assert right["failures"] == 0 and "last_failure" not in right and "why" not in right
    assert daemon.status()["counters"]["origin_tls_wrong_name"] == 2
    table = daemon.command("status", "--runtime-dir", daemon.runtime_dir).stdout
    assert re.search(rf"  pair +{addresses[0]} +ejected +{re.escape(reason)} ", table)
    bad.stop()
    good.stop()


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_sessions_are_resumed(lab, start, authority, version, tmp_path):
    site = authority.issue(NAME)
    server = nginx(lab, site, "ssl_session_cache shared:a:1m;", versions=version)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.file.read_bytes())
    tls = {"ca": str(trusted)}
    config = routes(lab, {"on": tls, "off": {**tls, "sessions": "off"}})
    config["process"] = {"threads": 1}
    daemon = start(config)
    assert fetch(lab, "on") == (200, f"{version} . NONE ")
    for _ in range(10):
        assert fetch(lab, "on") == (200, f"{version} r NONE ")
    for _ in range(2):
        assert fetch(lab, "off") == (200, f"{version} . NONE ")
    counters = daemon.status()["counters"]
    assert (counters["origin_tls_handshakes"], counters["origin_tls_resumed"]) == (13, 10)
    daemon.reload()
    assert fetch(lab, "on") == (200, f"{version} r NONE ")
    with trusted.open("ab") as file:
        file.write(laboratory.Authority(tmp_path / "more", "more CA").file.read_bytes())
    daemon.reload()  # whom to trust has changed
    assert fetch(lab, "on") == (200, f"{version} . NONE ")
    assert fetch(lab, "on") == (200, f"{version} r NONE ")
    server.stop()


def test_files_are_read_anew_at_a_reload(lab, start, authority, tmp_path):
    other = laboratory.Authority(tmp_path / "other", "other CA")
    trusted, shown = tmp_path / "trusted.pem", tmp_path / "shown.pem"
    server = nginx(lab, other.issue(NAME), f"ssl_client_certificate {authority.file}; ssl_verify_client optional;")
    trusted.write_bytes(authority.file.read_bytes())
    shown.write_bytes(authority.issue("first.example.com", client=True).bundle.read_bytes())
    daemon = start(routes(lab, {"site": {"ca": str(trusted), "certificate": str(shown)}}))
    assert fetch(lab, "site")[0] == 502
    trusted.write_bytes(other.file.read_bytes())
    daemon.reload()
    assert fetch(lab, "site") == (200, "TLSv1.3 . SUCCESS CN=first.example.com")
    shown.write_bytes(authority.issue("second.example.com", client=True).bundle.read_bytes())
    daemon.reload()
    assert fetch(lab, "site") == (200, "TLSv1.3 . SUCCESS CN=second.example.com")
    shown.write_text("no certificate\n")
    assert daemon.reload(check=False).returncode != 0
    assert fetch(lab, "site")[1].endswith("CN=second.example.com")
    server.stop()


def test_watched_files_of_origins_are_taken(lab, start, authority, tmp_path):
    """As the listeners' are: whom to trust, and what is shown, where the text says nothing new."""
    other = laboratory.Authority(tmp_path / "other", "other CA")
    trusted, shown = tmp_path / "trusted.pem", tmp_path / "shown.pem"
    server = nginx(lab, other.issue(NAME), f"ssl_client_certificate {authority.file}; ssl_verify_client optional;")
    trusted.write_bytes(authority.file.read_bytes())
    shown.write_bytes(authority.issue("first.example.com", client=True).bundle.read_bytes())
    daemon = start(routes(lab, {"site": {"ca": str(trusted), "certificate": str(shown)}}) | {
        "process": {"watch_files": True}})
    assert fetch(lab, "site")[0] == 502
    trusted.write_bytes(other.file.read_bytes())
    laboratory.wait_until(lambda: fetch(lab, "site") == (200, "TLSv1.3 . SUCCESS CN=first.example.com"), "it is trusted")
    shown.write_bytes(authority.issue("second.example.com", client=True).bundle.read_bytes())
    laboratory.wait_until(lambda: fetch(lab, "site")[1].endswith("CN=second.example.com"), "the other one is shown")
    assert daemon.status()["origins"][0]["certificates"][0]["names"] == "second.example.com"
    server.stop()


def test_kept_connections_go_with_what_verified_them(lab, start, authority, tmp_path):
    other = laboratory.Authority(tmp_path / "other", "other CA")
    trusted = tmp_path / "trusted.pem"
    server = nginx(lab, authority.issue(NAME))
    trusted.write_bytes(authority.file.read_bytes())
    daemon = start(routes(lab, {"site": {"ca": str(trusted)}}, max_idle=4) | {"process": {"threads": 1}})
    opened = []
    for change in (None, None, authority, other):
        if change:
            trusted.write_bytes(change.file.read_bytes())
            daemon.reload()
        assert fetch(lab, "site")[0] == (502 if change is other else 200)
        opened.append(daemon.status()["counters"]["origin_connects"])
    assert opened[0] == opened[1] == opened[2], "nothing has changed but the time of the file"
    server.stop()


def test_not_verified_is_said_aloud(lab, start, authority):
    server = nginx(lab, authority.issue(NAME))
    daemon = start(routes(lab, {"open": {"verify": "off"}}))
    assert fetch(lab, "open")[0] == 200
    assert daemon.status()["origins"][0]["tls"] == "NOT VERIFIED"
    table = daemon.command("status", "--runtime-dir", daemon.runtime_dir).stdout
    assert "WARNING: origin open is not verified" in table and re.search("TLS with origins\n.*\n  open +NOT VERIFIED ", table)
    daemon.process.wait_line('the certificate of origin .*open.* is not verified')
    server.stop()
