// A client over HTTP/1.1 in the Connect protocol: starts a run, watches it, asks for what is missing.

import { ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { ErrorDetailSchema } from "./gen/arco/v1/error_pb.js";
import { RunService } from "./gen/arco/v1/run_service_pb.js";

const [baseUrl, key, binary] = process.argv.slice(2);
const transport = createConnectTransport({
  baseUrl,
  httpVersion: "1.1",
  useBinaryFormat: binary === "true",
  interceptors: [
    (next) => (request) => {
      request.header.set("authorization", `Bearer ${key}`);
      return next(request);
    },
  ],
});
const runs = createClient(RunService, transport);

const { run } = await runs.createRun({ selection: ["*"] });
const events = [];
for await (const response of runs.watchRun({ runId: run.runId })) {
  events.push(...response.events);
}
let missing;
try {
  await runs.getRun({ runId: "01ARZ3NDEKTSV4RRFFQ69G5FAV" });
} catch (error) {
  const [detail] = ConnectError.from(error).findDetails(ErrorDetailSchema);
  missing = { code: error.code === 5 ? "not_found" : error.code, detail: detail.code };
}
const kept = events.filter((event) => event.sequence > 0n);
console.log(
  JSON.stringify({
    events: kept.map((event) => Number(event.sequence)),
    last: kept.at(-1).payload.case,
    missing,
  }),
);
