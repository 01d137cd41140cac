// Which calls are made again, and how often.
import assert from "node:assert/strict";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";

import { JobEngineClient, JobEngineError } from "../src/index.js";
import { JobEngine } from "../src/v1.js";
import { TestServer } from "./server.js";

const { createJob, deleteJob, listJobs } = JobEngine.method;

/** A server that fails as often as there are codes, then answers; and what it was asked. */
async function failing(...codes: status[]) {
  const created: string[] = [];
  const allowMissing: boolean[] = [];
  const server = new TestServer()
    .unary(createJob, (call, callback) => {
      created.push(call.request.requestId);
      callback(failure(codes), create(createJob.output, { job: { name: "a" } }));
    })
    .unary(deleteJob, (call, callback) => {
      allowMissing.push(call.request.allowMissing);
      callback(failure(codes), create(deleteJob.output));
    })
    .unary(listJobs, (call, callback) => {
      const { pageToken } = call.request;
      const next = { "": "2", "2": "3", "3": "" }[pageToken] ?? "";
      const jobs = [{ name: `a${pageToken}` }, { name: `b${pageToken}` }];
      callback(failure(codes), create(listJobs.output, { jobs, nextPageToken: next }));
    });
  await server.start();
  return {
    created,
    allowMissing,
    address: server.address,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function failure(codes: status[]) {
  const code = codes.shift();
  return code === undefined ? null : { code, details: "not now" };
}

test("a repeated creation has the request id of the first", async () => {
  await using server = await failing(status.UNAVAILABLE, status.CANCELLED);
  await using client = new JobEngineClient({ address: server.address });
  assert.equal((await client.createJob({ command: ["true"] })).name, "a");
  const [first, ...others] = server.created;
  assert.match(first ?? "", /^[0-9a-f-]{36}$/);
  assert.deepEqual(others, [first, first]);
  await client.createJob({ command: ["true"] });
  assert.notEqual(server.created[3], first);
});

test("a repeated deletion may find the job gone", async () => {
  await using server = await failing(status.UNAVAILABLE);
  await using client = new JobEngineClient({ address: server.address });
  await client.deleteJob("a");
  assert.deepEqual(server.allowMissing, [false, true]);
});

test("other failures are told at once", async () => {
  await using server = await failing(status.INTERNAL, status.RESOURCE_EXHAUSTED);
  await using client = new JobEngineClient({ address: server.address });
  await assert.rejects(client.createJob({}), { name: "EngineFailedError" });
  await assert.rejects(client.createJob({}), { name: "LimitReachedError" });
  assert.equal(server.created.length, 2);
});

test("all attempts together have one deadline", async () => {
  await using server = await failing(...Array<status>(100).fill(status.UNAVAILABLE));
  const retry = { retryForMs: 60_000 };
  await using client = new JobEngineClient({ address: server.address, timeoutMs: 2_000, retry });
  const start = performance.now();
  await assert.rejects(client.createJob({}), JobEngineError);
  assert.ok(performance.now() - start < 10_000);
  assert.ok(server.created.length > 1);
});

test("a list goes on over its pages, and a page is asked for again", async () => {
  await using server = await failing(status.UNAVAILABLE);
  await using client = new JobEngineClient({ address: server.address });
  const names: string[] = [];
  for await (const job of client.listJobs()) {
    names.push(job.name);
  }
  assert.deepEqual(names, ["a", "b", "a2", "b2", "a3", "b3"]);
});
