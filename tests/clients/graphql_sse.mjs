// One operation by the client graphql-sse: each result becomes a line of JSON.
import { createClient } from "graphql-sse";

const [url, request] = process.argv.slice(2);
const client = createClient({ url, retryAttempts: 0 });
for await (const result of client.iterate(JSON.parse(request))) console.log(JSON.stringify(result));
client.dispose();
