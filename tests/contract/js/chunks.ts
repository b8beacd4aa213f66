// A manifest's assets in content-addressed chunks, so that a deploy sends only what changed.

import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { create } from "@bufbuild/protobuf";
import { canonicalBinary } from "./canonical.js";
import type { AssetDefinition } from "./gen/arco/v1/asset_pb.js";
import { ManifestChunkSchema } from "./gen/arco/v1/deployment_pb.js";

/** One asset in so many begins a chunk. */
const CUT_ONE_IN = 96;
/** A chunk is cut before it grows larger. */
const CHUNK_BYTES = 448 * 1024;
/** What one upload holds at most, far below gRPC's usual limit of 4 MiB. */
const UPLOAD_BYTES = 900_000;

/** A manifest's consecutive assets, named by the SHA-256 of their bytes. */
export interface Chunk {
  digest: Buffer;
  data: Buffer;
}

/**
 * Cut assets, sorted by key, into chunks: before the assets whose key's hash says so, so that an
 * edit changes the chunk that it is in and hardly ever a neighbour.
 */
export function split(assets: AssetDefinition[]): Chunk[] {
  const chunks: Uint8Array[][] = [];
  let size = 0;
  for (const asset of assets) {
    // The assets are a repeated field: the bytes of a chunk are those of its assets in a row.
    const alone = create(ManifestChunkSchema, { assets: [asset] });
    const data = canonicalBinary(ManifestChunkSchema, alone);
    const current = chunks.at(-1);
    if (!current || size + data.length > CHUNK_BYTES || startsChunk(asset)) {
      chunks.push([data]);
      size = data.length;
    } else {
      current.push(data);
      size += data.length;
    }
  }
  return chunks.map((parts) => {
    const data = Buffer.concat(parts);
    return { digest: createHash("sha256").update(data).digest(), data };
  });
}

function startsChunk({ key }: AssetDefinition): boolean {
  return crc32(`${key?.namespace}.${key?.name}`) % CUT_ONE_IN === 0;
}

/** Pack chunks into as few messages as their size allows, keeping their order. */
export function* batches(chunks: Chunk[]): Generator<Chunk[]> {
  let batch: Chunk[] = [];
  let size = 0;
  for (const chunk of chunks) {
    if (batch.length > 0 && size + chunk.data.length > UPLOAD_BYTES) {
      yield batch;
      batch = [];
      size = 0;
    }
    batch.push(chunk);
    size += chunk.data.length;
  }
  if (batch.length > 0) yield batch;
}
