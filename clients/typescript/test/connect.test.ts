// How a client gets to its server: TLS, mTLS, token, proxies of the environment.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Metadata, ServerCredentials, status } from "@grpc/grpc-js";

import { ErrorInfoSchema, RetryInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../src/gen/google/rpc/status_pb.js";
import {
  Health,
  HealthCheckResponse_ServingStatus,
  HealthCheckResponseSchema,
} from "../src/gen/grpc/health/v1/health_pb.js";
import {
  type ClientOptions,
  JobEngineClient,
  JobState,
  UnavailableError,
  WatchEvent,
} from "../src/index.js";
import { JobEngine } from "../src/v1.js";
import { TestServer } from "./server.js";

const run = promisify(execFile);
let directory = "";
let cert: Buffer;
let key: Buffer;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "jobengine-"));
  const [keyFile, certFile] = [join(directory, "key.pem"), join(directory, "cert.pem")];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await run("openssl", ["req", ...kind, ...subject, "-keyout", keyFile, "-out", certFile]);
  [cert, key] = await Promise.all([readFile(certFile), readFile(keyFile)]);
});

after(() => rm(directory, { recursive: true }));

/** A server that serves those who send this authorization. */
function healthy(authorization?: string): TestServer {
  return new TestServer().unary(Health.method.check, (call, callback) => {
    const [sent] = call.metadata.get("authorization");
    if (sent === authorization) {
      const serving = HealthCheckResponse_ServingStatus.SERVING;
      callback(null, create(HealthCheckResponseSchema, { status: serving }));
    } else {
      callback({ code: status.UNAUTHENTICATED, details: `who is ${String(sent)}?` });
    }
  });
}

async function check(address: string, options: ClientOptions): Promise<boolean> {
  await using client = new JobEngineClient({ address, retry: { retryForMs: 300 }, ...options });
  return await client.checkHealth();
}

test("TLS, with an authority of one's own", async () => {
  const credentials = ServerCredentials.createSsl(null, [{ cert_chain: cert, private_key: key }]);
  await using server = await healthy("Bearer secret").start(credentials);
  assert.ok(await check(server.address, { tls: { ca: cert }, token: "secret" }));
  await assert.rejects(check(server.address, { tls: true, token: "secret" }), UnavailableError);
  await assert.rejects(check(server.address, { token: "secret" }), UnavailableError);
});

test("mTLS", async () => {
  const pair = { cert_chain: cert, private_key: key };
  await using server = await healthy().start(ServerCredentials.createSsl(cert, [pair], true));
  assert.ok(await check(server.address, { tls: { ca: cert.toString(), cert, key } }));
  await assert.rejects(check(server.address, { tls: { ca: cert } }), UnavailableError);
});

test("a token that is refused", async () => {
  await using server = await healthy("Bearer secret").start();
  assert.ok(await check(server.address, { token: () => "secret" }));
  await assert.rejects(check(server.address, { token: "wrong" }), {
    name: "UnauthenticatedError",
    code: "UNAUTHENTICATED",
    reason: "",
  });
});

test("a watch goes on with the token of now", async () => {
  const seen: string[][] = [];
  await using server = await new TestServer()
    .stream(JobEngine.method.watchStatus, (call) => {
      const { cursor } = call.request;
      seen.push([String(call.metadata.get("authorization")[0]), cursor]);
      const state = cursor ? JobState.SUCCEEDED : JobState.RUNNING;
      const message = { event: WatchEvent.STATUS, status: { state }, uid: "u", cursor: "c" };
      call.write(create(JobEngine.method.watchStatus.output, message));
      if (cursor) {
        call.end();
      } else {
        call.emit("error", reauthenticate());
      }
    })
    .start();
  let asked = 0;
  const token = (): string => String((asked += 1));
  await using client = new JobEngineClient({ address: server.address, token });
  const states: unknown[] = [];
  for await (const { status: told } of client.watchStatus("a")) {
    states.push(told?.state);
  }
  assert.deepEqual(states, [JobState.RUNNING, JobState.SUCCEEDED]);
  assert.deepEqual(seen, [
    ["Bearer 1", ""],
    ["Bearer 2", "c"],
  ]);
});

/** How a stream ends whose credential isn't good any more. */
function reauthenticate(): Error {
  const info = create(ErrorInfoSchema, { domain: "jobengine", reason: "REAUTHENTICATE" });
  const retry = create(RetryInfoSchema, { retryDelay: durationFromMs(1) });
  const details = [anyPack(ErrorInfoSchema, info), anyPack(RetryInfoSchema, retry)];
  const packed = create(StatusSchema, { code: status.UNAVAILABLE, details });
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, packed)));
  return Object.assign(new Error(), {
    code: status.UNAVAILABLE,
    details: "who are you?",
    metadata,
  });
}

test("a proxy of the environment isn't asked for this machine", async () => {
  await using server = await healthy().start();
  process.env["http_proxy"] = "http://127.0.0.1:1";
  try {
    assert.ok(await check(server.address, {}));
  } finally {
    delete process.env["http_proxy"];
  }
});
