// Plays the cases of scenarios.json; tests/clients/SCENARIOS.md says what steps mean.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { fromJson, type JsonValue } from "@bufbuild/protobuf";

import {
  type ClientOptions,
  type CreateJobOptions,
  type DeleteJobOptions,
  JobEngineClient,
  JobEngineError,
  JobState,
  type ListJobsOptions,
  LogStream,
  type LogsOptions,
} from "../src/index.js";
import { JobSpecSchema } from "../src/v1.js";
import { asExample, asJson, difference } from "./examples.js";
import { Reading } from "./reading.js";
import type { Case, Stage, Stages, Step } from "./stage.js";

const STEP_MS = 30_000;

type AnyOptions = CreateJobOptions & DeleteJobOptions & ListJobsOptions & LogsOptions;

/** Play one case on its stage. */
export async function play(played: Case, stage: Stage, stages: Stages): Promise<void> {
  const filled = JSON.stringify(played).replaceAll("${directory}", stage.directory);
  const { client, steps } = JSON.parse(filled) as Case;
  await using player = new Player(clientOptions(client ?? {}), stage, stages);
  for (const step of steps) {
    await player.take(step);
  }
}

class Player implements AsyncDisposable {
  readonly #stage: Stage;
  readonly #stages: Stages;
  readonly #client: JobEngineClient;
  readonly #direct: JobEngineClient;
  readonly #readings = new Map<string, Reading>();
  readonly #kept = new Map<string, string>();

  constructor(options: ClientOptions, stage: Stage, stages: Stages) {
    this.#stage = stage;
    this.#stages = stages;
    this.#client = new JobEngineClient({ address: stage.address, ...options });
    this.#direct = new JobEngineClient({ address: stage.direct, ...options });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      for (const reading of this.#readings.values()) {
        await reading.drop();
      }
    } finally {
      this.#client.close();
      this.#direct.close();
    }
  }

  /** Take a step, which has to fail if it says so. */
  async take(given: Step): Promise<void> {
    const step = this.#fillIn(given) as Step;
    const text = JSON.stringify(step);
    let result: unknown;
    try {
      result = await this.#do(step, AbortSignal.timeout(STEP_MS));
    } catch (error) {
      if (!(error instanceof JobEngineError) || step.error === undefined) {
        throw new Error(`${text}: ${String(error)}`, { cause: error });
      }
      assert.equal(difference(step.error, asExample(error)), "", `${text}: ${String(error)}`);
      return;
    }
    assert.equal(step.error, undefined, `${text} didn't fail`);
    if (step.expect !== undefined && !["until", "text"].includes(step.do)) {
      assert.equal(difference(step.expect, asJson(result)), "", text);
    }
    if (step.as) {
      const { cursor, uid } = result as { cursor?: string; uid?: string };
      this.#kept.set(step.as, (step.do === "until" ? cursor : uid) ?? "");
    }
  }

  async #do(step: Step, signal: AbortSignal): Promise<unknown> {
    switch (step.do) {
      case "stage":
        return this.#stages.act(this.#stage, step);
      case "watch":
      case "watchAll":
      case "logs":
        this.#begin(step);
        return undefined;
      case "until":
        return this.#reading(step).until(step.expect, signal);
      case "text":
        return this.#reading(step).text(step.expect, step["contains"], signal);
      case "end":
        return this.#take(step).end(signal);
      case "close":
        return this.#take(step).close();
      default:
        return this.#call(step, signal);
    }
  }

  #call(step: Step, signal: AbortSignal): Promise<unknown> {
    const client = step.direct ? this.#direct : this.#client;
    const { name, spec, ...options } = { ...callOptions(step), signal };
    switch (step.do) {
      case "create":
        return client.createJob(spec, { name, ...options });
      case "run":
        return client.run(spec, { name, ...options });
      case "wait":
        return client.wait(name, options);
      case "readJob":
        return client.readJob(name, options);
      case "readStatus":
        return client.readStatus(name, options);
      case "list":
        return names(client, options);
      case "cancel":
        return client.cancelJob(name, options);
      case "delete":
        return client.deleteJob(name, options);
      case "readEngine":
        return client.readEngine(options);
      default:
        throw new Error(`this player knows no step ${JSON.stringify(step.do)}`);
    }
  }

  #begin(step: Step): void {
    const client = step.direct ? this.#direct : this.#client;
    const { name, ...options } = callOptions(step);
    const streams = {
      watch: () => client.watchStatus(name, options),
      watchAll: () => client.watchJobs(options),
      logs: () => client.logs(name, options),
    };
    const reading = new Reading(streams[step.do as keyof typeof streams]());
    this.#readings.set(step.stream ?? "", reading);
  }

  #reading(step: Step): Reading {
    const reading = this.#readings.get(step.stream ?? "");
    assert.ok(reading, `no stream ${JSON.stringify(step.stream)}`);
    return reading;
  }

  #take(step: Step): Reading {
    const reading = this.#reading(step);
    this.#readings.delete(step.stream ?? "");
    return reading;
  }

  #fillIn(value: unknown): unknown {
    if (Array.isArray(value)) {
      return value.map((inner) => this.#fillIn(inner));
    }
    if (typeof value === "object" && value !== null) {
      const entries = Object.entries(value).map(([key, inner]) => [key, this.#fillIn(inner)]);
      return Object.fromEntries(entries);
    }
    if (typeof value === "string" && value.startsWith("$")) {
      return this.#kept.get(value.slice(1));
    }
    return value;
  }
}

async function names(
  client: JobEngineClient,
  options: Parameters<JobEngineClient["listJobs"]>[0],
): Promise<string[]> {
  const found: string[] = [];
  for await (const job of client.listJobs(options)) {
    found.push(job.name);
  }
  return found;
}

function clientOptions({ ca, token, ...times }: Record<string, number | string>): ClientOptions {
  const { timeoutMs, ...retry } = inMilliseconds(times) as Record<string, number>;
  return {
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(ca !== undefined && { tls: { ca: readFileSync(ca) } }),
    ...(token !== undefined && { token: () => readFileSync(token, "utf8") }),
    retry,
  };
}

/** What a step says, as the client takes it; each method takes what it knows. */
function callOptions(step: Step) {
  const { name, spec, selector, states, logStream, ...rest } = inMilliseconds(step);
  const { uid, cursor, requestId, validateOnly, allowMissing, wait, follow } = rest;
  const { instance, tailLines, timeoutMs, graceMs } = rest;
  const options = {
    labelSelector: selector,
    states: (states as string[] | undefined)?.map(
      (state) => JobState[state.replace("JOB_STATE_", "") as keyof typeof JobState],
    ),
    stream:
      logStream &&
      LogStream[(logStream as string).replace("LOG_STREAM_", "") as keyof typeof LogStream],
    ...{ uid, cursor, requestId, validateOnly, allowMissing, wait, follow },
    ...{ instance, tailLines, timeoutMs, graceMs },
  };
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return {
    name: (name ?? "") as string,
    spec: fromJson(JobSpecSchema, (spec ?? {}) as JsonValue),
    ...(Object.fromEntries(given) as AnyOptions),
  };
}

/** The same with times in milliseconds, named so. */
function inMilliseconds(fields: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(fields).map(([key, value]) =>
    key.endsWith("Seconds")
      ? [key.replace(/Seconds$/, "Ms"), (value as number) * 1_000]
      : [key, value],
  );
  return Object.fromEntries(entries) as Record<string, unknown>;
}
