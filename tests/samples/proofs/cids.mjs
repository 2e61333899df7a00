// Writes the CIDs that IPFS's own JavaScript gives to some files: node tests/samples/proofs/cids.mjs > tests/samples/proofs/cids.json
// What a file of a given size holds: byte i is (7 i + (i >> 8)) & 255.
import { createRequire } from "node:module";
import { importer } from "ipfs-unixfs-importer";

const onlyHash = createRequire(import.meta.url)("ipfs-only-hash");
const blocks = { put: async (cid) => cid };
const CHUNK = 262144;
const TEXTS = ["", '{"a":1,"b":"hello"}', '{"price":"3000.12","symbol":"ETHUSDT"}', '"ü€😀"'];
const SIZES = [1, 200000, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 1048576, 1048577, 174 * CHUNK, 174 * CHUNK + 1];

async function imported(content, options) {
  let last;
  for await (const entry of importer([{ content }], blocks, options)) last = entry;
  return last.cid.toString();
}

async function cids(content) {
  const found = {
    v0: await imported(content, { profile: "unixfs-v0-2015" }),
    v1: await imported(content, { profile: "unixfs-v0-2015", cidVersion: 1, rawLeaves: true }),
    v1_dag_pb: await imported(content, { profile: "unixfs-v0-2015", cidVersion: 1, rawLeaves: false }),
    v1_2025: await imported(content, { profile: "unixfs-v1-2025" }),
  };
  const others = {
    v0: await onlyHash.of(content),
    v1: await onlyHash.of(content, { cidVersion: 1, rawLeaves: true }),
    v1_dag_pb: await onlyHash.of(content, { cidVersion: 1, rawLeaves: false }),
  };
  for (const [name, cid] of Object.entries(others)) {
    if (cid !== found[name]) throw new Error(`${name}: the two packages differ: ${cid}, ${found[name]}`);
  }
  return found;
}

const found = [];
for (const text of TEXTS) found.push({ text, ...(await cids(new TextEncoder().encode(text))) });
for (const size of SIZES) found.push({ size, ...(await cids(Uint8Array.from({ length: size }, (_, i) => (7 * i + (i >> 8)) & 255))) });
console.log(JSON.stringify(found, null, 2));
