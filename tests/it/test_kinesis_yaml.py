"""Kinesis streams and limits of the YAML."""

import botocore.config
import boto3
import pytest

import hydrant
from test_kinesis import check_all_there, from_start, kinesis, make, put, refused, walk
from test_kinesis_fan_out import events_of, register, subscribe

FIRST = "shardId-000000000000"


def elsewhere(daemon, region):
    return boto3.client(
        "kinesis", endpoint_url=daemon.endpoint, region_name=region, aws_access_key_id=hydrant.ACCESS_KEY,
        aws_secret_access_key=hydrant.SECRET_KEY, config=botocore.config.Config(retries={"total_max_attempts": 1}))


def test_streams_of_the_yaml_are_what_it_says_at_every_start(daemon_of):
    daemon = daemon_of([])
    daemon.config["streams"] = [{"name": "clicks", "shards": 2}, {"name": "pinned", "region": "eu-west-1"}]
    daemon.write_config()
    daemon.start()
    client, european = kinesis(daemon), elsewhere(daemon, "eu-west-1")
    assert client.list_streams()["StreamNames"] == ["clicks"]
    assert european.list_streams()["StreamNames"] == ["clicks", "pinned"]
    placed = put(client, "clicks", range(100))
    for name in ("clicks", "pinned"):
        refused("ResourceInUseException", european.create_stream, StreamName=name, ShardCount=1)
    make(client, "pinned", 1)
    arn = client.describe_stream_summary(StreamName="clicks")["StreamDescriptionSummary"]["StreamARN"]
    for call, more in [
        (client.delete_stream, {"StreamName": "clicks"}),
        (client.increase_stream_retention_period, {"StreamName": "clicks", "RetentionPeriodHours": 48}),
        (client.update_shard_count, {"StreamName": "clicks", "TargetShardCount": 4, "ScalingType": "UNIFORM_SCALING"}),
        (client.update_stream_mode, {"StreamARN": arn, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}}),
    ]:
        assert "managed by the configuration file" in refused("InvalidArgumentException", call, **more)
    register(client, "clicks")

    daemon.kill_alive()
    daemon.config["streams"] = [{"name": "clicks", "shards": 3, "mode": "on_demand", "retention": "7 d"}]
    daemon.write_config()
    # `pinned` of the YAML is empty and goes; the one of the API has nothing to do with it.
    daemon.start()
    assert european.list_streams()["StreamNames"] == ["clicks"]
    assert client.list_streams()["StreamNames"] == ["clicks", "pinned"]
    summary = client.describe_stream_summary(StreamName="clicks")["StreamDescriptionSummary"]
    assert (summary["OpenShardCount"], summary["RetentionPeriodHours"], summary["ConsumerCount"]) == (3, 168, 1)
    assert summary["StreamModeDetails"]["StreamMode"] == "ON_DEMAND"
    placed |= put(elsewhere(daemon, "ap-south-1"), "clicks", range(100, 200))
    check_all_there(walk(client, "clicks"), placed)

    daemon.kill_alive()
    daemon.config["streams"] = []
    daemon.write_config()
    status, _, err = hydrant.command("run", "-c", daemon.config_file)
    assert status == 78 and "Kinesis stream `clicks` is not in the configuration any more" in err, err
    daemon.start("--discard-backlog", "kinesis/clicks")
    assert client.list_streams()["StreamNames"] == ["pinned"]
    daemon.stop()
    daemon.config["streams"] = [{"name": "pinned"}]
    daemon.write_config()
    status, _, err = hydrant.command("run", "-c", daemon.config_file)
    assert status == 78 and "there is a Kinesis stream `pinned` already, made by the API" in err, err


def test_limits_throttle_as_aws_does(daemon_of):
    limits = {"shard_records_in": 100, "shard_bytes_in": "1 MiB", "shard_bytes_out": "1 MiB", "shard_reads": 5,
              "control_calls": "aws", "shards": 6, "on_demand_streams": 1, "consumers": 1, "subscription": "2 s"}
    daemon = daemon_of([], limits=limits).start()
    client = kinesis(daemon)
    make(client, "s", 1)
    make(client, "two", 2)
    message = refused("LimitExceededException", client.create_stream, StreamName="more", ShardCount=4)
    assert "Current shard count for the account: 3. Limit: 6." in message
    assert client.describe_limits()["ShardLimit"] == 6

    answer = client.put_records(StreamName="s", Records=[{"Data": b"x", "PartitionKey": "k"}] * 500)
    failed = [entry for entry in answer["Records"] if "ErrorCode" in entry]
    assert answer["FailedRecordCount"] == len(failed) and 350 <= len(failed) <= 400
    assert failed[0]["ErrorCode"] == "ProvisionedThroughputExceededException"
    assert failed[0]["ErrorMessage"] == f"Rate exceeded for shard {FIRST} in stream s under account {hydrant.ACCOUNT}."
    # The first ones were stored, and nothing of the others.
    assert all("SequenceNumber" in entry for entry in answer["Records"][:100])
    records, _ = from_start(client, "s", FIRST)
    assert [record["SequenceNumber"] for record in records] == [
        entry["SequenceNumber"] for entry in answer["Records"] if "ErrorCode" not in entry]

    def until_refused(code, call, most, **arguments):
        for made in range(most):
            try:
                call(**arguments)
            except client.exceptions.ClientError as error:
                assert error.response["Error"]["Code"] == code, error
                return made
        raise AssertionError("never refused")

    exceeded = "ProvisionedThroughputExceededException"
    # Each takes what the shard takes in a second, so that a slow machine is refused too.
    until_refused(exceeded, client.put_record, 20, StreamName="s", Data=b"x" * 1_000_000, PartitionKey="k")
    iterator = client.get_shard_iterator(StreamName="two", ShardId=FIRST, ShardIteratorType="LATEST")["ShardIterator"]
    assert until_refused(exceeded, client.get_records, 50, ShardIterator=iterator) >= 5
    until_refused("LimitExceededException", client.describe_limits, 50)

    consumer = register(client, "two")
    refused("LimitExceededException", client.register_stream_consumer, ConsumerName="more",
            StreamARN=consumer.split("/consumer")[0])
    stream = subscribe(client, consumer, Type="LATEST")
    assert [event["Records"] for event in events_of(stream)] == [], "it ends after its time, with nothing said"


@pytest.mark.parametrize("limits", [{}, {"shards": "off", "consumers": "off"}])
def test_without_limits_nothing_is_throttled(daemon_of, limits):
    client = kinesis(daemon_of([], limits=limits).start())
    make(client, "s", 1)
    for _ in range(6):
        assert client.put_records(StreamName="s", Records=[{"Data": b"x", "PartitionKey": "k"}] * 500)["FailedRecordCount"] == 0
    iterator = client.get_shard_iterator(StreamName="s", ShardId=FIRST, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    for _ in range(20):
        client.get_records(ShardIterator=iterator)
