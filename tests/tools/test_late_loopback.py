# SPDX-License-Identifier: Apache-2.0
"""tools/late-loopback: nothing is there at once, all of it comes, and in order."""
import pathlib
import subprocess
import sys

import pytest

PATH = pathlib.Path(__file__).resolve().parents[2] / "tools/late-loopback"

TALK = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
late = 0
for number in range(20):
    client.send(bytes([number]))
    try:
        got = server.recv(1, socket.MSG_DONTWAIT)
    except BlockingIOError:
        late += 1
        got = server.recv(1)
    assert got == bytes([number]), (got, number)
assert late > 10, late
"""


def run(*command):
    done = subprocess.run([PATH, "20", *command], capture_output=True, text=True, timeout=60)
    if done.returncode == 77:
        pytest.skip(done.stdout.strip())
    return done


def test_what_is_sent_comes_later():
    done = run(sys.executable, "-c", TALK)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command, status", [("exit 3", 3), ("kill -TERM $$", 143)])
def test_the_status_is_the_commands(command, status):
    assert run("sh", "-c", command).returncode == status
