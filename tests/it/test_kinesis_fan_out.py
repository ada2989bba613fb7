"""Enhanced fan-out by unchanged boto3 and the JavaScript SDK: consumers, subscriptions, and what ends them."""

import datetime
import json
import os
import re
import subprocess
import threading
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EventStreamError

import hydrant
from test_kinesis import from_start, kinesis, make, put, refused, shards_of

FIRST = "shardId-000000000000"


@pytest.fixture
def daemon(daemon_of):
    return daemon_of([]).start()


def arn_of(stream):
    return f"arn:aws:kinesis:{hydrant.REGION}:{hydrant.ACCOUNT}:stream/{stream}"


def register(client, stream, name="c", **more):
    made = client.register_stream_consumer(StreamARN=arn_of(stream), ConsumerName=name, **more)["Consumer"]
    assert made["ConsumerStatus"] == "ACTIVE"
    return made["ConsumerARN"]


def subscribe(client, consumer, shard=FIRST, **position):
    answer = client.subscribe_to_shard(ConsumerARN=consumer, ShardId=shard, StartingPosition=position)
    return answer["EventStream"]


def events_of(stream):
    for event in stream:
        if "SubscribeToShardEvent" in event:
            yield event["SubscribeToShardEvent"]


def take(events, count):
    """So many records, and the number to go on from."""
    records = []
    for event in events:
        records += event["Records"]
        if len(records) >= count:
            return records, event["ContinuationSequenceNumber"]
    raise AssertionError(f"the stream ended after {len(records)} of {count} records")


def data(records):
    return [int(record["Data"]) for record in records]


def later(stream, code):
    """The stream ends with this error; what came before it."""
    with pytest.raises(EventStreamError) as caught:
        for _ in stream:
            pass
    assert caught.value.response["Error"]["Code"] == code


def test_consumers_outlive_a_kill_and_are_counted(daemon):
    client = kinesis(daemon)
    make(client, "s", 1)
    arn = register(client, "s", "one", Tags={"team": "data"})
    assert arn.startswith(arn_of("s") + "/consumer/one:")
    refused("ResourceInUseException", client.register_stream_consumer, StreamARN=arn_of("s"), ConsumerName="one")
    names = ["one"] + [f"c{number}" for number in range(19)]
    for name in names[1:]:
        register(client, "s", name)
    refused("LimitExceededException", client.register_stream_consumer, StreamARN=arn_of("s"), ConsumerName="more")
    daemon.kill_alive()
    daemon.start()
    shown = client.describe_stream_consumer(ConsumerARN=arn)["ConsumerDescription"]
    assert (shown["ConsumerName"], shown["StreamARN"], shown["ConsumerStatus"]) == ("one", arn_of("s"), "ACTIVE")
    by_name = client.describe_stream_consumer(StreamARN=arn_of("s"), ConsumerName="one")["ConsumerDescription"]
    assert by_name == shown
    pages = client.get_paginator("list_stream_consumers").paginate(StreamARN=arn_of("s"), PaginationConfig={"PageSize": 7})
    listed = [[one["ConsumerName"] for one in page["Consumers"]] for page in pages]
    assert [len(page) for page in listed] == [7, 7, 6] and sum(listed, []) == names
    assert client.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["ConsumerCount"] == 20
    message = refused("ResourceInUseException", client.delete_stream, StreamName="s")
    assert "20 registered consumers" in message
    client.deregister_stream_consumer(StreamARN=arn_of("s"), ConsumerName="c7")
    refused("ResourceNotFoundException", client.describe_stream_consumer, StreamARN=arn_of("s"), ConsumerName="c7")
    refused("InvalidArgumentException", client.describe_stream_consumer, StreamARN=arn_of("s"))
    refused("InvalidArgumentException", client.describe_stream_consumer, ConsumerARN=arn, ConsumerName="other")
    refused("ValidationException", client.describe_stream_consumer, ConsumerARN=arn_of("s") + "/c")
    client.delete_stream(StreamName="s", EnforceConsumerDeletion=True)
    hydrant.wait_until("the stream is gone", lambda: client.list_streams()["StreamNames"] == [])
    # A stream of the same name has none of its consumers.
    make(client, "s", 1)
    assert client.list_stream_consumers(StreamARN=arn_of("s"))["Consumers"] == []
    refused("ResourceNotFoundException", client.describe_stream_consumer, ConsumerARN=arn)


def test_records_come_as_they_are_put_to_all_consumers(daemon):
    client = kinesis(daemon)
    make(client, "s", 1)
    put(client, "s", range(100))
    records, _ = from_start(client, "s", FIRST)
    all_of, new = (register(client, "s", name) for name in ("all", "new"))
    first = subscribe(client, all_of, Type="TRIM_HORIZON")
    second = subscribe(client, new, Type="LATEST")
    one, two = events_of(first), events_of(second)
    read, _ = take(one, 100)
    assert read == records
    put(client, "s", range(100, 700))
    (read, going_on), (only_new, _) = take(one, 600), take(two, 600)
    assert data(read) == data(only_new) == list(range(100, 700))
    empty = next(one)
    assert (empty["Records"], empty["MillisBehindLatest"]) == ([], 0), "a sign of life"
    first.close(), second.close()

    def started(name, **position):
        stream = subscribe(client, register(client, "s", name), **position)
        read, _ = take(events_of(stream), 1)
        stream.close()
        return int(read[0]["Data"])

    tenth = records[10]["SequenceNumber"]
    assert started("at", Type="AT_SEQUENCE_NUMBER", SequenceNumber=tenth) == 10
    assert started("after", Type="AFTER_SEQUENCE_NUMBER", SequenceNumber=tenth) == 11
    early = records[0]["ApproximateArrivalTimestamp"].replace(microsecond=0)
    assert started("time", Type="AT_TIMESTAMP", Timestamp=early) == 0
    stream = subscribe(client, register(client, "s", "on"), Type="AFTER_SEQUENCE_NUMBER", SequenceNumber=going_on)
    put(client, "s", [700])
    read, _ = take(events_of(stream), 1)
    assert data(read) == [700], "nothing twice and nothing left out"


def test_a_slow_reader_is_waited_for_and_loses_nothing(daemon):
    client = kinesis(daemon)
    make(client, "s", 1)
    stream = subscribe(client, register(client, "s"), Type="TRIM_HORIZON")
    payload = bytes(range(256)) * 512
    for _ in range(8):
        client.put_records(StreamName="s", Records=[{"Data": payload, "PartitionKey": "k"}] * 50)
    behind, read = [], []
    for event in events_of(stream):
        # Half a MiB is in an event, not all that waits.
        assert len(event["Records"]) <= 5
        read += event["Records"]
        behind.append(event["MillisBehindLatest"])
        if len(read) == 400:
            break
    assert all(record["Data"] == payload for record in read)
    numbers = [int(record["SequenceNumber"]) for record in read]
    assert numbers == sorted(set(numbers)) and len(numbers) == 400
    assert behind[-1] == 0 and behind[len(behind) // 2] > 0


def test_readers_that_stopped_reading_hold_up_no_put(daemon_of):
    daemon = daemon_of([], memory="64 MiB").start()
    client = kinesis(daemon)
    make(client, "s", 1)
    payload = bytes(range(256)) * 512
    stuck = [subscribe(client, register(client, "s", f"c{number}"), Type="TRIM_HORIZON") for number in range(15)]
    for _ in range(24):
        answer = client.put_records(StreamName="s", Records=[{"Data": payload, "PartitionKey": "k"}] * 8)
        assert answer["FailedRecordCount"] == 0
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    resident = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024
    print(f"15 readers that do not read, 24 MiB put: {resident:.0f} MiB resident")
    assert resident < 160
    # One that reads after all is given room, since the others do not use theirs.
    records, _ = take(events_of(stuck[7]), 1)
    assert records[0]["Data"] == payload
    for stream in stuck:
        stream.close()


def test_the_end_of_a_shard_names_its_children(daemon):
    client = kinesis(daemon)
    make(client, "s", 2)
    consumer = register(client, "s")
    put(client, "s", range(100))
    live = subscribe(client, consumer, Type="TRIM_HORIZON")
    middle = int(shards_of(client, "s")[FIRST]["HashKeyRange"]["EndingHashKey"]) // 2
    split = threading.Timer(1, client.split_shard, kwargs={
        "StreamName": "s", "ShardToSplit": FIRST, "NewStartingHashKey": str(middle)})
    split.start()
    seen = list(events_of(live))
    split.join()
    expected, children = from_start(client, "s", FIRST)
    assert [record for event in seen for record in event["Records"]] == expected
    # The stream itself ends too, right then.
    assert seen[-1]["ChildShards"] == children and "ContinuationSequenceNumber" not in seen[-1]
    assert all("ChildShards" not in event for event in seen[:-1])
    put(client, "s", range(100, 200))
    found = []
    for child in children:
        stream = subscribe(client, consumer, child["ShardId"], Type="TRIM_HORIZON")
        expected, _ = from_start(client, "s", child["ShardId"])
        read, _ = take(events_of(stream), len(expected))
        assert read == expected
        found += read
    assert found


def test_what_ends_a_subscription_and_what_refuses_one(daemon):
    client = kinesis(daemon)
    make(client, "s", 1)
    consumer = register(client, "s")
    first = subscribe(client, consumer, Type="LATEST")
    message = None
    with pytest.raises(ClientError) as caught:
        subscribe(client, consumer, Type="LATEST")
    message = caught.value.response["Error"]
    assert message["Code"] == "ResourceInUseException" and "Another active subscription" in message["Message"]
    # After five seconds the later one wins.
    next(event for event in events_of(first) if not event["Records"])
    second = hydrant.wait_until("the consumer may subscribe again", lambda: again(client, consumer))
    later(first, "ResourceInUseException")
    put(client, "s", [1])
    assert data(take(events_of(second), 1)[0]) == [1]
    client.deregister_stream_consumer(ConsumerARN=consumer)
    later(second, "ResourceNotFoundException")
    call = {"ConsumerARN": consumer, "ShardId": FIRST, "StartingPosition": {"Type": "LATEST"}}
    refused("ResourceNotFoundException", client.subscribe_to_shard, **call)

    other = register(client, "s", "other")
    for code, change in [
        ("ResourceNotFoundException", {"ShardId": "shardId-000000000007"}),
        ("ValidationException", {"StartingPosition": {"Type": "SOMEWHERE"}}),
        ("ValidationException", {"StartingPosition": {"Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": "x"}}),
        ("ValidationException", {"ConsumerARN": arn_of("s")}),
        ("InvalidArgumentException", {"StartingPosition": {"Type": "AT_SEQUENCE_NUMBER"}}),
        ("InvalidArgumentException", {"StartingPosition": {"Type": "AT_TIMESTAMP"}}),
        ("InvalidArgumentException", {"StartingPosition": {
            "Type": "AT_TIMESTAMP", "Timestamp": datetime.datetime(2200, 1, 1)}}),
    ]:
        refused(code, client.subscribe_to_shard, **{**call, "ConsumerARN": other, **change})
    # What was refused did not count as a subscription.
    last = subscribe(client, other, Type="LATEST")
    client.delete_stream(StreamName="s", EnforceConsumerDeletion=True)
    later(last, "ResourceNotFoundException")
    make(client, "t", 1)
    until_stop = subscribe(client, register(client, "t"), Type="LATEST")
    next(iter(until_stop))
    daemon.stop()
    for _ in until_stop:
        pass


def again(client, consumer):
    try:
        return subscribe(client, consumer, Type="LATEST")
    except ClientError as error:
        assert error.response["Error"]["Code"] == "ResourceInUseException"
        return None


def test_records_arrive_soon_after_their_ack(daemon):
    client = kinesis(daemon)
    make(client, "s", 1)
    stream = subscribe(client, register(client, "s"), Type="LATEST")
    arrived = {}

    def read():
        for event in events_of(stream):
            for record in event["Records"]:
                arrived[int(record["Data"])] = time.monotonic()
            if len(arrived) == 40:
                return

    reader = threading.Thread(target=read)
    reader.start()
    acked = {}
    for number in range(40):
        client.put_record(StreamName="s", Data=str(number).encode(), PartitionKey="k")
        acked[number] = time.monotonic()
        hydrant.wait_until("the record arrives", lambda: number in arrived, seconds=10, interval=0.002)
    reader.join()
    delays = sorted(arrived[number] - acked[number] for number in acked)
    print(f"from ack to event: median {delays[20] * 1000:.1f} ms, longest {delays[-1] * 1000:.1f} ms")
    # Signs of life come every five seconds: without being woken, this would take seconds.
    assert delays[20] < 1


def test_the_javascript_sdk_over_http_2(daemon):
    client = kinesis(daemon)
    make(client, "s", 1)
    put(client, "s", range(500))
    modules = subprocess.run([hydrant.TOP / "tests/servers/javascript"], check=True, capture_output=True, text=True)
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": hydrant.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": hydrant.SECRET_KEY,
                   "AWS_REGION": hydrant.REGION}
    with subprocess.Popen(
        ["node", hydrant.TOP / "tests/it/fan_out.mjs", modules.stdout.strip(), daemon.endpoint, arn_of("s"), "1000"],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as node:
        first = json.loads(node.stdout.readline() or "null")
        assert first is not None, node.stderr.read()
        put(client, "s", range(500, 1000))
        out, err = node.communicate(timeout=60)
        assert node.returncode == 0, err
    events = [first, *map(json.loads, out.splitlines())]
    assert [int(record) for event in events for record in event["records"]] == list(range(1000))
    assert all(event["next"] for event in events)
