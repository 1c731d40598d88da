# SPDX-License-Identifier: Apache-2.0
"""What testssl.sh, which others wrote, says of a listener with the default policy."""
import concurrent.futures
import json

import pytest

import lab as laboratory
from tls_ends import NAME, PORT, Middle, needs, show_logs

WEB_PORT = 7000
LIMIT_S = 1500  # a quiet machine takes 40; where all else wants the processors, too, it was more than 400

# The program waits more than it works, so two halves run at the same time. Left out: HTTP headers, which are the origin's,
# and simulated clients, of which it only tells.
HALVES = {
    "settings": ["--protocols", "--pfs", "--server-defaults", "--server-preference"],
    "attacks": ["--std", "--vulnerable", "--grease"],
}

# Findings that say nothing about us: what comes before a space in their ids, and why they are there.
ALLOWED = {
    "engine_problem": "the openssl that testssl.sh runs has no GOST engine",
    "cert_serialNumberLen": "the authority of the tests counts from 1",
    "cert_revocation": "it keeps no list of revoked certificates and answers no OCSP",
}

# With TLS 1.3 the openssl that testssl.sh runs may leave before the ticket has come; then it has nothing to resume with.
MISSED_TICKET = ("sessionresumption_ticket", "check failed because of connect problem")

# Some of what must have been looked at.
ASKED = {"SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3", "cipherlist_NULL", "cipherlist_3DES_IDEA", "PFS",
         "cipher_order", "TLS_session_ticket", "cert_chain_of_trust", "heartbleed", "CCS", "ticketbleed", "ROBOT",
         "secure_renego", "secure_client_renego", "CRIME_TLS", "LOGJAM", "SWEET32", "BEAST", "RC4"}


@pytest.fixture
def network(tmp_path_factory, authority):
    with laboratory.Lab(n_origins=1, directory=tmp_path_factory.mktemp("testssl")) as lab:
        nginx = laboratory.Nginx(lab.origins[0], http=f"server {{ listen {WEB_PORT}; return 200 'hello'; }}")
        # Days: enough, and not more than clients believe.
        certificates = [str(authority.issue(NAME, kind=kind, days=200).bundle) for kind in ("ec", "rsa")]
        middle = Middle(lab, {"listeners": [{
            "bind": f"{lab.node.address}:{PORT}", "tls": {"certificates": certificates},
            "routes": [{"to": f"http://{lab.origins[0].address}:{WEB_PORT}"}]}]})
        try:
            yield lab
            middle.stop()
            nginx.stop()
        finally:
            show_logs(lab)


def scan(lab, authority, half):
    """What it found, as a list of {id, severity, finding}."""
    report, silence = lab.directory / f"{half}.json", lab.directory / "empty"
    silence.touch()
    # It asks for names that do not exist; without a server of names the answer is there at once.
    quiet = '[ ! -e /etc/resolv.conf ] || mount --bind "$0" /etc/resolv.conf; exec "$@"'
    done = lab.client.run(
        "unshare", "--mount", "--propagation", "private", "timeout", LIMIT_S, "sh", "-c", quiet, silence, "testssl", "--quiet",
        "--warnings", "batch", "--color", 0, "--nodns", "none", "--ip", lab.node.address, "--add-ca", authority.file,
        *HALVES[half], "--jsonfile", report, f"https://{NAME}:{PORT}/", check=False, timeout_s=LIMIT_S + 20)
    assert done.returncode != 124, f"testssl.sh took more than {LIMIT_S} s\n{done.stdout}"
    return json.loads(report.read_text())


@pytest.mark.release
@needs("testssl", "testssl.sh")
def test_no_finding_but_those_of_a_test_certificate(network, authority):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        found = [finding for half in pool.map(lambda half: scan(network, authority, half), HALVES) for finding in half]
    ids = {finding["id"].split()[0] for finding in found}
    assert ASKED <= ids, sorted(ids)
    problems = [finding for finding in found if finding["severity"] not in ("OK", "INFO")
                and finding["id"].split()[0] not in ALLOWED and (finding["id"], finding["finding"]) != MISSED_TICKET]
    assert problems == []
