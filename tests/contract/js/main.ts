// The client as a program. It prints what it learns as JSON, one object a line:
//
//   node main.js deploy MANIFEST
//   node main.js run [--all-partitions] SELECTION...
//   node main.js watch RUN_ID [--events NUMBER]
//
// SERVO_API_URL and SERVO_API_KEY say where the control plane is; `.servo/server.json` has both.

import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { type DescMessage, fromJson, type MessageShape, toJson } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { keepTextsAsTheyAre } from "./canonical.js";
import { errorDetail, Servo } from "./client.js";
import { DeploymentSchema } from "./gen/arco/v1/deployment_pb.js";
import { ErrorDetailSchema } from "./gen/arco/v1/error_pb.js";
import { EventSchema } from "./gen/arco/v1/event_pb.js";
import { AssetManifestSchema } from "./gen/arco/v1/manifest_pb.js";
import { RunSchema, RunState } from "./gen/arco/v1/run_pb.js";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { "all-partitions": { type: "boolean", default: false }, events: { type: "string" } },
});
const [command = "", ...operands] = positionals;

const commands: Record<string, (servo: Servo) => Promise<void>> = {
  async deploy(servo) {
    const manifest = fromJson(AssetManifestSchema, JSON.parse(await readFile(operand(), "utf8")));
    const { deployment, created } = await servo.deploy(manifest);
    if (!deployment) throw new Error("the control plane answered without a deployment");
    print({ created, deployment: json(DeploymentSchema, deployment) });
  },

  async run(servo) {
    const everyPartition = { partitions: { kind: { case: "all", value: true } } } as const;
    const { runId } = await servo.start({
      selection: operands,
      ...(options["all-partitions"] ? everyPartition : {}),
    });
    for await (const event of servo.watch(runId)) print({ event: json(EventSchema, event) });
    const { run } = await servo.runs.getRun({ runId });
    if (!run) throw new Error("the control plane answered without a run");
    print({ run: json(RunSchema, run) });
    if (run.state !== RunState.SUCCEEDED) process.exitCode = 1;
  },

  async watch(servo) {
    let left = options.events ? Number(options.events) : Infinity;
    for await (const event of servo.watch(operand())) {
      print({ event: json(EventSchema, event) });
      left -= 1;
      if (left <= 0) break;
    }
  },
};

function operand(): string {
  const [value] = operands;
  if (!value) throw new Error(`'${command}' needs an operand`);
  return value;
}

function json<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): unknown {
  return toJson(schema, message, { alwaysEmitImplicit: true });
}

function print(line: unknown): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const perform = commands[command];
if (!perform) throw new Error(`no command '${command}'; there are ${Object.keys(commands)}`);
keepTextsAsTheyAre();
const { SERVO_API_URL: url = "", SERVO_API_KEY: apiKey = "" } = process.env;
const servo = new Servo({ url, apiKey });
try {
  await perform(servo);
} catch (error) {
  const detail = errorDetail(error);
  if (!detail) throw error;
  const status = Code[ConnectError.from(error).code];
  print({ status, error: json(ErrorDetailSchema, detail) });
  process.exitCode = 1;
} finally {
  servo.close();
}
