// A consumer by the JavaScript SDK: registers itself, subscribes to the first shard from its start, over HTTP/2 as the SDK does by
// itself, and prints each event as one line of JSON until it has read so many records.
// Usage: node fan_out.mjs MODULES ENDPOINT STREAM_ARN COUNT

import { createRequire } from "node:module";

const [modules, endpoint, stream, count] = process.argv.slice(2);
const require = createRequire(`${modules}/package.json`);
const sdk = require("@aws-sdk/client-kinesis");

const client = new sdk.KinesisClient({ endpoint, region: process.env.AWS_REGION, maxAttempts: 1 });
const made = await client.send(new sdk.RegisterStreamConsumerCommand({ StreamARN: stream, ConsumerName: "javascript" }));
const { Shards } = await client.send(new sdk.ListShardsCommand({ StreamARN: stream }));
const answer = await client.send(new sdk.SubscribeToShardCommand({
  ConsumerARN: made.Consumer.ConsumerARN,
  ShardId: Shards[0].ShardId,
  StartingPosition: { Type: "TRIM_HORIZON" },
}));
let left = Number(count);
for await (const { SubscribeToShardEvent: event } of answer.EventStream) {
  const records = event.Records.map((record) => Buffer.from(record.Data).toString());
  console.log(JSON.stringify({ records, next: event.ContinuationSequenceNumber, behind: event.MillisBehindLatest }));
  left -= records.length;
  if (left <= 0) break;
}
// The connection would stay as long as the subscription.
process.exit(0);
