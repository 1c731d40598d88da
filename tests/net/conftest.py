# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the network tests: `lab`, a fresh network; `start`, the daemon in it; `authority`, certificates for the run."""
import os
import pathlib
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))

import lab as laboratory  # noqa: E402
from http_ends import RawOrigin  # noqa: E402

tempfile.tempdir = laboratory.TEMPORARY


def pytest_configure(config):
    config.addinivalue_line("markers", "release: needs the daemon as it is shipped (its sandbox, its memory, its speed)")


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="network namespaces need root"))


@pytest.fixture(scope="session")
def shared_lab(tmp_path_factory):
    with laboratory.Lab(n_origins=2, directory=tmp_path_factory.mktemp("lab")) as network:
        yield network


@pytest.fixture
def lab(request, tmp_path):
    """A client, a node and two origins. What a test leaves running or pinned fails it.

    PENSTOCK_SHARED_LAB: one network for all tests, where making one takes long (under emulation).
    """
    is_shared = bool(os.environ.get("PENSTOCK_SHARED_LAB"))
    network = request.getfixturevalue("shared_lab") if is_shared else laboratory.Lab(n_origins=2, directory=tmp_path)
    network.move(tmp_path)
    left = []
    try:
        yield network
    finally:
        left = network.clear() if is_shared else network.close()
        for log in sorted(network.directory.glob("*.log")):  # shown where the test failed
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}")
    assert left == []


@pytest.fixture
def start(lab):
    """Starts the daemon with a configuration; what still runs at the end is stopped, which must go well."""
    daemons = []

    def start_daemon(configuration, **options):
        daemons.append(laboratory.Penstock(lab.node, lab.pin_dir, configuration, **options))
        return daemons[-1]

    yield start_daemon
    for daemon in daemons:
        if daemon.process and daemon.process.is_running():
            daemon.stop()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    directory = tmp_path_factory.mktemp("authority")
    for folder in (directory, directory.parent):
        folder.chmod(0o755)
    return laboratory.Authority(directory)


@pytest.fixture
def raw(lab):
    """Starts raw origins in the first origin's namespace."""
    origins = []

    def start_origin(answer):
        origins.append(RawOrigin(lab.origins[0], answer))
        return origins[-1]

    yield start_origin
    for origin in origins:
        origin.close()


@pytest.fixture
def nginx(lab):
    """Starts nginx; each ends with the test."""
    servers = []

    def start_nginx(namespace, http, **options):
        servers.append(laboratory.Nginx(namespace, http=http, name=f"nginx-{len(servers)}", **options))
        return servers[-1]

    yield start_nginx
    for server in servers:
        server.stop()
