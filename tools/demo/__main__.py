#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The main job of penstock on real input, in network namespaces that exist only for it.

One node, one configuration, three lanes: requests that are decrypted, routed and encrypted again (terminate), TLS that
is passed on by its name unopened (splice), and packets that never leave the kernel (steer). Every claim is checked; the
exit status is 0 only if all held. DEMO_HOLD=1 leaves it running until Enter or a signal.
"""
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

import kernel  # noqa: E402
import screen  # noqa: E402
from lab import Authority, Dnsmasq, Lab, LabError, Nginx, Penstock, is_alive  # noqa: E402
from lab.penstock import binary  # noqa: E402

BULK_MIB = 64

CONFIG = """\
listeners:
  - name: edge
    bind: "192.0.2.1:443"
    tls: {{certificates: [{edge}]}}
    routes:
      - {{sni: vault.example, pass: vault}}            # TLS stays closed: the origin's own certificate
      - {{host: shop.example, path: /api, to: api}}    # TLS ends here, and is made again to the origin
      - {{host: shop.example, to: shop}}
      - {{host: rogue.example, to: rogue}}             # shows a certificate that nobody vouches for
  - name: dns
    bind: "192.0.2.1:53"
    protocol: udp
    routes: [{{steer: dns}}]
  - name: mirror
    bind: "192.0.2.1:7000"
    routes: [{{steer: mirror}}]

origins:
  shop: {{servers: ["198.51.100.2:8443"], tls: {{ca: {ca}, server_name: shop.internal}}}}
  api: {{servers: ["198.51.100.18:8443"], tls: {{ca: {ca}, server_name: api.internal}}}}
  rogue: {{servers: ["198.51.100.18:8444"], tls: {{ca: {ca}, server_name: api.internal}}}}
  vault: {{servers: ["198.51.100.18:8200"]}}
  dns: {{servers: ["198.51.100.2:53", "198.51.100.18:53"]}}
  mirror: {{servers: ["198.51.100.2:7000", "198.51.100.18:7000"]}}

log: {{format: json}}
"""

TLS_SITE = """
    server {{
        listen {port} ssl;
        ssl_protocols TLSv1.2 TLSv1.3;
        server_name {name};
        ssl_certificate {certificate.chain};
        ssl_certificate_key {certificate.key};
        location / {{ root $root; }}
        location = /whoami {{
            default_type text/plain;
            return 200 "{says}; hop: $ssl_protocol for $ssl_server_name; client: $http_x_forwarded_for by $http_x_forwarded_proto\\n";
        }}
        location /api/ {{ return 200 "{says}\\n"; }}
    }}"""

PLAIN_SITE = "    server { listen 7000; location / { root $root; } }"


class Demo:
    """The network with all that runs in it."""

    def __init__(self, lab):
        self.lab = lab
        self.checks = screen.Checks()
        self.client = lab.client
        folder = lab.directory
        self.outer = Authority(folder / "outer", "CA of the clients")
        self.inner = Authority(folder / "inner", "CA of the origins")
        self.nobody = Authority(folder / "nobody", "CA of nobody")
        self.bulk = hashlib.sha256()
        self.start_origins()
        self.penstock = Penstock(lab.node, lab.pin_dir, CONFIG.format(
            edge=self.outer.issue("shop.example", "rogue.example").bundle, ca=self.inner.file))

    def start_origins(self):
        one, two = self.lab.origins
        self.vault_certificate = self.inner.issue("vault.example")
        shop = TLS_SITE.format(port=8443, name="shop.internal", says="shop on 198.51.100.2",
                               certificate=self.inner.issue("shop.internal"))
        api = TLS_SITE.format(port=8443, name="api.internal", says="api on 198.51.100.18",
                              certificate=self.inner.issue("api.internal"))
        rogue = TLS_SITE.format(port=8444, name="api.internal", says="rogue",
                                certificate=self.nobody.issue("api.internal"))
        vault = TLS_SITE.format(port=8200, name="vault.example", says="vault on 198.51.100.18",
                                certificate=self.vault_certificate)
        self.webs = [Nginx(one, "nginx-1", http=shop + PLAIN_SITE),
                     Nginx(two, "nginx-2", http=api + rogue + vault + PLAIN_SITE)]
        for web in self.webs:
            self.write_bulk(web.root / "bulk")
        for index, origin in enumerate(self.lab.origins):
            Dnsmasq(origin, {"www.example": "203.0.113.7"}, name=f"dnsmasq-{index + 1}")

    def write_bulk(self, path):
        """The same bytes for all, which no compression or cache could make cheap."""
        self.bulk = hashlib.sha256()
        with path.open("wb") as file:
            for block in range(BULK_MIB):
                piece = hashlib.shake_256(block.to_bytes(4, "big")).digest(1024 * 1024)
                self.bulk.update(piece)
                file.write(piece)

    # ---- what the client does

    def curl(self, url, authority, *arguments):
        host = re.match(r"https?://([^/:]+)", url).group(1)
        names = ["--resolve", f"{host}:443:192.0.2.1", "--cacert", authority.file] if authority else []
        return self.client.run("curl", "-sS", "--max-time", 60, *names, *arguments, url, check=False)

    def bulk_arrives(self, url, authority):
        """The digest of the large file as the client got it is that of the file at the origin."""
        path = self.lab.directory / "got"
        done = self.curl(url, authority, "-o", path)
        got = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "nothing"
        path.unlink(missing_ok=True)
        return got == self.bulk.hexdigest(), f"{got}\n{done.stderr}"

    def dig(self):
        return self.client.run("dig", "+short", "+tries=1", "+time=2", "@192.0.2.1", "www.example",
                               check=False).stdout.strip()

    # ---- the three lanes

    def terminate(self):
        screen.heading("terminate: TLS ends at the node, the request is routed, and encrypted again")
        claim = self.checks.claim
        done = self.curl("https://shop.example/whoami", self.outer)
        claim("https://shop.example/ is served with a certificate of the node's", done.returncode == 0, done.stderr)
        claim("it comes from the origin of that host", "shop on 198.51.100.2" in done.stdout, done.stdout)
        claim("over a TLS hop of its own, with the origin's name", "TLSv1.3 for shop.internal" in done.stdout,
              done.stdout)
        claim("the origin learns who asked, and how", "client: 192.0.2.2 by https" in done.stdout, done.stdout)
        done = self.curl("https://shop.example/api/v1", self.outer)
        claim("another path of the same host goes to another origin", done.stdout == "api on 198.51.100.18\n",
              done.stdout + done.stderr)
        claim(f"{BULK_MIB} MiB arrive as they were sent (sha256)",
              *self.bulk_arrives("https://shop.example/bulk", self.outer))
        done = self.curl("https://rogue.example/", self.outer, "-o", "/dev/null", "-w", "%{http_code}")
        claim("an origin that cannot be verified is refused: 502", done.stdout == "502", done.stdout + done.stderr)
        self.penstock.process.wait_line("rogue.example")  # the line comes after the response
        claim("and the log says why", "origin_unverified" in self.penstock.log(), self.penstock.log()[-2000:])

    def splice(self):
        screen.heading("splice: the same address and port, but TLS is passed on unopened, by its name")
        claim = self.checks.claim
        done = self.client.run("openssl", "s_client", "-connect", "192.0.2.1:443", "-servername", "vault.example",
                               "-CAfile", self.inner.file, "-verify_return_error", check=False)
        shown = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", done.stdout, re.DOTALL)
        own = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----",
                        self.vault_certificate.chain.read_text(), re.DOTALL)
        claim("the client sees the origin's own certificate, whose key the node never had",
              bool(shown) and shown.group() == own.group(), done.stdout + done.stderr)
        done = self.curl("https://vault.example/whoami", self.inner)
        claim("the origin answers", "vault on 198.51.100.18" in done.stdout, done.stdout + done.stderr)
        claim(f"{BULK_MIB} MiB arrive as they were sent (sha256)",
              *self.bulk_arrives("https://vault.example/bulk", self.inner))

    def steer(self):
        screen.heading("steer: packets are rewritten in the kernel; no process sees them")
        claim = self.checks.claim
        answers = [self.dig() for _ in range(20)]
        claim("20 of 20 DNS queries over UDP are answered", answers == ["203.0.113.7"] * 20, answers)
        queries = [origin.processes[-1].log().count("query[A] www.example") for origin in self.lab.origins]
        claim(f"by both servers of the origin ({queries[0]} and {queries[1]})", min(queries) > 0, queries)
        claim(f"{BULK_MIB} MiB over steered TCP arrive as they were sent (sha256)",
              *self.bulk_arrives("http://192.0.2.1:7000/bulk", None))

    # ---- what both sides say of it

    def tell(self):
        screen.heading("penstock status: how each route was carried, and what keeps it from a faster way")
        status = self.penstock.status()
        screen.table([("lane", 9), ("route", 30), ("carried by", 26), ("why not faster", 44), ("bytes", 10),
                      ("origin", 20)], lane_rows(status))
        self.kernel_says(status)

    def kernel_says(self, status):
        screen.heading("bpftool: the same flows, as the kernel tells them to anybody")
        pin_dir = self.lab.pin_dir
        programs, links, maps = (kernel.pins(pin_dir, kind) for kind in ("prog", "link", "map"))
        used = {link["prog_id"] for link in links.values()}
        attached = [path for path, seen in programs.items() if seen["id"] in used or not links]
        for kind, found in (("prog", attached), ("link", links)):
            for path in found:
                screen.say(f"bpftool {kind} show pinned {path}")
                screen.quote(kernel.bpftool(kind, "show", "pinned", path))
        by_name = {seen.get("name", path.name): path for path, seen in maps.items()}
        screen.say(f"bpftool map dump pinned {by_name.get('flows', '?')}        # each direction of a flow is an entry")
        flows = kernel.dump(by_name["flows"])
        screen.table([("", 4), ("as it comes in", 44), ("as it goes out", 44), ("packets", 8), ("bytes", 12)],
                     kernel.flow_rows(flows)[:6])
        biggest = max(flows, key=lambda flow: flow[1]["bytes"])
        screen.say("the first of them, as it stands in the map:")
        screen.quote("\n".join(textwrap.wrap(json.dumps({"key": biggest[0], "value": biggest[1]}), 110)))
        claim = self.checks.claim
        claim("programs and maps are pinned, with the names of their fields", bool(programs) and "flows" in by_name)
        seen = sum(value["bytes"] for _, value in flows)
        claim(f"the kernel has counted the {BULK_MIB} MiB", seen > BULK_MIB * 1024 * 1024, seen)
        # Packets that are left to the host are not the demo's alone, and never stop.
        told = {word: count for word, count in status["steer"]["counters"].items() if not word.startswith("pass_")}
        sums = [sum(cpu["value"] for cpu in values) for _, values in kernel.dump(by_name["counters"])]
        counted = {word: sums[index] for index, word in enumerate(status["steer"]["counters"]) if word in told}
        claim("the counters in the pinned map are those of penstock status", counted == told, f"{counted}\n{told}")

    def survive(self):
        screen.heading("kill -9 of all its processes: the steer lane needs no daemon")
        pids = self.penstock.kill()
        self.checks.claim(f"broker and worker are gone ({len(pids)} processes)",
                          len(pids) == 2 and not any(map(is_alive, pids)), pids)
        answers = [self.dig() for _ in range(5)]
        self.checks.claim("DNS is answered all the same", answers == ["203.0.113.7"] * 5, answers)
        self.penstock.start()
        done = self.curl("https://shop.example/whoami", self.outer)
        self.checks.claim("started again, it adopts what is pinned and serves", done.returncode == 0, done.stderr)

    def hold(self):
        screen.heading("DEMO_HOLD: all of it runs on until Enter, or Ctrl-C")
        into = f"nsenter --net=/run/netns/{self.client.name}"
        for text in (f"{into} curl --cacert {self.outer.file} --resolve shop.example:443:192.0.2.1 "
                     "https://shop.example/whoami",
                     f"{into} curl --cacert {self.inner.file} --resolve vault.example:443:192.0.2.1 "
                     "https://vault.example/whoami",
                     f"{into} dig +short @192.0.2.1 www.example",
                     f"{binary()} status -c {self.penstock.config}",
                     f"bpftool map dump pinned {self.lab.pin_dir}/flows",
                     f"tail -f {self.penstock.process.log_path}",
                     f"$EDITOR {self.penstock.config} && {binary()} reload -c {self.penstock.config}"):
            print("    " + text)
        sys.stdout.flush()
        sys.stdin.readline() if sys.stdin.isatty() else signal.pause()


def lane_rows(status):
    """A row of text for each route that carried something."""
    rows = []
    services = {service["name"]: service for service in (status["steer"] or {}).get("services", [])}
    devices = (status["plane"] or {}).get("devices", [])
    for listener in status["listeners"]:
        for route in listener["routes"]:
            if route["lane"] == "steer":
                service = services[listener["name"]]
                n_bytes = service["to_client"]["bytes"]
                carrier = "kernel, " + " and ".join(sorted({device["hook"] for device in devices}))
                why = "; ".join(sorted({device["reason"] for device in devices if device["reason"]}))
            else:
                n_bytes = route["bytes_to_client"]
                carrier = ", ".join(filter(None, (route["relay"], route["offload"])))
                why = route["why_not_faster"]
            match = f"{listener['name']}: {route['match']}"
            rows.append((route["lane"], match, carrier, why or "nothing is faster", screen.size(n_bytes), route["to"]))
    return rows


def remains(names, pids, pin_dir, directory):
    """What of the demo is still on this machine."""
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    return ([name for name in names if name in left] + [path for path in (pin_dir, directory) if path.exists()] +
            [pid for pid in pids if is_alive(pid)])


def play(lab, checks_of):
    demo = Demo(lab)
    checks_of.append(demo.checks)
    screen.heading("the configuration of the node")
    screen.quote(CONFIG.format(edge="shop.pem", ca="origins-ca.pem"))
    demo.terminate()
    demo.splice()
    demo.steer()
    demo.tell()
    demo.survive()
    if os.environ.get("DEMO_HOLD"):
        demo.hold()
    pids = [pid for namespace in lab.namespaces for pid in namespace.pids()]
    demo.penstock.stop()
    return demo.checks, pids


def main():
    if os.geteuid() != 0:
        print("The demo makes network namespaces and loads BPF programs: run it as root.", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print("client 192.0.2.2 --- 192.0.2.1 node 198.51.100.1 --- 198.51.100.2 origin (nginx, dnsmasq)\n"
          "                                 198.51.100.17 -- 198.51.100.18 origin (nginx, dnsmasq)")
    checks, pids = screen.Checks(), []
    with Lab(n_origins=2) as lab:
        names, pin_dir, directory = lab.names, lab.pin_dir, lab.directory
        made = []
        try:
            checks, pids = play(lab, made)
        except KeyboardInterrupt:
            return 130
        except LabError as error:
            checks = made[0] if made else checks
            checks.claim("the demo ran to its end", False, error)
    screen.heading("afterwards")
    left = remains(names, pids, pin_dir, directory)
    checks.claim("nothing remains: no namespace, process, pin or file", not left, left)
    print(f"\n{checks.held} checks held, {len(checks.broken)} did not")
    return 1 if checks.broken else 0


if __name__ == "__main__":
    sys.exit(main())
