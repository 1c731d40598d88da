# SPDX-License-Identifier: Apache-2.0
"""Real servers as origins: nginx, dnsmasq, openssl s_server. Each returns when it serves."""
import pathlib
import re

STREAM_MODULE = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")

NGINX = """\
{load}
daemon off;
user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 4096; }}
http {{
    access_log {directory}/access.log {log_format};
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 0;
    keepalive_requests 1000000;
{http}
}}
{stream}
"""


class Nginx:
    """`http` and `stream` are the insides of these blocks. Files to serve go to `root`; "$root" in the text names it."""

    def __init__(self, namespace, name="nginx", http="", stream="", binary="nginx", log_format="combined"):
        self.directory = namespace.directory / name
        self.root = self.directory / "root"
        self.root.mkdir(parents=True, exist_ok=True)
        self.namespace = namespace
        config = self.directory / "nginx.conf"
        config.write_text(NGINX.format(
            directory=self.directory, log_format=log_format, http=http.replace("$root", str(self.root)),
            load=f"load_module {STREAM_MODULE};" if stream and STREAM_MODULE.exists() else "",
            stream=f"stream {{\n{stream}\n}}" if stream else ""))
        self.process = namespace.start(binary, "-p", self.directory, "-c", config, name=name)
        for port, udp in sorted(set(re.findall(r"listen\s+(?:[\d.]+:|\[[^]]*\]:)?(\d+)[^;]*?(\budp\b)?[^;]*;",
                                               http + stream))):
            self.process.wait_port(int(port), "udp" if udp else "tcp")

    def access_log(self):
        path = self.directory / "access.log"
        return path.read_text().splitlines() if path.exists() else []

    def stop(self):
        return self.process.stop()


class Dnsmasq:
    """A DNS server for the names given; it asks nobody else. `counts` in its log: one line per query."""

    def __init__(self, namespace, names, address=None, port=53, name="dnsmasq"):
        self.process = namespace.start(
            "dnsmasq", "--keep-in-foreground", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
            "--user=root", "--pid-file=", "--log-queries", f"--port={port}", "--bind-interfaces",
            f"--listen-address={address or namespace.address}",
            *(f"--host-record={host},{value}" for host, value in names.items()), name=name)
        self.process.wait_port(port, "udp")
        self.process.wait_port(port, "tcp")

    def stop(self):
        return self.process.stop()


class TlsServer:
    """openssl s_server: a TLS service with a certificate of its own that says on each connection what was agreed."""

    def __init__(self, namespace, certificate, port, name="tls-server", arguments=("-www",)):
        self.process = namespace.start("openssl", "s_server", "-accept", f"0.0.0.0:{port}", "-cert", certificate.chain,
                                       "-key", certificate.key, *arguments, name=name)
        self.process.wait_port(port)

    def stop(self):
        return self.process.stop()
