// The server ends a watch: one that its client cancels as it ends costs the server memory.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";

import { create } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";

import { JobEngineClient, JobState, WatchEvent } from "../src/index.js";
import { JobEngine, WatchStatusResponseSchema } from "../src/v1.js";
import { TestServer } from "./server.js";

/** Takes its time to end a stream whose last message it has sent, and may break it off then. */
class Slow {
  breaks = false;
  calls = 0;
  readonly ends: string[] = [];
  readonly server = new TestServer().stream(JobEngine.method.watchStatus, (call) => {
    this.calls += 1;
    const last = { event: WatchEvent.STATUS, status: { state: JobState.SUCCEEDED }, uid: "u" };
    call.write(create(WatchStatusResponseSchema, last));
    void setTimeout(100).then(() => {
      this.ends.push(call.cancelled ? "cancelled" : "reached");
      if (this.breaks) {
        call.emit("error", Object.assign(new Error("gone"), { code: status.UNAVAILABLE }));
      } else {
        call.end();
      }
    });
  });
}

const limit = { timeout: 20_000 };

test("a watch is read to its end", limit, async () => {
  const slow = new Slow();
  await using server = await slow.server.start();
  await using client = new JobEngineClient({ address: server.address });
  assert.equal((await client.wait("a")).state, JobState.SUCCEEDED);
  assert.deepEqual(slow.ends, ["reached"]);
});

test("what breaks after the last message breaks nothing", limit, async () => {
  const slow = new Slow();
  slow.breaks = true;
  await using server = await slow.server.start();
  await using client = new JobEngineClient({ address: server.address });
  const states: unknown[] = [];
  for await (const event of client.watchStatus("a")) {
    states.push(event.status?.state);
  }
  assert.deepEqual(states, [JobState.SUCCEEDED]);
  assert.equal(slow.calls, 1);
});
