"""The HTTP endpoint destination against a strict receiver that fails in every way, and the backup behind it.

The oracle: what was acked is at the receiver or in the backup; the receiver knows repeats by their request id alone.
HYDRANT_SEED repeats the random parts, HYDRANT_ROUNDS sets the number of kills.
"""

import json
import random
import threading

import pytest

import clients
import hydrant
import lake
from load import Load, rounds
from receiver import Receiver

NAME = "partner"
ARN = f"arn:aws:firehose:us-east-1:{hydrant.ACCOUNT}:deliverystream/{NAME}"
KEY, ATTRIBUTES = "an access key", {"team": "web", "who": "Jörg"}
CODE = "HttpEndpoint.DestinationException"


@pytest.fixture
def receiver_of():
    made = []

    def make(behave):
        made.append(Receiver(behave, KEY, ATTRIBUTES, ARN))
        return made[-1]

    yield make
    for receiver in made:
        receiver.stop()


def stream(receiver, backup, records="failed", **endpoint):
    settings = {"retry": "300 s", "request_timeout": "2 s", "content_encoding": "gzip", **endpoint}
    return {
        "name": NAME,
        "buffering": {"size": "1 MiB", "interval": "0 s"},
        "destination": {"http_endpoint": {"url": receiver.url, "access_key": "env:HYDRANT_TEST_KEY",
                                          "common_attributes": ATTRIBUTES, **settings}},
        "backup": {"records": records, **backup},
    }  # fmt: skip


def into(directory):
    naming = {"prefix": "all/", "error_output_prefix": "errors/!{firehose:error-output-type}/"}
    return {"file": {"directory": str(directory), **naming}}


ENVIRONMENT = {"HYDRANT_TEST_KEY": KEY}


def event(number):
    return json.dumps({"id": str(number), "pad": "x" * 200}).encode()


def failed(objects):
    """Original bytes of the backup's error records, after their shape was checked."""
    found = []
    for original, row in lake.failed_records(objects):
        sequence, _, sub = row["dataId"].rpartition(".")
        assert sequence.isdigit() and sub == str(row["subsequenceNumber"]), row
        assert row["errorCode"].startswith("HttpEndpoint."), row
        found.append((original, row))
    return found


def test_every_failure_in_turn_and_each_record_once(daemon_of, receiver_of, tmp_path):
    script = ["500", "503", "lost", "wrong-id", "not-json", "redirect", "never"]
    receiver = receiver_of(lambda attempt, _: script[attempt - 1] if attempt <= len(script) else "ok")
    daemon = daemon_of([stream(receiver, into(tmp_path / "backup"))], environment=ENVIRONMENT).start()
    sent = [event(number) for number in range(400)]
    clients.put_all(clients.firehose(daemon), NAME, sent)
    counters = daemon.wait_drained(NAME, seconds=180)
    assert receiver.violations == []
    assert counters["delivered"] == counters["stored"] == len(sent)
    lake.same_multiset(receiver.records(), sent)
    assert all(receiver.ways[way] >= 1 for way in script), receiver.ways
    assert lake.in_directory(tmp_path / "backup") == [] if (tmp_path / "backup").exists() else True
    assert KEY not in daemon.log() and "team=web" not in daemon.log()


def test_what_is_too_large_goes_to_the_backup_at_once(daemon_of, receiver_of, tmp_path):
    receiver = receiver_of(lambda attempt, _: "413")
    daemon = daemon_of([stream(receiver, into(tmp_path / "backup"))], environment=ENVIRONMENT).start()
    sent = [event(number) for number in range(100)]
    clients.put_all(clients.firehose(daemon), NAME, sent)
    counters = daemon.wait_drained(NAME)
    assert counters["failed"] == counters["stored"] == len(sent)
    assert receiver.violations == [] and receiver.repeats() == 0
    objects = lake.in_directory(tmp_path / "backup")
    assert all(found.key.startswith("errors/http-endpoint-failed/") for found in objects)
    found = failed(objects)
    lake.same_multiset([original for original, _ in found], sent)
    assert {(row["errorCode"], row["attemptsMade"]) for _, row in found} == {(CODE, 1)}
    assert all("413" in row["errorMessage"] for _, row in found)


def test_who_refuses_for_ever_fills_the_backup_in_minio(daemon_of, receiver_of, minio, bucket):
    refusing = threading.Event()
    refusing.set()
    receiver = receiver_of(lambda attempt, _: "500" if refusing.is_set() else "ok")
    naming = {"prefix": "all/", "error_output_prefix": "errors/!{firehose:error-output-type}/"}
    backup = {"s3": {"bucket": bucket, **naming}}
    environment = {**ENVIRONMENT, **minio.environment()}
    daemon = daemon_of([stream(receiver, backup, retry="2 s")], s3=minio.connection(), environment=environment).start()
    client = clients.firehose(daemon)
    refused = [event(number) for number in range(300)]
    clients.put_all(client, NAME, refused)
    assert daemon.wait_drained(NAME, seconds=180)["failed"] == len(refused)
    refusing.clear()
    taken = [event(number) for number in range(300, 600)]
    clients.put_all(client, NAME, taken)
    counters = daemon.wait_drained(NAME, seconds=180)
    assert (counters["delivered"], counters["failed"]) == (len(taken), len(refused))
    found = failed(lake.in_bucket(minio.client, bucket))
    lake.same_multiset([original for original, _ in found], refused)
    assert all(row["errorCode"] == CODE and row["attemptsMade"] >= 2 for _, row in found)
    lake.same_multiset(receiver.records(), taken)
    assert receiver.violations == []


def test_all_records_go_to_the_backup_too(daemon_of, receiver_of, tmp_path):
    receiver = receiver_of(lambda attempt, _: "ok")
    daemon = daemon_of([stream(receiver, into(tmp_path / "backup"), "all")], environment=ENVIRONMENT).start()
    sent = [event(number) + b"\n" for number in range(300)]
    clients.put_all(clients.firehose(daemon), NAME, sent)
    daemon.wait_drained(NAME)
    lake.same_multiset(receiver.records(), sent)
    objects = lake.in_directory(tmp_path / "backup")
    assert objects and all(found.key.startswith("all/") for found in objects)
    lake.same_multiset([line + b"\n" for found in objects for line in found.lines()], sent)


def test_killed_at_any_moment_every_acked_record_is_somewhere_once(daemon_of, receiver_of, tmp_path):
    rng = random.Random(hydrant.seed())
    ways = ["ok"] * 6 + ["500", "503", "lost", "wrong-id", "413"]
    receiver = receiver_of(lambda attempt, _: rng.choice(ways))
    daemon = daemon_of([stream(receiver, into(tmp_path / "backup"))], environment=ENVIRONMENT)
    load = Load(rng, [NAME], producers=2)
    for _ in range(rounds(usual=6, long=200)):
        daemon.start()
        with load.on(daemon):
            threading.Event().wait(rng.uniform(0.3, 2))
            daemon.kill_alive()
    receiver.behave = lambda attempt, _: "ok"
    daemon.start()
    daemon.wait_drained(NAME, seconds=180)
    daemon.stop()
    assert receiver.violations == []
    at_receiver = [json.loads(record)["id"] for record in receiver.records()]
    in_backup = [json.loads(original)["id"] for original, _ in failed(lake.in_directory(tmp_path / "backup"))]
    acked, sent = load.acked(NAME), load.sent(NAME)
    print(f"{len(acked)} acked, {len(at_receiver)} delivered, {len(in_backup)} in the backup, {receiver.repeats()} repeats")
    assert acked <= set(at_receiver) | set(in_backup) <= sent
    assert len(at_receiver) == len(set(at_receiver)), "a request id names its records for ever"
    assert len(in_backup) == len(set(in_backup))
    both = set(at_receiver) & set(in_backup)
    # Kept by the receiver, but its answer said otherwise, and a later attempt was refused.
    assert all(receiver.attempts[request] > 1 for request in requests_of(receiver, both)), both
    assert receiver.repeats() > 0 and in_backup, receiver.ways


def requests_of(receiver, ids):
    return [name for name, records in receiver.kept.items() if any(json.loads(record)["id"] in ids for record in records)]
