"""`hydrant replay`: failed records back into a delivery stream, from our own error output and from Amazon Data Firehose's."""

import base64
import gzip
import json
import os
import signal
import subprocess
from collections import Counter

import clients
import hydrant
import lake

ARRIVED = 1_789_000_000_000
HOUR = 3_600_000

# The members of each kind beside the common ones, as Firehose writes them.
KINDS = {
    "processing-failed": {"errorCode": "Lambda.FunctionError", "errorMessage": "it \"failed\"\n", "lambdaArn": "arn:aws:lambda:::f"},
    "format-conversion-failed": {"lastErrorCode": "DataFormatConversion.ParseError", "lastErrorMessage": "m",
                                 "sequenceNumber": "4958", "subSequenceNumber": None, "dataCatalogTable": {"tableName": "t"}},
    "AmazonOpenSearchService-failed": {"errorCode": "400", "errorMessage": "{\"type\":\"mapper_parsing_exception\"}",
                                       "esDocumentId": "4958.0", "esIndexName": "i-2026", "esTypeName": ""},
    "http-endpoint-failed": {"errorCode": "HttpEndpoint.DestinationException", "errorMessage": "m", "dataId": "4958.0"},
    "splunk-failed": {"errorCode": "Splunk.AckTimeout", "errorMessage": "m", "EventId": "4958.0"},
}  # fmt: skip


def line(kind, data, arrived=ARRIVED):
    row = {"attemptsMade": 4, "arrivalTimestamp": arrived, "attemptEndingTimestamp": arrived + 60_000,
           "rawData": base64.b64encode(data).decode(), **KINDS[kind]}  # fmt: skip
    return json.dumps(row).encode() + b"\n"


def payload(name):
    return f"record {name}\n".encode()


def stream(directory, **more):
    return {"name": "events", "buffering": {"size": "1 MiB", "interval": "1 s"},
            "destination": {"file": {"directory": str(directory), "prefix": "data/", **more}}}  # fmt: skip


def replay(daemon, *arguments):
    """Exit status, summary, stderr."""
    status, out, err = hydrant.command("replay", "events", *arguments, "--json", "-c", daemon.config_file)
    return status, json.loads(out) if out.strip() else None, err


def delivered(daemon, directory):
    daemon.wait_drained("events")
    return [found + b"\n" for it in lake.in_directory(directory) if it.key.startswith("data/") for found in it.lines()]


def write(path, *parts, pack=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    body = b"".join(parts)
    path.write_bytes(gzip.compress(body) if pack else body)


def fixtures(directory):
    """One object of each kind of Firehose's, one of them packed; the records that are in them."""
    records = {}
    for number, kind in enumerate(KINDS):
        records[kind] = [payload(f"{kind} {n}") for n in range(3)]
        lines = [line(kind, data, ARRIVED + number * HOUR) for data in records[kind]]
        write(directory / kind / "2026/09/10/05" / f"stream-1-2026-09-10-05-00-00-{number}", *lines, pack=number % 2 == 1)
    write(directory / "elsewhere" / "data.json", b'{"id":1}\n{"id":2}\n')
    return records


def test_every_kind_of_firehose_goes_back_once(daemon_of, tmp_path):
    records = fixtures(tmp_path / "errors")
    everything = [data for kind in records.values() for data in kind]
    daemon = daemon_of([stream(tmp_path / "lake")]).start()
    status, summary, _ = replay(daemon, tmp_path / "errors", "--dry-run")
    assert (status, summary["replayed"], summary["objects"], summary["objects_skipped"]) == (0, 15, 5, 1)
    assert daemon.accounting("events")["stored"] == 0 and not (daemon.data_dir / "replay").exists()
    status, summary, err = replay(daemon, tmp_path / "errors")
    assert (status, summary["replayed"]) == (0, 15), err
    assert summary["error_codes"]["DataFormatConversion.ParseError"] == 3 and len(summary["error_codes"]) == 5
    # Again, and from a copy elsewhere: nothing is put twice.
    (tmp_path / "errors").rename(tmp_path / "copy")
    status, summary, _ = replay(daemon, tmp_path / "copy")
    assert (status, summary["replayed"], summary["replayed_before"]) == (0, 0, 15)
    lake.same_multiset(delivered(daemon, tmp_path / "lake"), everything)


def test_filters_by_time_and_code(daemon_of, tmp_path):
    records = fixtures(tmp_path / "errors")
    daemon = daemon_of([stream(tmp_path / "lake")]).start()
    status, summary, _ = replay(daemon, tmp_path / "errors", "--error-code", "400", "--error-code", "Splunk.AckTimeout")
    assert (status, summary["replayed"], summary["filtered"]) == (0, 6, 9)
    # 2026-09-10T00:26:40Z and each hour after it.
    status, summary, _ = replay(daemon, tmp_path / "errors", "--since", "2026-09-10T01:00:00Z", "--until", "2026-09-10T03:00:00Z")
    assert (status, summary["replayed"], summary["replayed_before"], summary["filtered"]) == (0, 3, 3, 9)
    kinds = ("format-conversion-failed", "AmazonOpenSearchService-failed", "splunk-failed")
    lake.same_multiset(delivered(daemon, tmp_path / "lake"), [data for kind in kinds for data in records[kind]])
    status, _, err = replay(daemon, tmp_path / "errors", "--since", "yesterday")
    assert status == 2 and "2026-11-21T10:30:00Z" in err


def test_our_own_error_output_in_a_bucket(daemon_of, minio, bucket, tmp_path):
    """Records that jq could not place are put again after the plugin, here the YAML, was mended."""
    broken = {"name": "events", "buffering": {"size": "1 MiB", "interval": "1 s"},
              "partitioning": {"jq": {"kind": ".kind"}},
              "destination": {"s3": {"bucket": bucket, "prefix": "data/kind=!{partitionKeyFromQuery:kind}/",
                                     "error_output_prefix": "errors/!{firehose:error-output-type}/"}}}  # fmt: skip
    daemon = daemon_of([broken], s3=minio.connection(), environment=minio.environment()).start()
    bad = [json.dumps({"id": number}).encode() for number in range(1200)]
    clients.put_all(clients.firehose(daemon), "events", bad + [b'{"id":-1,"kind":"k"}'])
    assert daemon.wait_drained("events")["failed"] == 1200
    daemon.stop()
    daemon.config["delivery_streams"] = [{**broken, "partitioning": {"jq": {"kind": '.kind // "none"'}}}]
    daemon.write_config()
    daemon.start()
    run = lambda *more: hydrant.command("replay", "events", *more, "-c", daemon.config_file, environment=minio.environment())
    status, out, err = run("--dry-run")
    assert status == 0 and "1200 records of 1 objects" in out, out + err
    status, out, err = run()
    assert status == 0 and "are durable in `events`" in out, out + err
    status, out, err = run(f"s3://{bucket}/errors/")
    assert status == 0 and "1200 replayed before" in out, out + err
    counters = daemon.wait_drained("events")
    assert (counters["delivered"], counters["failed"]) == (1201, 1200)
    data, _ = lake.split_errors(lake.in_bucket(minio.client, bucket))
    lake.same_multiset([row["id"] for found in data for row in found.rows()], range(-1, 1200))


def many(directory, objects=40, records=2500):
    names = [[f"{number}-{n}" for n in range(records)] for number in range(objects)]
    for number, inside in enumerate(names):
        write(directory / f"object-{number}", *(line("processing-failed", payload(name)) for name in inside))
    return [payload(name) for inside in names for name in inside]


def begun(daemon, source, entries):
    """A replay in its own process, once its journal has so many lines."""
    lines = lambda: sum(journal.read_bytes().count(b"\n") for journal in daemon.data_dir.glob("replay/*.journal"))
    before = lines()
    process = subprocess.Popen(
        [hydrant.BINARY, "replay", "events", source, "--json", "-c", daemon.config_file],
        env={**os.environ, "HYDRANT_TEST_SECRET": hydrant.SECRET_KEY},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    hydrant.wait_until("it is under way", lambda: lines() >= before + entries or process.poll() is not None, interval=0.001)
    assert process.poll() is None, "it was over before it could be interrupted"
    return process


def test_an_interrupted_replay_goes_on_and_puts_nothing_twice(daemon_of, tmp_path):
    everything = many(tmp_path / "errors")
    daemon = daemon_of([stream(tmp_path / "lake")]).start()
    for sign, entries in [(signal.SIGINT, 5), (signal.SIGTERM, 40)]:
        process = begun(daemon, tmp_path / "errors", entries)
        process.send_signal(sign)
        out, err = process.communicate(timeout=60)
        summary = json.loads(out)
        assert process.returncode == 1 and summary["interrupted"] and "run it again" in err, err
        assert summary["in_doubt"] == 0
    status, summary, err = replay(daemon, tmp_path / "errors")
    assert (status, summary["in_doubt"]) == (0, 0) and summary["replayed_before"] > 0, err
    assert summary["replayed"] + summary["replayed_before"] == len(everything)
    lake.same_multiset(delivered(daemon, tmp_path / "lake"), everything)


def test_after_a_kill_only_one_request_is_in_doubt(daemon_of, tmp_path):
    everything = many(tmp_path / "errors")
    daemon = daemon_of([stream(tmp_path / "lake")]).start()
    for entries in (3, 20, 50):
        process = begun(daemon, tmp_path / "errors", entries)
        process.kill()
        process.communicate()
    # And the daemon away under it: what it had not acked stays in doubt as well.
    process = begun(daemon, tmp_path / "errors", 10)
    daemon.kill_alive()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "it goes on where it was" in err
    daemon.start()
    status, summary, err = replay(daemon, tmp_path / "errors")
    assert status == 0 and summary["in_doubt"] <= 4 * 500, err
    counted = Counter(delivered(daemon, tmp_path / "lake"))
    assert set(counted) == set(everything), "something is missing"
    twice = sum(counted.values()) - len(everything)
    assert twice <= 4 * 500, twice
    print(f"{summary['in_doubt']} in doubt at the end, {twice} there twice")


def test_what_cannot_be_replayed_is_told(daemon_of, tmp_path):
    daemon = daemon_of([stream(tmp_path / "lake")]).start()
    large = line("splunk-failed", b"x" * 1_024_001)
    write(tmp_path / "errors/a", line("splunk-failed", b"fine\n"), b"half a li\n", large, b'{"rawData":"*","arrivalTimestamp":1}\n')
    status, summary, err = replay(daemon, tmp_path / "errors")
    assert (status, summary["replayed"], summary["unreadable"], summary["refused"]) == (1, 1, 2, 1)
    assert "3 lines could not be replayed" in err and "line=2" in err, err
    status, _, err = hydrant.command("replay", "other", "-c", daemon.config_file)
    assert status == 2 and "no delivery stream `other`" in err
    [journal] = daemon.data_dir.glob("replay/*.journal")
    status, _, err = hydrant.command("replay", "other", tmp_path / "errors", "--journal", journal, "-c", daemon.config_file)
    assert status == 2 and "is the journal of a replay into `events`" in err
    status, _, err = hydrant.command("replay", "other", tmp_path / "errors", "-c", daemon.config_file)
    assert status == 1 and "ResourceNotFoundException" in err
    journal.write_bytes(journal.read_bytes().replace(b'"put"', b'"pxt"'))
    status, _, err = replay(daemon, tmp_path / "errors")
    assert status == 65 and "line 2 of the journal" in err
