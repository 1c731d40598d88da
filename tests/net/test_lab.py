# SPDX-License-Identifier: Apache-2.0
"""The laboratory itself: its servers serve, and nothing of it remains, however it ends."""
import pathlib
import signal
import subprocess
import sys

import pytest
from lab import Dnsmasq, Lab, LabError, Nginx, TlsServer, wait_until

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"


def test_paths_are_short_whatever_the_folder_for_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Lab() as lab:
        assert lab.directory.parent == pathlib.Path("/tmp")


def namespaces_of(pid):
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()
    return [name for name in names if name.startswith(f"penstock-{pid}-")]


def test_origins_serve_the_client(lab, authority):
    certificate = authority.issue("one.example")
    web = Nginx(lab.origins[0], http=f"""
        server {{
            listen 443 ssl;
            server_name one.example;
            ssl_certificate {certificate.chain};
            ssl_certificate_key {certificate.key};
            location / {{ return 200 "from one\\n"; }}
        }}""")
    names = Dnsmasq(lab.origins[1], {"www.example": "203.0.113.7"})
    tls = TlsServer(lab.origins[1], authority.issue("two.example"), 8443)
    one, two = lab.origins[0].address, lab.origins[1].address
    done = lab.client.run("curl", "-sS", "--cacert", authority.file, "--resolve", f"one.example:443:{one}",
                          "https://one.example/")
    assert done.stdout == "from one\n"
    assert lab.client.run("dig", "+short", f"@{two}", "www.example").stdout.strip() == "203.0.113.7"
    done = lab.client.run("openssl", "s_client", "-connect", f"{two}:8443", "-CAfile", authority.file,
                          "-verify_return_error", "-verify_hostname", "two.example")
    assert "Verify return code: 0 (ok)" in done.stdout
    for server in (web, names, tls):
        server.stop()


def test_ipv6_reaches_through_the_node(lab):
    Nginx(lab.origins[1], http='server { listen [::]:80; location / { return 200 "six\\n"; } }')
    done = lab.client.run("curl", "-sS", f"http://[{lab.origins[1].address6}]/")
    assert done.stdout == "six\n"
    lab.origins[1].processes[0].stop()


def test_what_is_left_running_is_told_and_ended(tmp_path):
    network = Lab(directory=tmp_path)
    process = network.node.start("sleep", "1000")
    process.wait_for(lambda: process.pid in network.node.pids(), "it is in the namespace")
    left = network.close()
    assert left == [f"sleep (pid {process.pid}) was still running"]
    assert not process.is_running()


def test_an_early_end_shows_the_log(lab):
    process = lab.client.start("sh", "-c", "echo the reason; exit 3", name="short")
    with pytest.raises(LabError, match="status 3(.|\n)*the reason"):
        process.wait_port(80)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_remains_after_a_signal(number, tmp_path):
    script = "import lab, sys; n = lab.Lab(); n.node.start('sleep', '1000'); print(n.directory, flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", script], cwd=TOOLS, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True)
    directory = pathlib.Path(child.stdout.readline().strip())
    assert directory.is_dir()
    assert len(namespaces_of(child.pid)) == 3
    child.send_signal(number)
    child.communicate()
    wait_until(lambda: not namespaces_of(child.pid) and not directory.exists(), "all is gone")
