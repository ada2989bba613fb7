// Makes calls by the JavaScript SDK: reads {"operation", "parameters"} from each line, prints {"answer"} or {"error"} on one. Blobs
// are base64 on the way in; of an event stream the first event is the answer.
// Usage: node matrix.mjs MODULES ENDPOINT

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [modules, endpoint] = process.argv.slice(2);
const sdk = createRequire(`${modules}/package.json`)("@aws-sdk/client-kinesis");
const client = new sdk.KinesisClient({ endpoint, region: process.env.AWS_REGION, maxAttempts: 1 });

const blobs = (key, value) => (key === "Data" ? Buffer.from(value, "base64") : value);

async function call({ operation, parameters }) {
  const answer = await client.send(new sdk[`${operation}Command`](parameters));
  delete answer.$metadata;
  if (operation !== "SubscribeToShard") return answer;
  for await (const { SubscribeToShardEvent: event } of answer.EventStream) return event;
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    console.log(JSON.stringify({ answer: (await call(JSON.parse(line, blobs))) ?? {} }));
  } catch (error) {
    console.log(JSON.stringify({ error: `${error.name}: ${error.message}` }));
  }
}
process.exit(0);
