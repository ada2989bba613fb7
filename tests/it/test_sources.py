"""Delivery streams that read a Kinesis stream: every record once, through resharding and kill -9, and what the API says."""

import collections
import json

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError

import clients
import hydrant
import lake

ROLE = f"arn:aws:iam::{hydrant.ACCOUNT}:role/firehose"
DENIED = "This operation is not permitted on KinesisStreamAsSource delivery stream type."


def kinesis(daemon):
    return boto3.client(
        "kinesis",
        endpoint_url=daemon.endpoint,
        region_name=hydrant.REGION,
        aws_access_key_id=hydrant.ACCESS_KEY,
        aws_secret_access_key=hydrant.SECRET_KEY,
        config=botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=60),
    )


def from_yaml(directory, stream="clicks", **more):
    return {
        "name": directory.name,
        "from_stream": {"name": stream, **more},
        "buffering": {"size": "1 MiB", "interval": "1 s"},
        "destination": {"file": {"directory": str(directory)}},
    }


def put(client, numbers, stream="clicks"):
    numbers = list(numbers)
    for at in range(0, len(numbers), 500):
        records = [{"Data": json.dumps({"n": n}).encode(), "PartitionKey": f"key-{n % 40}"} for n in numbers[at:at + 500]]
        assert client.put_records(StreamName=stream, Records=records)["FailedRecordCount"] == 0


def numbers_in(objects):
    return collections.Counter(row["n"] for found in objects for row in found.rows())


def delivered_once(daemon, directory, numbers):
    """Each of the numbers is in exactly one object, and the accounting says the same."""
    numbers = list(numbers)

    def arrived():
        counters = daemon.accounting(directory.name)
        return counters if counters["delivered"] >= len(numbers) and counters["backlog"] == 0 else None

    counters = hydrant.wait_until(f"`{directory.name}` has delivered {len(numbers)}", arrived)
    lake.same_multiset(numbers_in(lake.in_directory(directory)).elements(), numbers)
    assert counters == {**dict.fromkeys(hydrant.PLACES, 0), "stored": len(numbers), "delivered": len(numbers)}


def refused(code, call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, 400), answer
    return answer["Error"]["Message"]


def make(daemon, client, shards=2):
    """The stream must be there before a YAML that reads it."""
    client.create_stream(StreamName="clicks", ShardCount=shards)
    return daemon


def with_readers(daemon, streams):
    daemon.stop()
    daemon.config["delivery_streams"] = streams
    daemon.write_config()
    return daemon.start()


def test_every_record_once_through_resharding_and_kill_9(daemon_of, tmp_path):
    daemon = daemon_of([]).start()
    client = kinesis(daemon)
    make(daemon, client)
    put(client, range(100))
    late, all_of_it = tmp_path / "late", tmp_path / "all"
    with_readers(daemon, [from_yaml(late), from_yaml(all_of_it, start="trim_horizon")])
    # Killed before anything more comes: `latest` is not looked at again.
    daemon.kill_alive()
    daemon.start()
    put(client, range(100, 1100))
    daemon.kill_alive()
    daemon.start()
    client.split_shard(StreamName="clicks", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126))
    put(client, range(1100, 2100))
    hydrant.wait_until("the split is over", lambda: is_active(client))
    open_shards = client.list_shards(StreamName="clicks", ShardFilter={"Type": "AT_LATEST"})["Shards"]
    one, other = sorted(open_shards, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))[:2]
    client.merge_shards(StreamName="clicks", ShardToMerge=one["ShardId"], AdjacentShardToMerge=other["ShardId"])
    put(client, range(2100, 3100))
    daemon.kill_alive()
    daemon.start()
    delivered_once(daemon, late, range(100, 3100))
    delivered_once(daemon, all_of_it, range(3100))


def is_active(client):
    summary = client.describe_stream_summary(StreamName="clicks")["StreamDescriptionSummary"]
    return summary["StreamStatus"] == "ACTIVE"


def test_a_source_made_by_the_api(daemon_of, tmp_path, minio, bucket):
    daemon = daemon_of([], s3=minio.connection(), environment=minio.environment()).start()
    client, firehose = kinesis(daemon), clients.firehose(daemon)
    arn = f"arn:aws:kinesis:{hydrant.REGION}:{hydrant.ACCOUNT}:stream/clicks"
    wanted = {
        "DeliveryStreamName": "reader",
        "DeliveryStreamType": "KinesisStreamAsSource",
        "KinesisStreamSourceConfiguration": {"KinesisStreamARN": arn, "RoleARN": ROLE},
        "ExtendedS3DestinationConfiguration": {
            "RoleARN": ROLE,
            "BucketARN": f"arn:aws:s3:::{bucket}",
            "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 1},
            "ProcessingConfiguration": {"Enabled": True, "Processors": [{"Type": "AppendDelimiterToRecord"}]},
        },
    }
    text = refused("InvalidArgumentException", firehose.create_delivery_stream, **wanted)
    assert text == "there is no Kinesis stream `clicks` in the region us-east-1"
    make(daemon, client)
    put(client, range(10))
    elsewhere = {"KinesisStreamARN": arn.replace(hydrant.REGION, "eu-west-1"), "RoleARN": ROLE}
    refused(
        "InvalidArgumentException",
        firehose.create_delivery_stream,
        **{**wanted, "KinesisStreamSourceConfiguration": elsewhere},
    )
    refused("InvalidArgumentException", firehose.create_delivery_stream, **{**wanted, "DeliveryStreamType": "DirectPut"})
    firehose.create_delivery_stream(**wanted)
    description = firehose.describe_delivery_stream(DeliveryStreamName="reader")["DeliveryStreamDescription"]
    assert description["DeliveryStreamType"] == "KinesisStreamAsSource"
    source = description["Source"]["KinesisStreamSourceDescription"]
    assert source["KinesisStreamARN"] == arn and source["RoleARN"] == ROLE
    assert source["DeliveryStartTimestamp"] == description["CreateTimestamp"]
    listed = {
        kind: firehose.list_delivery_streams(DeliveryStreamType=kind)["DeliveryStreamNames"]
        for kind in ("DirectPut", "KinesisStreamAsSource", "MSKAsSource")
    }
    assert listed == {"DirectPut": [], "KinesisStreamAsSource": ["reader"], "MSKAsSource": []}
    for call, data in (
        (firehose.put_record, {"Record": {"Data": b"x"}}),
        (firehose.put_record_batch, {"Records": [{"Data": b"x"}]}),
    ):
        assert refused("InvalidArgumentException", call, DeliveryStreamName="reader", **data) == DENIED
    put(client, range(10, 1010))
    daemon.kill_alive()
    daemon.start()
    daemon.wait_drained("reader")
    assert daemon.accounting("reader")["delivered"] == 1000
    lake.same_multiset(numbers_in(lake.in_bucket(minio.client, bucket)).elements(), range(10, 1010))
    # The stream stays as long as it is read, and no longer.
    text = refused("ResourceInUseException", client.delete_stream, StreamName="clicks")
    assert text == "the delivery stream `reader` reads it; delete that first"
    put(client, range(1))
    firehose.delete_delivery_stream(DeliveryStreamName="reader")
    client.delete_stream(StreamName="clicks")
    daemon.kill_alive()
    daemon.start()
    assert client.list_streams()["StreamNames"] == []
    assert firehose.list_delivery_streams()["DeliveryStreamNames"] == []


def test_what_a_yaml_may_not_say(daemon_of, tmp_path):
    directory = tmp_path / "lake"
    daemon = daemon_of([from_yaml(directory)])
    hydrant.wait_until("it has ended", daemon.spawn().process.poll)
    daemon.process = None
    assert "from_stream: there is no Kinesis stream `clicks`" in daemon.log()
    daemon.config["delivery_streams"] = []
    daemon.write_config()
    daemon.start()
    make(daemon, kinesis(daemon))
    with_readers(daemon, [from_yaml(directory)])
    daemon.stop()
    # A delivery stream keeps its source.
    direct = from_yaml(directory)
    del direct["from_stream"]
    daemon.config["delivery_streams"] = [direct]
    daemon.write_config()
    hydrant.wait_until("it has ended", daemon.spawn().process.poll)
    daemon.process = None
    assert "reads the Kinesis stream `clicks`, and its source cannot be changed" in daemon.log()
