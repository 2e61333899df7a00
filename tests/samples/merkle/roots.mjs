// Makes roots.json: what OpenZeppelin's own library gives for these members. Not run by the tests:
// npm install --ignore-scripts --no-save @openzeppelin/merkle-tree@1.0.8 && node roots.mjs roots.json
import { readFileSync, writeFileSync } from "node:fs";
import { StandardMerkleTree } from "@openzeppelin/merkle-tree";

const path = process.argv[2];
const samples = JSON.parse(readFileSync(path, "utf8")).map(({ members }) => ({
  members,
  root: StandardMerkleTree.of(members.map((each) => [each]), ["address"], { sortLeaves: false }).root,
}));
writeFileSync(path, JSON.stringify(samples, null, 1) + "\n");
