// Adds the JSON of its second argument by npm's kubo-rpc-client at the URL of its first, reads it back, and tells both.
import { create } from "kubo-rpc-client";

const [url, text] = process.argv.slice(2);
const client = create({ url });
const told = {};
for (const cidVersion of [0, 1]) {
  const { cid } = await client.add(text, { cidVersion, rawLeaves: cidVersion === 1, pin: true });
  const pieces = [];
  for await (const piece of client.cat(cid)) pieces.push(Buffer.from(piece));
  told[cidVersion] = { cid: cid.toString(), text: Buffer.concat(pieces).toString() };
}
console.log(JSON.stringify(told));
