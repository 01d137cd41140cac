// Calls that end before their time: by the caller's signal, by leaving, by closing, by silence.
import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";
import type { ServerWritableStream } from "@grpc/grpc-js";

import { JobEngineClient, JobState, WatchEvent } from "../src/index.js";
import { JobEngine, ReadLogsResponseSchema, WatchStatusResponseSchema } from "../src/v1.js";
import { TestServer } from "./server.js";

const { readJob, readLogs, watchStatus } = JobEngine.method;

/** Tells of its calls as they begin and are cancelled, and answers none to its end. */
class Silent {
  readonly events = new EventEmitter();
  readonly server = new TestServer()
    .unary(readJob, (call) => {
      call.on("cancelled", () => this.events.emit("cancelled"));
      this.events.emit("begun");
    })
    .stream(watchStatus, (call) => {
      this.#begin(call);
      const status = { state: JobState.RUNNING };
      call.write(create(WatchStatusResponseSchema, { event: WatchEvent.STATUS, uid: "u", status }));
    })
    .stream(readLogs, (call) => {
      this.#begin(call);
      const { cursor } = call.request;
      call.write(create(ReadLogsResponseSchema, { cursor: `${cursor}+` }));
    });

  #begin(call: ServerWritableStream<unknown, unknown>): void {
    call.on("cancelled", () => this.events.emit("cancelled"));
    this.events.emit("begun");
  }
}

async function setUp(): Promise<{ client: JobEngineClient; silent: Silent } & AsyncDisposable> {
  const silent = new Silent();
  const server = await silent.server.start();
  const client = new JobEngineClient({ address: server.address, retry: { heartbeatMs: 1_000 } });
  return {
    client,
    silent,
    async [Symbol.asyncDispose]() {
      client.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

const limit = { timeout: 20_000 };

test("a signal ends a call, and is the cause", limit, async () => {
  await using set = await setUp();
  const controller = new AbortController();
  const begun = once(set.silent.events, "begun");
  const call = set.client.readJob("a", { signal: controller.signal });
  await begun;
  const cancelled = once(set.silent.events, "cancelled");
  const reason = new Error("changed my mind");
  controller.abort(reason);
  await assert.rejects(call, { name: "AbortError", cause: reason });
  await cancelled;
  const later = set.client.readJob("a", { signal: controller.signal });
  await assert.rejects(later, { name: "AbortError", cause: reason });
});

test("a signal ends a stream that waits", limit, async () => {
  await using set = await setUp();
  const controller = new AbortController();
  const stream = set.client.watchStatus("a", { signal: controller.signal });
  assert.equal((await stream.next()).done, false);
  const next = stream.next();
  const cancelled = once(set.silent.events, "cancelled");
  controller.abort();
  await assert.rejects(next, { name: "AbortError", cause: controller.signal.reason as unknown });
  await cancelled;
  assert.equal((await stream.next()).done, true);
});

test("a signal ends the wait for another attempt", limit, async () => {
  const client = new JobEngineClient({ address: "127.0.0.1:1", retry: { retryForMs: 60_000 } });
  const signal = AbortSignal.timeout(500);
  await assert.rejects(client.readJob("a", { timeoutMs: 60_000, signal }), (error: Error) => {
    assert.equal(error.name, "AbortError");
    assert.equal(error.cause, signal.reason);
    return true;
  });
  client.close();
});

test("one signal ends many calls, without a warning", limit, async (context) => {
  await using set = await setUp();
  const warn = context.mock.method(process, "emitWarning", () => undefined);
  const controller = new AbortController();
  const { signal } = controller;
  const calls = Array.from({ length: 20 }, () => set.client.readJob("a", { signal }));
  controller.abort();
  const ended = await Promise.allSettled(calls);
  assert.ok(ended.every(({ status }) => status === "rejected"));
  assert.equal(warn.mock.callCount(), 0);
});

test("leaving a loop cancels its call", limit, async () => {
  await using set = await setUp();
  const cancelled = once(set.silent.events, "cancelled");
  for await (const event of set.client.watchStatus("a")) {
    assert.equal(event.status?.state, JobState.RUNNING);
    break;
  }
  await cancelled;
});

test("a stream is left while it waits", limit, async () => {
  await using set = await setUp();
  const stream = set.client.logs("a", { follow: true });
  assert.equal((await stream.next()).done, false);
  const next = stream.next();
  const cancelled = once(set.silent.events, "cancelled");
  assert.equal((await stream.return()).done, true);
  assert.equal((await next).done, true);
  await cancelled;
});

test("a stream that is left before it began makes no call", limit, async () => {
  await using set = await setUp();
  set.silent.events.on("begun", () => {
    assert.fail("a call was made");
  });
  const stream = set.client.watchStatus("a");
  await stream.return();
  assert.equal((await stream.next()).done, true);
});

test("closing the client ends its calls, and it makes no others", limit, async () => {
  await using set = await setUp();
  const begun = once(set.silent.events, "begun");
  const call = set.client.readJob("a");
  await begun;
  const stream = set.client.watchStatus("a");
  await stream.next();
  const next = stream.next();
  set.client.close();
  await assert.rejects(call, { name: "ClientClosedError" });
  await assert.rejects(next, { name: "ClientClosedError" });
  await assert.rejects(set.client.readJob("a"), { name: "ClientClosedError" });
});

test(
  "a connection given up by a watch is left to other calls until the next one",
  limit,
  async () => {
    await using set = await setUp();
    const watch = set.client.watchStatus("a");
    await watch.next();
    const logs = set.client.logs("a", { follow: true });
    assert.equal((await logs.next()).value?.cursor, "+");
    const more = logs.next();
    const silent = watch.next();
    const first = await Promise.race([
      once(set.silent.events, "begun").then(() => "the watch began again"),
      more,
    ]);
    assert.equal(first, "the watch began again");
    // The second silence closes the first connection, and the logs go on over another.
    assert.equal((await more).value?.cursor, "++");
    await watch.return();
    assert.equal((await silent).done, true);
  },
);
