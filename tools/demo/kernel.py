# SPDX-License-Identifier: Apache-2.0
"""What stock bpftool says of the steer lane. Nothing here asks penstock."""
import json
import pathlib
import subprocess

PROTOCOLS = {6: "tcp", 17: "udp"}


def bpftool(*arguments):
    program = next((path for path in ("/usr/sbin/bpftool", "/sbin/bpftool") if pathlib.Path(path).exists()), "bpftool")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    return done.stdout


def pins(pin_dir, kind):
    """Everything of one kind ("prog", "map", "link") that is pinned below a folder: path -> bpftool's JSON."""
    found = {}
    for path in sorted(pathlib.Path(pin_dir).rglob("*")):
        text = "" if path.is_dir() else bpftool("-j", kind, "show", "pinned", path)
        seen = json.loads(text) if text else {}
        seen = seen[0] if isinstance(seen, list) and seen else seen
        if "id" in seen:
            found[path] = seen
    return found


def dump(path):
    """The entries of a pinned map with the names that its BTF gives: [(key, value)]."""
    entries = json.loads(bpftool("-j", "map", "dump", "pinned", path) or "[]")
    return [(entry["formatted"]["key"], entry["formatted"].get("value", entry["formatted"].get("values")))
            for entry in entries]


def address(octets, port):
    return ".".join(map(str, octets)) + f":{port}"


def flow_rows(entries):
    """The flows as people read them, each direction a row."""
    rows = []
    for key, value in entries:
        rows.append((PROTOCOLS.get(key["protocol"], key["protocol"]),
                     f"{address(key['src_addr'], key['src_port'])} > {address(key['dst_addr'], key['dst_port'])}",
                     f"{address(value['new_src_addr'], value['new_src_port'])} > "
                     f"{address(value['new_dst_addr'], value['new_dst_port'])}",
                     value["packets"], value["bytes"]))
    return sorted(rows, key=lambda row: -row[4])
