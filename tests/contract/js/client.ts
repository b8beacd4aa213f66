// A client in TypeScript: deploy a manifest, start a run, watch it to its end.
//
// Everything here is generated from the contract or standard: messages and services by
// @bufbuild/protoc-gen-es, calls by @connectrpc/connect over the gRPC protocol.

import { setTimeout as pause } from "node:timers/promises";
import { clone, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type Client,
  ConnectError,
  createClient,
  type Interceptor,
} from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { contentFingerprint } from "./canonical.js";
import { batches, type Chunk, split } from "./chunks.js";
import { type DeployResponse, DeploymentService } from "./gen/arco/v1/deployment_pb.js";
import { ErrorCategory, type ErrorDetail, ErrorDetailSchema } from "./gen/arco/v1/error_pb.js";
import type { Event } from "./gen/arco/v1/event_pb.js";
import { type AssetManifest, AssetManifestSchema } from "./gen/arco/v1/manifest_pb.js";
import { type CreateRunRequestSchema, type Run, RunState } from "./gen/arco/v1/run_pb.js";
import { RunService } from "./gen/arco/v1/run_service_pb.js";

/** Chunks that were there may be cleaned up before the deployment refers to them. */
const ROUNDS = 3;
/** How often, and how far apart, an interrupted watch is opened again without any news. */
const REOPENINGS = 20;
const REOPEN_AFTER_MS = 250;

const ENDED = new Set([
  RunState.SUCCEEDED,
  RunState.FAILED,
  RunState.CANCELLED,
  RunState.TIMED_OUT,
]);

/** Where a control plane is, and as whom to call it. */
export interface Address {
  /** `grpc://host:port`, as in `.servo/server.json`. */
  url: string;
  apiKey: string;
  tenantId?: string;
  workspaceId?: string;
}

/** One control plane. Close it: an open connection keeps the process alive. */
export class Servo {
  readonly deployments: Client<typeof DeploymentService>;
  readonly runs: Client<typeof RunService>;
  readonly #session: Http2SessionManager;

  constructor(address: Address) {
    const baseUrl = address.url.replace(/^grpc:/, "http:");
    const identify: Interceptor = (next) => (request) => {
      request.header.set("authorization", `Bearer ${address.apiKey}`);
      request.header.set("x-servo-tenant-id", address.tenantId ?? "default");
      request.header.set("x-servo-workspace-id", address.workspaceId ?? "default");
      return next(request);
    };
    this.#session = new Http2SessionManager(baseUrl);
    const transport = createGrpcTransport({
      baseUrl,
      interceptors: [identify],
      sessionManager: this.#session,
    });
    this.deployments = createClient(DeploymentService, transport);
    this.runs = createClient(RunService, transport);
  }

  /** End the connection, and with it every call that is under way. */
  close(): void {
    this.#session.abort();
  }

  /**
   * Make a manifest the current one. Content that the control plane knows costs one small
   * message; of any other only the chunks are sent that it does not have.
   */
  async deploy(manifest: AssetManifest): Promise<DeployResponse> {
    const header = clone(AssetManifestSchema, manifest);
    header.assets = [];
    const request = { contentFingerprint: contentFingerprint(manifest), header };
    let response = await this.deployments.deploy(request);
    const chunks = response.chunksNeeded ? split(manifest.assets) : [];
    const chunkDigests = chunks.map((chunk) => chunk.digest);
    for (let round = 0; response.chunksNeeded; round += 1) {
      if (round === ROUNDS) throw new Error("chunks were lost while they were deployed; try again");
      await this.#uploadMissing(chunks);
      response = await this.deployments.deploy({ ...request, chunkDigests });
    }
    return response;
  }

  async #uploadMissing(chunks: Chunk[]): Promise<void> {
    const chunkDigests = chunks.map((chunk) => chunk.digest);
    const { missingDigests } = await this.deployments.findMissingChunks({ chunkDigests });
    const isMissing = ({ digest }: Chunk) => missingDigests.some((other) => digest.equals(other));
    for (const batch of batches(chunks.filter(isMissing))) {
      await this.deployments.uploadChunks({ chunks: batch.map((chunk) => chunk.data) });
    }
  }

  /** Start a run of some assets; returns at once. */
  async start(request: MessageInitShape<typeof CreateRunRequestSchema>): Promise<Run> {
    const { run } = await this.runs.createRun(request);
    if (!run) throw new Error("the control plane answered without a run");
    return run;
  }

  /**
   * Follow a run until it has ended, through restarts of the control plane. Each event of the
   * history comes once and in order; in between comes the progress of tasks, with sequence 0.
   * Leaving the loop, or aborting the signal, ends the call.
   *
   * @param after Only what happened after the event with this sequence number.
   */
  async *watch(runId: string, after = 0n, signal?: AbortSignal): AsyncGenerator<Event> {
    let sequence = after;
    for (let quiet = 0; ; quiet += 1) {
      // Leaving a loop over a stream does not end its call; this does.
      const call = new AbortController();
      const end = signal ? AbortSignal.any([signal, call.signal]) : call.signal;
      try {
        const request = { runId, afterSequence: sequence };
        for await (const { events } of this.runs.watchRun(request, { signal: end })) {
          for (const event of events) {
            signal?.throwIfAborted();
            if (event.sequence > 0n) sequence = event.sequence;
            yield event;
            quiet = 0;
            if (ends(event)) return;
          }
        }
        // The stream ends without the run's end when there was nothing left to send, or when the
        // control plane stops.
        const { run } = await this.runs.getRun({ runId, pageSize: -1 }, { signal: end });
        if (run && ENDED.has(run.state) && run.lastSequence <= sequence) return;
      } catch (error) {
        signal?.throwIfAborted();
        if (quiet === REOPENINGS || !isBroken(error)) throw error;
      } finally {
        call.abort();
      }
      await pause(REOPEN_AFTER_MS, undefined, signal ? { signal } : {});
    }
  }
}

/** What the control plane says of an error, besides its gRPC status. */
export function errorDetail(error: unknown): ErrorDetail | undefined {
  return ConnectError.from(error).findDetails(ErrorDetailSchema)[0];
}

// A connection that breaks ends its calls with one of several codes, depending on what noticed it
// first. What the control plane itself has to say comes with details.
function isBroken(error: unknown): boolean {
  if (!(error instanceof ConnectError)) return false;
  const detail = errorDetail(error);
  return !detail || detail.category === ErrorCategory.NETWORK;
}

function ends({ payload }: Event): boolean {
  return payload.case === "runStateChanged" && ENDED.has(payload.value.state);
}
