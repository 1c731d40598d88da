# SPDX-License-Identifier: Apache-2.0
"""
The contestants: penstock and its peers, each as one worker on one core, and each set up as its own manual would have it
for this job (connections to the origin kept, no access log, the same forwarding headers). To compare another proxy is one
more class here and one entry of CONTESTANTS.
"""

import os
import re
import subprocess

from place import ORIGIN_PORTS, SERVER_NAME, LabError, descendants, on_cores, processes

from lab import Penstock as Daemon
from lab.penstock import binary as daemon_binary

# lane: do clients speak TLS
LANES = {"l4": False, "http": False, "tls": True, "reencrypt": True, "reencrypt-short": True}
MAX_CONNECTIONS = 4000


def capacity(row):
    """Connections that a proxy is set up for. Some hold memory for each of them from the start."""
    return max(MAX_CONNECTIONS, row.connections + row.idle + 500)


class Contestant:
    """A proxy: writes its configuration for a row, starts, and stops."""

    name = None
    port = None  # each has its own, so that all run at once and take turns
    variable = None  # names another binary

    def binary(self):
        return os.environ.get(self.variable) or self.name

    def version(self):
        raise NotImplementedError

    def argv(self, place, row, folder):
        """Writes the configuration into `folder`; returns the command."""
        raise NotImplementedError

    def start(self, place, row):
        folder = place.directory / f"{row.id}-{self.name}"
        folder.mkdir()
        self.process = place.start_proxy(row, self.argv(place, row, folder), f"{row.id}-{self.name}-log")
        self.namespace = place.node

    def stop(self):
        """Ends it; killed where it does not."""
        try:
            self.process.stop(patience_s=5)
        except LabError:
            pass
        self.namespace.processes.remove(self.process)

    def is_running(self):
        return self.process.is_running()

    def last_words(self):
        return " | ".join(self.process.log().strip().splitlines()[-4:]) or "no output"

    def pids(self):
        return sorted(descendants(self.process.pid, processes()))

    def address(self, place):
        return f"{place.node.address}:{self.port}"

    def ask(self, *options):
        """What the binary says about itself, both streams."""
        try:
            done = subprocess.run([self.binary(), *options], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return done.stdout + done.stderr

    def first_version(self, *options):
        found = re.search(r"\d+\.\d+[^\s,]*", self.ask(*options))
        return found[0] if found else "unknown"


def origin_of(place, row):
    return f"{place.origin.address}:{ORIGIN_PORTS[row.origin]}"


class Penstock(Contestant):
    name = "penstock"
    port = 9001

    def binary(self):
        return daemon_binary()

    def version(self):
        return self.first_version("--version")

    def start(self, place, row):
        self.namespace = place.node
        self.daemon = Daemon(place.node, place.lab.pin_dir, self.config(place, row), name=f"{row.id}-{self.name}",
                             start=False)  # fmt: skip
        with on_cores(*place.proxy_cores(row)):
            self.daemon.start(wait=False)
        self.process = self.daemon.process

    def stop(self):
        try:
            self.daemon.stop()
        except LabError:
            self.daemon.process.kill()
        self.namespace.processes.remove(self.process)

    def config(self, place, row):
        origin = origin_of(place, row)
        listener = {"bind": self.address(place), "routes": [{"to": f"http://{origin}"}]}
        kernel_tls = os.environ.get("PENSTOCK_KERNEL_TLS") or "auto"
        config = {"process": {"threads": row.threads, "kernel_tls": kernel_tls}, "log": {"access": "off"},
                  "listeners": [listener]}
        if LANES[row.lane]:
            listener["tls"] = {"certificates": [str(place.site)]}
        if row.lane == "l4":
            listener["routes"] = [{"pass": f"tcp://{origin}", "relay": os.environ.get("PENSTOCK_RELAY") or "auto"}]
        if row.lane.startswith("reencrypt"):
            listener["routes"] = [{"to": "bench"}]
            tls = {"ca": str(place.ca), "server_name": SERVER_NAME}
            max_idle = 128 if row.lane == "reencrypt" else 0
            config["origins"] = {"bench": {"servers": [origin], "tls": tls, "max_idle": max_idle}}
        return config


class Records(Penstock):
    """Ourselves, with the records done by the kernel, by user space, as it is by default, or by each for a direction."""

    def __init__(self, name, port, use, kernel="auto"):
        self.name = name
        self.port = port
        self.use = use
        self.kernel = kernel

    def config(self, place, row):
        config = super().config(place, row)
        config["process"]["kernel_tls"] = self.use
        for tls in [config["listeners"][0]["tls"], *(origin["tls"] for origin in config.get("origins", {}).values())]:
            tls["kernel"] = self.kernel
        return config


class Haproxy(Contestant):
    name = "haproxy"
    port = 9002
    variable = "PEER_HAPROXY"

    def version(self):
        return self.first_version("-v")

    def argv(self, place, row, folder):
        config = folder / "haproxy.cfg"
        config.write_text(self.config(place, row))
        return [self.binary(), "-db", "-f", config]

    def config(self, place, row):
        http = row.lane != "l4"
        bind_tls = f" ssl crt {place.site}" if LANES[row.lane] else ""
        server_tls = ""
        if row.lane == "reencrypt":
            server_tls = f" ssl verify required ca-file {place.ca} sni str({SERVER_NAME}) verifyhost {SERVER_NAME}"
        headers = (
            "    option forwardfor\n"
            "    http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]\n"
            "    http-request set-header X-Forwarded-Host %[req.hdr(host)]\n"
            "    http-reuse always\n"
        )
        return (
            "global\n"
            f"    nbthread {row.threads}\n"
            f"    maxconn {capacity(row)}\n"
            f"    maxpipes {MAX_CONNECTIONS // 4}\n"
            "defaults\n"
            f"    mode {'http' if http else 'tcp'}\n"
            "    timeout connect 5s\n"
            "    timeout client 60s\n"
            "    timeout server 60s\n"
            "    option splice-request\n"
            "    option splice-response\n"
            "listen bench\n"
            f"    bind {self.address(place)}{bind_tls}\n"
            f"{headers if http else ''}"
            f"    server origin {origin_of(place, row)}{server_tls}\n"
        )


class Nginx(Contestant):
    name = "nginx"
    port = 9003
    variable = "PEER_NGINX"

    def version(self):
        return self.first_version("-v")

    def argv(self, place, row, folder):
        config = folder / "nginx.conf"
        lane = self.stream(place, row) if row.lane == "l4" else self.http(place, row, folder)
        config.write_text(self.head(row, folder) + lane)
        return [self.binary(), "-p", folder, "-e", "stderr", "-c", config]

    def head(self, row, folder):
        """The stream module is a file of its own where it was built so."""
        options = self.ask("-V")
        modules = re.search(r"--modules-path=(\S+)", options)
        load = ""
        if "--with-stream=dynamic" in options and modules:
            load = f"load_module {modules[1]}/ngx_stream_module.so;\n"
        return (
            f"{load}"
            "daemon off;\n"
            "user root;\n"
            f"worker_processes {row.threads};\n"
            f"pid {folder}/nginx.pid;\n"
            f"events {{ worker_connections {2 * capacity(row)}; }}\n"
        )

    def stream(self, place, row):
        return f"stream {{ server {{ listen {self.address(place)} backlog=4096; proxy_pass {origin_of(place, row)}; }} }}\n"

    def http(self, place, row, folder):
        listen_tls = f"ssl_certificate {place.site}; ssl_certificate_key {place.site}; ssl_conf_command Options KTLS;" if LANES[row.lane] else ""
        scheme, origin_tls = "http", ""
        if row.lane == "reencrypt":
            scheme = "https"
            origin_tls = (
                f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {place.ca};"
                f"proxy_ssl_server_name on; proxy_ssl_name {SERVER_NAME}; proxy_ssl_protocols TLSv1.2 TLSv1.3;"
                "proxy_ssl_conf_command Options KTLS;"
            )
        temporary = "".join(
            f"    {kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return (
            "http {\n"
            "    access_log off;\n"
            f"{temporary}"
            "    keepalive_requests 1000000000;\n"
            # Bodies go on as they come; and TLS by the kernel, where it has that.
            "    client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;\n"
            f"    upstream origin {{ server {origin_of(place, row)}; keepalive 128; keepalive_requests 1000000000; }}\n"
            "    server {\n"
            f"        listen {self.address(place)}{' ssl' if LANES[row.lane] else ''} backlog=4096;\n"
            f"        ssl_protocols TLSv1.2 TLSv1.3; {listen_tls}\n"
            "        location / {\n"
            f"            proxy_pass {scheme}://origin; proxy_http_version 1.1; {origin_tls}\n"
            '            proxy_set_header Connection "";\n'
            "            proxy_set_header Host $host;\n"
            "            proxy_set_header X-Forwarded-For $remote_addr;\n"
            "            proxy_set_header X-Forwarded-Proto $scheme;\n"
            "            proxy_set_header X-Forwarded-Host $host;\n"
            "        }\n"
            "    }\n"
            "}\n"
        )


CONTESTANTS = (Penstock(), Haproxy(), Nginx())
PEERS = [contestant.name for contestant in CONTESTANTS if contestant.name != "penstock"]

RECORDS = (Records("kernel", 9004, "always"), Records("user", 9005, "off"), Records("auto", 9006, "auto"),
           Records("send", 9007, "always", {"receive": "off"}))
