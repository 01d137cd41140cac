// What a client is made from, and what it refuses.
import assert from "node:assert/strict";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";

import { resolveSettings } from "../src/settings.js";
import { toSpec } from "../src/spec.js";
import { JobSpecSchema } from "../src/v1.js";

test("the address is the one given, else the environment's, else the default", () => {
  delete process.env["JOBENGINE_ADDRESS"];
  assert.equal(resolveSettings({}).address, "127.0.0.1:50051");
  process.env["JOBENGINE_ADDRESS"] = "jobs:1";
  assert.equal(resolveSettings({}).address, "jobs:1");
  assert.equal(resolveSettings({ address: "other:2" }).address, "other:2");
  delete process.env["JOBENGINE_ADDRESS"];
});

test("a token goes to other machines only by TLS", () => {
  const local = [
    "localhost:1",
    "127.0.0.1:1",
    "127.1.2.3:1",
    "[::1]:1",
    "unix:/run/jobs",
    "dns:///localhost:1",
  ];
  for (const address of local) {
    const settings = resolveSettings({ address, token: "t" });
    assert.deepEqual(settings.metadata().get("authorization"), ["Bearer t"]);
  }
  const remote = ["jobs:1", "127.0.0.1.example.com:1", "10.0.0.1:1", "ipv4:127.0.0.1:1,10.0.0.1:1"];
  for (const address of remote) {
    assert.throws(() => resolveSettings({ address, token: "t" }), /token .*tls/);
    resolveSettings({ address, token: "t", tls: true });
  }
});

test("a token that changes is asked for before each call", () => {
  let calls = 0;
  const { metadata } = resolveSettings({ token: () => `t${(calls += 1)}` });
  assert.deepEqual(metadata().get("authorization"), ["Bearer t1"]);
  assert.deepEqual(metadata().get("authorization"), ["Bearer t2"]);
});

test("only addresses of this machine are kept from a proxy", () => {
  const proxied = (address: string): unknown =>
    resolveSettings({ address }).channelOptions["grpc.enable_http_proxy"];
  assert.equal(proxied("127.0.0.1:1"), 0);
  assert.equal(proxied("jobs:1"), undefined);
});

test("the caller's channel options win", () => {
  const channelOptions = { "grpc.keepalive_time_ms": 60_000 };
  const settings = resolveSettings({ channelOptions });
  assert.equal(settings.channelOptions["grpc.keepalive_time_ms"], 60_000);
  assert.equal(settings.channelOptions["grpc.keepalive_timeout_ms"], 10_000);
});

test("silence is measured by what the server makes of the heartbeat interval", () => {
  for (const [heartbeatMs, silenceMs] of [
    [100, 3_000],
    [10_000, 21_000],
    [1_000_000, 601_000],
  ] as const) {
    assert.equal(resolveSettings({ retry: { heartbeatMs } }).silenceMs, silenceMs);
  }
});

test("times that are none are refused by name", () => {
  assert.throws(() => resolveSettings({ timeoutMs: -1 }), /timeoutMs is -1/);
  assert.throws(() => resolveSettings({ retry: { resumeForMs: NaN } }), /retry\.resumeForMs/);
});

test("durations of a spec are given once, in either form", () => {
  assert.deepEqual(
    toSpec({ command: ["true"], timeoutMs: 1_500, ttlAfterFinishedMs: 0 }),
    create(JobSpecSchema, {
      command: ["true"],
      timeout: { seconds: 1n, nanos: 500_000_000 },
      ttlAfterFinished: {},
    }),
  );
  const both = { timeoutMs: 1, timeout: { seconds: 1n } };
  assert.throws(() => toSpec(both), /spec\.timeout and spec\.timeoutMs/);
  assert.throws(() => toSpec({ startTimeoutMs: NaN }), /spec\.startTimeoutMs is NaN/);
});

test("a spec that is a message stays as it is", () => {
  const message = create(JobSpecSchema, { command: ["true"] });
  assert.deepEqual(toSpec(message), message);
  toSpec(Object.assign(message, { timeoutMs: 5 }));
  assert.equal(message.timeout, undefined);
});
