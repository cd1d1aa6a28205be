// One operation by the client graphql-ws: each result becomes a line of JSON.
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const [url, request] = process.argv.slice(2);
const client = createClient({ url: url.replace(/^http/, "ws"), webSocketImpl: WebSocket, retryAttempts: 0 });
try {
  for await (const result of client.iterate(JSON.parse(request))) console.log(JSON.stringify(result));
} catch (refusal) {
  // What the protocol's message `error` becomes: a list of errors. Anything else is a failure.
  if (!Array.isArray(refusal)) throw refusal;
  console.log(JSON.stringify({ errors: refusal }));
}
await client.dispose();
