// Which error a failed call means.
import assert from "node:assert/strict";
import { test } from "node:test";

import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Metadata, status } from "@grpc/grpc-js";

import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../src/gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../src/gen/google/rpc/status_pb.js";
import { type Code, JobEngineError } from "../src/index.js";
import { isInterruption, toFailure } from "../src/status.js";

interface Failure {
  reason?: string;
  domain?: string;
  retryDelayMs?: number;
  fields?: string[];
  metadata?: Record<string, string>;
  /** The code within the details, where that isn't the call's. */
  inner?: Code;
}

function failed(code: Code, failure?: Failure): JobEngineError {
  const metadata = new Metadata();
  if (failure) {
    metadata.set("grpc-status-details-bin", Buffer.from(packed(code, failure)));
  }
  const error = Object.assign(new Error(), { code: status[code], details: "told", metadata });
  const result = toFailure(error);
  assert.ok(result instanceof JobEngineError);
  assert.equal(result.message, "told");
  assert.equal(result.code, code);
  assert.equal(result.cause, error);
  return result;
}

function packed(code: Code, failure: Failure): Uint8Array {
  const { reason = "", domain = "jobengine", retryDelayMs, fields, inner = code } = failure;
  const { metadata = { limit: "jobs" } } = failure;
  const details = [anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain, metadata }))];
  if (retryDelayMs !== undefined) {
    const retryDelay = durationFromMs(retryDelayMs);
    details.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay })));
  }
  if (fields) {
    const fieldViolations = fields.map((field) => ({ field, description: "mend it" }));
    details.push(anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations })));
  }
  return toBinary(StatusSchema, create(StatusSchema, { code: status[inner], details }));
}

const BY_REASON: [reason: string, code: Code, kind: string, interruption: boolean][] = [
  ["INVALID_FIELD", "INVALID_ARGUMENT", "InvalidRequestError", false],
  ["UNSUPPORTED_FIELD", "INVALID_ARGUMENT", "InvalidRequestError", false],
  ["INVALID_TOKEN", "INVALID_ARGUMENT", "InvalidRequestError", false],
  ["JOB_NOT_FOUND", "NOT_FOUND", "JobNotFoundError", false],
  ["JOB_ALREADY_EXISTS", "ALREADY_EXISTS", "JobAlreadyExistsError", false],
  ["UID_MISMATCH", "FAILED_PRECONDITION", "UidMismatchError", false],
  ["UNSUPPORTED_CAPABILITY", "UNIMPLEMENTED", "UnsupportedError", false],
  ["ENGINE_UNAVAILABLE", "UNAVAILABLE", "UnavailableError", true],
  ["SERVER_STOPPING", "UNAVAILABLE", "UnavailableError", true],
  ["ENGINE_TIMEOUT", "DEADLINE_EXCEEDED", "DeadlineExceededError", true],
  ["ENGINE_FAILED", "INTERNAL", "EngineFailedError", false],
  ["LIMIT_REACHED", "RESOURCE_EXHAUSTED", "LimitReachedError", false],
  ["UNAUTHENTICATED", "UNAUTHENTICATED", "UnauthenticatedError", false],
  ["PERMISSION_DENIED", "PERMISSION_DENIED", "PermissionDeniedError", false],
  ["REAUTHENTICATE", "UNAVAILABLE", "UnavailableError", true],
  ["NEWER_THAN_THIS", "UNAVAILABLE", "UnavailableError", false],
];

const BY_CODE: [code: Code, kind: string, interruption: boolean][] = [
  ["INVALID_ARGUMENT", "InvalidRequestError", false],
  ["UNIMPLEMENTED", "UnsupportedError", false],
  ["RESOURCE_EXHAUSTED", "LimitReachedError", false],
  ["UNAVAILABLE", "UnavailableError", true],
  ["CANCELLED", "UnavailableError", true],
  ["DEADLINE_EXCEEDED", "DeadlineExceededError", true],
  ["INTERNAL", "EngineFailedError", true],
  ["UNKNOWN", "JobEngineError", true],
  ["UNAUTHENTICATED", "UnauthenticatedError", false],
  ["PERMISSION_DENIED", "PermissionDeniedError", false],
  ["NOT_FOUND", "JobEngineError", false],
];

test("errors by reason", () => {
  for (const [reason, code, kind, interruption] of BY_REASON) {
    const error = failed(code, { reason });
    assert.deepEqual([error.reason, error.name, error.constructor.name], [reason, kind, kind]);
    assert.deepEqual(error.metadata, { limit: "jobs" });
    assert.equal(isInterruption(error), interruption, reason);
  }
});

test("errors by code, where there is no reason of the service", () => {
  for (const [code, kind, interruption] of BY_CODE) {
    for (const failure of [undefined, { reason: "JOB_NOT_FOUND", domain: "another" }]) {
      const error = failed(code, failure);
      assert.deepEqual([error.reason, error.name, error.metadata], ["", kind, {}]);
      assert.equal(isInterruption(error), interruption, code);
    }
  }
});

test("a stream goes on after whatever says when to come back", () => {
  const error = failed("RESOURCE_EXHAUSTED", { reason: "LIMIT_REACHED", retryDelayMs: 1_500 });
  assert.equal(error.retryDelayMs, 1_500);
  assert.ok(isInterruption(error));
});

test("who may not do something is told what they lack", () => {
  const error = failed("PERMISSION_DENIED", {
    reason: "PERMISSION_DENIED",
    metadata: { verb: "delete" },
  });
  assert.equal(error.metadata["verb"], "delete");
});

test("every wrong field is named", () => {
  const error = failed("INVALID_ARGUMENT", { reason: "INVALID_FIELD", fields: ["name", "spec"] });
  assert.deepEqual(error.violations, [
    { field: "name", description: "mend it" },
    { field: "spec", description: "mend it" },
  ]);
});

test("details that contradict the code, or aren't details, are left aside", () => {
  assert.equal(failed("NOT_FOUND", { reason: "JOB_NOT_FOUND", inner: "OK" }).reason, "");
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from([255]));
  const broken = Object.assign(new Error(), { code: status.UNAVAILABLE, details: "", metadata });
  const error = toFailure(broken);
  assert.ok(error instanceof JobEngineError);
  assert.deepEqual([error.name, error.message], ["UnavailableError", "UNAVAILABLE"]);
});

test("other errors stay as they are", () => {
  const error = new TypeError("not gRPC's");
  assert.equal(toFailure(error), error);
});
