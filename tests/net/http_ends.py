# SPDX-License-Identifier: Apache-2.0
"""What the HTTP tests share: an origin that answers as told, clients, and a daemon's configuration between them."""
import hashlib
import os
import re
import socket
import struct
import threading

PORT = 9000
WEB_PORT = 7000
RAW_PORT = 7001
NAME = "site.example.com"
MIB = 1 << 20


class Request:
    def __init__(self, head, body):
        line, *fields = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = line.split(" ")
        self.fields = [(name.lower(), value.strip()) for name, _, value in (field.partition(":") for field in fields)]
        self.body = body

    def all(self, name):
        return [value for key, value in self.fields if key == name]


def read_chunks(stream):
    parts = []
    while True:
        size = int(stream.readline().split(b";")[0], 16)
        part = stream.read(size + 2)
        if size == 0:
            return b"".join(parts)
        parts.append(part[:-2])


class RawOrigin:
    """An origin that does exactly what `answer(request, connection)` says: bytes to send, or None to close."""

    def __init__(self, namespace, answer, port=RAW_PORT):
        self.answer = answer
        self.requests = []
        self.n_connections = 0
        self.listener = namespace.listen(port, timeout_s=None)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.n_connections += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        stream = connection.makefile("rb")
        try:
            while self.serve_one(connection, stream):
                pass
        except (ConnectionError, ValueError, OSError):
            pass
        finally:
            stream.close()
            connection.close()

    def serve_one(self, connection, stream):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                return False
            head += line
        request = Request(head[:-4], b"")
        if request.all("expect"):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.all("transfer-encoding"):
            request.body = read_chunks(stream)
        elif request.all("content-length"):
            request.body = stream.read(int(request.all("content-length")[0]))
            if len(request.body) != int(request.all("content-length")[0]):
                return False
        self.requests.append(request)
        response = self.answer(request, connection)
        if response is not None:
            connection.sendall(response)
        return response is not None

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def length(body, status="200 OK"):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def origin_of(namespace, port=RAW_PORT, **timeouts):
    return {"servers": [f"{namespace.address}:{port}"], "timeouts": {"connect": "20s", **timeouts}}


def config(lab, routes=None, origins=None, timeouts=None, process=None):
    return {
        "listeners": [{"bind": f"{lab.node.address}:{PORT}", "timeouts": timeouts or {},
                       "routes": routes or [{"to": "raw"}]}],
        "origins": {"raw": origin_of(lab.origins[0], response="200s"), **(origins or {})},
        "process": {"drain_timeout": "2s", **(process or {})},
    }


def curl(lab, path, *options, host=None, check=True, **more):
    """Body, status and what curl said of itself."""
    arguments = ["-sS", "--max-time", "600", *options]
    if host:
        arguments += ["-H", f"Host: {host}"]
    url = path if "://" in path else f"http://{lab.node.address}:{PORT}{path}"
    return lab.client.run("curl", *arguments, url, check=check, timeout_s=620, **more)


def talk(lab, data, half_close=True):
    """Everything that comes back for these bytes."""
    client = lab.client.connect(lab.node.address, PORT)
    client.sendall(data)
    if half_close:
        client.shutdown(socket.SHUT_WR)
    received = b""
    try:
        while part := client.recv(65536):
            received += part
    finally:
        client.close()
    return received


def receive_response(client):
    """One response with a length, off a socket."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = client.recv(65536)
        assert part, f"ended within a head: {data!r}"
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    size = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
    while len(body) < size:
        part = client.recv(65536)
        assert part, "ended within a body"
        body += part
    assert len(body) == size
    return head.split(b"\r\n")[0].split(b" ", 2)[1].decode(), body


def sha256_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(MIB):
            digest.update(block)
    return digest.hexdigest()


def random_file(path, size):
    block = os.urandom(MIB)
    with open(path, "wb") as file:
        for number in range(size // MIB):
            file.write(struct.pack("!Q", number) + block[8:])
    return sha256_file(path)
