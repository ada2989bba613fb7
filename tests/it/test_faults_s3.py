"""Every fault that a network and a store can do, between the daemon and a real MinIO. One delivery stream and one proxy a fault,
all at once in one daemon; then what lies in the bucket is read past the proxies, and judged."""

import base64
import contextlib
import hashlib
import urllib.parse
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Callable

import pytest

import fault_proxy as by
import hydrant
import lake
import proof
from fault_proxy import Answer, FaultProxy, error
from test_opensearch import certificates

BUCKET = "faults"
# Small ones stand in the journal, the large one is a staged file.
ROUNDS = (30, 400, 30)
OFTEN, ONCE = (0, 1, 3), (0,)


def is_put(exchange):
    return exchange.command == "PUT"


@dataclass(frozen=True)
class Cell:
    fault: Callable
    said: str = ""  # in the log, of this delivery stream
    when: object = OFTEN
    of: Callable = is_put  # what is counted


def stores_and(reply):
    """The object is stored, then `reply(exchange, answer of the store)`."""
    return lambda exchange: reply(exchange, exchange.ask())


def wrong_checksum(exchange, answer):
    headers = tuple(pair for pair in answer.headers if pair[0].lower() != "x-amz-checksum-sha256")
    exchange.reply(Answer(200, (*headers, ("x-amz-checksum-sha256", "A" * 43 + "="))))


def trap(status, location):
    code = {301: "PermanentRedirect", 307: "TemporaryRedirect"}[status]
    return by.answers(error(status, code, [("Location", f"{location}/elsewhere")]))


def cells(elsewhere):
    gone = "gave no answer"
    return {
        "lost-answer": Cell(by.lost, ""),
        "lost-answers-to-head-too": Cell(by.lost, gone, range(7), lambda exchange: True),
        "lost-request": Cell(by.lost_before, gone),
        "duplicate": Cell(by.twice),
        "late-duplicate": Cell(by.late_twin),
        "zombie-412": Cell(by.zombie),
        "reset-in-the-body": Cell(by.reset_in_body, gone),
        "half-an-answer": Cell(by.half_of_the_answer),
        "slow": Cell(by.slow_way, when=ONCE),
        "silence": Cell(by.silence, when=ONCE),
        "500": Cell(by.answers(error(500, "InternalError")), "InternalError"),
        "500-after": Cell(by.answers_after(error(500, "InternalError")), "InternalError"),
        "503-slow-down": Cell(by.answers(error(503, "SlowDown", [("Retry-After", "1")])), "SlowDown"),
        "403": Cell(by.answers(error(403, "AccessDenied")), "grant the keys"),
        "404": Cell(by.answers(error(404, "NoSuchBucket")), "create the bucket"),
        "409": Cell(by.answers(error(409, "ConditionalRequestConflict")), "answered 409"),
        "409-after": Cell(by.answers_after(error(409, "ConditionalRequestConflict"))),
        "412-of-nothing": Cell(by.answers(error(412, "PreconditionFailed")), "answered 412"),
        "flipped-bit": Cell(by.flipped_bit, "it is tried again"),
        "bad-digest": Cell(by.answers(error(400, "BadDigest")), "BadDigest"),
        "other-checksum": Cell(stores_and(wrong_checksum), "stored other bytes"),
        "not-xml": Cell(by.answers(Answer(500, (("Content-Type", "text/html"),), b"<html>it works")), "InternalError"),
        "not-a-store": Cell(by.answers(Answer(200, (("Content-Type", "text/html"),), b"<html>it works")), "no S3 store"),
        "huge-error": Cell(by.answers(Answer(500, (), b"<Error>" + b"x" * (32 << 20))), "InternalError"),
        "huge-success": Cell(stores_and(lambda exchange, answer: exchange.reply(Answer(200, answer.headers, b"x" * (32 << 20))))),
        "endless-error": Cell(by.endless(error(503, "SlowDown")), "ServiceUnavailable"),
        "endless-success": Cell(stores_and(lambda exchange, _: exchange.pour(Answer(200, (("ETag", '"e"'),)), by.ENDLESS_PIECE))),
        "dripping-error": Cell(by.endless(error(503, "SlowDown"), b"x", by.PAUSE), "ServiceUnavailable", ONCE),
        "301": Cell(trap(301, elsewhere), "correct `region`"),
        "307": Cell(trap(307, elsewhere), "TemporaryRedirect"),
    }  # fmt: skip


# A store that tells the SHA-256 of what it holds, and one that does not.
DAMAGED = ("damaged-told", "damaged-untold")
# Those that take a minute come last, when it is nearly over.
NAMES = sorted(cells(""), key=lambda name: name in ("silence", "dripping-error"))


def stream(name, endpoint):
    return {
        "name": name,
        "buffering": {"size": "1 MiB", "interval": "0 s"},
        "destination": {"s3": {"bucket": BUCKET, "endpoint": endpoint, "prefix": f"{name}/!{{timestamp:yyyy}}/",
                               "error_output_prefix": f"errors/{name}/"}},
    }  # fmt: skip


def objects_of(minio, name):
    return [found for found in lake.in_bucket(minio.client, BUCKET) if found.key.split("/")[0] == name or f"errors/{name}/" in found.key]


class Deliveries:
    """All cells at once: their proxies, the daemon, and what was put."""

    def __init__(self, minio, directory, stack):
        minio.make_bucket(BUCKET)
        self.minio, self.stack = minio, stack
        self.elsewhere = stack.enter_context(FaultProxy(minio.endpoint, lambda number: None))
        self.cells = cells(self.elsewhere.endpoint)
        self.proxies = {name: self.proxy(cell.fault, cell.when, cell.of) for name, cell in self.cells.items()}
        self.proxies["foreign-object"] = self.proxy(self.somebody_else, ONCE, is_put)
        self.damaged = {}
        for name in DAMAGED:
            self.proxies[name] = self.proxy(self.damages(name), ONCE, is_put)
        streams = [stream(name, proxy.endpoint) for name, proxy in self.proxies.items()]
        self.daemon = hydrant.Daemon(directory, streams, s3=minio.connection(), environment=minio.environment()).start()
        self.told = proof.Told(self.daemon)
        for count in ROUNDS:
            for name in self.proxies:
                self.told.put(name, count)

    def proxy(self, fault, when, of):
        return self.stack.enter_context(FaultProxy(self.minio.endpoint, lambda number: fault if number in when else None, of))

    def somebody_else(self, exchange):
        """Takes the name before our PUT comes."""
        self.foreign = urllib.parse.unquote(exchange.path).removeprefix(f"/{BUCKET}/")
        self.minio.client.put_object(Bucket=BUCKET, Key=self.foreign, Body=b"of somebody else")
        exchange.reply(exchange.ask())

    def damages(self, name):
        """A store that keeps other bytes than it was sent, under our name and with our metadata, and says so."""

        def fault(exchange):
            body = bytearray(exchange.body())
            body[len(body) // 2] ^= 1
            key = urllib.parse.unquote(exchange.path).removeprefix(f"/{BUCKET}/")
            prefix = "x-amz-meta-"
            meta = {it.lower().removeprefix(prefix): value for it, value in exchange.headers.items() if it.lower().startswith(prefix)}
            algorithm = {"damaged-told": "SHA256", "damaged-untold": "CRC32"}[name]
            self.minio.client.put_object(Bucket=BUCKET, Key=key, Body=bytes(body), Metadata=meta, ChecksumAlgorithm=algorithm)
            self.damaged[name] = key
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            exchange.reply(Answer(200, (("ETag", '"e"'), ("x-amz-checksum-sha256", digest))))

        return fault

    def judge(self, name):
        """Reads back, compares with the counters, and looks what MinIO was asked."""
        proxy = self.proxies[name]
        self.daemon.wait_drained(name, seconds=200)
        while proxy.counted <= max(self.cells[name].when if name in self.cells else ONCE):
            self.told.put(name, 10)
            self.daemon.wait_drained(name)
        proof.judge(self.daemon, name, objects_of(self.minio, name), self.told.names(name))
        stored, bodies = Counter(), defaultdict(set)
        for asked in proxy.asked:
            if asked.method == "PUT":
                stored[asked.path] += asked.status == 200
                bodies[asked.path].add(asked.digest)
        return proxy, stored, bodies


@pytest.fixture(scope="module")
def deliveries(minio, tmp_path_factory):
    with contextlib.ExitStack() as stack:
        made = Deliveries(minio, tmp_path_factory.mktemp("faults"), stack)
        yield made
        print(made.daemon.log_tail())
        made.daemon.kill()


def test_a_foreign_object_stops_the_stream_and_stays(deliveries):
    name, client = "foreign-object", deliveries.minio.client
    problem = lambda: proof.status(deliveries.daemon, name)["problem"] or ""
    hydrant.wait_until("the alarm", lambda: "a foreign object stands at our name" in problem())
    assert proof.status(deliveries.daemon, name)["backlog"] > 0
    proxy = deliveries.proxies[name]
    tries = proxy.counted
    hydrant.wait_until("it is looked at again", lambda: proxy.counted > tries)
    assert client.get_object(Bucket=BUCKET, Key=deliveries.foreign)["Body"].read() == b"of somebody else"
    assert any("ERROR" in line and "foreign object" in line and f"`{deliveries.foreign}`" in line for line in deliveries.daemon.log().splitlines())
    # The operator moves it away, and everything arrives.
    client.delete_object(Bucket=BUCKET, Key=deliveries.foreign)
    _, stored, bodies = deliveries.judge(name)
    assert set(stored.values()) == {1} and all(len(digests) == 1 for digests in bodies.values()), stored
    assert not proof.status(deliveries.daemon, name)["problem"]


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_object_of_ours_is_not_taken_for_delivered(deliveries, name):
    problem = lambda: proof.status(deliveries.daemon, name)["problem"] or ""
    hydrant.wait_until("the alarm", lambda: "holds other bytes than were sent" in problem())
    proxy = deliveries.proxies[name]
    tries = proxy.counted
    hydrant.wait_until("it is looked at again", lambda: proxy.counted > tries)
    assert proof.status(deliveries.daemon, name)["backlog"] > 0
    # The operator deletes it, as he is told, and everything arrives.
    deliveries.minio.client.delete_object(Bucket=BUCKET, Key=deliveries.damaged[name])
    _, stored, bodies = deliveries.judge(name)
    assert set(stored.values()) == {1} and all(len(digests) == 1 for digests in bodies.values()), stored
    assert not proof.status(deliveries.daemon, name)["problem"]
    asked = {one.method for one in proxy.asked if deliveries.damaged[name] in urllib.parse.unquote(one.path)}
    assert ("GET" in asked) == (name == "damaged-untold"), asked


@pytest.mark.parametrize("name", NAMES)
def test_each_record_once_whatever_the_store_does(deliveries, name):
    cell = deliveries.cells[name]
    proxy, stored, bodies = deliveries.judge(name)
    assert proxy.spoiled == len(cell.when), "it met every fault"
    assert set(stored.values()) == {1}, f"each name is written once: {stored}"
    if name != "flipped-bit":
        assert all(len(digests) == 1 for digests in bodies.values()), "a repeat sends the same bytes"
    complaints = [line for line in deliveries.daemon.log().splitlines() if f"{name}/" in line or f'"{name}"' in line]
    assert any(cell.said in line for line in complaints) or not cell.said, complaints
    assert deliveries.elsewhere.counted == 0, "a redirect was followed, with what was signed"


@pytest.mark.parametrize("wrong", ["certificate", "name"])
def test_an_endpoint_that_cannot_be_reached_is_put_right(daemon_of, minio, tmp_path, wrong):
    bucket = minio.make_bucket(f"unreachable-{wrong}")
    authority, *certificate = certificates(tmp_path)
    with FaultProxy(minio.endpoint, lambda number: None, certificate=certificate) as proxy:
        port = proxy.endpoint.rsplit(":", 1)[1]
        settings, said = {
            "certificate": ({"endpoint": proxy.endpoint}, "give it as `ca`"),
            "name": ({"endpoint": f"https://no-such-host.invalid:{port}"}, "cannot connect"),
        }[wrong]
        events = stream("events", proxy.endpoint)
        events["destination"]["s3"] |= {"bucket": bucket, **settings}
        daemon = daemon_of([events], s3=minio.connection(), environment=minio.environment()).start()
        told = proof.Told(daemon)
        told.put("events", 300)
        hydrant.wait_until("the problem is told", lambda: said in (proof.status(daemon, "events")["problem"] or ""))
        assert proxy.counted == 0 and daemon.accounting("events")["backlog"] == 300
        daemon.kill_alive()
        events["destination"]["s3"] |= {"endpoint": proxy.endpoint, "ca": str(authority)}
        daemon.write_config()
        daemon.start()
        told.put("events", 300)
        daemon.wait_drained("events")
        proof.judge(daemon, "events", lake.in_bucket(minio.client, bucket), told.names("events"))
