import type { status } from "@grpc/grpc-js";

/** A gRPC code by its name, for example `"NOT_FOUND"`. */
export type Code = keyof typeof status;

/** One wrong field of a request. */
export interface FieldViolation {
  /** The field's path, as the proto files name it, for example `spec.args[2]`. */
  readonly field: string;
  /** What is wrong with it, and what to do. */
  readonly description: string;
}

/** What is known about a failed call besides its message. */
export interface ErrorFacts {
  /** {@inheritDoc JobEngineError.code} */
  code?: Code;
  /** {@inheritDoc JobEngineError.reason} */
  reason?: string;
  /** {@inheritDoc JobEngineError.violations} */
  violations?: readonly FieldViolation[];
  /** {@inheritDoc JobEngineError.retryDelayMs} */
  retryDelayMs?: number | undefined;
  /** {@inheritDoc JobEngineError.metadata} */
  metadata?: Readonly<Record<string, string>>;
  /** What caused it: gRPC's own error, where there is one. */
  cause?: unknown;
}

/** Base of all errors of failed calls, and any failure that has no class of its own. */
export class JobEngineError extends Error {
  /** The name of the error's class. */
  override readonly name: string = "JobEngineError";
  /** The gRPC code. */
  readonly code: Code;
  /**
   * A name of `ErrorReason`, for example `"JOB_NOT_FOUND"`; empty where the failure isn't the
   * service's own (a lost connection, a proxy).
   */
  readonly reason: string;
  /** The request's wrong fields. */
  readonly violations: readonly FieldViolation[];
  /** How long the server asks to wait before trying again, in milliseconds. */
  readonly retryDelayMs: number | undefined;
  /** Further facts about the reason, for example `limit`. */
  readonly metadata: Readonly<Record<string, string>>;

  /**
   * @param message - what went wrong, for people
   * @param facts - what else is known
   */
  constructor(message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = facts.code ?? "UNKNOWN";
    this.reason = facts.reason ?? "";
    this.violations = facts.violations ?? [];
    this.retryDelayMs = facts.retryDelayMs;
    this.metadata = facts.metadata ?? {};
  }
}

/** Fields of the request are wrong, or ask for what the engine can't do; see `violations`. */
export class InvalidRequestError extends JobEngineError {
  override readonly name: string = "InvalidRequestError";
}

/** There is no such job, or the one that was followed is gone. */
export class JobNotFoundError extends JobEngineError {
  override readonly name: string = "JobNotFoundError";
}

/** The name is taken by another job. */
export class JobAlreadyExistsError extends JobEngineError {
  override readonly name: string = "JobAlreadyExistsError";
}

/** The job of that name isn't the one with the uid that was given. */
export class UidMismatchError extends JobEngineError {
  override readonly name: string = "UidMismatchError";
}

/** The engine, or the server, can't do this at all; `metadata.capability` says what. */
export class UnsupportedError extends JobEngineError {
  override readonly name: string = "UnsupportedError";
}

/** A limit of the server or the engine is reached; `metadata.limit` names it. */
export class LimitReachedError extends JobEngineError {
  override readonly name: string = "LimitReachedError";
}

/** The server or its engine can't be reached, also after the client's own retries. */
export class UnavailableError extends JobEngineError {
  override readonly name: string = "UnavailableError";
}

/** Nothing was heard on a watch for too long, not even a heartbeat. */
export class ConnectionSilentError extends UnavailableError {
  override readonly name: string = "ConnectionSilentError";
}

/** There was no answer in time. What was asked for may still happen. */
export class DeadlineExceededError extends JobEngineError {
  override readonly name: string = "DeadlineExceededError";
}

/** The engine or the server failed in a way that it should not. */
export class EngineFailedError extends JobEngineError {
  override readonly name: string = "EngineFailedError";
}

/** The call brought no credential, or none that the server takes. */
export class UnauthenticatedError extends JobEngineError {
  override readonly name: string = "UnauthenticatedError";
}

/** The caller is known, and may not do this; `metadata.verb` says what it lacks. */
export class PermissionDeniedError extends JobEngineError {
  override readonly name: string = "PermissionDeniedError";
}

/** The client was closed, before or during the call. */
export class ClientClosedError extends JobEngineError {
  override readonly name: string = "ClientClosedError";
}
