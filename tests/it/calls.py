"""What is asked of every client: each operation of both services once, and errors that a client must know by their types.

In `<…>` stands a name or an ARN, or a member of an answer that came before.
"""

import base64
import json

import hydrant

FIRST, SECOND, THIRD, FOURTH = (f"shardId-{number:012}" for number in range(4))
DATA = base64.b64encode(b"hello\n").decode()
POLICY = json.dumps({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "kinesis:GetRecords"}})
ROLE = f"arn:aws:iam::{hydrant.ACCOUNT}:role/firehose"

KINESIS = [
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
FIREHOSE = [
    ("CreateDeliveryStream", {
        "DeliveryStreamName": "<name>",
        "ExtendedS3DestinationConfiguration": {
            "RoleARN": ROLE, "BucketARN": "<bucket>", "Prefix": "<name>/", "CompressionFormat": "GZIP",
            "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 1},
        },
        "Tags": [{"Key": "team", "Value": "data"}],
    }),
    ("DescribeDeliveryStream", {"DeliveryStreamName": "<name>"}),
    ("ListDeliveryStreams", {"DeliveryStreamType": "DirectPut", "Limit": 10}),
    ("PutRecord", {"DeliveryStreamName": "<name>", "Record": {"Data": DATA}}),
    ("PutRecordBatch", {"DeliveryStreamName": "<name>", "Records": [{"Data": DATA}, {"Data": DATA}]}),
    ("UpdateDestination", {
        "DeliveryStreamName": "<name>", "DestinationId": "destinationId-000000000001",
        "CurrentDeliveryStreamVersionId": "<DescribeDeliveryStream.DeliveryStreamDescription.VersionId>",
        "ExtendedS3DestinationUpdate": {"CompressionFormat": "UNCOMPRESSED"},
    }),
    ("StartDeliveryStreamEncryption", {"DeliveryStreamName": "<name>"}),
    ("StopDeliveryStreamEncryption", {"DeliveryStreamName": "<name>"}),
    ("TagDeliveryStream", {"DeliveryStreamName": "<name>", "Tags": [{"Key": "a", "Value": "b"}]}),
    ("UntagDeliveryStream", {"DeliveryStreamName": "<name>", "TagKeys": ["team"]}),
    ("ListTagsForDeliveryStream", {"DeliveryStreamName": "<name>"}),
    ("DeleteDeliveryStream", {"DeliveryStreamName": "<name>"}),
]
# What must stand in an answer, beside being no error.
EXPECTED = {
    "GetRecords": lambda answer: [one["Data"] for one in answer["Records"]] in ([DATA] * 2, [b"hello\n"] * 2),
    "SubscribeToShard": lambda answer: len(answer["Records"]) == 2,
    "ListShards": lambda answer: len(answer["Shards"]) == 2,
    "GetResourcePolicy": lambda answer: json.loads(answer["Policy"]) == json.loads(POLICY),
    "ListTagsForResource": lambda answer: {"Key": "c", "Value": "d"} in answer["Tags"],
    "DescribeDeliveryStream": lambda answer: answer["DeliveryStreamDescription"]["DeliveryStreamStatus"] == "ACTIVE",
    "ListTagsForDeliveryStream": lambda answer: answer["Tags"] == [{"Key": "a", "Value": "b"}],
}
# Asked after the operation that is named first: the service, the operation, its parameters, and the type of the error.
REFUSED = {
    "CreateStream": [
        ("CreateStream", {"StreamName": "<name>", "ShardCount": 1}, "ResourceInUseException"),
        ("DescribeStreamSummary", {"StreamName": "nobody"}, "ResourceNotFoundException"),
        ("PutRecord", {"StreamName": "nobody", "Data": DATA, "PartitionKey": "k"}, "ResourceNotFoundException"),
        ("GetRecords", {"ShardIterator": "no iterator"}, "InvalidArgumentException"),
    ],
    "RegisterStreamConsumer": [
        ("RegisterStreamConsumer", {"StreamARN": "<arn>", "ConsumerName": "c"}, "ResourceInUseException"),
        ("SubscribeToShard", {"ConsumerARN": "<RegisterStreamConsumer.Consumer.ConsumerARN>", "ShardId": "shardId-000000000099",
                              "StartingPosition": {"Type": "LATEST"}}, "ResourceNotFoundException"),
    ],
    "UpdateDestination": [
        ("DescribeDeliveryStream", {"DeliveryStreamName": "nobody"}, "ResourceNotFoundException"),
        (*FIREHOSE[5], "ConcurrentModificationException"),
        (*FIREHOSE[0], "ResourceInUseException"),
        ("TagDeliveryStream", {"DeliveryStreamName": "of-yaml", "Tags": [{"Key": "a"}]}, "InvalidArgumentException"),
    ],
}
# aws-cli has no event streams.
LACKS = {("aws-cli", "SubscribeToShard")}
