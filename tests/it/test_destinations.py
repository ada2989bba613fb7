"""Delivery streams of every destination, made by the API alone: created by boto3, delivered for real, described as they were
sent, updated, and all of it still there after kill -9."""

import json
import threading

import pytest

import clients
import hydrant
import lake
from receiver import Receiver
from splunk import Splunk
from test_control import DESTINATION, ROLE, create, described, numbers_in, put, refused

KEY, ATTRIBUTES = "an access key", {"team": "web", "who": "Joerg"}
HINTS = {"SizeInMBs": 1, "IntervalInSeconds": 0}
ERRORS = "errors/!{firehose:error-output-type}/"


@pytest.fixture
def daemon(daemon_of, minio):
    return daemon_of([], s3=minio.connection(), environment=minio.environment()).start()


@pytest.fixture
def receiver_of():
    made = []

    def make(**how):
        arn = f"arn:aws:firehose:{hydrant.REGION}:{hydrant.ACCOUNT}:deliverystream/a"
        made.append(Receiver(attributes=ATTRIBUTES, arn=arn, **how))
        return made[-1]

    yield make
    for receiver in made:
        receiver.stop()


def bucket_of(name, **more):
    return {"RoleARN": ROLE, "BucketARN": f"arn:aws:s3:::{name}", "Prefix": "all/", "ErrorOutputPrefix": ERRORS, **more}


def shown(firehose, kind):
    """The description of the only destination, without what is the same everywhere."""
    return described(firehose, "a")["Destinations"][0][f"{kind}DestinationDescription"]


def update(firehose, version, kind, **members):
    named = {"DeliveryStreamName": "a", "CurrentDeliveryStreamVersionId": version, "DestinationId": DESTINATION}
    return firehose.update_destination(**named, **{f"{kind}DestinationUpdate": members})


def restarted(daemon):
    daemon.kill_alive()
    daemon.start()


def survives(daemon, firehose):
    """What is described is the same after kill -9."""
    before = described(firehose, "a")
    restarted(daemon)
    assert described(firehose, "a") == before


def has(description, sent):
    """Every member that was sent is described as it was sent."""
    for name, value in sent.items():
        assert description[name] == value, name


def http_endpoint(receiver, bucket, **more):
    pairs = [{"AttributeName": name, "AttributeValue": value} for name, value in ATTRIBUTES.items()]
    return {
        "EndpointConfiguration": {"Url": receiver.url, "Name": "Partner", "AccessKey": KEY},
        "BufferingHints": HINTS,
        "RequestConfiguration": {"ContentEncoding": "GZIP", "CommonAttributes": pairs},
        "RetryOptions": {"DurationInSeconds": 2},
        "S3BackupMode": "FailedDataOnly",
        "S3Configuration": bucket_of(bucket),
        "RoleARN": ROLE,
        **more,
    }


def test_an_http_endpoint(daemon, minio, bucket, receiver_of):
    firehose, receiver, refusing = clients.firehose(daemon), receiver_of(access_key=KEY), threading.Event()
    receiver.behave = lambda attempt, _: "500" if refusing.is_set() else "ok"
    wanted = http_endpoint(receiver, bucket)
    firehose.create_delivery_stream(DeliveryStreamName="a", HttpEndpointDestinationConfiguration=wanted)
    put(firehose, "a", range(100))
    daemon.wait_drained("a")
    lake.same_multiset([json.loads(record)["n"] for record in receiver.records()], range(100))
    description = shown(firehose, "HttpEndpoint")
    has(description, {name: wanted[name] for name in wanted if name not in ("EndpointConfiguration", "S3Configuration")})
    assert description["EndpointConfiguration"] == {"Url": receiver.url, "Name": "Partner"}
    has(description["S3DestinationDescription"], wanted["S3Configuration"])
    assert KEY not in json.dumps(description)
    survives(daemon, firehose)
    # What it does not take goes to the bucket.
    refusing.set()
    put(firehose, "a", range(100, 200))
    hydrant.wait_until("records are refused", lambda: daemon.accounting("a")["failed"] == 100)
    refusing.clear()
    failed = lake.failed_records(lake.in_bucket(minio.client, bucket))
    lake.same_multiset([json.loads(original)["n"] for original, _ in failed], range(100, 200))
    # Another endpoint with another key, and from now on everything to the bucket, too.
    second = receiver_of(access_key="another")
    endpoint = {"Url": second.url, "AccessKey": "another"}
    update(firehose, "1", "HttpEndpoint", EndpointConfiguration=endpoint, S3BackupMode="AllData",
           S3Update={"CompressionFormat": "GZIP"})  # fmt: skip
    restarted(daemon)
    description = shown(firehose, "HttpEndpoint")
    assert description["EndpointConfiguration"] == {"Url": second.url} and description["S3BackupMode"] == "AllData"
    assert description["RequestConfiguration"] == wanted["RequestConfiguration"]
    has(description["S3DestinationDescription"], {**wanted["S3Configuration"], "CompressionFormat": "GZIP"})
    put(firehose, "a", range(200, 300))
    counters = daemon.wait_drained("a")
    assert (counters["delivered"], counters["failed"]) == (200, 100)
    lake.same_multiset([json.loads(record)["n"] for record in second.records()], range(200, 300))
    backed_up = [found for found in lake.in_bucket(minio.client, bucket) if found.key.startswith("all/")]
    lake.same_multiset(numbers_in(backed_up).elements(), range(200, 300))
    assert all("/a-2-" in found.key and found.body[:2] == b"\x1f\x8b" for found in backed_up)
    back = {"S3BackupMode": "FailedDataOnly"}
    refused("InvalidArgumentException", update, firehose, "2", "HttpEndpoint", **back)
    text = refused("ValidationException", update, firehose, "2", "HttpEndpoint", S3Update={"CompressionFormat": "LZ4"})
    assert "httpEndpointDestinationUpdate.s3Update.compressionFormat" in text
    assert receiver.violations == second.violations == [] and KEY not in daemon.log()
    firehose.delete_delivery_stream(DeliveryStreamName="a")
    hydrant.wait_until("it is deleted", lambda: not firehose.list_delivery_streams()["DeliveryStreamNames"])


def test_a_dead_endpoint_is_left_in_two_steps(daemon, minio, bucket, receiver_of):
    firehose, dead, good = clients.firehose(daemon), receiver_of(access_key=KEY), receiver_of(access_key=KEY)
    dead.behave = lambda attempt, _: "500"
    wanted = http_endpoint(dead, bucket, RetryOptions={"DurationInSeconds": 7200})
    own = bucket_of(bucket, BufferingHints={"SizeInMBs": 2, "IntervalInSeconds": 61})
    text = refused("InvalidArgumentException", firehose.create_delivery_stream, DeliveryStreamName="a",
                   HttpEndpointDestinationConfiguration={**wanted, "S3Configuration": own})  # fmt: skip
    assert "leave them out" in text
    firehose.create_delivery_stream(DeliveryStreamName="a", HttpEndpointDestinationConfiguration=wanted)
    put(firehose, "a", range(100))
    hydrant.wait_until("it is tried", lambda: sum(dead.attempts.values()) >= 2)
    update(firehose, "1", "HttpEndpoint", RetryOptions={"DurationInSeconds": 0})
    hydrant.wait_until("what is staged goes to the bucket", lambda: daemon.accounting("a")["failed"] == 100)
    failed = lake.failed_records(lake.in_bucket(minio.client, bucket))
    lake.same_multiset([json.loads(original)["n"] for original, _ in failed], range(100))
    update(firehose, "2", "HttpEndpoint", EndpointConfiguration={"Url": good.url, "AccessKey": KEY},
           RetryOptions={"DurationInSeconds": 7200})  # fmt: skip
    put(firehose, "a", range(100, 200))
    counters = daemon.wait_drained("a")
    assert (counters["delivered"], counters["failed"]) == (100, 100)
    lake.same_multiset([json.loads(record)["n"] for record in good.records()], range(100, 200))


def test_a_bucket_and_one_behind_it(daemon, minio, bucket):
    firehose, raw, other = clients.firehose(daemon), minio.make_bucket(f"{bucket}-raw"), f"{bucket}-other"
    create(firehose, "a", bucket)
    assert shown(firehose, "ExtendedS3")["S3BackupMode"] == "Disabled"
    put(firehose, "a", range(100))
    daemon.wait_drained("a")
    refused("InvalidArgumentException", update, firehose, "1", "ExtendedS3", S3BackupMode="Enabled")
    wanted = bucket_of(raw, CompressionFormat="GZIP")
    update(firehose, "1", "ExtendedS3", S3BackupMode="Enabled", S3BackupUpdate=wanted)
    survives(daemon, firehose)
    description = shown(firehose, "ExtendedS3")
    assert description["S3BackupMode"] == "Enabled"
    has(description["S3BackupDescription"], wanted)
    put(firehose, "a", range(100, 200))
    # The backup moves; what is staged goes to the old one.
    minio.make_bucket(other)
    update(firehose, "2", "ExtendedS3", S3BackupUpdate={"BucketARN": f"arn:aws:s3:::{other}", "CompressionFormat": "UNCOMPRESSED"})
    put(firehose, "a", range(200, 300))
    assert daemon.wait_drained("a")["delivered"] == 300
    delivered, first, second = (lake.in_bucket(minio.client, place) for place in (bucket, raw, other))
    lake.same_multiset(numbers_in(delivered).elements(), range(300))
    lake.same_multiset(numbers_in(first + second).elements(), range(100, 300))
    assert all(found.body[:2] == b"\x1f\x8b" for found in first) and second
    back = {"S3BackupMode": "Disabled"}
    refused("InvalidArgumentException", update, firehose, "3", "ExtendedS3", **back)


def test_splunk(daemon, minio, bucket):
    firehose, splunk = clients.firehose(daemon), Splunk("t0ken")
    try:
        wanted = {
            "HECEndpoint": splunk.endpoint,
            "HECEndpointType": "Raw",
            "HECToken": "wrong",
            "HECAcknowledgmentTimeoutInSeconds": 200,
            "BufferingHints": HINTS,
            "RetryOptions": {"DurationInSeconds": 1},
            "S3BackupMode": "FailedEventsOnly",
            "S3Configuration": bucket_of(bucket),
            "ProcessingConfiguration": {"Enabled": True, "Processors": [{"Type": "AppendDelimiterToRecord", "Parameters": []}]},
        }
        firehose.create_delivery_stream(DeliveryStreamName="a", SplunkDestinationConfiguration=wanted)
        has(shown(firehose, "Splunk"), {name: wanted[name] for name in wanted if name != "S3Configuration"})
        has(shown(firehose, "Splunk")["S3DestinationDescription"], wanted["S3Configuration"])
        put(firehose, "a", range(100))
        hydrant.wait_until("the token is refused", lambda: daemon.accounting("a")["failed"] == 100)
        failed = lake.failed_records(lake.in_bucket(minio.client, bucket))
        lake.same_multiset([json.loads(original)["n"] for original, _ in failed], range(100))
        update(firehose, "1", "Splunk", HECToken="t0ken")
        survives(daemon, firehose)
        put(firehose, "a", range(100, 200))
        hydrant.wait_until("they are taken", lambda: daemon.accounting("a")["delivered"] == 100)
        lines = b"".join(splunk.bodies("raw")).splitlines()
        lake.same_multiset([json.loads(line)["n"] for line in lines], range(100, 200))
        update(firehose, "2", "Splunk", HECEndpointType="Event", S3BackupMode="AllEvents")
        restarted(daemon)
        clients.put_all(firehose, "a", [json.dumps({"event": "an event", "n": n}).encode() for n in range(200, 300)])
        assert daemon.wait_drained("a")["delivered"] == 200
        assert sum(body.count(b"an event") for body in splunk.bodies("event")) == 100
        backed_up = [found for found in lake.in_bucket(minio.client, bucket) if found.key.startswith("all/")]
        lake.same_multiset(numbers_in(backed_up).elements(), range(200, 300))
        refused("InvalidArgumentException", update, firehose, "3", "Splunk", S3BackupMode="FailedEventsOnly")
        assert splunk.violations == [] and "t0ken" not in daemon.log()
    finally:
        splunk.stop()


def test_what_cannot_be_delivered_to_says_what_can(daemon):
    firehose = clients.firehose(daemon)
    iceberg = {
        "RoleARN": ROLE,
        "CatalogConfiguration": {"CatalogARN": "arn:aws:glue:us-east-1:123456789012:catalog"},
        "S3Configuration": bucket_of("any"),
    }
    wanted = {"DeliveryStreamName": "a", "IcebergDestinationConfiguration": iceberg}
    text = refused("InvalidArgumentException", firehose.create_delivery_stream, **wanted)
    assert "IcebergDestinationConfiguration is not supported" in text and "ExtendedS3DestinationConfiguration" in text
    manager = {"Enabled": True, "SecretARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:x", "RoleARN": ROLE}
    endpoint = {
        "EndpointConfiguration": {"Url": "https://in.example.com"},
        "S3Configuration": bucket_of("any"),
        "SecretsManagerConfiguration": manager,
    }
    wanted = {"DeliveryStreamName": "a", "HttpEndpointDestinationConfiguration": endpoint}
    assert "AccessKey" in refused("InvalidArgumentException", firehose.create_delivery_stream, **wanted)
