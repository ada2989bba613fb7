"""A server that speaks Firehose's HTTP endpoint protocol strictly, and fails in every way that it is told to.

It shares no code with the daemon. What breaks the protocol is remembered in `violations`.
"""

import base64
import gzip
import json
import re
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BODY_BYTES_MAX = 64 << 20

# Ways to answer. In the first group the receiver keeps the records, so that a repeat is one.
KEEPS = ("ok", "lost", "wrong-id", "never")
REFUSES = ("500", "503", "413", "redirect", "not-json")


class Receiver:
    """`behave(attempt, request_id)` names the way to answer; attempts of one request are counted from 1."""

    def __init__(self, behave=lambda attempt, request_id: "ok", access_key=None, attributes=None, arn=None):
        self.behave, self.access_key, self.attributes, self.arn = behave, access_key, attributes, arn
        self.lock = threading.Lock()
        self.violations = []
        self.attempts = defaultdict(int)
        self.bodies = {}
        self.kept = {}
        self.ways = defaultdict(int)
        self.moments = defaultdict(list)
        self.stopping = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                receiver.answer(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/firehose?team=web"

    def stop(self):
        self.stopping.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def records(self):
        """Of every request that was kept, each request once, as by a receiver that knows repeats by their id."""
        with self.lock:
            return [record for records in self.kept.values() for record in records]

    def repeats(self):
        with self.lock:
            return sum(count - 1 for count in self.attempts.values())

    def answer(self, handler):
        request_id, body, records = self.read(handler)
        with self.lock:
            self.attempts[request_id] += 1
            attempt = self.attempts[request_id]
            self.moments[request_id].append(time.monotonic())
            if self.bodies.setdefault(request_id, body) != body:
                self.violations.append(f"{request_id}: attempt {attempt} has another body")
            way = self.behave(attempt, request_id)
            self.ways[way] += 1
            if way in KEEPS:
                self.kept[request_id] = records
        self.reply(handler, way, request_id)

    def read(self, handler):
        """Whole requests only; what is wrong with one is noted."""
        headers = handler.headers
        request_id = headers.get("X-Amz-Firehose-Request-Id", "")
        length = headers.get("Content-Length")
        raw = handler.rfile.read(int(length or 0))
        plain = gzip.decompress(raw) if headers.get("Content-Encoding") == "gzip" else raw
        problems, records = self.problems(handler, request_id, plain)
        if length is None or len(raw) != int(length):
            problems.append("no whole body")
        with self.lock:
            self.violations += [f"{request_id}: {problem}" for problem in problems]
        return request_id, plain, records

    def problems(self, handler, request_id, plain):
        found, headers = [], handler.headers
        attributes = headers.get("X-Amz-Firehose-Common-Attributes")
        wanted = json.dumps({"commonAttributes": self.attributes}) if self.attributes else None
        for what, good in {
            "path": handler.path == "/firehose?team=web",
            "protocol version": headers.get("X-Amz-Firehose-Protocol-Version") == "1.0",
            "request id": UUID.fullmatch(request_id),
            "source ARN": headers.get("X-Amz-Firehose-Source-Arn") == self.arn or self.arn is None,
            "access key": headers.get("X-Amz-Firehose-Access-Key") == self.access_key,
            "attributes": (attributes and json.loads(attributes)) == (wanted and json.loads(wanted)),
            "content type": headers.get("Content-Type") == "application/json",
            "content encoding": headers.get("Content-Encoding") in (None, "gzip"),
            "transfer encoding": headers.get("Transfer-Encoding") is None,
            "size": len(plain) <= BODY_BYTES_MAX,
        }.items():
            if not good:
                found.append(f"{what}: {dict(headers)}")
        try:
            document = json.loads(plain)
            records = [base64.b64decode(record["data"], validate=True) for record in document["records"]]
            shapes = all(set(record) == {"data"} for record in document["records"])
            if set(document) != {"requestId", "timestamp", "records"} or not shapes or not 1 <= len(records) <= 10_000:
                found.append(f"members: {plain[:200]!r}")
            if document["requestId"] != request_id:
                found.append(f"the id in the body is {document['requestId']}")
            if type(document["timestamp"]) is not int or document["timestamp"] < 1_600_000_000_000:
                found.append(f"timestamp {document['timestamp']!r}")
            return found, records
        except (ValueError, KeyError, TypeError) as problem:
            return found + [f"body: {problem!r}: {plain[:200]!r}"], []

    def reply(self, handler, way, request_id):
        handler.close_connection = True
        good = {"requestId": request_id, "timestamp": int(time.time() * 1000)}
        answers = {
            "ok": (200, {}, json.dumps(good)),
            "wrong-id": (200, {}, json.dumps({**good, "requestId": "00000000-0000-4000-8000-000000000000"})),
            "not-json": (200, {}, "ok"),
            "500": (500, {}, json.dumps({**good, "errorMessage": "not this time"})),
            "503": (503, {"Retry-After": "1"}, json.dumps({**good, "errorMessage": "busy"})),
            "413": (413, {}, json.dumps({**good, "errorMessage": "too large"})),
            "redirect": (307, {"Location": self.url}, ""),
        }
        if way == "never":
            self.stopping.wait(60)
        if way in ("never", "lost"):
            return
        status, headers, body = answers[way]
        try:
            handler.send_response(status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(body)))
            handler.send_header("Connection", "close")
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(body.encode())
        except OSError:
            pass  # The daemon was killed meanwhile.
