# SPDX-License-Identifier: Apache-2.0
"""`penstock metrics`: read as a scraper reads it, and held against `penstock status --json`."""
import re
import subprocess

import pytest

import lab as laboratory
from lab.authority import openssl

PORT, TLS_PORT, ORIGIN_PORT = 8080, 8443, 7000
NAME = "site.example.com"
SAMPLE = re.compile(r'penstock_([a-z][a-z0-9_]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (-?\d+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def parse(text):
    """{name: {labels: value}}, and {name: type}; fails where the text breaks the format."""
    samples, types, family = {}, {}, None
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = re.fullmatch(r"# HELP penstock_([a-z0-9_]+) (\S.*)", line)[1]
            assert family not in samples, f"{family} comes twice"
            samples[family] = {}
        elif line.startswith("# TYPE "):
            name, kind = re.fullmatch(r"# TYPE penstock_([a-z0-9_]+) (counter|gauge)", line).groups()
            assert name == family and (kind == "counter") == name.endswith("_total"), line
            types[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match and match[1] == family, line
            labels = frozenset(LABEL.findall(match[2] or ""))
            assert labels not in samples[family], line
            samples[family][labels] = int(match[3])
    assert samples.keys() == types.keys()
    return samples, types


def labels(**pairs):
    return frozenset(pairs.items())


@pytest.fixture
def metrics(start, authority, lab):
    """The daemon, and how to ask it."""
    web, shown = authority.issue(NAME, days=40), authority.issue("edge.example.com", client=True, days=30)
    origin = f"{lab.origins[0].address}:{ORIGIN_PORT}"
    daemon = start({
        "listeners": [
            {"name": "plain", "bind": f"{lab.node.address}:{PORT}", "routes": [
                {"host": "gone.example.com", "to": "gone"}, {"to": "web"}]},
            {"name": "web", "bind": f"{lab.node.address}:{TLS_PORT}", "tls": {"certificates": [str(web.bundle)]},
             "routes": [{"to": "web"}]}],
        "origins": {
            "web": {"servers": [origin]},
            "gone": {"servers": [f"{lab.origins[1].address}:1"],
                     "tls": {"ca": str(authority.file), "certificate": str(shown.bundle)}}}})
    daemon.expiries = {"web": web, "gone": shown}
    daemon.metrics = lambda: daemon.command("metrics", "--runtime-dir", daemon.runtime_dir).stdout
    return daemon


def expiry(certificate):
    """As openssl tells it."""
    ends = openssl("x509", "-in", certificate.bundle, "-noout", "-enddate").strip().removeprefix("notAfter=")
    done = subprocess.run(["date", "--date", ends, "+%s"], check=True, capture_output=True, text=True)
    return int(done.stdout)


def test_what_a_scraper_reads(lab, metrics, nginx, authority):
    nginx(lab.origins[0], f"server {{ listen {ORIGIN_PORT}; return 200 served; }}")
    url = f"http://{lab.node.address}:{PORT}/"
    assert lab.client.run("curl", "-sS", url).stdout == "served"
    assert "502" in lab.client.run("curl", "-sS", "-H", "Host: gone.example.com", url).stdout
    tls = ("--cacert", authority.file, "--resolve", f"{NAME}:{TLS_PORT}:{lab.node.address}")
    assert lab.client.run("curl", "-sS", *tls, f"https://{NAME}:{TLS_PORT}/").stdout == "served"

    def read_at_rest():
        status, text = metrics.status(), metrics.metrics()
        is_at_rest = status["counters"]["connections_open"] == 0 and all(
            status[part] == metrics.status()[part] for part in ("counters", "closes"))
        return (status, text) if is_at_rest else None

    status, text = laboratory.wait_until(read_at_rest, "nothing goes on any more")
    samples, types = parse(text)
    assert samples["info"] == {labels(version=status["version"]): 1}
    for word, value in status["counters"].items():
        name = word if word in types else word + "_total"
        assert samples[name] == {frozenset(): value}
    assert samples["closes_total"] == {labels(reason=word): value for word, value in status["closes"].items()}
    assert samples["closes_total"][labels(reason="origin_refused")] == 1
    assert samples["requests_total"] == {frozenset(): 3}

    route = {"lane": "terminate", "listener": "plain"}
    requests = samples["route_requests_total"]
    assert requests[labels(**route, route="1", match="host gone.example.com", origin="gone")] == 1
    assert requests[labels(**route, route="2", match="any", origin="web")] == 1

    server = {"origin": "gone", "server": f"{lab.origins[1].address}:1"}
    assert samples["server_failures_total"][labels(**server)] == 1
    states = {dict(key)["state"]: value for key, value in samples["server_state"].items() if server.items() <= set(key)}
    assert states == {"up": 1, "down": 0, "ejected": 0, "drained": 0, "unresolved": 0}
    metrics.command("drain", "gone", server["server"], "--runtime-dir", metrics.runtime_dir)
    samples, _ = parse(metrics.metrics())
    assert samples["server_state"][labels(**server, state="drained")] == 1
    assert samples["server_state"][labels(**server, state="up")] == 0


def test_expiry_of_certificates(metrics):
    samples, types = parse(metrics.metrics())
    assert types["certificate_expiry_timestamp_seconds"] == "gauge"
    assert samples["certificate_expiry_timestamp_seconds"] == {
        labels(listener="web", names=NAME, key="ECDSA P-256", file=str(metrics.expiries["web"].bundle)):
            expiry(metrics.expiries["web"]),
        labels(origin="gone", names="edge.example.com", key="ECDSA P-256", file=str(metrics.expiries["gone"].bundle)):
            expiry(metrics.expiries["gone"])}
