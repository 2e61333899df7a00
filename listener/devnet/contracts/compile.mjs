// Compiles the contracts into the artifacts and the ABI files that are committed, byte for byte the same each time.
// Usage: node compile.mjs FOLDER     writes FOLDER/listener/devnet/artifacts/ and FOLDER/abi/

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import solc from "solc";

const FILES = [
  "AccessProtocol.sol",
  "AttestationCenter.sol",
  "DomainRegistry.sol",
  "IntentSender.sol",
  "LivenessRegistry.sol",
  "Roles.sol",
];
const WITH_ABI = ["DomainRegistry", "IntentSender"]; // what the rules of config.toml listen to
const SHADOWED_BUILTIN = "2319"; // the event's first field is called `block`, as others know it

const folder = process.argv[2];
if (folder === undefined) {
  console.error("compile.mjs: name the folder to write to, for instance: node compile.mjs .");
  process.exit(2);
}

const output = JSON.parse(
  solc.compile(
    JSON.stringify({
      language: "Solidity",
      sources: Object.fromEntries(
        FILES.map((file) => [file, { content: readFileSync(new URL(file, import.meta.url), "utf8") }]),
      ),
      settings: {
        evmVersion: "paris", // runs on every chain, also on those without PUSH0
        optimizer: { enabled: true, runs: 1000000 },
        metadata: { bytecodeHash: "none", appendCBOR: false }, // else a comment would change the bytecode
        outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
      },
    }),
  ),
);

const complaints = (output.errors ?? []).filter((e) => e.errorCode !== SHADOWED_BUILTIN);
if (complaints.length > 0) {
  complaints.forEach((e) => console.error(e.formattedMessage));
  process.exit(1);
}

function write(path, value) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, JSON.stringify(value, null, 2) + "\n");
}

for (const file of FILES) {
  for (const [name, { abi, evm }] of Object.entries(output.contracts[file])) {
    if (evm.bytecode.object === "") continue; // abstract
    write(join(folder, "listener", "devnet", "artifacts", `${name}.json`), {
      contractName: name,
      compiler: solc.version(),
      abi,
      bytecode: `0x${evm.bytecode.object}`,
    });
  }
}
for (const name of WITH_ABI) {
  write(join(folder, "abi", `${name}.json`), output.contracts[`${name}.sol`][name].abi);
}
