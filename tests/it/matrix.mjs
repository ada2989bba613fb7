// Makes calls by the JavaScript SDK, set up by its environment alone: reads {"service", "operation", "parameters"} from each line,
// prints {"answer"} or {"error"} on one. Blobs are base64 there; of an event stream the first event is the answer.
// Usage: node matrix.mjs MODULES

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.argv[2]}/package.json`);
const sdks = { firehose: require("@aws-sdk/client-firehose"), kinesis: require("@aws-sdk/client-kinesis") };
const clients = { firehose: new sdks.firehose.FirehoseClient(), kinesis: new sdks.kinesis.KinesisClient() };

const blobs = (key, value) => (key === "Data" ? Buffer.from(value, "base64") : value);
const plain = (key, value) => (value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value);

async function call({ service, operation, parameters }) {
  const answer = await clients[service].send(new sdks[service][`${operation}Command`](parameters));
  delete answer.$metadata;
  if (operation !== "SubscribeToShard") return answer;
  for await (const { SubscribeToShardEvent: event } of answer.EventStream) return event;
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    console.log(JSON.stringify({ answer: (await call(JSON.parse(line, blobs))) ?? {} }, plain));
  } catch (error) {
    // A class of the SDK's own, not only a name.
    console.log(JSON.stringify({ error: { type: error.constructor.name, message: error.message } }));
  }
}
process.exit(0);
