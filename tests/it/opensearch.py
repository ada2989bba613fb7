"""A real OpenSearch of the test's own, by tests/servers/opensearch; and a proxy in front of it that does what networks do."""

import http.client
import json
import os
import socket
import ssl
import struct
import subprocess
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import hydrant

SCRIPT = hydrant.TOP / "tests" / "servers" / "opensearch"


class OpenSearch:
    def __init__(self, directory):
        self.directory = directory
        self.endpoint = None

    def start(self):
        """Also again, with the same data on the same port."""
        port = {"OPENSEARCH_PORT": self.endpoint.rsplit(":", 1)[1]} if self.endpoint else {}
        done = subprocess.run(
            [SCRIPT, "start", self.directory], stdout=subprocess.PIPE, text=True, check=True, timeout=900,
            env={**os.environ, **port},
        )  # fmt: skip
        self.endpoint = dict(line.split(" ", 1) for line in done.stdout.splitlines())["endpoint"]
        return self

    def stop(self):
        subprocess.run([SCRIPT, "stop", self.directory], check=True, timeout=60)

    def kill(self):
        subprocess.run([SCRIPT, "kill", self.directory], check=True, timeout=60)

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self.endpoint}/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def documents(self, index):
        """All documents of the indices of this name: (index, source) each."""
        self.call("POST", f"{index}*/_refresh?ignore_unavailable=true")
        page = self.call("POST", f"{index}*/_search?scroll=5m&ignore_unavailable=true", {"size": 10_000, "sort": ["_doc"]})
        found = []
        while page["hits"]["hits"]:
            found += [(hit["_index"], hit["_source"]) for hit in page["hits"]["hits"]]
            page = self.call("POST", "_search/scroll", {"scroll": "5m", "scroll_id": page["_scroll_id"]})
        self.call("DELETE", "_search/scroll", {"scroll_id": page["_scroll_id"]})
        return found


class Proxy:
    """Between the daemon and the server. `fault(number, body)` says what happens to the `number`-th bulk request:

    None · "lost" (the server does it, its answer is lost) · "500" · "503" (with Retry-After) · "500 after" (the server does it) ·
    "reset" (in the middle of the request) · "half" (of the answer) · "redirect" · "garbage" (200 and no JSON) · or a function
    from the lines of the request to the items that the server is not asked for, with the answer of each.
    """

    def __init__(self, server, fault, certificate=None, login=None):
        self.fault, self.requests, self.lock = fault, 0, threading.Lock()
        self.faults_done = 0
        proxy, upstream = self, server.endpoint.removeprefix("http://")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_arguments):
                pass

            def do_GET(self):
                if self.allowed():
                    self.answer(*self.ask(b""))

            def do_POST(self):
                with proxy.lock:
                    number, proxy.requests = proxy.requests, proxy.requests + 1
                length = int(self.headers["content-length"])
                if not self.allowed():
                    self.rfile.read(length)
                    return
                fault = proxy.fault(number)
                proxy.faults_done += fault is not None
                if fault == "reset":
                    self.rfile.read(length // 2)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.hang_up()
                    return
                body = self.rfile.read(length)
                if callable(fault):
                    self.answer(200, self.without(body, fault))
                elif fault in ("500", "503"):
                    self.answer(int(fault), b'{"error":{"type":"some_exception","reason":"by the proxy"}}', {"Retry-After": "1"})
                elif fault == "redirect":
                    self.answer(307, b"", {"Location": server.endpoint + self.path})
                elif fault == "garbage":
                    self.answer(200, b"<html>it works</html>")
                else:
                    self.finish_with(fault, *self.ask(body))

            def finish_with(self, fault, status, body):
                if fault == "500 after":
                    self.answer(500, b"")
                elif fault == "half":
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body[: len(body) // 2])
                    self.hang_up()
                elif fault == "lost":
                    self.hang_up()
                else:
                    self.answer(status, body)

            def without(self, body, fault):
                """Asks only for the items that the fault leaves, and puts its own answers between theirs."""
                lines = body.split(b"\n")[:-1]
                pairs = list(zip(lines[::2], lines[1::2]))
                own = [fault(document) for _, document in pairs]
                left = [pair for pair, answer in zip(pairs, own) if answer is None]
                theirs = iter([])
                if left:
                    _, answer = self.ask(b"".join(line + b"\n" for pair in left for line in pair))
                    theirs = iter(json.loads(answer)["items"])
                items = [next(theirs) if answer is None else {"create": answer} for answer in own]
                return json.dumps({"items": items}).encode()

            def allowed(self):
                if login is None or self.headers.get("authorization") == login:
                    return True
                self.answer(401, b"Unauthorized", {"WWW-Authenticate": "Basic"})
                return False

            def ask(self, body):
                connection = http.client.HTTPConnection(upstream, timeout=60)
                try:
                    headers = {"content-type": self.headers["content-type"]} if body else {}
                    connection.request(self.command, self.path, body or None, headers)
                    answer = connection.getresponse()
                    return answer.status, answer.read()
                except OSError:
                    return 502, b""
                finally:
                    connection.close()

            def answer(self, status, body, headers=None):
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def hang_up(self):
                self.close_connection = True
                self.connection.close()

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, _request, _address):
                pass  # A daemon that was killed leaves its connections.

        self.server = Server(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme = "http" if certificate is None else "https"
        self.endpoint = f"{scheme}://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_problem):
        self.server.shutdown()
        self.server.server_close()
