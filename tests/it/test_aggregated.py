"""What the Kinesis Producer Library puts together, made and read by AWS's own code: as it was put through the API of Kinesis,
and taken apart by delivery streams, each user record once whatever is killed meanwhile."""

import base64
import collections
import json
from pathlib import Path

from aws_kinesis_agg import aggregator, deaggregator

import hydrant
import lake
from test_kinesis import kinesis, make, shards_of

TOP_KEY = 2**128 - 1


def aggregated(records):
    """`(partition key, explicit hash key, data)`, as entries of PutRecords."""
    made, entries = aggregator.RecordAggregator(max_size=20_000), []

    def take(full):
        if full:
            partition_key, hash_key, data = full.get_contents()
            steered = {"ExplicitHashKey": hash_key} if hash_key is not None else {}
            entries.append({"PartitionKey": partition_key, "Data": data, **steered})

    for partition_key, hash_key, data in records:
        take(made.add_user_record(partition_key, data, hash_key))
    take(made.clear_and_get())
    return entries


def put(client, stream, entries):
    for at in range(0, len(entries), 100):
        answer = client.put_records(StreamName=stream, Records=entries[at:at + 100])
        assert answer["FailedRecordCount"] == 0


def user_records(records):
    """By the reference implementation, which wants them as Lambda gets them."""
    events = [
        {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "sequenceNumber": record["SequenceNumber"],
                "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
                "partitionKey": record["PartitionKey"],
                "data": base64.b64encode(record["Data"]),
            }
        }
        for record in records
    ]
    return [user["kinesis"] for user in deaggregator.deaggregate_records(events)]


def all_of(client, stream, shard):
    kind = {"ShardIteratorType": "TRIM_HORIZON"}
    iterator = client.get_shard_iterator(StreamName=stream, ShardId=shard, **kind)["ShardIterator"]
    return client.get_records(ShardIterator=iterator)["Records"]


def reader(directory, **more):
    return {
        "name": directory.name,
        "from_stream": {"name": "clicks", **more},
        "buffering": {"size": "1 MiB", "interval": "1 s"},
        "destination": {"file": {"directory": str(directory)}},
    }


def with_clicks(daemon):
    daemon.config["streams"] = [{"name": "clicks", "shards": 2}]
    daemon.write_config()
    return daemon.start()


def data_of(n):
    return json.dumps({"n": n, "fill": "x" * (n % 300)}).encode()


def test_the_api_gives_aggregated_records_as_they_were_put(daemon_of):
    client = kinesis(daemon_of([]).start())
    make(client, "clicks", shards=2)
    shards = shards_of(client, "clicks")
    for shard in shards.values():
        start = shard["HashKeyRange"]["StartingHashKey"]
        given = [(f"user-{n}", start, data_of(n)) for n in range(500)]
        entries = aggregated(given)
        assert 1 < len(entries) < 50
        put(client, "clicks", entries)
        records = all_of(client, "clicks", shard["ShardId"])
        assert [record["Data"] for record in records] == [entry["Data"] for entry in entries]
        users = user_records(records)
        assert [(user["partitionKey"], user["explicitHashKey"], base64.b64decode(user["data"])) for user in users] == given
        subs = collections.Counter(user["sequenceNumber"] for user in users)
        assert list(subs) == [record["SequenceNumber"] for record in records]
        # A checkpoint within a record: the client library begins with that record again, and passes over what it had.
        middle = records[1]["SequenceNumber"]
        again = client.get_shard_iterator(
            StreamName="clicks", ShardId=shard["ShardId"], ShardIteratorType="AT_SEQUENCE_NUMBER", StartingSequenceNumber=middle
        )["ShardIterator"]
        rest = user_records(client.get_records(ShardIterator=again)["Records"])
        assert [user["subSequenceNumber"] for user in rest if user["sequenceNumber"] == middle] == list(range(subs[middle]))
        assert [user["data"] for user in rest] == [user["data"] for user in users[-len(rest):]]


def test_each_user_record_is_delivered_once_through_kill_9(daemon_of, tmp_path):
    apart, whole, by_team = tmp_path / "apart", tmp_path / "whole", tmp_path / "by-team"
    partitioned = {
        **reader(by_team, start="trim_horizon"),
        "processing": {"deaggregate": {"json": {}}},
        "partitioning": {"jq": {"team": ".n % 3"}},
        "destination": {
            "file": {
                "directory": str(by_team),
                "prefix": "ok/team=!{partitionKeyFromQuery:team}/",
                "error_output_prefix": "errors/",
            }
        },
    }
    readers = [reader(apart, start="trim_horizon"), reader(whole, start="trim_horizon", deaggregate=False), partitioned]
    daemon = with_clicks(daemon_of(readers))
    client = kinesis(daemon)
    sent, stored, two_in_one = [], 0, 0
    for round_ in range(4):
        numbers = range(round_ * 1000, (round_ + 1) * 1000)
        entries = aggregated([(f"user-{n % 40}", None, data_of(n)) for n in numbers])
        # Not from the library: one of them has two JSON objects in it.
        plain = [data_of(n) for n in (-1 - round_, -101 - round_)] + [data_of(-201 - round_) * 2]
        entries += [{"PartitionKey": "plain", "Data": data} for data in plain]
        put(client, "clicks", entries)
        sent += [data_of(n) for n in numbers] + plain
        stored, two_in_one = stored + len(entries), two_in_one + 1
        daemon.kill_alive()
        daemon.start()
    for directory, records in ((apart, len(sent)), (by_team, len(sent) + two_in_one), (whole, stored)):
        counters = daemon.wait_drained(directory.name)
        expected = {"stored": stored, "delivered": records}
        if records > stored:
            expected["split_off"] = records - stored
        assert counters == {**dict.fromkeys(hydrant.PLACES, 0), **expected}
    lines = [line for found in lake.in_directory(apart) for line in found.lines()]
    assert collections.Counter(lines) == collections.Counter(sent)
    rows = [row["n"] for found in lake.in_directory(by_team) for row in found.rows()]
    wanted = [*range(4000), *(-n for n in (1, 2, 3, 4, 101, 102, 103, 104)), *(-n for n in (201, 202, 203, 204) for _ in "12")]
    lake.same_multiset(rows, wanted)
    assert b"".join(found.body for found in lake.in_directory(whole)).count(b"\xf3\x89\x9a\xc2") == stored - 4 * 3


def test_error_records_and_buckets_have_user_records(daemon_of, minio, bucket):
    stream = {
        **reader(Path("archive")),
        "format": {"parquet": {"columns": {"n": "int"}}},
        "destination": {"s3": {"bucket": bucket, "prefix": "ok/", "error_output_prefix": "errors/"}},
    }
    stream["from_stream"]["start"] = "trim_horizon"
    daemon = with_clicks(daemon_of([stream], s3=minio.connection(), environment=minio.environment()))
    client = kinesis(daemon)
    data = [b'{"n":%d}' % n if n % 5 else b"no json %d" % n for n in range(100)]
    put(client, "clicks", aggregated([("k", str(TOP_KEY), one) for one in data]))
    counters = daemon.wait_drained("archive")
    assert (counters["stored"], counters["split_off"], counters["delivered"], counters["failed"]) == (1, 99, 80, 20)
    _, text = daemon.admin("/metrics")
    assert 'hydrant_split_off_records{delivery_stream="archive"} 99' in (text if isinstance(text, str) else text.decode())
    objects, errors = lake.split_errors(lake.in_bucket(minio.client, bucket))
    lake.same_multiset([row["n"] for found in objects for row in found.rows()], [n for n in range(100) if n % 5])
    failed = [row for found in errors for row in found.rows()]
    found = sorted((row["subSequenceNumber"], base64.b64decode(row["rawData"])) for row in failed)
    assert found == [(n, data[n]) for n in range(0, 100, 5)]
