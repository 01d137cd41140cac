/**
 * Client of the job engine: run commands and containers as jobs, over gRPC.
 *
 * {@link JobEngineClient} has all the methods. The module `jobengine/v1` has the messages with
 * their schemas; the most common types are also found here.
 *
 * @module
 */
export type { CallOptions } from "./calls.js";
export { JobEngineClient } from "./client.js";
export * from "./errors.js";
export {
  Capability,
  EngineHealth,
  LogStream,
  type ReadEngineResponse,
  type ReadLogsResponse,
  WatchEvent,
  type WatchJobsResponse,
  type WatchStatusResponse,
} from "./gen/jobengine/v1/job_engine_pb.js";
export {
  ImagePullPolicy,
  type Job,
  JobReason,
  type JobSpec,
  JobState,
  type JobStatus,
} from "./gen/jobengine/v1/job_pb.js";
export type * from "./options.js";
export type { ClientOptions, RetryOptions, TlsOptions } from "./settings.js";
export type { JobSpecInit, SpecDurations } from "./spec.js";
export { isTerminal, reasonName, stateName, TERMINAL_STATES } from "./states.js";
