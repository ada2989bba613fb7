"""Kinesis Data Streams by unchanged boto3 and aws-cli: numbers, order, shards that change, and kill -9 in between."""

import collections
import hashlib
import json
import os
import subprocess
import sys

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError

import clients
import hydrant

MIB = 1024 * 1024
TOP_KEY = 2**128 - 1
CREATED = 3


@pytest.fixture
def daemon(daemon_of):
    return daemon_of([], data_dir_encrypted=True).start()


def kinesis(daemon):
    """No retries: a test wants the first answer."""
    return boto3.client(
        "kinesis",
        endpoint_url=daemon.endpoint,
        region_name=hydrant.REGION,
        aws_access_key_id=hydrant.ACCESS_KEY,
        aws_secret_access_key=hydrant.SECRET_KEY,
        config=botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=60),
    )


def make(client, name, shards=CREATED, **more):
    client.create_stream(StreamName=name, ShardCount=shards, **more)
    client.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def refused(code, call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, 400), answer
    return answer["Error"]["Message"]


def shards_of(client, stream, **filters):
    return {shard["ShardId"]: shard for shard in client.list_shards(StreamName=stream, **filters)["Shards"]}


def read(client, iterator, limit=10_000):
    """All records to the tip or to the end of the shard, and the child shards that the end names."""
    records = []
    while True:
        answer = client.get_records(ShardIterator=iterator, Limit=limit)
        records += answer["Records"]
        following = answer.get("NextShardIterator")
        # Readers count on it: no next iterator if and only if there are children.
        assert (following is None) == ("ChildShards" in answer), answer
        if following is None:
            return records, answer["ChildShards"]
        if not answer["Records"] and answer["MillisBehindLatest"] == 0:
            return records, None
        iterator = following


def from_start(client, stream, shard):
    kind = {"ShardIteratorType": "TRIM_HORIZON"}
    return read(client, client.get_shard_iterator(StreamName=stream, ShardId=shard, **kind)["ShardIterator"])


def put(client, stream, numbers, keys=40):
    """Records with the number as data and one of the keys; gives what the answers say, by number."""
    placed, numbers = {}, list(numbers)
    for at in range(0, len(numbers), 500):
        part = numbers[at:at + 500]
        entries = [{"Data": str(number).encode(), "PartitionKey": f"key-{number % keys}"} for number in part]
        answer = client.put_records(StreamName=stream, Records=entries)
        assert answer["FailedRecordCount"] == 0 and len(answer["Records"]) == len(part)
        placed.update(zip(part, answer["Records"]))
    return placed


def walk(client, stream):
    """Every record, parents before children, found by nothing but ChildShards from the oldest shards on."""
    waiting = collections.deque(shards_of(client, stream, ShardFilter={"Type": "AT_TRIM_HORIZON"}))
    found, done = [], set()
    while waiting:
        shard = waiting.popleft()
        if shard in done:
            continue
        records, children = from_start(client, stream, shard)
        numbers = [int(record["SequenceNumber"]) for record in records]
        assert numbers == sorted(set(numbers)), "numbers grow within a shard"
        found += [(shard, record) for record in records]
        done.add(shard)
        for child in children or []:
            if set(child["ParentShards"]) <= done:
                waiting.append(child["ShardId"])
    return found


def check_all_there(found, placed):
    """Each acked record once, where and as its answer said, in order of its key; returns nothing."""
    by_number = {int(record["Data"]): (shard, record) for shard, record in found}
    assert len(found) == len(by_number) == len(placed)
    for number, answer in placed.items():
        shard, record = by_number[number]
        assert (shard, record["SequenceNumber"]) == (answer["ShardId"], answer["SequenceNumber"])
    last = {}
    for _, record in found:
        key, number = record["PartitionKey"], int(record["Data"])
        # Numbers were put in order, so each key's must come in order, across parents and children.
        assert number > last.get(key, (-1, 0))[0], f"{key}: {number} after {last[key]}"
        assert int(record["SequenceNumber"]) > last.get(key, (-1, 0))[1]
        last[key] = (number, int(record["SequenceNumber"]))


def test_the_life_of_a_stream_with_kill_9_in_between(daemon):
    client = kinesis(daemon)
    make(client, "orders")
    placed = put(client, "orders", range(1000))
    shards = shards_of(client, "orders")
    assert sorted(shards) == [f"shardId-{number:012}" for number in range(CREATED)]
    for number, answer in placed.items():
        key = int.from_bytes(hashlib.md5(f"key-{number % 40}".encode()).digest(), "big")
        held = shards[answer["ShardId"]]["HashKeyRange"]
        assert int(held["StartingHashKey"]) <= key <= int(held["EndingHashKey"])
        assert len(answer["SequenceNumber"]) == 56
    assert len({answer["SequenceNumber"] for answer in placed.values()}) == 1000
    daemon.kill_alive()
    daemon.start()
    check_all_there(walk(client, "orders"), placed)

    # An iterator outlives the restart too.
    tip = client.get_shard_iterator(StreamName="orders", ShardId="shardId-000000000000", ShardIteratorType="LATEST")
    middle = int(shards["shardId-000000000000"]["HashKeyRange"]["EndingHashKey"]) // 2
    client.split_shard(StreamName="orders", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(middle))
    daemon.kill_alive()
    daemon.start()
    records, children = read(client, tip["ShardIterator"])
    assert records == [] and [child["ShardId"] for child in children] == ["shardId-000000000003", "shardId-000000000004"]
    assert all(child["ParentShards"] == ["shardId-000000000000"] for child in children)
    placed |= put(client, "orders", range(1000, 2000))
    client.merge_shards(
        StreamName="orders", ShardToMerge="shardId-000000000001", AdjacentShardToMerge="shardId-000000000002"
    )
    placed |= put(client, "orders", range(2000, 3000))
    daemon.kill_alive()
    daemon.start()
    shards = shards_of(client, "orders")
    assert shards["shardId-000000000005"]["AdjacentParentShardId"] == "shardId-000000000002"
    open_now = shards_of(client, "orders", ShardFilter={"Type": "AT_LATEST"})
    ranges = sorted((int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"]))
                    for shard in open_now.values())
    assert len(ranges) == 3 and ranges[0][0] == 0 and ranges[-1][1] == TOP_KEY
    assert all(one[1] + 1 == two[0] for one, two in zip(ranges, ranges[1:]))
    check_all_there(walk(client, "orders"), placed)

    scaled = client.update_shard_count(StreamName="orders", TargetShardCount=6, ScalingType="UNIFORM_SCALING")
    assert (scaled["CurrentShardCount"], scaled["TargetShardCount"]) == (3, 6)
    placed |= put(client, "orders", range(3000, 4000))
    check_all_there(walk(client, "orders"), placed)
    assert client.describe_stream_summary(StreamName="orders")["StreamDescriptionSummary"]["OpenShardCount"] == 6

    old = client.get_shard_iterator(StreamName="orders", ShardId="shardId-000000000003", ShardIteratorType="TRIM_HORIZON")
    client.delete_stream(StreamName="orders")
    hydrant.wait_until("the stream is gone", lambda: client.list_streams()["StreamNames"] == [])
    refused("ResourceNotFoundException", client.describe_stream, StreamName="orders")
    refused("InvalidArgumentException", client.get_records, ShardIterator=old["ShardIterator"])
    assert list((daemon.data_dir / "streams").iterdir()) == []
    make(client, "orders", 1)
    assert walk(client, "orders") == []
    daemon.stop()


def test_every_type_of_iterator(daemon):
    client = kinesis(daemon)
    make(client, "s", 1)
    shard = "shardId-000000000000"
    put(client, "s", range(100))
    records, _ = from_start(client, "s", shard)
    assert [int(record["Data"]) for record in records] == list(range(100))
    tenth = records[10]

    def given(kind, **more):
        return client.get_shard_iterator(StreamName="s", ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"]

    def data(iterator, limit=10_000):
        return [int(record["Data"]) for record in read(client, iterator, limit)[0]]

    assert data(given("AT_SEQUENCE_NUMBER", StartingSequenceNumber=tenth["SequenceNumber"])) == list(range(10, 100))
    assert data(given("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=tenth["SequenceNumber"])) == list(range(11, 100))
    start = shards_of(client, "s")[shard]["SequenceNumberRange"]["StartingSequenceNumber"]
    assert data(given("AT_SEQUENCE_NUMBER", StartingSequenceNumber=start), limit=7) == list(range(100))
    latest = given("LATEST")
    assert data(latest) == []
    one = client.put_record(StreamName="s", Data=b"100", PartitionKey="k", SequenceNumberForOrdering=tenth["SequenceNumber"])
    assert int(one["SequenceNumber"]) > int(records[-1]["SequenceNumber"])
    assert data(latest) == [100]
    # Whole seconds reach the daemon, so the time is from before the first record.
    early = tenth["ApproximateArrivalTimestamp"].replace(microsecond=0)
    assert data(given("AT_TIMESTAMP", Timestamp=early)) == list(range(101))
    behind = client.get_records(ShardIterator=given("TRIM_HORIZON"), Limit=1)
    assert behind["MillisBehindLatest"] > 0 and len(behind["Records"]) == 1


def test_large_records_come_back_byte_for_byte_under_the_cap(daemon):
    client = kinesis(daemon)
    make(client, "large", 1)
    payload = bytes(range(256)) * (MIB // 256)
    for _ in range(2):
        entries = [{"Data": payload, "PartitionKey": f"ключ-{number}"} for number in range(9)]
        assert client.put_records(StreamName="large", Records=entries)["FailedRecordCount"] == 0
    shard = {"StreamName": "large", "ShardId": "shardId-000000000000"}
    iterator = client.get_shard_iterator(ShardIteratorType="TRIM_HORIZON", **shard)["ShardIterator"]
    first = client.get_records(ShardIterator=iterator)
    assert sum(len(record["Data"]) for record in first["Records"]) <= 10 * MIB and first["MillisBehindLatest"] > 0
    records, _ = read(client, iterator)
    assert [record["Data"] for record in records] == [payload] * 18
    assert records[3]["PartitionKey"] == "ключ-3"
    message = refused("ValidationException", client.put_record, StreamName="large", Data=payload + b"x", PartitionKey="k")
    assert "less than or equal to 1048576" in message
    refused("InvalidArgumentException", client.put_records, StreamName="large",
            Records=[{"Data": payload, "PartitionKey": "k"}] * 10)


def test_errors_are_those_of_aws(daemon):
    client = kinesis(daemon)
    make(client, "s", 2, Tags={"team": "data"})
    account = hydrant.ACCOUNT
    message = refused("ResourceInUseException", client.create_stream, StreamName="s", ShardCount=1)
    assert message == f"Stream s under account {account} already exists."
    message = refused("ResourceNotFoundException", client.put_record, StreamName="no", Data=b"x", PartitionKey="k")
    assert message == f"Stream no under account {account} not found."
    refused("LimitExceededException", client.create_stream, StreamName="huge", ShardCount=100_000)
    refused("ValidationException", client.create_stream, StreamName="none")
    refused("ValidationException", client.put_records, StreamName="s", Records=[{"Data": b"", "PartitionKey": "k"}] * 501)
    refused("InvalidArgumentException", client.put_record, StreamName="s", Data=b"", PartitionKey="k",
            ExplicitHashKey=str(2**128))
    shard = {"StreamName": "s", "ShardId": "shardId-000000000000"}
    refused("ResourceNotFoundException", client.get_shard_iterator, StreamName="s", ShardId="shardId-000000000009",
            ShardIteratorType="LATEST")
    refused("InvalidArgumentException", client.get_shard_iterator, ShardIteratorType="AT_SEQUENCE_NUMBER", **shard)
    other = client.put_record(StreamName="s", Data=b"x", PartitionKey="k", ExplicitHashKey=str(TOP_KEY))
    assert other["ShardId"] == "shardId-000000000001"
    message = refused("InvalidArgumentException", client.get_shard_iterator, ShardIteratorType="AT_SEQUENCE_NUMBER",
                      StartingSequenceNumber=other["SequenceNumber"], **shard)
    assert "encodes shardId-000000000001" in message
    iterator = client.get_shard_iterator(ShardIteratorType="LATEST", **shard)["ShardIterator"]
    for at in (3, len(iterator) // 2, len(iterator) - 2):
        changed = iterator[:at] + ("A" if iterator[at] != "A" else "B") + iterator[at + 1:]
        assert refused("InvalidArgumentException", client.get_records, ShardIterator=changed) == "Invalid ShardIterator."
    refused("InvalidArgumentException", client.split_shard, StreamName="s", ShardToSplit="shardId-000000000000",
            NewStartingHashKey="1")
    refused("InvalidArgumentException", client.merge_shards, StreamName="s", ShardToMerge="shardId-000000000001",
            AdjacentShardToMerge="shardId-000000000000")
    refused("LimitExceededException", client.update_shard_count, StreamName="s", TargetShardCount=5,
            ScalingType="UNIFORM_SCALING")
    position = {"StreamARN": f"arn:aws:kinesis:{hydrant.REGION}:{account}:stream/s", "StartingPosition": {"Type": "LATEST"}}
    message = refused("InvalidArgumentException", client.create_queue, QueueName="q", StreamConfigurationList=[position])
    assert message == "CreateQueue is not supported by this version of Hydrant"
    firehose = clients.firehose(daemon)
    assert firehose.list_delivery_streams()["DeliveryStreamNames"] == []


def test_settings_tags_and_pages_outlive_a_kill(daemon):
    client = kinesis(daemon)
    for name in ("a", "b", "c"):
        make(client, name, 1)
    client.create_stream(StreamName="d", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    pages = client.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 3})
    assert [page["StreamNames"] for page in pages] == [["a", "b", "c"], ["d"]]
    summary = client.describe_stream_summary(StreamName="d")["StreamDescriptionSummary"]
    assert summary["StreamModeDetails"]["StreamMode"] == "ON_DEMAND" and summary["OpenShardCount"] == 4
    refused("ValidationException", client.update_shard_count, StreamName="d", TargetShardCount=8,
            ScalingType="UNIFORM_SCALING")
    page = client.list_shards(StreamName="d", MaxResults=3)
    assert len(page["Shards"]) == 3 and len(client.list_shards(NextToken=page["NextToken"])["Shards"]) == 1
    arn = summary["StreamARN"]
    assert arn == f"arn:aws:kinesis:{hydrant.REGION}:{hydrant.ACCOUNT}:stream/d"
    client.increase_stream_retention_period(StreamARN=arn, RetentionPeriodHours=48)
    refused("InvalidArgumentException", client.increase_stream_retention_period, StreamName="d", RetentionPeriodHours=48)
    client.add_tags_to_stream(StreamName="d", Tags={"team": "data", "cost": "1"})
    client.remove_tags_from_stream(StreamName="d", TagKeys=["cost"])
    daemon.kill_alive()
    daemon.start()
    described = client.describe_stream(StreamName="d")["StreamDescription"]
    assert (described["RetentionPeriodHours"], len(described["Shards"])) == (48, 4)
    assert client.list_tags_for_stream(StreamName="d")["Tags"] == [{"Key": "team", "Value": "data"}]
    client.decrease_stream_retention_period(StreamName="d", RetentionPeriodHours=24)
    limits = client.describe_limits()
    assert (limits["OpenShardCount"], limits["OnDemandStreamCount"]) == (7, 1)


def test_aws_cli(daemon):
    def aws(*arguments):
        environment = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": hydrant.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": hydrant.SECRET_KEY,
            "AWS_DEFAULT_REGION": hydrant.REGION,
            "AWS_MAX_ATTEMPTS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "awscli", "--endpoint-url", daemon.endpoint, "kinesis", *arguments],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    assert aws("create-stream", "--stream-name", "cli", "--shard-count", "2") is None
    answer = aws("put-record", "--stream-name", "cli", "--partition-key", "k", "--data", "hello")
    described = aws("describe-stream", "--stream-name", "cli")["StreamDescription"]
    assert described["StreamStatus"] == "ACTIVE" and len(described["Shards"]) == 2
    iterator = aws("get-shard-iterator", "--stream-name", "cli", "--shard-id", answer["ShardId"],
                   "--shard-iterator-type", "TRIM_HORIZON")["ShardIterator"]
    assert aws("get-records", "--shard-iterator", iterator)["Records"][0]["SequenceNumber"] == answer["SequenceNumber"]


def test_what_is_said_of_streams_and_consumers_outlives_a_kill(daemon):
    client = kinesis(daemon)
    make(client, "s", 2)
    arn = f"arn:aws:kinesis:{hydrant.REGION}:{hydrant.ACCOUNT}:stream/s"
    consumer = client.register_stream_consumer(StreamARN=arn, ConsumerName="c", Tags={"of": "c"})["Consumer"]["ConsumerARN"]
    policy = {"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"AWS": hydrant.ACCOUNT}, "Action": "kinesis:GetRecords", "Resource": arn}}
    for resource in (arn, consumer):
        refused("ResourceNotFoundException", client.get_resource_policy, ResourceARN=resource)
        client.put_resource_policy(ResourceARN=resource, Policy=json.dumps(policy))
        client.tag_resource(ResourceARN=resource, Tags={"team": "data", "cost": "1"})
        client.untag_resource(ResourceARN=resource, TagKeys=["cost"])
    for wrong in ("{", "[]", json.dumps({**policy, "Statement": {"Effect": "Perhaps"}})):
        refused("InvalidArgumentException", client.put_resource_policy, ResourceARN=arn, Policy=wrong)
    refused("InvalidArgumentException", client.tag_resource, ResourceARN=consumer,
            Tags={f"tag-{number}": "" for number in range(60)})
    refused("ValidationException", client.list_tags_for_resource, ResourceARN="arn:aws:s3:::bucket")

    changed = client.enable_enhanced_monitoring(StreamName="s", ShardLevelMetrics=["ALL"])
    assert changed["CurrentShardLevelMetrics"] == [] and len(changed["DesiredShardLevelMetrics"]) == 7
    changed = client.disable_enhanced_monitoring(StreamARN=arn, ShardLevelMetrics=["IncomingBytes", "OutgoingBytes"])
    assert len(changed["DesiredShardLevelMetrics"]) == 5 and changed["StreamARN"] == arn
    refused("ValidationException", client.enable_enhanced_monitoring, StreamName="s", ShardLevelMetrics=["Some"])
    refused("InvalidArgumentException", client.start_stream_encryption, StreamName="s", EncryptionType="KMS", KeyId="my key")
    own = "arn:aws:kms:us-east-1:123456789012:key/0f1e2d3c-0000-4000-8000-000000000000"
    text = refused("InvalidArgumentException", client.start_stream_encryption, StreamName="s", EncryptionType="KMS", KeyId=own)
    assert "alias/aws/kinesis" in text
    client.start_stream_encryption(StreamName="s", EncryptionType="KMS", KeyId="alias/aws/kinesis")
    client.update_stream_mode(StreamARN=arn, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    client.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=2048)
    refused("ValidationException", client.split_shard, StreamName="s", ShardToSplit="shardId-000000000000",
            NewStartingHashKey="7")
    daemon.kill_alive()
    daemon.start()

    for resource, tags in ((arn, {"team": "data"}), (consumer, {"of": "c", "team": "data"})):
        assert json.loads(client.get_resource_policy(ResourceARN=resource)["Policy"]) == policy
        listed = client.list_tags_for_resource(ResourceARN=resource)["Tags"]
        assert {tag["Key"]: tag["Value"] for tag in listed} == tags
        client.delete_resource_policy(ResourceARN=resource)
        refused("ResourceNotFoundException", client.delete_resource_policy, ResourceARN=resource)
    described = client.describe_stream(StreamName="s")["StreamDescription"]
    assert (described["EncryptionType"], described["KeyId"]) == ("KMS", "alias/aws/kinesis")
    assert "IteratorAgeMilliseconds" in described["EnhancedMonitoring"][0]["ShardLevelMetrics"]
    summary = client.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]
    assert (summary["StreamModeDetails"]["StreamMode"], summary["MaxRecordSizeInKiB"]) == ("ON_DEMAND", 2048)
    large = client.put_record(StreamName="s", Data=b"x" * (2 * MIB), PartitionKey="k")
    assert large["EncryptionType"] == "KMS"
    records, _ = from_start(client, "s", large["ShardId"])
    assert [record["EncryptionType"] for record in records] == ["KMS"]
    client.stop_stream_encryption(StreamName="s", EncryptionType="KMS", KeyId="alias/aws/kinesis")
    assert client.describe_stream(StreamName="s")["StreamDescription"]["EncryptionType"] == "NONE"
    client.update_stream_mode(StreamARN=arn, StreamModeDetails={"StreamMode": "PROVISIONED"})
    client.update_shard_count(StreamName="s", TargetShardCount=4, ScalingType="UNIFORM_SCALING")
    disabled = {"MinimumThroughputBillingCommitment": {"Status": "DISABLED"}}
    answer = client.describe_account_settings()
    assert answer["MinimumThroughputBillingCommitment"]["Status"] == "DISABLED"
    client.update_account_settings(**disabled)
    refused("InvalidArgumentException", client.update_account_settings,
            MinimumThroughputBillingCommitment={"Status": "ENABLED"})
