// From a failed gRPC call to an error of errors.ts.
import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack, type Any, durationMs } from "@bufbuild/protobuf/wkt";
import { type ServiceError, status } from "@grpc/grpc-js";

import * as errors from "./errors.js";
import {
  type BadRequest,
  BadRequestSchema,
  type ErrorInfo,
  ErrorInfoSchema,
  type RetryInfo,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";

const DOMAIN = "jobengine";

const BY_REASON = new Map<string, typeof errors.JobEngineError>([
  ["INVALID_FIELD", errors.InvalidRequestError],
  ["UNSUPPORTED_FIELD", errors.InvalidRequestError],
  ["INVALID_TOKEN", errors.InvalidRequestError],
  ["JOB_NOT_FOUND", errors.JobNotFoundError],
  ["JOB_ALREADY_EXISTS", errors.JobAlreadyExistsError],
  ["UID_MISMATCH", errors.UidMismatchError],
  ["UNSUPPORTED_CAPABILITY", errors.UnsupportedError],
  ["ENGINE_UNAVAILABLE", errors.UnavailableError],
  ["ENGINE_TIMEOUT", errors.DeadlineExceededError],
  ["ENGINE_FAILED", errors.EngineFailedError],
  ["SERVER_STOPPING", errors.UnavailableError],
  ["LIMIT_REACHED", errors.LimitReachedError],
  ["UNAUTHENTICATED", errors.UnauthenticatedError],
  ["PERMISSION_DENIED", errors.PermissionDeniedError],
  ["REAUTHENTICATE", errors.UnavailableError],
]);

// For failures that aren't the service's own, and for reasons newer than this client.
const BY_CODE = new Map<errors.Code, typeof errors.JobEngineError>([
  ["INVALID_ARGUMENT", errors.InvalidRequestError],
  ["UNIMPLEMENTED", errors.UnsupportedError],
  ["RESOURCE_EXHAUSTED", errors.LimitReachedError],
  ["UNAVAILABLE", errors.UnavailableError],
  // By a server that stops: so gRPC ends calls that came too late to be looked at. (Calls that
  // are cancelled on this side end with the error that they were cancelled for.)
  ["CANCELLED", errors.UnavailableError],
  ["DEADLINE_EXCEEDED", errors.DeadlineExceededError],
  ["INTERNAL", errors.EngineFailedError],
  ["UNAUTHENTICATED", errors.UnauthenticatedError],
  ["PERMISSION_DENIED", errors.PermissionDeniedError],
]);

const INTERRUPTIONS: ReadonlySet<string> = new Set([
  "ENGINE_UNAVAILABLE",
  "ENGINE_TIMEOUT",
  "SERVER_STOPPING",
  "REAUTHENTICATE",
]);

// What connections and proxies end a stream with, when no reason of the service is given.
const BROKEN_STREAM: ReadonlySet<errors.Code> = new Set<errors.Code>([
  "UNAVAILABLE",
  "CANCELLED",
  "DEADLINE_EXCEEDED",
  "INTERNAL",
  "UNKNOWN",
]);

/** The error that a failed call means, with all that its details tell. Other errors stay. */
export function toFailure(error: unknown): unknown {
  return isServiceError(error) ? fromServiceError(error) : error;
}

/** Whether a stream that ended like this may go on in a new call. */
export function isInterruption(error: errors.JobEngineError): boolean {
  if (error.retryDelayMs !== undefined) {
    return true;
  }
  return error.reason ? INTERRUPTIONS.has(error.reason) : BROKEN_STREAM.has(error.code);
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error && "details" in error;
}

function fromServiceError(error: ServiceError): errors.JobEngineError {
  // A number that gRPC doesn't define comes from a broken proxy at best.
  const code = (status[error.code] as errors.Code | undefined) ?? "UNKNOWN";
  const { info, badRequest, retry } = details(error);
  const reason = info?.domain === DOMAIN ? info.reason : "";
  const Kind = BY_REASON.get(reason) ?? BY_CODE.get(code) ?? errors.JobEngineError;
  return new Kind(error.details || code, {
    code,
    reason,
    violations: (badRequest?.fieldViolations ?? []).map(({ field, description }) => ({
      field,
      description,
    })),
    retryDelayMs: retry?.retryDelay && durationMs(retry.retryDelay),
    metadata: info && reason ? { ...info.metadata } : {},
    cause: error,
  });
}

interface Details {
  info?: ErrorInfo | undefined;
  badRequest?: BadRequest | undefined;
  retry?: RetryInfo | undefined;
}

function details(error: ServiceError): Details {
  const [packed] = error.metadata.get("grpc-status-details-bin");
  if (!(packed instanceof Uint8Array)) {
    return {};
  }
  const found: Details = {};
  try {
    const { code, details } = fromBinary(StatusSchema, packed);
    for (const detail of code === (error.code as number) ? details : []) {
      take(detail, found);
    }
  } catch {
    // Details that can't be read: the code alone still tells.
  }
  return found;
}

function take(detail: Any, found: Details): void {
  found.info ??= anyUnpack(detail, ErrorInfoSchema);
  found.badRequest ??= anyUnpack(detail, BadRequestSchema);
  found.retry ??= anyUnpack(detail, RetryInfoSchema);
}
