"""Each operation of Kinesis Data Streams by each client. docs/clients.md is what came of it: HYDRANT_WRITE_DOCS=1 writes the page,
and otherwise it must say just that."""

import base64
import json
import os
import re
import subprocess
import sys

import awscli
import boto3
from botocore import xform_name

import hydrant
from test_kinesis import kinesis

PAGE = hydrant.TOP / "docs/clients.md"
FIRST, SECOND, THIRD, FOURTH = (f"shardId-{number:012}" for number in range(4))
DATA = base64.b64encode(b"hello").decode()
POLICY = json.dumps({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "kinesis:GetRecords"}})

# In `<…>` stands the stream's ARN, or a member of an answer that came before.
SCENARIO = [
    ("CreateStream", {"StreamName": "<name>", "ShardCount": 2, "Tags": {"team": "data"}}),
    ("DescribeStream", {"StreamName": "<name>"}),
    ("DescribeStreamSummary", {"StreamARN": "<arn>"}),
    ("DescribeLimits", {}),
    ("ListStreams", {}),
    ("AddTagsToStream", {"StreamName": "<name>", "Tags": {"a": "b"}}),
    ("ListTagsForStream", {"StreamName": "<name>"}),
    ("RemoveTagsFromStream", {"StreamName": "<name>", "TagKeys": ["a"]}),
    ("TagResource", {"ResourceARN": "<arn>", "Tags": {"c": "d"}}),
    ("ListTagsForResource", {"ResourceARN": "<arn>"}),
    ("UntagResource", {"ResourceARN": "<arn>", "TagKeys": ["c"]}),
    ("PutRecord", {"StreamName": "<name>", "Data": DATA, "PartitionKey": "k", "ExplicitHashKey": "0"}),
    ("PutRecords", {"StreamARN": "<arn>", "Records": [{"Data": DATA, "PartitionKey": "k", "ExplicitHashKey": "0"}]}),
    ("ListShards", {"StreamName": "<name>"}),
    ("GetShardIterator", {"StreamName": "<name>", "ShardId": FIRST, "ShardIteratorType": "TRIM_HORIZON"}),
    ("GetRecords", {"ShardIterator": "<GetShardIterator.ShardIterator>"}),
    ("RegisterStreamConsumer", {"StreamARN": "<arn>", "ConsumerName": "c"}),
    ("DescribeStreamConsumer", {"ConsumerARN": "<RegisterStreamConsumer.Consumer.ConsumerARN>"}),
    ("ListStreamConsumers", {"StreamARN": "<arn>"}),
    ("SubscribeToShard", {"ConsumerARN": "<RegisterStreamConsumer.Consumer.ConsumerARN>", "ShardId": FIRST,
                          "StartingPosition": {"Type": "TRIM_HORIZON"}}),
    ("DeregisterStreamConsumer", {"StreamARN": "<arn>", "ConsumerName": "c"}),
    ("SplitShard", {"StreamName": "<name>", "ShardToSplit": FIRST, "NewStartingHashKey": str(2**100)}),
    ("MergeShards", {"StreamName": "<name>", "ShardToMerge": THIRD, "AdjacentShardToMerge": FOURTH}),
    ("UpdateShardCount", {"StreamName": "<name>", "TargetShardCount": 4, "ScalingType": "UNIFORM_SCALING"}),
    ("IncreaseStreamRetentionPeriod", {"StreamName": "<name>", "RetentionPeriodHours": 48}),
    ("DecreaseStreamRetentionPeriod", {"StreamName": "<name>", "RetentionPeriodHours": 24}),
    ("EnableEnhancedMonitoring", {"StreamName": "<name>", "ShardLevelMetrics": ["ALL"]}),
    ("DisableEnhancedMonitoring", {"StreamName": "<name>", "ShardLevelMetrics": ["ALL"]}),
    ("StartStreamEncryption", {"StreamName": "<name>", "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"}),
    ("StopStreamEncryption", {"StreamName": "<name>", "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"}),
    ("UpdateMaxRecordSize", {"StreamARN": "<arn>", "MaxRecordSizeInKiB": 2048}),
    ("UpdateStreamMode", {"StreamARN": "<arn>", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}}),
    ("PutResourcePolicy", {"ResourceARN": "<arn>", "Policy": POLICY}),
    ("GetResourcePolicy", {"ResourceARN": "<arn>"}),
    ("DeleteResourcePolicy", {"ResourceARN": "<arn>"}),
    ("DescribeAccountSettings", {}),
    ("UpdateAccountSettings", {"MinimumThroughputBillingCommitment": {"Status": "DISABLED"}}),
    ("DeleteStream", {"StreamName": "<name>"}),
]
# What must stand in an answer, beside being no error.
EXPECTED = {
    "GetRecords": lambda answer: len(answer["Records"]) == 2,
    "SubscribeToShard": lambda answer: len(answer["Records"]) == 2,
    "ListShards": lambda answer: len(answer["Shards"]) == 2,
    "GetResourcePolicy": lambda answer: json.loads(answer["Policy"]) == json.loads(POLICY),
    "ListTagsForResource": lambda answer: {"Key": "c", "Value": "d"} in answer["Tags"],
}
# aws-cli has no event streams.
LACKS = {("aws-cli", "SubscribeToShard")}


class Boto3:
    name = f"boto3 {boto3.__version__}"

    def __init__(self, daemon):
        self.client = kinesis(daemon)

    def call(self, operation, parameters):
        def with_blobs(value):
            if isinstance(value, list):
                return [with_blobs(one) for one in value]
            if isinstance(value, dict):
                return {key: base64.b64decode(one) if key == "Data" else with_blobs(one) for key, one in value.items()}
            return value

        answer = getattr(self.client, xform_name(operation))(**with_blobs(parameters))
        if operation != "SubscribeToShard":
            return answer
        return next(event["SubscribeToShardEvent"] for event in answer["EventStream"] if "SubscribeToShardEvent" in event)

    def close(self):
        pass


class Lines:
    """A client in a process of its own that takes one call a line."""

    def __init__(self, name, *command):
        environment = {**os.environ, "AWS_ACCESS_KEY_ID": hydrant.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": hydrant.SECRET_KEY,
                       "AWS_REGION": hydrant.REGION, "AWS_DEFAULT_REGION": hydrant.REGION, "AWS_MAX_ATTEMPTS": "1"}
        self.name = name
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)

    def call(self, operation, parameters):
        self.process.stdin.write(json.dumps({"operation": operation, "parameters": parameters}) + "\n")
        self.process.stdin.flush()
        said = json.loads(self.process.stdout.readline() or '{"error": "the client has ended"}')
        if "error" in said:
            raise RuntimeError(said["error"])
        return said["answer"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)


def javascript(daemon):
    here = hydrant.TOP / "tests"
    modules = subprocess.run([here / "servers/javascript"], check=True, capture_output=True, text=True).stdout.strip()
    pinned = json.loads((here / "servers/javascript-clients/package.json").read_text())["dependencies"]
    version = pinned["@aws-sdk/client-kinesis"]
    return Lines(f"JavaScript SDK {version}, HTTP/2", "node", here / "it/matrix.mjs", modules, daemon.endpoint)


def filled(value, known):
    """With what stands in `<…>`."""
    if isinstance(value, dict):
        return {key: filled(one, known) for key, one in value.items()}
    path = re.fullmatch(r"<(.*)>", value) if isinstance(value, str) else None
    if path is None:
        return value
    for part in path[1].split("."):
        known = known[part]
    return known


def run(client, short):
    name = f"matrix-{short}"
    known = {"name": name, "arn": f"arn:aws:kinesis:{hydrant.REGION}:{hydrant.ACCOUNT}:stream/{name}"}
    for operation, parameters in SCENARIO:
        if (short, operation) not in LACKS:
            known[operation] = client.call(operation, filled(parameters, known))
            assert EXPECTED.get(operation, lambda _: True)(known[operation]), (client.name, operation, known[operation])


def page(names):
    lines = [
        "# Clients",
        "",
        "<!-- Generated by tests/it/test_matrix.py from what ran; `HYDRANT_WRITE_DOCS=1 tests/run kinesis` writes it. -->",
        "",
        "Each operation of Kinesis Data Streams, called by unchanged clients that were given nothing but an endpoint, a region and",
        "credentials. `✓`: answered, and the client understood the answer. `–`: the client has no such operation.",
        "",
        "| Operation | " + " | ".join(names.values()) + " |",
        "|---|" + "---|" * len(names),
    ]
    for operation, _ in SCENARIO:
        marks = ["–" if (short, operation) in LACKS else "✓" for short in names]
        lines.append(f"| {operation} | " + " | ".join(marks) + " |")
    return "\n".join(lines) + "\n"


def test_every_operation_by_every_client(daemon_of):
    daemon = daemon_of([]).start()
    cli = [sys.executable, hydrant.TOP / "tests/it/cli_calls.py", daemon.endpoint, "kinesis"]
    clients = {
        "boto3": Boto3(daemon),
        "aws-cli": Lines(f"aws-cli {awscli.__version__}", *cli),
        "javascript": javascript(daemon),
    }
    for short, client in clients.items():
        run(client, short)
        client.close()
    written = page({short: client.name for short, client in clients.items()})
    if os.environ.get("HYDRANT_WRITE_DOCS") == "1":
        PAGE.write_text(written)
    assert PAGE.read_text() == written, "docs/clients.md is stale: HYDRANT_WRITE_DOCS=1 writes it"
