"""The control plane by boto3: versions, tags, encryption, races; and kill -9 between any two of its steps."""

import collections
import json
import os
import random
import subprocess
import threading

import pytest
from botocore.exceptions import BotoCoreError, ClientError

import clients
import hydrant
import lake

ROLE = f"arn:aws:iam::{hydrant.ACCOUNT}:role/firehose"
DESTINATION = "destinationId-000000000001"
ROUNDS = int(os.environ.get("HYDRANT_ROUNDS") or (60 if hydrant.LONG else 8))


@pytest.fixture
def daemon(daemon_of, tmp_path, minio):
    yaml = {"name": "of-yaml", "destination": {"file": {"directory": str(tmp_path / "yaml")}}}
    return daemon_of(
        [yaml], s3=minio.connection(), environment=minio.environment(), data_dir_encrypted=True
    ).start()


def destination(bucket, **more):
    return {
        "RoleARN": ROLE,
        "BucketARN": f"arn:aws:s3:::{bucket}",
        "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 1},
        "ProcessingConfiguration": {"Enabled": True, "Processors": [{"Type": "AppendDelimiterToRecord"}]},
        **more,
    }


def create(firehose, name, bucket, **more):
    wanted = {"DeliveryStreamName": name, "ExtendedS3DestinationConfiguration": destination(bucket)}
    return firehose.create_delivery_stream(**{**wanted, **more})


def described(firehose, name):
    return firehose.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]


def update(firehose, name, version, **members):
    return firehose.update_destination(
        DeliveryStreamName=name,
        CurrentDeliveryStreamVersionId=version,
        DestinationId=DESTINATION,
        ExtendedS3DestinationUpdate=members,
    )


def refused(code, call, *arguments, **named):
    with pytest.raises(ClientError) as caught:
        call(*arguments, **named)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, 400), answer
    return answer["Error"]["Message"]


def put(firehose, name, numbers):
    records = [{"Data": json.dumps({"n": number}).encode()} for number in numbers]
    assert firehose.put_record_batch(DeliveryStreamName=name, Records=records)["FailedPutCount"] == 0


def numbers_in(objects):
    return collections.Counter(row["n"] for found in objects for row in found.rows())


def test_an_update_loses_nothing_and_repeats_nothing(daemon, minio, bucket):
    firehose, other = clients.firehose(daemon), minio.make_bucket(f"{bucket}-other")
    create(firehose, "a", bucket)
    assert described(firehose, "a")["VersionId"] == "1" and "LastUpdateTimestamp" not in described(firehose, "a")
    put(firehose, "a", range(400))
    stop, count = threading.Event(), [400]

    def produce():
        client = clients.firehose(daemon)
        while not stop.is_set():
            put(client, "a", range(count[0], count[0] + 50))
            count[0] += 50

    producer = threading.Thread(target=produce)
    producer.start()
    try:
        update(firehose, "a", "1", Prefix="second/")
        refused("ConcurrentModificationException", update, firehose, "a", "1", Prefix="third/")
        update(firehose, "a", "2", BucketARN=f"arn:aws:s3:::{other}", Prefix="third/", CompressionFormat="GZIP")
    finally:
        stop.set()
        producer.join()
    description = described(firehose, "a")
    now = description["Destinations"][0]["ExtendedS3DestinationDescription"]
    assert (description["VersionId"], now["Prefix"], now["CompressionFormat"]) == ("3", "third/", "GZIP")
    assert now["BufferingHints"] == {"SizeInMBs": 1, "IntervalInSeconds": 1} and now["ProcessingConfiguration"]["Enabled"]
    assert description["LastUpdateTimestamp"] >= description["CreateTimestamp"]
    daemon.kill_alive()
    daemon.start()
    assert described(firehose, "a") == description
    put(firehose, "a", range(count[0], count[0] + 50))
    counters = daemon.wait_drained("a")
    assert counters["delivered"] == counters["stored"] == count[0] + 50
    first, second = (lake.in_bucket(minio.client, place) for place in (bucket, other))
    lake.same_multiset(numbers_in(first + second).elements(), range(count[0] + 50))
    # The version is in the names, and each version's objects are where it said.
    assert all(found.key.startswith("third/") and "/a-3-" in found.key for found in second) and second
    assert all("/a-2-" in found.key if found.key.startswith("second/") else "/a-1-" in found.key for found in first)


def test_an_update_is_checked_as_a_whole(daemon, bucket):
    firehose = clients.firehose(daemon)
    create(firehose, "a", bucket)
    text = refused("ValidationException", update, firehose, "a", "1", CompressionFormat="LZ4")
    assert "extendedS3DestinationUpdate.compressionFormat" in text
    on = {"Enabled": True}
    refused("InvalidArgumentException", update, firehose, "a", "1", DynamicPartitioningConfiguration=on)
    refused("InvalidArgumentException", update, firehose, "a", "1", Prefix="!{nonsense:x}/")
    lambda_of = [{"ParameterName": "LambdaArn", "ParameterValue": "arn:aws:lambda:us-east-1:123456789012:function:none"}]
    processing = {"Enabled": True, "Processors": [{"Type": "Lambda", "Parameters": lambda_of}]}
    refused("InvalidArgumentException", update, firehose, "a", "1", ProcessingConfiguration=processing)
    arguments = {"DeliveryStreamName": "a", "CurrentDeliveryStreamVersionId": "1", "DestinationId": DESTINATION}
    refused("InvalidArgumentException", firehose.update_destination, **arguments)
    wrong = {**arguments, "DestinationId": "destinationId-000000000002", "ExtendedS3DestinationUpdate": {}}
    refused("InvalidArgumentException", firehose.update_destination, **wrong)
    refused("ResourceNotFoundException", update, firehose, "nobody", "1")
    refused("InvalidArgumentException", update, firehose, "of-yaml", "1")
    assert described(firehose, "a")["VersionId"] == "1"
    put(firehose, "a", range(3))
    assert daemon.wait_drained("a")["delivered"] == 3


def test_tags_come_in_pages_and_stay(daemon, bucket):
    firehose = clients.firehose(daemon)
    create(firehose, "a", bucket, Tags=[{"Key": "k00", "Value": "at creation"}])
    firehose.tag_delivery_stream(
        DeliveryStreamName="a", Tags=[{"Key": f"k{number:02}", "Value": str(number)} for number in range(1, 50)]
    )
    refused("LimitExceededException", firehose.tag_delivery_stream, DeliveryStreamName="a", Tags=[{"Key": "one more"}])
    firehose.untag_delivery_stream(DeliveryStreamName="a", TagKeys=["k07", "never was"])
    daemon.kill_alive()
    daemon.start()
    found, after = [], {}
    while True:
        page = firehose.list_tags_for_delivery_stream(DeliveryStreamName="a", Limit=20, **after)
        found += page["Tags"]
        if not page["HasMoreTags"]:
            break
        after = {"ExclusiveStartTagKey": page["Tags"][-1]["Key"]}
    wanted = {f"k{number:02}": str(number) for number in range(1, 50) if number != 7}
    assert {tag["Key"]: tag["Value"] for tag in found} == {"k00": "at creation", **wanted} and len(found) == 49
    refused("InvalidArgumentException", firehose.tag_delivery_stream, DeliveryStreamName="of-yaml", Tags=[{"Key": "a"}])
    refused("ValidationException", firehose.tag_delivery_stream, DeliveryStreamName="a", Tags=[{"Key": "aws:a"}])
    refused("ResourceNotFoundException", firehose.list_tags_for_delivery_stream, DeliveryStreamName="nobody")


def test_encryption_is_said_only_where_the_operator_vouches_for_it(daemon, bucket):
    firehose = clients.firehose(daemon)
    create(firehose, "a", bucket)
    start, stop = firehose.start_delivery_stream_encryption, firehose.stop_delivery_stream_encryption

    def state():
        record = firehose.put_record(DeliveryStreamName="a", Record={"Data": b"{}"})
        return described(firehose, "a")["DeliveryStreamEncryptionConfiguration"], record["Encrypted"]

    assert state() == ({"Status": "DISABLED"}, False)
    start(DeliveryStreamName="a")
    assert state() == ({"KeyType": "AWS_OWNED_CMK", "Status": "ENABLED"}, True)
    own = {"KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": "arn:aws:kms:us-east-1:123456789012:key/x"}
    wanted = {"DeliveryStreamName": "a", "DeliveryStreamEncryptionConfigurationInput": own}
    refused("InvalidArgumentException", start, **wanted)
    daemon.stop()
    daemon.config["data_dir_encrypted"] = False
    daemon.write_config()
    daemon.start()
    assert "data_dir_encrypted: true" in refused("InvalidArgumentException", start, DeliveryStreamName="a")
    stop(DeliveryStreamName="a")
    assert state() == ({"Status": "DISABLED"}, False)
    # One was the first after the restart; AWS allows 25 a day.
    for _ in range(24):
        stop(DeliveryStreamName="a")
    refused("LimitExceededException", stop, DeliveryStreamName="a")


def test_of_racing_creations_one_wins(daemon, bucket):
    outcomes, barrier = collections.Counter(), threading.Barrier(8)

    def race():
        client = clients.firehose(daemon)
        barrier.wait()
        try:
            create(client, "wanted", bucket)
            outcomes["won"] += 1
        except ClientError as error:
            outcomes[error.response["Error"]["Code"]] += 1

    racers = [threading.Thread(target=race) for _ in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert outcomes == {"won": 1, "ResourceInUseException": 7}


def test_the_javascript_sdk(daemon, minio, bucket):
    modules = subprocess.run([hydrant.TOP / "tests/servers/javascript"], check=True, capture_output=True, text=True)
    keys = {"AWS_ACCESS_KEY_ID": hydrant.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": hydrant.SECRET_KEY}
    ran = subprocess.run(
        ["node", hydrant.TOP / "tests/it/firehose.mjs", modules.stdout.strip(), daemon.endpoint, bucket],
        capture_output=True,
        text=True,
        env={**os.environ, **keys, "AWS_REGION": hydrant.REGION},
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "arn": f"arn:aws:firehose:{hydrant.REGION}:{hydrant.ACCOUNT}:deliverystream/javascript",
        "status": "ACTIVE",
        "stale": "ConcurrentModificationException",
        "put": [0, True, 2],
        "tags": [{"Key": "stage", "Value": "test"}],
        "version": "2",
        "dates": True,
        "prefix": "two/",
        "names": ["javascript", "of-yaml"],
    }
    assert daemon.wait_drained("javascript")["delivered"] == 3
    bodies = b"".join(found.body for found in lake.in_bucket(minio.client, bucket))
    assert sorted(bodies.split()) == [b"first", b"second", b"third"]


def test_kill_9_between_any_two_steps(daemon, bucket):
    """What was answered is there after a restart; what was under way is there as a whole or not at all."""
    rng = random.Random(hydrant.seed())
    model = {}
    for _ in range(ROUNDS):
        under_way = []
        worker = threading.Thread(target=work, args=(daemon, bucket, rng, (model, under_way)))
        worker.start()
        threading.Event().wait(rng.uniform(0.02, 0.4))
        daemon.kill_alive()
        worker.join()
        daemon.start()
        firehose = clients.firehose(daemon)
        listed = firehose.list_delivery_streams(Limit=100, DeliveryStreamType="DirectPut")["DeliveryStreamNames"]
        found = {name: seen(firehose, name) for name in listed if name != "of-yaml"}
        allowed = [model, *under_way]
        assert found in allowed, f"found {found}\nallowed {allowed}"
        model = found


def seen(firehose, name):
    tags = firehose.list_tags_for_delivery_stream(DeliveryStreamName=name)["Tags"]
    description = described(firehose, name)
    assert description["DeliveryStreamStatus"] == "ACTIVE"
    prefix = description["Destinations"][0]["ExtendedS3DestinationDescription"].get("Prefix", "")
    return description["VersionId"], prefix, tuple(tag["Key"] for tag in tags)


def work(daemon, bucket, rng, told):
    """Operations until the daemon is gone. `told` has the state that was answered, and the one that was asked for last."""
    model, under_way = told
    firehose = clients.firehose(daemon)
    while True:
        name = f"stream-{rng.randrange(3)}"
        wanted = dict(model)
        if name not in model:
            wanted[name] = ("1", "", ())
            call = (lambda: create(firehose, name, bucket))
        else:
            version, prefix, keys = model[name]
            kind = rng.choice(["update", "tag", "untag", "delete"])
            if kind == "update":
                wanted[name] = (str(int(version) + 1), f"p{rng.randrange(1000)}/", keys)
                call = (lambda: update(firehose, name, version, Prefix=wanted[name][1]))
            elif kind == "tag":
                wanted[name] = (version, prefix, tuple(sorted({*keys, f"k{rng.randrange(5)}"})))
                tags = [{"Key": key} for key in wanted[name][2]]
                call = (lambda: firehose.tag_delivery_stream(DeliveryStreamName=name, Tags=tags))
            elif kind == "untag":
                wanted[name] = (version, prefix, ())
                gone = [f"k{number}" for number in range(5)]
                call = (lambda: firehose.untag_delivery_stream(DeliveryStreamName=name, TagKeys=gone))
            else:
                del wanted[name]
                call = (lambda: firehose.delete_delivery_stream(DeliveryStreamName=name))
        under_way[:] = [wanted]
        try:
            call()
        except ClientError as error:
            # A deletion goes on after its answer; until it has ended the name is taken and the stream cannot be changed.
            if error.response["Error"]["Code"] != "ResourceInUseException":
                raise
            under_way.clear()
            continue
        except (BotoCoreError, OSError):
            return
        model.clear()
        model.update(wanted)
        under_way.clear()
