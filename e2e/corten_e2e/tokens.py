"""An authorization server for docker-registry: hands bearer tokens to who knows the password (Distribution's token flow)."""

import base64
import json
import os
import subprocess
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SERVICE = ISSUER = "corten-e2e"
LIFETIME = 300


def unpadded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenServer:
    """Listens on loopback; keeps its key and certificate in `directory`."""

    def __init__(self, directory, user, password):
        self.key, self.certificate = (os.path.join(directory, name) for name in ("token.key", "token.crt"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={ISSUER}", "-days", "1",
                        "-keyout", self.key, "-out", self.certificate], check=True, capture_output=True)
        self.login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.scopes = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.realm = f"http://127.0.0.1:{self.server.server_port}/token"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def answer(self, request):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query)
        scopes = query.get("scope", [])
        allowed = request.headers.get("Authorization") == self.login and query.get("service") == [SERVICE]
        self.scopes += scopes if allowed else []
        body = json.dumps({"token": self.token(scopes), "expires_in": LIFETIME} if allowed else {"details": "who are you?"}).encode()
        request.send_response(200 if allowed else 401)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def token(self, scopes):
        """A token for scopes such as `repository:team/app:pull,push`."""
        access = [dict(zip(("type", "name", "actions"), scope.split(":"))) for scope in scopes]
        for grant in access:
            grant["actions"] = grant["actions"].split(",")
        with open(self.certificate, encoding="ascii") as handle:
            chain = "".join(line.strip() for line in handle if not line.startswith("-"))
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": "puller", "aud": SERVICE, "iat": now, "nbf": now - 10, "exp": now + LIFETIME,
                  "jti": os.urandom(8).hex(), "access": access}
        parts = ({"typ": "JWT", "alg": "RS256", "x5c": [chain]}, claims)
        signed = ".".join(unpadded(json.dumps(part).encode()) for part in parts)
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=signed.encode(), check=True,
                                   capture_output=True).stdout
        return f"{signed}.{unpadded(signature)}"
