// What the client's methods take besides a name or a spec.
import type { CallOptions } from "./calls.js";
import type { LogStream } from "./gen/jobengine/v1/job_engine_pb.js";
import type { JobState } from "./gen/jobengine/v1/job_pb.js";

/** For `createJob`. */
export interface CreateJobOptions extends CallOptions {
  /** The job's name, an RFC 1123 label of at most 63 characters. Default: the server makes one. */
  name?: string;
  /** Makes the call safe to repeat: new for each job. Default: a UUID. */
  requestId?: string;
  /** Check everything, start nothing. */
  validateOnly?: boolean;
}

/** For `readStatus`. */
export interface ReadStatusOptions extends CallOptions {
  /** Ask the engine itself instead of the server's memory. */
  fresh?: boolean;
}

/** For `cancelJob`. */
export interface CancelJobOptions extends CallOptions {
  /** Only if the job has this uid. */
  uid?: string;
  /** How long the job gets to end by itself, in milliseconds. Default: the engine's. */
  graceMs?: number;
}

/** For `deleteJob`. */
export interface DeleteJobOptions extends CancelJobOptions {
  /** Succeed where there is no such job. */
  allowMissing?: boolean;
  /** Return only when all is gone. */
  wait?: boolean;
}

/** For `listJobs`. The timeout is that of each page. */
export interface ListJobsOptions extends CallOptions {
  /** Only jobs whose labels match, as in Kubernetes: `"app=web,tier!=test"`. */
  labelSelector?: string;
  /** Only jobs in one of these states. */
  states?: readonly JobState[];
}

/** For `watchStatus`. */
export interface WatchOptions {
  /** Begin after the event that had this cursor. */
  cursor?: string;
  /** Ends the stream at once, with an AbortError whose cause is the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** For `watchJobs`. */
export interface WatchJobsOptions extends WatchOptions {
  /** Only jobs whose labels match, as in Kubernetes: `"app=web,tier!=test"`. */
  labelSelector?: string;
}

/** For `logs`. */
export interface LogsOptions extends WatchOptions {
  /** Which instance, counted from 0. */
  instance?: number;
  /** Only this stream. Default: both. */
  stream?: LogStream;
  /** Go on as more is written, until the instance has ended. */
  follow?: boolean;
  /** Begin this many lines before the present end. Default: at the beginning. */
  tailLines?: number;
}

/** For `wait`. */
export interface WaitOptions {
  /** How long to wait. Default: until the job's end, however long that takes. */
  timeoutMs?: number | undefined;
  /** Ends the wait at once, with an AbortError whose cause is the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** For `run`. `timeoutMs` is how long to wait for the job's end, once it was created. */
export interface RunOptions extends WaitOptions {
  /** The job's name, an RFC 1123 label of at most 63 characters. Default: the server makes one. */
  name?: string;
  /** Makes the call safe to repeat: new for each job. Default: a UUID. */
  requestId?: string;
}

/** For `checkHealth`. */
export interface CheckHealthOptions extends CallOptions {
  /** The service's full name; `""` is the server. Default: `jobengine.v1.JobEngine`. */
  service?: string;
}
