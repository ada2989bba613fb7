"""A proxy between the daemon and a real server, which passes everything on but what a script spoils.

It judges nothing: it remembers what the server was asked and what it answered, for an oracle to look at.
"""

import hashlib
import http.client
import socket
import ssl
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAUSE = 1  # between the bytes of what is slow, in seconds
ENDLESS_PIECE = b"<Error>" + b"x" * 65536


@dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple = ()
    body: bytes = b""


@dataclass(frozen=True)
class Asked:
    """What the real server was asked, and said."""

    method: str
    path: str
    digest: str
    status: int


def error(status, code, headers=()):
    """A refusal as S3 words it."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>by the proxy</Message></Error>'
    return Answer(status, (("Content-Type", "application/xml"), *headers), body.encode())


class Exchange(BaseHTTPRequestHandler):
    """One request of the daemon, in the hands of a fault."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def meet(self):
        proxy, self.received = self.server.proxy, None
        fault = None
        if proxy.counts(self):
            with proxy.lock:
                number, proxy.counted = proxy.counted, proxy.counted + 1
            fault = proxy.fault(number)
        if fault is None:
            self.reply(self.ask())
            return
        with proxy.lock:
            proxy.spoiled += 1
        fault(self)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = meet

    @property
    def length(self):
        return int(self.headers.get("content-length") or 0)

    def body(self):
        if self.received is None:
            self.received = self.rfile.read(self.length)
        return self.received

    def ask(self, body=None):
        """The real server's answer to this request, or to it with another body."""
        body = self.body() if body is None else body
        connection = http.client.HTTPConnection(self.server.proxy.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, str(len(body)) if name.lower() == "content-length" else value)
            connection.endheaders(body)
            got = connection.getresponse()
            answer = Answer(got.status, tuple(got.getheaders()), got.read())
        except OSError:
            return Answer(502)
        finally:
            connection.close()
        digest = hashlib.sha256(body).hexdigest()
        self.server.proxy.note(Asked(self.command, self.path, digest, answer.status))
        return answer

    def reply(self, answer, length=None):
        """The whole answer; with `length`, the connection ends after so many bytes of its body."""
        self.send_response(answer.status)
        for name, value in answer.headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        if self.command == "HEAD":
            told = next((value for name, value in answer.headers if name.lower() == "content-length"), "0")
            self.send_header("Content-Length", told)
        else:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[:length])
        if length is not None:
            self.hang_up()

    def pour(self, answer, piece, pause=0):
        """An answer that does not end, until the daemon hangs up."""
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        while not self.server.proxy.stopping.wait(pause):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def hang_up(self):
        self.close_connection = True
        self.connection.close()

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The files on it hold the socket open.
        self.rfile.close()
        self.hang_up()


# What may happen to a request. Each takes the exchange.


def lost(exchange):
    """The server does it, and its answer is lost."""
    exchange.ask()
    exchange.hang_up()


def lost_before(exchange):
    """The server never hears of it."""
    exchange.body()
    exchange.hang_up()


def twice(exchange):
    """The network delivers it twice; the first answer comes."""
    first = exchange.ask()
    exchange.ask()
    exchange.reply(first)


def zombie(exchange):
    """The same by an earlier self: only the second answer comes."""
    exchange.ask()
    exchange.reply(exchange.ask())


def late_twin(exchange):
    """A copy of it arrives once more when all is long over."""
    exchange.reply(exchange.ask())
    exchange.wfile.flush()
    exchange.server.proxy.stopping.wait(3)
    exchange.ask()


def reset_in_body(exchange):
    exchange.rfile.read(exchange.length // 2)
    exchange.reset()


def half_of_the_answer(exchange):
    answer = exchange.ask()
    exchange.reply(answer, len(answer.body) // 2)


def flipped_bit(exchange):
    """The body is damaged on its way."""
    body = bytearray(exchange.body())
    body[len(body) // 2] ^= 1
    exchange.reply(exchange.ask(bytes(body)))


def slow_way(exchange):
    """One byte a second, for a while."""
    read = b""
    for _ in range(5):
        read += exchange.rfile.read(1)
        exchange.server.proxy.stopping.wait(PAUSE)
    exchange.received = read + exchange.rfile.read(exchange.length - len(read))
    exchange.reply(exchange.ask())


def silence(exchange):
    """The server does it, and nothing is heard of it."""
    exchange.ask()
    exchange.server.proxy.stopping.wait(600)
    exchange.hang_up()


def answers(answer):
    """This instead of the server, which never hears of it."""

    def fault(exchange):
        exchange.body()
        exchange.reply(answer)

    return fault


def answers_after(answer):
    """This, although the server has done it."""

    def fault(exchange):
        exchange.ask()
        exchange.reply(answer)

    return fault


def endless(answer, piece=ENDLESS_PIECE, pause=0):
    def fault(exchange):
        exchange.body()
        exchange.pour(answer, piece, pause)

    return fault


class FaultProxy:
    """`fault(number)` is what happens to the `number`-th request that `counts`, or None; all others are passed on."""

    def __init__(self, upstream, fault, counts=lambda exchange: True, certificate=None):
        self.upstream = upstream.removeprefix("http://")
        self.fault, self.counts = fault, counts
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.counted = self.spoiled = 0
        self.asked = []

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64
            proxy = self

            def handle_error(self, *_):
                pass  # A peer that hung up, in the middle of what does not end.

        self.server = Server(("127.0.0.1", 0), Exchange)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "http" if certificate is None else "https"
        self.endpoint = f"{scheme}://127.0.0.1:{self.server.server_address[1]}"

    def note(self, asked):
        with self.lock:
            self.asked.append(asked)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
