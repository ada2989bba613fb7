"""Unchanged AWS clients, given nothing but an endpoint and credentials."""

import base64
import http.client
import json
import os
import resource
import socket
import subprocess
import sys

import pytest
from botocore.exceptions import ClientError

import clients
import hydrant
import lake

STREAM = "lines"
MIB = 1024 * 1024


@pytest.fixture
def daemon(daemon_of, tmp_path, minio):
    daemon = daemon_of(
        [
            {
                "name": STREAM,
                "buffering": {"interval": "1 s"},
                "destination": {"file": {"directory": str(tmp_path / "lake"), "prefix": "data/!{timestamp:yyyy}/",
                                         "error_output_prefix": "errors/!{firehose:error-output-type}/"}},
            }
        ],
        s3=minio.connection(),
        environment=minio.environment(),
    )
    return daemon.start()


def refused(code, call, **arguments):
    """The call fails with that error code and HTTP status 400; returns the message."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    assert answer["Error"]["Code"] == code, answer
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400, answer
    assert answer["ResponseMetadata"]["RequestId"], answer
    return answer["Error"]["Message"]


def test_boto3_puts_and_the_records_arrive(daemon, tmp_path):
    client = clients.firehose(daemon)
    one = client.put_record(DeliveryStreamName=STREAM, Record={"Data": b"one"})
    assert one["RecordId"] and one["Encrypted"] is False
    batch = client.put_record_batch(
        DeliveryStreamName=STREAM, Records=[{"Data": f"record {number}".encode()} for number in range(500)]
    )
    assert batch["FailedPutCount"] == 0 and batch["Encrypted"] is False
    ids = [entry["RecordId"] for entry in batch["RequestResponses"]] + [one["RecordId"]]
    assert len(set(ids)) == 501 and all(1 <= len(name) <= 216 for name in ids)
    counters = daemon.wait_drained(STREAM)
    assert counters["stored"] == counters["delivered"] == 501
    lines = [line for found in lake.in_directory(tmp_path / "lake") for line in found.lines()]
    lake.same_multiset(lines, [b"one"] + [f"record {number}".encode() for number in range(500)])


def test_the_largest_record_and_the_largest_batch(daemon):
    client = clients.firehose(daemon)
    assert client.put_record(DeliveryStreamName=STREAM, Record={"Data": b"x" * 1_024_000})["RecordId"]
    assert client.put_record(DeliveryStreamName=STREAM, Record={"Data": b""})["RecordId"]
    answer = client.put_record_batch(DeliveryStreamName=STREAM, Records=[{"Data": b"y" * (MIB // 2)}] * 8)
    assert answer["FailedPutCount"] == 0
    assert daemon.wait_drained(STREAM)["delivered"] == 10


def test_a_stream_made_through_the_api(daemon, minio, bucket):
    client = clients.firehose(daemon)
    made = client.create_delivery_stream(
        DeliveryStreamName="made",
        DeliveryStreamType="DirectPut",
        ExtendedS3DestinationConfiguration={
            "RoleARN": f"arn:aws:iam::{hydrant.ACCOUNT}:role/any",
            "BucketARN": f"arn:aws:s3:::{bucket}",
            "Prefix": "made/",
            "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
            "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 1},
            "CompressionFormat": "GZIP",
        },
    )
    arn = f"arn:aws:firehose:{hydrant.REGION}:{hydrant.ACCOUNT}:deliverystream/made"
    assert made["DeliveryStreamARN"] == arn

    def active():
        described = client.describe_delivery_stream(DeliveryStreamName="made")["DeliveryStreamDescription"]
        return described if described["DeliveryStreamStatus"] == "ACTIVE" else None

    described = hydrant.wait_until("the stream is ACTIVE", active)
    assert described["DeliveryStreamARN"] == arn and described["DeliveryStreamType"] == "DirectPut"
    destination = described["Destinations"][0]["ExtendedS3DestinationDescription"]
    assert destination["BucketARN"] == f"arn:aws:s3:::{bucket}" and destination["CompressionFormat"] == "GZIP"
    assert set(client.list_delivery_streams()["DeliveryStreamNames"]) == {STREAM, "made"}
    refused("ResourceInUseException", client.create_delivery_stream, DeliveryStreamName="made",
            ExtendedS3DestinationConfiguration={"RoleARN": f"arn:aws:iam::{hydrant.ACCOUNT}:role/any",
                                                "BucketARN": f"arn:aws:s3:::{bucket}"})
    clients.put_all(client, "made", [f"{number}\n".encode() for number in range(1000)])
    assert daemon.wait_drained("made")["delivered"] == 1000
    objects = lake.in_bucket(minio.client, bucket)
    assert all(found.key.startswith("made/") and found.key.endswith(".gz") for found in objects)
    lake.same_multiset(
        [line for found in objects for line in found.lines()], [str(number).encode() for number in range(1000)]
    )
    # It outlives a restart, and then it can be deleted.
    daemon.stop()
    daemon.start()
    assert daemon.accounting("made")["delivered"] == 1000
    client.delete_delivery_stream(DeliveryStreamName="made")
    hydrant.wait_until(
        "the stream is gone", lambda: client.list_delivery_streams()["DeliveryStreamNames"] == [STREAM]
    )
    refused("ResourceNotFoundException", client.describe_delivery_stream, DeliveryStreamName="made")


def test_errors_have_the_shapes_of_aws_and_store_nothing(daemon):
    client = clients.firehose(daemon)
    record = {"Data": b"x"}
    put, batch = client.put_record, client.put_record_batch
    wrong = clients.firehose(daemon, secret_key="not the secret")
    refused("InvalidSignatureException", wrong.put_record, DeliveryStreamName=STREAM, Record=record)
    stranger = clients.firehose(daemon, access_key="AKIDSTRANGER")
    message = refused("UnrecognizedClientException", stranger.put_record, DeliveryStreamName=STREAM, Record=record)
    assert message == "The security token included in the request is invalid."
    message = refused("ResourceNotFoundException", put, DeliveryStreamName="unknown", Record=record)
    assert message == f"Firehose unknown not found under account {hydrant.ACCOUNT}."
    message = refused("ValidationException", batch, DeliveryStreamName=STREAM, Records=[record] * 501)
    assert "less than or equal to 500" in message
    message = refused("ValidationException", put, DeliveryStreamName=STREAM, Record={"Data": b"x" * 1_024_001})
    assert "less than or equal to 1024000" in message
    refused("ValidationException", put, DeliveryStreamName="no spaces", Record=record)
    message = refused(
        "InvalidArgumentException", batch, DeliveryStreamName=STREAM, Records=[{"Data": b"z" * 1_000_000}] * 5
    )
    assert message == "Records size exceeds 4 MB limit"
    assert daemon.accounting(STREAM)["stored"] == 0


def aws(daemon, *arguments, secret=hydrant.SECRET_KEY):
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": hydrant.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": hydrant.REGION,
        "AWS_MAX_ATTEMPTS": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "awscli", "--endpoint-url", daemon.endpoint, "firehose", *arguments],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )


def test_aws_cli(daemon, tmp_path):
    done = aws(daemon, "put-record", "--delivery-stream-name", STREAM, "--record", "Data=from the command line")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["RecordId"]
    records = tmp_path / "records.json"
    records.write_text(json.dumps([{"Data": f"line {number}"} for number in range(3)]))
    done = aws(daemon, "put-record-batch", "--delivery-stream-name", STREAM, "--records", f"file://{records}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["FailedPutCount"] == 0
    done = aws(daemon, "list-delivery-streams")
    assert json.loads(done.stdout)["DeliveryStreamNames"] == [STREAM], done.stderr
    done = aws(daemon, "describe-delivery-stream", "--delivery-stream-name", "unknown")
    assert done.returncode != 0 and "(ResourceNotFoundException)" in done.stderr, done.stderr
    done = aws(daemon, "put-record", "--delivery-stream-name", STREAM, "--record", "Data=x", secret="wrong")
    assert done.returncode != 0 and "(InvalidSignatureException)" in done.stderr, done.stderr
    assert daemon.wait_drained(STREAM)["delivered"] == 4


def test_binary_data_comes_back_byte_for_byte(daemon, tmp_path):
    payload = bytes(range(256)) * 10
    clients.firehose(daemon).put_record(DeliveryStreamName=STREAM, Record={"Data": payload})
    status, answer = clients.Signer(daemon).post(
        "PutRecord", {"DeliveryStreamName": STREAM, "Record": {"Data": base64.b64encode(payload).decode()}, "Unknown": 1}
    )
    assert status == 200, answer
    daemon.wait_drained(STREAM)
    body = b"".join(found.body for found in lake.in_directory(tmp_path / "lake"))
    assert body == (payload + b"\n") * 2


def test_as_fluent_bit_calls(daemon_of, tmp_path):
    """Its outputs sign for themselves, put whole batches of lines, and look for these very bytes in the answer."""
    lake_of = str(tmp_path / "lake")
    daemon = daemon_of([{"name": STREAM, "buffering": {"interval": "1 s"}, "destination": {"file": {"directory": lake_of}}}])
    daemon.config["streams"] = [{"name": STREAM, "shards": 2}]
    daemon.write_config()
    daemon.start()
    lines = [json.dumps({"date": 1.5 + number, "log": f"line {number} \u00e4"}) + "\n" for number in range(500)]
    records = [{"Data": base64.b64encode(line.encode()).decode()} for line in lines]
    keyed = [{**record, "PartitionKey": f"{number:08x}"} for number, record in enumerate(records)]
    host, connection = f"127.0.0.1:{daemon.api_port}", http.client.HTTPConnection("127.0.0.1", daemon.api_port, timeout=30)
    for service, target, body, said in [
        ("firehose", "Firehose_20150804.PutRecordBatch", {"DeliveryStreamName": STREAM, "Records": records}, b'"FailedPutCount":0'),
        ("kinesis", "Kinesis_20131202.PutRecords", {"StreamName": STREAM, "Records": keyed}, b'"FailedRecordCount":0'),
        ("firehose", "Firehose_20150804.PutRecordBatch", {"DeliveryStreamName": "none", "Records": records},
         b'"__type":"ResourceNotFoundException"'),
    ]:  # fmt: skip
        body = json.dumps(body, separators=(",", ":")).encode()
        headers = clients.sign(host, target, body, service=service)
        connection.request("POST", "/", body, {**headers, "user-agent": "aws-fluent-bit-plugin", "accept-encoding": "gzip"})
        assert said in connection.getresponse().read()
    assert daemon.wait_drained(STREAM)["delivered"] == 500
    lake.same_multiset([line for found in lake.in_directory(tmp_path / "lake") for line in found.lines()],
                       [line.strip().encode() for line in lines])  # fmt: skip


def test_a_low_soft_limit_of_open_files_is_raised(daemon_of):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    daemon = daemon_of([])
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        daemon.spawn()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    hydrant.wait_until("the daemon is ready", daemon.is_ready)
    idle = [socket.create_connection(("127.0.0.1", daemon.api_port)) for _ in range(400)]
    status, answer = clients.Signer(daemon, timeout=10).post("ListDeliveryStreams", {})
    assert status == 200, answer
    for connection in idle:
        connection.close()
