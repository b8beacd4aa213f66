// Canonical forms: one JSON text and one binary for each message, whatever wrote it.
//
// protobuf-es does the conversion. What is added here is what makes equal messages equal bytes:
// the order of keys, the layout of the text, and the order of map entries.

import { createHash } from "node:crypto";
import {
  clone,
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
  type MessageShape,
  ScalarType,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import {
  BinaryReader,
  BinaryWriter,
  configureTextEncoding,
  WireType,
} from "@bufbuild/protobuf/wire";
import { type AssetManifest, AssetManifestSchema } from "./gen/arco/v1/manifest_pb.js";

/**
 * Make protobuf-es keep texts as they are, in this process. Its own decoder drops a byte order
 * mark at the beginning of a text, and repairs what is not UTF-8 instead of refusing it.
 */
export function keepTextsAsTheyAre(): void {
  const encoder = new TextEncoder();
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  configureTextEncoding({
    encodeUtf8: (text) => encoder.encode(text),
    decodeUtf8: (bytes) => decoder.decode(bytes),
    checkUtf8: (text) => text.isWellFormed(),
  });
}

/** Print a message as canonical JSON: every field, keys by code point, no white space. */
export function canonicalJson<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
): string {
  return printMessage(schema, toJson(schema, message, { alwaysEmitImplicit: true }));
}

/** Encode a message with the entries of its maps by key, so that equal messages are equal bytes. */
export function canonicalBinary<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
): Uint8Array {
  return sortMaps(schema, toBinary(schema, message));
}

/** The SHA-256 of a manifest without its provenance: the same content, the same fingerprint. */
export function contentFingerprint(manifest: AssetManifest): string {
  const content = clone(AssetManifestSchema, manifest);
  content.deployedBy = content.codeVersionId = "";
  delete content.deployedAt;
  delete content.git;
  for (const asset of content.assets) {
    if (asset.code) asset.code.lineNumber = 0;
  }
  return createHash("sha256").update(canonicalJson(AssetManifestSchema, content)).digest("hex");
}

function printMessage(schema: DescMessage, json: JsonValue): string {
  // Timestamps and durations are texts in JSON.
  if (!isObject(json)) return JSON.stringify(json);
  const fields = new Map(schema.fields.map((field) => [field.jsonName, field]));
  return printObject(json, (value, name) => {
    const field = fields.get(name);
    return field ? printField(field, value) : JSON.stringify(value);
  });
}

function printField(field: DescField, value: JsonValue): string {
  const print = (item: JsonValue) => printItem(field, item);
  if (field.fieldKind === "map" && isObject(value)) return printObject(value, print);
  if (field.fieldKind === "list" && Array.isArray(value)) return `[${value.map(print).join()}]`;
  return print(value);
}

function printItem(field: DescField, value: JsonValue): string {
  if (field.message) return printMessage(field.message, value);
  if (field.scalar === ScalarType.DOUBLE && typeof value === "number") return printDouble(value);
  return JSON.stringify(value);
}

function printObject(
  object: JsonObject,
  print: (value: JsonValue, name: string) => string,
): string {
  const members = Object.entries(object)
    .map(([name, value]) => ({ key: Buffer.from(name), text: print(value, name), name }))
    // The order of UTF-8 bytes is that of code points; JavaScript compares UTF-16 units.
    .sort((a, b) => Buffer.compare(a.key, b.key));
  return `{${members.map(({ name, text }) => `${JSON.stringify(name)}:${text}`).join()}}`;
}

/** Print a double as the contract's first implementation does: `1.0`, `1e-05`, `1e+16`. */
function printDouble(value: number): string {
  if (Object.is(value, -0)) return "-0.0";
  const [digits = "", exponent = ""] = value.toExponential().split("e");
  const power = Number(exponent);
  if (value !== 0 && (power < -4 || power >= 16)) {
    return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  const text = String(value);
  return text.includes(".") ? text : `${text}.0`;
}

function isObject(json: JsonValue): json is JsonObject {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

// A map is a plain object in protobuf-es, and JavaScript decides in which order an object's keys
// come ("2" and "10" before "a"), so the order of the entries is put right in the encoded message.
function sortMaps(schema: DescMessage, message: Uint8Array): Uint8Array {
  const fields = new Map(schema.fields.map((field) => [field.number, field]));
  const reader = new BinaryReader(message);
  const parts: { number: number; key: Uint8Array; bytes: Uint8Array }[] = [];
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [number, wireType] = reader.tag();
    const field = fields.get(number);
    let key: Uint8Array = new Uint8Array();
    let bytes: Uint8Array;
    if (field?.fieldKind === "map") {
      key = mapKey(field, reader.bytes());
      bytes = message.subarray(start, reader.pos);
    } else if (field?.message && wireType === WireType.LengthDelimited) {
      const inner = sortMaps(field.message, reader.bytes());
      bytes = new BinaryWriter().tag(number, wireType).bytes(inner).finish();
    } else {
      reader.skip(wireType, number);
      bytes = message.subarray(start, reader.pos);
    }
    parts.push({ number, key, bytes });
  }
  // Fields are written by number already; the sort is stable, so lists keep their order.
  parts.sort((a, b) => a.number - b.number || compareKeys(a.key, b.key));
  return Buffer.concat(parts.map((part) => part.bytes));
}

// As Protobuf's native runtime sorts: by bytes, and where one key begins with the other, the longer
// comes first. See https://github.com/protocolbuffers/protobuf/pull/26621.
function compareKeys(a: Uint8Array, b: Uint8Array): number {
  const common = Math.min(a.length, b.length);
  return Buffer.compare(a.subarray(0, common), b.subarray(0, common)) || b.length - a.length;
}

function mapKey(field: DescField & { fieldKind: "map" }, entry: Uint8Array): Uint8Array {
  if (field.mapKey !== ScalarType.STRING || field.message) {
    throw new Error(`${field} is no map from string to scalar; say how its entries are sorted`);
  }
  const reader = new BinaryReader(entry);
  reader.tag();
  return reader.bytes();
}
