// The life of a delivery stream by the JavaScript SDK, all 12 operations; prints one line of JSON with what the answers said.
// Usage: node firehose.mjs MODULES ENDPOINT BUCKET

import { createRequire } from "node:module";

const [modules, endpoint, bucket] = process.argv.slice(2);
const sdk = createRequire(`${modules}/package.json`)("@aws-sdk/client-firehose");
const client = new sdk.FirehoseClient({ endpoint, region: process.env.AWS_REGION, maxAttempts: 1 });
const call = (operation, parameters = {}) =>
  client.send(new sdk[`${operation}Command`]({ DeliveryStreamName: "javascript", ...parameters }));

const RoleARN = "arn:aws:iam::123456789012:role/firehose";
const BufferingHints = { SizeInMBs: 1, IntervalInSeconds: 1 };
const told = {};
told.arn = (await call("CreateDeliveryStream", {
  ExtendedS3DestinationConfiguration: { RoleARN, BucketARN: `arn:aws:s3:::${bucket}`, BufferingHints, Prefix: "one/" },
  Tags: [{ Key: "team", Value: "data" }],
})).DeliveryStreamARN;
const before = (await call("DescribeDeliveryStream")).DeliveryStreamDescription;
told.status = before.DeliveryStreamStatus;
await call("PutRecord", { Record: { Data: Buffer.from("first\n") } });
await call("UpdateDestination", {
  CurrentDeliveryStreamVersionId: before.VersionId,
  DestinationId: before.Destinations[0].DestinationId,
  ExtendedS3DestinationUpdate: { Prefix: "two/" },
});
told.stale = await call("UpdateDestination", {
  CurrentDeliveryStreamVersionId: before.VersionId,
  DestinationId: before.Destinations[0].DestinationId,
  ExtendedS3DestinationUpdate: { Prefix: "three/" },
}).catch((error) => error.name);
await call("StartDeliveryStreamEncryption");
const Records = ["second\n", "third\n"].map((text) => ({ Data: Buffer.from(text) }));
const put = await call("PutRecordBatch", { Records });
told.put = [put.FailedPutCount, put.Encrypted, put.RequestResponses.length];
await call("StopDeliveryStreamEncryption");
await call("TagDeliveryStream", { Tags: [{ Key: "stage", Value: "test" }] });
await call("UntagDeliveryStream", { TagKeys: ["team"] });
told.tags = (await call("ListTagsForDeliveryStream")).Tags;
const after = (await call("DescribeDeliveryStream")).DeliveryStreamDescription;
told.version = after.VersionId;
told.dates = after.LastUpdateTimestamp >= after.CreateTimestamp;
told.prefix = after.Destinations[0].ExtendedS3DestinationDescription.Prefix;
told.names = (await client.send(new sdk.ListDeliveryStreamsCommand({ DeliveryStreamType: "DirectPut" }))).DeliveryStreamNames;
await call("CreateDeliveryStream", {
  DeliveryStreamName: "short-lived",
  S3DestinationConfiguration: { RoleARN, BucketARN: `arn:aws:s3:::${bucket}` },
});
await call("DeleteDeliveryStream", { DeliveryStreamName: "short-lived" });
console.log(JSON.stringify(told));
