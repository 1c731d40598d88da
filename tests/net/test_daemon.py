# SPDX-License-Identifier: Apache-2.0
"""The two processes: start, stop, reload, death, privileges, and what the commands say."""
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import stat
import subprocess
import tempfile
import threading

import pytest

import lab as laboratory
from lab.penstock import binary as penstock_binary
from lab.process import listening

PORT = 9000
ORIGIN_PORT = 7000


def listener(lab, port=PORT, **more):
    target = f"tcp://{lab.origins[0].address}:{ORIGIN_PORT}"
    return {"bind": f"{lab.node.address}:{port}", "routes": [{"pass": target}], **more}


def config(lab, *listeners, **process):
    return {"process": process, "listeners": list(listeners) or [listener(lab)]}


@pytest.fixture
def origin(lab):
    with lab.origins[0].listen(ORIGIN_PORT) as server:
        yield server


def receive(end, length):
    data = b""
    while len(data) < length:
        part = end.recv(length - len(data))
        assert part, "ended too early"
        data += part
    return data


def pair(lab, server, port=PORT):
    """A client's connection through the daemon and the origin's end of it, known to work."""
    client = lab.client.connect(lab.node.address, port)
    client.sendall(b"hello")
    end, _ = server.accept()
    end.settimeout(20)
    assert receive(end, 5) == b"hello"
    return client, end


def speak(one, other, text=b"still here"):
    for sender, receiver in ((one, other), (other, one)):
        sender.sendall(text)
        assert receive(receiver, len(text)) == text


def worker_of(daemon):
    _, worker = daemon.pids()
    return worker


def refuses(lab, port=PORT):
    try:
        lab.client.connect(lab.node.address, port).close()
    except ConnectionRefusedError:
        return True
    return False


def wait_closed(pid, port=PORT):
    """By looking, not by connecting: a connection that gets through would be one more to drain."""
    laboratory.wait_until(lambda: not listening(pid, "tcp", port), f"port {port} is closed")


# ---- start and stop ----

def test_start_and_stop(lab, start, origin):
    daemon = start(config(lab))
    sockets = {path.name: stat.S_IMODE(path.stat().st_mode) for path in daemon.runtime_dir.glob("*.sock")}
    assert sockets == {"admin.sock": 0o660, "broker.sock": 0o600}
    for end in pair(lab, origin):
        end.close()
    assert daemon.process.stop() == 0
    assert not list(daemon.runtime_dir.glob("*.sock"))
    heard = daemon.notify.recv(4096).decode()
    assert heard.startswith("STOPPING=1")
    assert refuses(lab)


def test_drains_an_open_transfer(lab, start, origin):
    daemon = start(config(lab))
    client, end = pair(lab, origin)
    daemon.process.send(signal.SIGTERM)
    wait_closed(daemon.process.pid)
    assert refuses(lab)
    speak(client, end)
    data = os.urandom(1 << 20)
    sender = threading.Thread(target=lambda: (end.sendall(data), end.close()))
    sender.start()
    assert receive(client, len(data)) == data
    assert client.recv(1) == b""
    sender.join()
    client.close()
    assert daemon.process.wait_end() == 0


def test_drain_timeout(lab, start, origin):
    daemon = start(config(lab, drain_timeout="200ms"))
    client, end = pair(lab, origin)
    assert daemon.process.stop() == 0
    for side in (client, end):
        try:
            assert side.recv(1) == b""
        except ConnectionResetError:
            pass
        side.close()


def test_interrupt_stops_at_once(lab, start, origin):
    daemon = start(config(lab, drain_timeout="1h"))
    client, end = pair(lab, origin)
    assert daemon.process.stop(signal.SIGINT) == 0
    client.close()
    end.close()
    assert not list(daemon.runtime_dir.glob("*.sock"))


def test_interrupt_ends_a_drain(lab, start, origin):
    daemon = start(config(lab, drain_timeout="1h"))
    client, end = pair(lab, origin)
    daemon.process.send(signal.SIGTERM)
    daemon.process.wait_line("draining")
    assert daemon.process.stop(signal.SIGINT) == 0
    client.close()
    end.close()


def test_second_daemon_is_refused(lab, start, origin):
    daemon = start(config(lab))
    done = daemon.command("run", "-c", daemon.config, check=False)
    assert done.returncode == 1
    assert f"another penstock (pid {daemon.process.pid}) runs with the runtime folder {daemon.runtime_dir}" in done.stderr
    for end in pair(lab, origin):  # it took nothing away
        end.close()
    assert daemon.status()["generation"] == 1


def test_port_in_use(lab, start):
    with lab.node.listen(PORT):
        daemon = start(config(lab), start=False)
        done = daemon.command("run", "-c", daemon.config, check=False)
    assert done.returncode == 1
    assert re.search(rf"^{daemon.config}:\d+:\d+: error: cannot bind {lab.node.address}:{PORT}: Address already in use",
                     done.stderr, re.MULTILINE)
    assert not list(daemon.runtime_dir.glob("*.sock"))


# ---- privileges ----

def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}


@pytest.mark.release
def test_worker_is_locked_in(lab, start, origin):
    daemon = start(config(lab, threads=2))
    worker = worker_of(daemon)
    for task in pathlib.Path(f"/proc/{worker}/task").iterdir():
        facts = status_of(f"{worker}/task/{task.name}")
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(facts[name], 16) == 0, name
        assert facts["NoNewPrivs"] == "1"
        assert facts["Seccomp"] == "2"
        assert set(facts["Uid"].split()) == {"65534"}
        assert "0" not in facts["Gid"].split()
        assert facts["Groups"] == ""
    limits = pathlib.Path(f"/proc/{worker}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)
    # Not dumpable: its files belong to root, and its own user cannot look into it.
    assert pathlib.Path(f"/proc/{worker}/environ").stat().st_uid == 0
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", f"/proc/{worker}/environ"],
                          capture_output=True, text=True)
    assert done.returncode != 0 and "Permission denied" in done.stderr
    for end in pair(lab, origin):  # and it works
        end.close()


def test_worker_has_no_huge_pages(lab, start):
    worker = worker_of(start(config(lab)))
    assert re.search(r"^THP_enabled:\s+0$", pathlib.Path(f"/proc/{worker}/status").read_text(), re.MULTILINE)


def test_worker_holds_no_files(lab, start, origin):
    """Only sockets, pipes, and what comes from no file: neither the configuration, nor keys, nor the broker's lock."""
    daemon = start(config(lab))
    links = [os.readlink(path) for path in pathlib.Path(f"/proc/{worker_of(daemon)}/fd").iterdir()
             if int(path.name) > 2]
    assert links and all(re.match(r"(socket|pipe|anon_inode):", link) for link in links), links


@pytest.mark.release
def test_as_an_ordinary_user(lab, origin):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="penstock-user-"))
    try:
        program = shutil.copy(penstock_binary(), directory / "penstock")
        file = directory / "penstock.yaml"
        file.write_text(json.dumps(config(lab, runtime_dir=str(directory / "run"), pin_dir=str(lab.pin_dir))))
        for path in (directory, file, program):
            os.chown(path, 65534, 65534)
        process = lab.node.start("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program, "run", "-c", file,
                                 name="user")
        process.wait_line("not started as root: the worker has no user of its own")
        process.wait_line("configuration taken")
        for end in pair(lab, origin):
            end.close()
        worker = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().strip()
        facts = status_of(worker)
        assert (facts["NoNewPrivs"], facts["Seccomp"], int(facts["CapEff"], 16)) == ("1", "2", 0)
        assert process.stop() == 0
    finally:
        shutil.rmtree(directory)


def test_ordinary_user_without_a_folder(lab, start):
    daemon = start(config(lab, runtime_dir="/nonexistent/penstock"), start=False)
    done = daemon.command("run", "-c", daemon.config, check=False)
    assert done.returncode == 1
    assert "cannot make the folder /nonexistent/penstock" in done.stderr


# ---- reload ----

def test_reload_adds_and_removes_listeners(lab, start, origin):
    daemon = start(config(lab))
    client, end = pair(lab, origin)
    done = daemon.reload(config(lab, listener(lab), listener(lab, PORT + 1)))
    assert done.stdout == "generation 2 is in force\n"
    for port in (PORT, PORT + 1):
        for side in pair(lab, origin, port):
            side.close()
    daemon.reload(config(lab, listener(lab, PORT + 1)))
    assert refuses(lab)
    for side in pair(lab, origin, PORT + 1):
        side.close()
    speak(client, end)  # opened under the first generation, on a listener that is gone
    client.close()
    end.close()
    assert daemon.status()["generation"] == 3


def test_reload_by_signal(lab, start):
    daemon = start(config(lab))
    daemon.process.send(signal.SIGHUP)
    daemon.process.wait_line("configuration taken generation=2")
    daemon.wait_notify("RELOADING=1")
    daemon.wait_notify("READY=1")


def test_reload_names_what_needs_a_start(lab, start):
    daemon = start(config(lab, threads=1, max_connections=100))
    done = daemon.reload(config(lab, threads=2, max_connections=200))
    for what in ("number of threads", "process.max_connections"):
        assert f"a new {what} takes effect at the next start" in done.stdout + done.stderr


BAD = {
    "syntax": (lambda lab: "listeners: [\n", r":\d+:\d+: error: "),
    "key": (lambda lab: config(lab, listener(lab, tlss={})), r':\d+:\d+: error: unknown key "tlss".*tls'),
    "file": (lambda lab: config(lab, listener(lab, tls={"certificates": ["/nonexistent.pem"]})),
             r":\d+:\d+: error: cannot read /nonexistent.pem: No such file or directory"),
    "address": (lambda lab: config(lab, listener(lab), {**listener(lab), "bind": "203.0.113.77:80"}),
                r":\d+:\d+: error: cannot bind 203.0.113.77:80: Cannot assign requested address"),
}


@pytest.mark.parametrize("what", BAD)
def test_reload_of_a_bad_file(lab, start, origin, what):
    make, pattern = BAD[what]
    daemon = start(config(lab))
    good = daemon.config.read_text()
    worker = worker_of(daemon)
    client, end = pair(lab, origin)
    done = daemon.reload(make(lab), check=False)
    assert done.returncode == 1
    assert "refused; what ran before goes on" in done.stderr
    assert re.search(f"^{daemon.config}{pattern}", done.stderr, re.MULTILINE), done.stderr
    speak(client, end)
    for side in pair(lab, origin):
        side.close()
    client.close()
    end.close()
    assert daemon.status()["generation"] == 1
    assert worker_of(daemon) == worker
    daemon.config.write_text(good)
    assert daemon.reload().returncode == 0


def test_reload_under_load_loses_nothing(lab, start):
    laboratory.Nginx(lab.origins[0], http=f'server {{ listen {ORIGIN_PORT}; location / {{ return 200 "whole\\n"; }} }}')
    daemon = start(config(lab))
    stop = threading.Event()
    answers, failures = [0], []

    def ask():
        while not stop.is_set():
            # One connection a request: each reload must keep what waits in the listeners.
            done = lab.client.run("curl", "-sS", *[f"http://{lab.node.address}:{PORT}/{i}" for i in range(50)],
                                  "-H", "Connection: close", check=False)
            answers[0] += done.stdout.count("whole\n")
            if done.returncode != 0 or done.stdout != "whole\n" * 50:
                failures.append(done.stderr)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for i in range(20):
            extra = [listener(lab, PORT + 1)] if i % 2 else []
            daemon.reload(config(lab, listener(lab), *extra))
        before = answers[0]
        laboratory.wait_until(lambda: answers[0] > before + 100 or failures, "requests go on")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert daemon.status()["generation"] == 21
    lab.origins[0].processes[0].stop()


def steered(lab, port=53):
    return {"bind": f"{lab.node.address}:{port}", "protocol": "udp",
            "routes": [{"steer": f"udp://{lab.origins[0].address}:53"}]}


BPFTOOL = next((path for path in ("/usr/sbin/bpftool", "/sbin/bpftool") if os.path.exists(path)), "bpftool")


def attached(lab):
    """The links by device as the kernel tells them: the filters of some devices are seen by no tool of Debian 12."""
    links = {}
    for path in lab.pin_dir.glob("link_*"):
        shown = json.loads(lab.node.run(BPFTOOL, "-j", "link", "show", "pinned", path).stdout)
        links[path.name.split("_", 2)[2]] = shown["id"]
    return links


def exist(links):
    return [id for id in links.values()
            if subprocess.run([BPFTOOL, "link", "show", "id", str(id)], capture_output=True).returncode == 0]


def test_steering_comes_and_goes_with_reloads(lab, start, origin):
    daemon = start(config(lab))
    assert daemon.status()["plane"] is None and attached(lab) == {}
    daemon.reload(config(lab, listener(lab), steered(lab)))
    links = attached(lab)
    assert {*links} == {device["name"] for device in daemon.status()["plane"]["devices"]} != set()
    # What is refused leaves it as it was, whichever part refuses.
    for bad in (config(lab, listener(lab), {**listener(lab), "bind": "203.0.113.77:80"}),
                config(lab, listener(lab, tls={"certificates": [str(daemon.config)]},
                                     routes=[{"to": "http://192.0.2.77"}]))):
        assert daemon.reload(bad, check=False).returncode == 1
        assert attached(lab) == links
        assert [service["address"] for service in daemon.status()["steer"]["services"]] == [f"{lab.node.address}:53"]
    daemon.reload(config(lab))
    assert attached(lab) == {} and exist(links) == []
    assert daemon.status()["plane"]["devices"] == [] and daemon.status()["steer"]["services"] == []
    daemon.reload(config(lab, steered(lab, 54)))
    assert {*attached(lab)} == {*links}
    assert refuses(lab)


def test_steering_outlives_a_stop_and_is_removed(lab, start):
    daemon = start(config(lab, steered(lab)))
    links = attached(lab)
    assert links
    assert daemon.process.stop() == 0
    assert attached(lab) == links
    daemon.write(config(lab))
    daemon.start()
    daemon.reload()
    assert "`penstock steer remove` ends it" in daemon.log()
    done = daemon.command("steer", "remove", "-c", daemon.config)
    assert done.stdout == f"nothing of the steer lane is left under {lab.pin_dir}\n"
    assert not lab.pin_dir.exists() and exist(links) == []


def test_many_ask_for_a_reload_at_once(lab, start):
    daemon = start(config(lab))
    results = []
    threads = [threading.Thread(target=lambda: results.append(daemon.reload(check=False))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done.returncode for done in results] == [0] * 8, [done.stderr for done in results]
    assert 2 <= daemon.status()["generation"] <= 9


# ---- death ----

def test_dead_worker_is_replaced(lab, start, origin):
    daemon = start(config(lab))
    daemon.reload()
    worker = worker_of(daemon)
    os.kill(worker, signal.SIGKILL)
    client, end = pair(lab, origin)  # waits in the listener that the broker holds
    speak(client, end)
    client.close()
    end.close()
    assert worker_of(daemon) != worker
    assert "signal 9 (Killed)" in daemon.log()
    assert daemon.status()["generation"] == 2  # the last one that was taken


def test_worker_that_cannot_be_started_at_once(lab, start, origin):
    daemon = start(config(lab))
    worker = worker_of(daemon)
    limits = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    os.kill(worker, signal.SIGKILL)
    daemon.process.wait_for(lambda: "cannot start the worker" in daemon.log(), "descriptors are missing")
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, limits)
    client, end = pair(lab, origin)
    speak(client, end)
    client.close()
    end.close()


def test_worker_that_dies_again_and_again(lab, start):
    daemon = start(config(lab))
    killed = set()

    def next_worker():
        return [pid for pid in daemon.pids()[1:] if pid not in killed]

    for _ in range(7):
        (worker,) = daemon.process.wait_for(next_worker, "a worker runs")
        killed.add(worker)
        os.kill(worker, signal.SIGKILL)
    assert daemon.process.wait_end() == 1
    assert "the worker dies again and again; giving up" in daemon.log()


def test_worker_outlives_a_killed_broker(lab, start, origin):
    daemon = start(config(lab))
    worker = worker_of(daemon)
    client, end = pair(lab, origin)
    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.wait_end()
    speak(client, end)
    wait_closed(worker)
    assert refuses(lab)
    client.close()
    end.close()
    laboratory.wait_until(lambda: not pathlib.Path(f"/proc/{worker}").exists(), "the worker ends by itself")
    daemon.command("steer", "remove", "-c", daemon.config)  # pins outlive whoever is killed


def test_start_after_a_killed_broker(lab, start, origin):
    """Stale sockets and a worker that still drains are no obstacle."""
    daemon = start(config(lab))
    client, end = pair(lab, origin)
    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.wait_end()
    assert list(daemon.runtime_dir.glob("*.sock"))
    daemon.start()
    for side in pair(lab, origin):
        side.close()
    speak(client, end)
    client.close()
    end.close()
    assert daemon.status()["generation"] == 1


# ---- commands ----

def command(*arguments, **options):
    return subprocess.run([penstock_binary(), *map(str, arguments)], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, **options)


def test_check_of_a_good_file(lab, start):
    daemon = start(config(lab), start=False)
    done = command("check", "-c", daemon.config)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{daemon.config}: OK",
        f"  {lab.node.address}:{PORT}",
        f"    splice    any -> tcp://{lab.origins[0].address}:{ORIGIN_PORT}",
    ]


def test_check_tells_all_errors(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text('listeners:\n'
                    '  - bind: ":443"\n'
                    '    tls: {certificates: [/nonexistent/a.pem, /nonexistent/b.pem]}\n'
                    '    routes: [{to: "https://127.0.0.1:8200"}]\n')
    done = command("check", "-c", file)
    assert done.returncode == 1
    assert done.stdout == ""
    assert [line.split(": ")[:3] for line in done.stderr.splitlines()] == [
        [f"{file}:3:26", "error", "cannot read /nonexistent/a.pem"],
        [f"{file}:3:46", "error", "cannot read /nonexistent/b.pem"],
    ]


def test_check_tells_of_files_beside_errors_of_the_text(tmp_path):
    readable = tmp_path / "ca.pem"
    readable.touch()
    file = tmp_path / "p.yaml"
    file.write_text('listeners:\n'
                    '  - bind: ":443"\n'
                    '    tls: {certificates: [/nonexistent/a.pem], polici: modern}\n'
                    '    routes: [{to: inner}, {pass: nobody}]\n'
                    'origins:\n'
                    f'  inner: {{servers: ["192.0.2.1:1"], tls: {{ca: {readable}, certificate: /nonexistent/b.pem}}}}\n')
    done = command("check", "-c", file)
    assert done.returncode == 1
    said = re.findall(rf"^{file}:(\d+):\d+: error: (.*)$", done.stderr, re.MULTILINE)
    assert [line for line, _ in said] == ["3", "3", "4", "6"], done.stderr
    assert [text.split(":")[0] for _, text in said if "nonexistent" in text] == [
        "cannot read /nonexistent/a.pem", "cannot read /nonexistent/b.pem"]


def test_check_looks_into_certificates(tmp_path):
    certificate = tmp_path / "a.pem"
    certificate.write_text("not a certificate\n")
    file = tmp_path / "p.yaml"
    file.write_text(f'listeners:\n'
                    f'  - bind: ":443"\n'
                    f'    tls: {{certificates: [{certificate}]}}\n'
                    f'    routes: [{{to: "http://127.0.0.1:8200"}}]\n')
    done = command("check", "-c", file)
    assert done.returncode == 1
    assert re.search(rf"^{file}:3:\d+: error: .*{certificate}", done.stderr, re.MULTILINE)


def test_status(lab, start, origin):
    daemon = start(config(lab))
    for end in pair(lab, origin):
        end.close()
    laboratory.wait_until(lambda: daemon.status()["closes"].get("done"), "the connection is counted")
    for by in (("-c", daemon.config), ("--runtime-dir", daemon.runtime_dir)):
        done = command("status", *by)
        assert done.returncode == 0, done.stderr
        assert re.search(rf"^  {lab.node.address}:{PORT}  splice  any +tcp://", done.stdout, re.MULTILINE)
        assert re.search(r"^  1 +connections_accepted ", done.stdout, re.MULTILINE)
        assert "\033" not in done.stdout


def test_no_daemon(tmp_path):
    for words in (("status",), ("reload",)):
        done = command(*words, "--runtime-dir", tmp_path)
        assert done.returncode == 1
        assert f"cannot reach the daemon at {tmp_path}/" in done.stderr
        assert "is the daemon running?" in done.stderr


@pytest.mark.parametrize("words, status, said", [
    (["relaod"], 2, "did you mean 'reload'?"),
    (["\033[2Jfrobnicate"], 2, "there is no command '?[2Jfrobnicate'"),
    ([], 2, "Usage: penstock COMMAND"),
    (["run", "--json"], 2, "Usage: penstock run [-c FILE]"),
    (["check", "x"], 2, "Usage: penstock check [-c FILE]"),
    (["status", "--frob"], 2, "Usage: penstock status"),
    (["steer"], 2, "Usage: penstock steer remove"),
    (["run", "-c", "/nonexistent.yaml"], 1,
     "/nonexistent.yaml: error: cannot read the configuration: No such file or directory"),
    (["worker"], 2, "there is no command 'worker'"),
])
def test_wrong_usage(words, status, said):
    done = command(*words)
    assert done.returncode == status
    assert said in done.stderr
    assert done.stdout == ""


def test_help_version_schema():
    assert command("help").stdout.startswith("penstock: ")
    assert command("--help").stdout == command("help").stdout
    assert re.fullmatch(r"penstock \d+\.\d+\.\d+\S*\n", command("version").stdout)
    assert json.loads(command("schema").stdout)["type"] == "object"
