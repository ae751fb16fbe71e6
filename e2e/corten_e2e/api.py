"""Plain requests to a cluster's API server, as its administrator: for what kubectl has no command, or not in all versions."""

import base64
import http.client
import json
import os
import ssl
import tempfile
import urllib.parse

MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
# Frames of RFC 6455.
TEXT, BINARY, CLOSE = 1, 2, 8


class Api:
    """One connection, opened again where the server closed it because it was idle."""

    def __init__(self, cluster):
        config = json.loads(cluster.out("config", "view", "--raw", "-o", "json"))
        server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.context = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
        with tempfile.TemporaryDirectory() as directory:
            pair = os.path.join(directory, "pair.pem")
            with open(os.open(pair, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as handle:
                for part in ("client-certificate-data", "client-key-data"):
                    handle.write(base64.b64decode(user[part]))
            self.context.load_cert_chain(pair)
        self.address = urllib.parse.urlsplit(server["server"])
        self.connection = self.connect()

    def connect(self):
        return http.client.HTTPSConnection(self.address.hostname, self.address.port, context=self.context, timeout=60)

    def close(self):
        self.connection.close()

    def request(self, method, path, body=None, kind="application/json"):
        """The answer, its body read."""
        text = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        headers = {"Content-Type": kind} if body is not None else {}
        try:
            self.connection.request(method, path, text, headers)
            answer = self.connection.getresponse()
        except OSError:
            self.connection.close()
            self.connection.request(method, path, text, headers)
            answer = self.connection.getresponse()
        answer.text = answer.read().decode()
        return answer

    def call(self, method, path, body=None, kind="application/json"):
        """The object answered; any other answer than success is an error."""
        answer = self.request(method, path, body, kind)
        if answer.status >= 300:
            raise AssertionError(f"{method} {path}: {answer.status} {answer.text}")
        return json.loads(answer.text)

    def messages(self, path, protocol):
        """The messages of a WebSocket until the server closes it, and the protocol that it chose."""
        connection = self.connect()
        key = base64.b64encode(os.urandom(16)).decode()
        connection.request("GET", path, headers={"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                                                 "Sec-WebSocket-Key": key, "Sec-WebSocket-Protocol": protocol})
        answer = connection.getresponse()
        if answer.status != 101:
            raise AssertionError(f"WebSocket {path}: {answer.status} {answer.read()}")
        messages = [payload for kind, payload in frames(answer.fp) if kind in (TEXT, BINARY)]
        connection.close()
        return messages, answer.headers["Sec-WebSocket-Protocol"]


def frames(stream):
    """(kind, payload) of the server's frames, which are not masked, up to its closing one."""
    while head := stream.read(2):
        length = head[1] & 0x7F
        if length >= 126:
            length = int.from_bytes(stream.read(2 if length == 126 else 8), "big")
        kind, payload = head[0] & 0x0F, stream.read(length)
        if kind == CLOSE:
            return
        yield kind, payload
