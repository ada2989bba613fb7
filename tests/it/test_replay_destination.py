"""`hydrant replay --to-destination`: failed records straight to where their delivery stream delivers, once, whatever ends it."""

import json
import os
import signal
import subprocess
from collections import Counter

import clients
import fault_proxy
import hydrant
import lake
import test_replay
from fault_proxy import FaultProxy
from receiver import Receiver
from test_plugins import GUEST
from test_replay import fixtures, line, payload, write

ERRORS = "errors/!{firehose:error-output-type}/"


def replay(daemon, *arguments, environment=None):
    """Exit status, summary, stderr."""
    command = ("replay", "events", *arguments, "--to-destination", "--json", "-c", daemon.config_file)
    status, out, err = hydrant.command(*command, environment=environment)
    return status, json.loads(out) if out.strip() else None, err


def lines_of(directory):
    return [found + b"\n" for it in lake.in_directory(directory) for found in it.lines()]


def test_every_kind_of_firehose_arrives_once_without_a_daemon(daemon_of, tmp_path):
    records = fixtures(tmp_path / "errors")
    everything = [data for kind in records.values() for data in kind]
    daemon = daemon_of([test_replay.stream(tmp_path / "lake")])
    daemon.data_dir.mkdir()
    status, summary, err = replay(daemon, tmp_path / "errors", "--dry-run")
    assert (status, summary["replayed"]) == (0, 15), err
    assert not (daemon.data_dir / "replay").exists() and not (tmp_path / "lake").exists()
    status, summary, err = replay(daemon, tmp_path / "errors", "--error-code", "400")
    assert (status, summary["replayed"], summary["filtered"]) == (0, 3, 12), err
    status, summary, err = replay(daemon, tmp_path / "errors")
    assert (status, summary["replayed"], summary["replayed_before"]) == (0, 12, 3), err
    (tmp_path / "errors").rename(tmp_path / "copy")
    status, summary, err = replay(daemon, tmp_path / "copy")
    assert (status, summary["replayed"], summary["replayed_before"]) == (0, 0, 15), err
    lake.same_multiset(lines_of(tmp_path / "lake"), everything)
    # In the names of their own time, and nothing else is left behind.
    assert all("-2026-09-10-" in found.key for found in lake.in_directory(tmp_path / "lake"))
    assert not list((daemon.data_dir / "replay").glob("*.staged/*"))


def test_a_repeat_that_remembers_nothing_finds_its_own_work(daemon_of, minio, bucket, tmp_path):
    """Another journal, as on another machine: the names follow from the error objects."""
    fixtures(tmp_path / "errors")
    stream = {"name": "events", "format": {"lines": {"compression": "gzip"}},
              "destination": {"s3": {"bucket": bucket, "prefix": "data/!{timestamp:yyyy/MM/dd/HH}/", "error_output_prefix": ERRORS}}}  # fmt: skip
    daemon = daemon_of([stream], s3=minio.connection())
    seen = []
    for journal in ("one", "two"):
        status, summary, err = replay(daemon, tmp_path / "errors", "--journal", tmp_path / journal, environment=minio.environment())
        assert (status, summary["replayed"]) == (0, 15), err
        seen.append({found.key: sorted(found.lines()) for found in lake.in_bucket(minio.client, bucket)})
    assert seen[0] == seen[1] and len(seen[0]) == 5 and sum(map(len, seen[0].values())) == 15


def many(directory, objects=60, records=200):
    names = [[f"{number}-{n}" for n in range(records)] for number in range(objects)]
    for number, inside in enumerate(names):
        write(directory / f"object-{number:03}", *(line("http-endpoint-failed", payload(name)) for name in inside))
    return [payload(name) for inside in names for name in inside]


def begun(daemon, source, entries, environment=None):
    """A replay in its own process, once its journal has so many lines more."""
    lines = lambda: sum(journal.read_bytes().count(b"\n") for journal in daemon.data_dir.glob("replay/*.journal"))
    before = lines()
    process = subprocess.Popen(
        [hydrant.BINARY, "replay", "events", source, "--to-destination", "--json", "-c", daemon.config_file],
        env={**os.environ, "HYDRANT_TEST_SECRET": hydrant.SECRET_KEY, **(environment or {})},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    hydrant.wait_until("it is under way", lambda: lines() >= before + entries or process.poll() is not None, interval=0.001)
    return process


def kill_again_and_again(daemon, source, environment=None):
    """Killed at some places and interrupted at others; then to its end. What it said last."""
    for entries, sign in [(1, signal.SIGKILL), (2, signal.SIGKILL), (4, signal.SIGTERM), (7, signal.SIGKILL), (12, signal.SIGINT)]:
        process = begun(daemon, source, entries, environment)
        assert process.poll() is None, process.communicate()
        process.send_signal(sign)
        _, err = process.communicate(timeout=60)
        assert process.returncode == (1 if sign != signal.SIGKILL else -sign), err
    status, summary, err = replay(daemon, source, environment=environment)
    assert status == 0 and summary["in_doubt"] == 0 and summary["replayed_before"] > 0, err
    return summary


def test_kill_9_and_lost_answers_on_the_way_to_a_bucket(daemon_of, minio, bucket, tmp_path):
    everything = many(tmp_path / "errors")
    ways = [fault_proxy.lost, fault_proxy.lost_before, fault_proxy.reset_in_body, fault_proxy.zombie]
    with FaultProxy(minio.endpoint, lambda n: ways[n // 3 % 4] if n % 3 == 0 else None, lambda it: it.command == "PUT") as proxy:
        stream = {"name": "events", "destination": {"s3": {"bucket": bucket, "endpoint": proxy.endpoint,
                                                           "prefix": "data/", "error_output_prefix": ERRORS}}}  # fmt: skip
        daemon = daemon_of([stream], s3=minio.connection())
        daemon.data_dir.mkdir()
        summary = kill_again_and_again(daemon, tmp_path / "errors", minio.environment())
    objects = lake.in_bucket(minio.client, bucket)
    assert summary["replayed"] + summary["replayed_before"] + summary["resumed"] >= len(everything)
    lake.same_multiset([found + b"\n" for it in objects for found in it.lines()], everything)
    bodies = Counter((asked.path, asked.digest) for asked in proxy.asked if asked.method == "PUT")
    assert len({path for path, _ in bodies}) == len(bodies) == len(objects), "a name has one content"


def test_kill_9_and_lost_answers_on_the_way_to_an_endpoint(daemon_of, tmp_path):
    everything = many(tmp_path / "errors")
    ways = ("lost", "500", "ok", "ok")
    receiver = Receiver(lambda attempt, request_id: ways[(attempt + int(request_id[:2], 16)) % 4])
    try:
        stream = {"name": "events", "destination": {"http_endpoint": {"url": receiver.url, "retry": "300 s"}},
                  "backup": {"records": "failed", "file": {"directory": str(tmp_path / "backup"), "error_output_prefix": ERRORS}}}  # fmt: skip
        daemon = daemon_of([stream])
        daemon.data_dir.mkdir()
        kill_again_and_again(daemon, tmp_path / "errors")
    finally:
        receiver.stop()
    assert not receiver.violations, receiver.violations[:3]
    assert receiver.repeats() > 0
    lake.same_multiset(receiver.records(), everything)
    assert not (tmp_path / "backup").exists(), "what fails again stays where it is"


def test_a_destination_that_is_down_ends_it_and_nothing_is_lost(daemon_of, tmp_path):
    records = fixtures(tmp_path / "errors")
    lake_dir = tmp_path / "lake"
    lake_dir.write_text("a file where the directory should be")
    daemon = daemon_of([test_replay.stream(lake_dir)]).start()
    daemon.stop()
    status, summary, err = replay(daemon, tmp_path / "errors", "--patience", "0")
    assert status == 1 and summary["replayed"] == 0 and "it goes on where it was" in err, err
    # What is staged is known to nobody but this journal: the stream must not get the same records.
    status, _, err = hydrant.command("replay", "events", tmp_path / "errors", "-c", daemon.config_file)
    assert status == 2 and "3 records" in err and "--to-destination" in err, err
    daemon.config["delivery_streams"] = [test_replay.stream(tmp_path / "elsewhere")]
    daemon.write_config()
    status, _, err = replay(daemon, tmp_path / "errors")
    assert status == 78 and "put the old destination back" in err, err
    daemon.config["delivery_streams"] = [test_replay.stream(lake_dir)]
    daemon.write_config()
    lake_dir.unlink()
    status, summary, err = replay(daemon, tmp_path / "errors")
    assert (status, summary["resumed"], summary["replayed"]) == (0, 3, 12), err
    lake.same_multiset(lines_of(lake_dir), [data for kind in records.values() for data in kind])
    # And what went to the destination does not go into the stream again.
    daemon.start()
    status, out, err = hydrant.command("replay", "events", tmp_path / "errors", "-c", daemon.config_file)
    assert status == 0 and "15 replayed before" in out, out + err
    assert daemon.accounting("events")["stored"] == 0


def test_records_pass_the_plugins_unless_they_have_passed_them(daemon_of, tmp_path):
    """The plugin makes `events` of `stream`, which is no JSON; so jq cannot place it until the YAML is mended."""
    processing = {"plugins": [{"path": str(GUEST), "memory": "16 MiB"}]}
    place = {"directory": str(tmp_path / "lake"), "prefix": "data/", "error_output_prefix": ERRORS}
    mended = {"name": "events", "buffering": {"interval": "0 s"}, "processing": processing, "destination": {"file": place}}
    broken = {**mended, "partitioning": {"jq": {"kind": ".kind"}},
              "destination": {"file": {**place, "prefix": "data/!{partitionKeyFromQuery:kind}/"}}}  # fmt: skip
    daemon = daemon_of([broken]).start()
    clients.put_all(clients.firehose(daemon), "events", [b"stream", b"fail for ever"])
    assert daemon.wait_drained("events")["failed"] == 2
    daemon.stop()
    daemon.config["delivery_streams"] = [mended]
    daemon.write_config()
    status, summary, err = replay(daemon)
    assert (status, summary["replayed"], summary["refused"]) == (1, 1, 1) and "for ever" in err, err
    status, summary, err = replay(daemon, "--skip-plugins", "--journal", tmp_path / "journal")
    assert (status, summary["replayed"], summary["unprocessed"]) == (1, 1, 1), err
    data, errors = lake.split_errors(lake.in_directory(tmp_path / "lake"))
    lake.same_multiset([found for it in data for found in it.lines()], [b"events", b"stream"])
    assert len(lake.failed_records(errors)) == 2, "no error output gets them a second time"


def test_a_stream_that_the_api_made_is_found_in_the_catalog(daemon_of, minio, bucket, tmp_path):
    fixtures(tmp_path / "errors")
    daemon = daemon_of([], s3=minio.connection(), environment=minio.environment()).start()
    role = "arn:aws:iam::123456789012:role/firehose"
    clients.firehose(daemon).create_delivery_stream(
        DeliveryStreamName="events", ExtendedS3DestinationConfiguration={"BucketARN": f"arn:aws:s3:::{bucket}", "RoleARN": role}
    )
    status, summary, err = replay(daemon, tmp_path / "errors", environment=minio.environment())
    assert (status, summary["replayed"]) == (0, 15), err
    assert sum(len(list(it.lines())) for it in lake.in_bucket(minio.client, bucket)) == 15
    command = ("replay", "other", tmp_path / "errors", "--to-destination", "-c", daemon.config_file)
    status, _, err = hydrant.command(*command, environment=minio.environment())
    assert status == 2 and "no delivery stream `other`" in err, err
