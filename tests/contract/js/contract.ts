// Every message type of the contract by its full name.

import { readdirSync } from "node:fs";
import { createRegistry, type DescFile, type DescMessage } from "@bufbuild/protobuf";

const folder = new URL("./gen/arco/v1/", import.meta.url);
const names = readdirSync(folder).filter((name) => name.endsWith("_pb.js"));
const modules: Record<string, unknown>[] = await Promise.all(
  names.map((name) => import(new URL(name, folder).href)),
);
const files = modules.flatMap((module) =>
  Object.entries(module)
    .filter(([name]) => name.startsWith("file_"))
    .map(([, file]) => file as DescFile),
);
const registry = createRegistry(...files);

/** Find a message type of the contract. */
export function messageType(name: string): DescMessage {
  const found = registry.getMessage(name);
  if (!found) throw new Error(`${JSON.stringify(name)} is no message type of the contract`);
  return found;
}
