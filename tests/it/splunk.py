"""A Splunk HTTP event collector with indexer acknowledgement, as far as a sender sees it. It shares no code with the daemon."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

CHANNEL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Splunk:
    """What was acknowledged is in `taken`: (`raw` or `event`, body). `refusing` answers 503 to everything that is sent."""

    def __init__(self, token):
        self.token, self.lock = token, threading.Lock()
        self.taken, self.pending, self.violations = [], {}, []
        self.refusing = threading.Event()
        splunk = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = splunk.answer(self, urlparse(self.path), body)
                document = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(document)))
                self.end_headers()
                self.wfile.write(document)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def bodies(self, kind):
        with self.lock:
            return [body for way, body in self.taken if way == kind]

    def answer(self, request, url, body):
        channel = parse_qs(url.query).get("channel", [""])[0]
        kind = url.path.removeprefix("/services/collector/")
        with self.lock:
            if request.headers.get("Authorization") != f"Splunk {self.token}":
                return 403, {"text": "Invalid token", "code": 4}
            if not CHANNEL.fullmatch(channel) or kind not in ("raw", "event", "ack"):
                self.violations.append(request.path)
                return 400, {"text": "Data channel is missing", "code": 10}
            if kind == "ack":
                return 200, {"acks": {str(number): self.acknowledge(number) for number in json.loads(body)["acks"]}}
            if self.refusing.is_set():
                return 503, {"text": "Server is busy", "code": 9}
            number = len(self.pending)
            self.pending[number] = (kind, body)
            return 200, {"text": "Success", "code": 0, "ackId": number}

    def acknowledge(self, number):
        """True once for each request: an indexer forgets what it has told."""
        waiting = self.pending.get(number)
        if waiting is None:
            return False
        self.pending[number] = None
        self.taken.append(waiting)
        return True
