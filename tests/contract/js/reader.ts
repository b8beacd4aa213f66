// Reads messages of the contract for whoever writes requests to standard input, one JSON object
// a line, and answers each with one line:
//
//   {"type": "arco.v1.AssetKey", "op": "to_json", "data": "<base64 of the binary>"}
//   {"type": "arco.v1.AssetKey", "op": "to_binary", "data": "<base64 of the JSON>"}
//   -> {"ok": "<base64>"} or {"error": "what is wrong"}

import { createInterface } from "node:readline";
import { type DescMessage, fromBinary, fromJson } from "@bufbuild/protobuf";
import { canonicalBinary, canonicalJson, keepTextsAsTheyAre } from "./canonical.js";
import { messageType } from "./contract.js";

interface Request {
  type: string;
  op: string;
  data: string;
}

const verbs: Record<string, (schema: DescMessage, data: Buffer) => string | Uint8Array> = {
  to_json: (schema, data) => canonicalJson(schema, fromBinary(schema, data)),
  to_binary: (schema, data) =>
    canonicalBinary(schema, fromJson(schema, JSON.parse(data.toString("utf8")))),
};

function answer(line: string): { ok: string } | { error: string } {
  try {
    const { type, op, data }: Request = JSON.parse(line);
    const verb = verbs[op];
    if (!verb) throw new Error(`unknown op ${JSON.stringify(op)}; there are ${Object.keys(verbs)}`);
    const result = verb(messageType(type), Buffer.from(data, "base64"));
    return { ok: Buffer.from(result).toString("base64") };
  } catch (error) {
    return { error: String(error) };
  }
}

keepTextsAsTheyAre();
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  process.stdout.write(`${JSON.stringify(answer(line))}\n`);
}
