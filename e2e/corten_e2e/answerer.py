"""What runs in test pods that serve: HTTP, HTTPS, UDP and gRPC's health service; and a client that asks by UDP.

    answerer.py [http:PORT] [https:PORT] [udp:PORT] [grpc:PORT] ...
    answerer.py ask HOST PORT

It imports little, and of that only what the image then carries. Every connection by HTTP is told on standard output, and each request
answered with what was asked; `/healthz` fails from its (HEALTHY_TIMES + 1)th request on, `/page` is a page
with a link.
"""

import os
import socket
import ssl
import sys
import threading

NAME = socket.gethostname()
TRIES = 5
# The certificate and its key, mounted from a Secret.
PAIR = "/tls"
DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
END_STREAM, ACK, END_HEADERS = 1, 1, 4
LINK = '<a href="/elsewhere">link</a>'
healthy = int(os.environ.get("HEALTHY_TIMES", "1000000000"))


def say(text):
    # One write a line: threads do not mix.
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def answer(path):
    """The status line's end and the body."""
    global healthy
    if path == "/healthz":
        healthy -= 1
        return ("200 OK", "well") if healthy >= 0 else ("500 Internal Server Error", "not well")
    return ("200 OK", LINK if path == "/page" else None)


def http(connection, port):
    stream = connection.makefile("rwb")
    line = stream.readline().decode().split()
    if len(line) != 3:
        say("nothing asked")
        return
    method, path, _ = line
    length = 0
    while (header := stream.readline().strip().lower()):
        if header.startswith(b"content-length:"):
            length = int(header.split(b":")[1])
    given = stream.read(length).decode()
    say(f"{method} {path}")
    status, body = answer(path)
    kind = "html" if body == LINK else "plain"
    body = (body or f"{NAME} {port} {method} {path} {given}").encode()
    stream.write(f"HTTP/1.1 {status}\r\nContent-Type: text/{kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode())
    stream.write(b"" if method == "HEAD" else body)
    stream.flush()
    stream.close()


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def grpc(connection, _):
    """HTTP/2 as far as one unary call needs it: whatever is asked, the answer is SERVING."""
    stream = connection.makefile("rwb")
    stream.read(24)
    stream.write(frame(SETTINGS, 0, 0))
    stream.flush()
    while len(head := stream.read(9)) == 9:
        kind, flags, number = head[3], head[4], int.from_bytes(head[5:], "big")
        payload = stream.read(int.from_bytes(head[:3], "big"))
        if kind in (SETTINGS, PING) and not flags & ACK:
            stream.write(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind in (DATA, HEADERS) and flags & END_STREAM:
            # `:status: 200` and `content-type`, of the static table; one message with field 1 = 1; `grpc-status: 0`.
            stream.write(frame(HEADERS, END_HEADERS, number, b"\x88\x0f\x10\x10application/grpc"))
            stream.write(frame(DATA, 0, number, b"\x00\x00\x00\x00\x02\x08\x01"))
            stream.write(frame(HEADERS, END_HEADERS | END_STREAM, number, b"\x00\x0bgrpc-status\x010"))
            say("health by gRPC")
        stream.flush()


def udp(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("", port))
        while True:
            _, peer = server.recvfrom(1500)
            server.sendto(f"{NAME} {port} from {peer[0]}".encode(), peer)


def attend(serve, connection, port):
    try:
        with connection:
            serve(connection, port)
    except OSError as why:
        say(f"connection to {port}: {why}")


def tcp(serve, port, context=None):
    with socket.create_server(("", port), backlog=128) as server:
        while True:
            connection, _ = server.accept()
            if context:
                connection = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            threading.Thread(target=attend, args=(serve, connection, port), daemon=True).start()


def serve(what):
    kind, port = what.split(":")
    if kind == "udp":
        udp(int(port))
    context = None
    if kind == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{PAIR}/tls.crt", f"{PAIR}/tls.key")
    tcp(grpc if kind == "grpc" else http, int(port), context)


def ask(host, port):
    """Prints the first answer; a datagram may be lost, and an answer may be that nobody listens there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((host, int(port)))
        client.settimeout(1)
        for _ in range(TRIES):
            try:
                client.send(b"who")
                return client.recv(1500).decode()
            except TimeoutError:
                continue
    sys.exit("no answer")


if __name__ == "__main__":
    if sys.argv[1] == "ask":
        print(ask(*sys.argv[2:]))
    else:
        servers = [threading.Thread(target=serve, args=(what,)) for what in sys.argv[1:]]
        for thread in servers:
            thread.start()
        for thread in servers:
            thread.join()
