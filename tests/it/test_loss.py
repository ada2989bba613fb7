"""Damage to what was synced: told before anything starts, given up by name, and counted; all else is delivered exactly once."""

import json

import hydrant
import lake
import test_sources as sources
from test_store import CORRUPT, STREAM, refused, stream

import clients


def put(daemon, numbers):
    records = [{"Data": clients.base64.b64encode(b'{"id": %d}\n' % number).decode()} for number in numbers]
    status, answer = clients.Signer(daemon).post("PutRecordBatch", {"DeliveryStreamName": STREAM, "Records": records})
    assert status == 200 and answer["FailedPutCount"] == 0, answer


def cut_last_group(daemon):
    """As if the device had never had it."""
    segment = sorted((daemon.data_dir / "streams").glob("*/*.seg"))[-1]
    content = segment.read_bytes()
    start = content.rindex(b"HFRM")
    segment.write_bytes(content[:start] + bytes(len(content) - start))


def test_lost_records_are_counted_and_the_rest_is_delivered(daemon_of, tmp_path):
    daemon = daemon_of([stream(tmp_path)]).start()
    for start in (100, 200, 300):
        put(daemon, range(start, start + 10))
    daemon.kill()
    segment = sorted((daemon.data_dir / "streams").glob("*/*.seg"))[-1]
    damaged = segment.read_bytes().replace(b'{"id": 205}', b'{"id": ???}', 1)
    segment.write_bytes(damaged)
    refused(daemon, CORRUPT, f"delivery stream `{STREAM}`", "LSNs 11 to 20 were stored and cannot be read", f"--accept-loss {STREAM}")
    assert segment.read_bytes() == damaged, "nothing was changed"
    daemon.start("--accept-loss", STREAM)
    assert daemon.accounting(STREAM)["stored"] == 30
    daemon.stop()
    daemon.start()
    counters = daemon.accounting(STREAM)
    assert (counters["stored"], counters["delivered"], counters["lost"], counters["backlog"]) == (30, 20, 10, 0)
    assert f'hydrant_lost_records{{delivery_stream="{STREAM}"}} 10' in daemon.admin("/metrics")[1].decode()
    assert "first=11 last=20 records=10" in daemon.log(), daemon.log_tail()
    status, out, _ = hydrant.command("status", "-c", daemon.config_file)
    assert status == 0 and " lost " in out, out
    daemon.stop()
    lines = [line for path in (tmp_path / "lake").rglob("*") if path.is_file() for line in path.read_text().split()]
    ids = sorted(int(number) for number in "".join(lines).replace('{"id":', " ").replace("}", " ").split())
    assert ids == [*range(100, 110), *range(300, 310)]


def test_a_log_that_lost_its_end_is_given_up_as_far_as_the_journal_names(daemon_of, tmp_path):
    soon = {**stream(tmp_path), "buffering": {"size": "1 MiB", "interval": "1 s"}}
    daemon = daemon_of([soon]).start()
    put(daemon, range(100, 110))
    put(daemon, range(200, 210))
    daemon.wait_drained(STREAM)
    daemon.kill()
    cut_last_group(daemon)
    refused(daemon, CORRUPT, f"delivery stream `{STREAM}`", f"--accept-loss {STREAM}")
    daemon.start("--accept-loss", STREAM)
    put(daemon, range(300, 310))
    daemon.stop()
    lines = [line for path in (tmp_path / "lake").rglob("*") if path.is_file() for line in path.read_text().split()]
    ids = sorted(int(number) for number in "".join(lines).replace('{"id":', " ").replace("}", " ").split())
    assert ids == [*range(100, 110), *range(200, 210), *range(300, 310)], "what was delivered stays so, and what is new is"


def test_lost_records_of_a_kinesis_stream_are_given_up_for_consumers_and_for_delivery_streams(daemon_of, tmp_path):
    slow = {**sources.from_yaml(tmp_path / "lake", start="trim_horizon"), "buffering": {"size": "1 MiB", "interval": "300 s"}}
    daemon = clicks(daemon_of([slow]), 2).start()
    client = sources.kinesis(daemon)
    for start in (100, 200, 300):
        sources.put(client, range(start, start + 10))
    daemon.kill()
    segment = sorted((daemon.data_dir / "streams").glob("*/*.seg"))[-1]
    segment.write_bytes(segment.read_bytes().replace(b'{"n": 205}', b'{"n": ???}', 1))
    refused(daemon, CORRUPT, "Kinesis stream `clicks`", "LSNs 14 to 20 were stored", "--accept-loss kinesis/clicks")
    daemon.start("--accept-loss", "kinesis/clicks")
    client = sources.kinesis(daemon)
    rest = sorted(numbers_read(client))
    # A frame holds the records that one group brought one shard.
    gone = set(range(200, 210)) - set(rest)
    assert len(gone) == 7 and 205 in gone
    assert rest == sorted({*range(100, 110), *range(200, 210), *range(300, 310)} - gone)
    sources.put(client, range(400, 410))
    daemon.stop()
    daemon.start()
    counters = daemon.accounting("lake")
    assert (counters["stored"], counters["delivered"], counters["lost"], counters["backlog"]) == (40, 33, 7, 0), counters
    lake.same_multiset(sources.numbers_in(lake.in_directory(tmp_path / "lake")).elements(), [*rest, *range(400, 410)])


def test_a_kinesis_stream_that_lost_its_end_is_given_up_as_far_as_its_readers_name(daemon_of, tmp_path):
    daemon = clicks(daemon_of([sources.from_yaml(tmp_path / "lake")]), 1).start()
    client = sources.kinesis(daemon)
    sources.put(client, range(100, 110))
    sources.put(client, range(200, 210))
    daemon.wait_drained("lake")
    daemon.kill()
    cut_last_group(daemon)
    refused(daemon, CORRUPT, "delivery stream `lake`", "--accept-loss kinesis/clicks")
    daemon.start("--accept-loss", "kinesis/clicks")
    client = sources.kinesis(daemon)
    sources.put(client, range(300, 310))
    assert sorted(numbers_read(client)) == [*range(100, 110), *range(300, 310)]
    daemon.stop()
    everything = [*range(100, 110), *range(200, 210), *range(300, 310)]
    lake.same_multiset(sources.numbers_in(lake.in_directory(tmp_path / "lake")).elements(), everything)


def clicks(daemon, shards):
    daemon.config["streams"] = [{"name": "clicks", "shards": shards}]
    daemon.write_config()
    return daemon


def numbers_read(client):
    """By a consumer, from the horizon to the tip of every shard."""
    numbers = []
    for shard in client.list_shards(StreamName="clicks")["Shards"]:
        iterator = client.get_shard_iterator(StreamName="clicks", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        behind, iterator = 1, iterator["ShardIterator"]
        while behind:
            answer = client.get_records(ShardIterator=iterator)
            numbers += [json.loads(record["Data"])["n"] for record in answer["Records"]]
            behind, iterator = answer["MillisBehindLatest"], answer["NextShardIterator"]
    return numbers
