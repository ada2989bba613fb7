"""The release daemon in the hands of a test: a YAML in a directory of its own, free loopback ports, start, stop, kill -9.

A `Daemon` ends only the process that it started.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hydrant"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or CACHE / "target")
BINARY = Path(os.environ.get("HYDRANT_BIN") or TARGET / "release" / "hydrant")
ACCESS_KEY = "AKIDEXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
REGION = "us-east-1"
ACCOUNT = "123456789012"
LONG = os.environ.get("HYDRANT_LONG") == "1"

# Every place where a unit may be; `stored` and `split_off` are their sum at any moment.
PLACES = ("delivered", "failed", "dropped", "lost", "expired", "discarded", "backlog")


def seed():
    """Printed, so that a failed run can be repeated with HYDRANT_SEED."""
    value = int(os.environ.get("HYDRANT_SEED") or int.from_bytes(os.urandom(4), "big"))
    print(f"HYDRANT_SEED={value}")
    return value


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(what, condition, seconds=60, interval=0.05):
    """Returns the first true answer of `condition`; fails with `what` and the last answer after the deadline."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s: {what}; last answer: {answer!r}")
        pause.wait(interval)


class Daemon:
    """One data directory and the daemon on it, which may be started many times."""

    def __init__(self, directory, streams, data_dir=None, environment=None, **top_level):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data_dir = Path(data_dir or self.directory / "data")
        self.config_file = self.directory / "hydrant.yaml"
        self.log_file = self.directory / "hydrant.log"
        self.api_port, self.admin_port = free_port(), free_port()
        self.environment = {**os.environ, "HYDRANT_TEST_SECRET": SECRET_KEY, **(environment or {})}
        self.process = None
        self.config = {
            "data_dir": str(self.data_dir),
            "account": ACCOUNT,
            "api": {"listen": f"127.0.0.1:{self.api_port}"},
            "admin": {"listen": f"127.0.0.1:{self.admin_port}"},
            "credentials": [{"access_key_id": ACCESS_KEY, "secret_access_key": "env:HYDRANT_TEST_SECRET"}],
            **top_level,
            "delivery_streams": streams,
        }
        self.write_config()

    def write_config(self):
        # JSON is YAML.
        self.config_file.write_text(json.dumps(self.config, indent=2) + "\n")

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.api_port}"

    def spawn(self, *arguments):
        """Starts the process, with further arguments of `run`, and does not wait."""
        assert self.process is None, "the daemon runs already"
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [BINARY, "run", "-c", self.config_file, *map(str, arguments)],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def start(self, *arguments, seconds=60):
        self.spawn(*arguments)
        try:
            wait_until("the daemon is ready", self.is_ready, seconds, 0.02)
        except BaseException as problem:
            self.kill()
            raise AssertionError(f"{problem}\n{self.log_tail()}") from None
        return self

    def is_ready(self):
        status = self.process.poll()
        if status is not None:
            raise AssertionError(f"the daemon ended with status {status}")
        return self.admin("/ready")[0] == 200

    def admin(self, path):
        """Status and body; status 0 when nobody listens yet."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def stop(self, seconds=60):
        """SIGTERM: it drains and leaves with 0."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"still there {seconds} s after SIGTERM\n{self.log_tail()}") from None
        assert status == 0, f"status {status} after SIGTERM\n{self.log_tail()}"

    def kill_alive(self):
        """kill -9 of a daemon that must not have ended by itself before."""
        status = self.process.poll()
        assert status is None, f"the daemon ended by itself with status {status}\n{self.log_tail()}"
        self.kill()

    def kill(self):
        """kill -9."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def log_tail(self, lines=40):
        return "\n".join(self.log().splitlines()[-lines:])

    def accounting(self, stream):
        """The counters of one delivery stream, after the sum was checked."""
        status, body = self.admin("/status")
        assert status == 200, f"/status answered {status}: {body!r}"
        found = [entry for entry in json.loads(body)["delivery_streams"] if entry["name"] == stream]
        assert len(found) == 1, f"`{stream}` {len(found)} times in {body!r}"
        counters = found[0]
        parts = {place: counters.get(place, 0) for place in PLACES}
        units = counters["stored"] + counters["split_off"]
        assert units == sum(parts.values()), f"stored and split off are not the sum: {counters}"
        assert not counters["accounting_mismatch"], self.log_tail()
        split_off = {"split_off": counters["split_off"]} if counters["split_off"] else {}
        return {"stored": counters["stored"], **split_off, **parts}

    def wait_drained(self, stream, seconds=120):
        """Until nothing is left to deliver; returns the counters."""

        def drained():
            counters = self.accounting(stream)
            return counters if counters["backlog"] == 0 else None

        try:
            return wait_until(f"`{stream}` has no backlog", drained, seconds)
        except AssertionError as problem:
            raise AssertionError(f"{problem}; {self.accounting(stream)}\n{self.log_tail()}") from None

    def __enter__(self):
        return self

    def __exit__(self, kind, _problem, _trace):
        if kind is None:
            self.stop()
        else:
            self.kill()
            print(self.log_tail())


def command(*arguments, seconds=60, environment=None, cwd=None):
    """One command of the binary: exit status, stdout, stderr."""
    done = subprocess.run(
        [BINARY, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        cwd=cwd,
        env={**os.environ, "HYDRANT_TEST_SECRET": SECRET_KEY, **(environment or {})},
    )
    return done.returncode, done.stdout, done.stderr
