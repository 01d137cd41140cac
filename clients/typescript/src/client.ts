import { randomUUID } from "node:crypto";

import { create } from "@bufbuild/protobuf";

import { type CallOptions, Calls } from "./calls.js";
import {
  JobEngine,
  type ReadEngineResponse,
  type ReadLogsResponse,
  type WatchJobsResponse,
  type WatchStatusResponse,
} from "./gen/jobengine/v1/job_engine_pb.js";
import { type Job, JobSchema, type JobStatus, JobStatusSchema } from "./gen/jobengine/v1/job_pb.js";
import { checkHealth } from "./health.js";
import { listJobs } from "./list.js";
import type { Operation } from "./operation.js";
import type * as options from "./options.js";
import { type ClientOptions, milliseconds, resolveSettings } from "./settings.js";
import { duration, type JobSpecInit, toSpec } from "./spec.js";
import { isTerminal } from "./states.js";
import { leavable } from "./stream.js";
import * as watch from "./watch.js";

/**
 * Runs jobs on a job engine's server.
 *
 * The connection is opened when it is first needed. Calls that find the service unavailable are
 * made again for a few seconds; streams that are interrupted go on by themselves. Failures are
 * subclasses of {@link JobEngineError}. Every method takes a `signal`; a call that it ends fails
 * with an `AbortError` (a DOMException) whose `cause` is the signal's reason.
 *
 * Streams are async generators: leaving the loop, or `return()`, ends their call at once.
 */
export class JobEngineClient implements AsyncDisposable {
  /** Where the server is. */
  readonly address: string;
  readonly #calls: Calls;

  /**
   * @param options - where the server is, and how to call it
   * @throws TypeError or RangeError naming the setting that is wrong
   */
  constructor(options: ClientOptions = {}) {
    const settings = resolveSettings(options);
    this.address = settings.address;
    this.#calls = new Calls(settings);
  }

  /** Close the connection; calls that are under way end with {@link ClientClosedError}. */
  close(): void {
    this.#calls.transport.close();
  }

  /** The same as {@link JobEngineClient.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  /**
   * Start a job; return it once the engine holds it durably, usually before it runs.
   *
   * Repeating the call with the same `requestId` never starts a second job. The client makes one
   * where none is given, so its own retries are safe.
   *
   * @throws {@link InvalidRequestError}: `violations` names every wrong field; nothing was started
   * @throws {@link JobAlreadyExistsError}: the name is taken by another job
   */
  async createJob(spec: JobSpecInit, options: options.CreateJobOptions = {}): Promise<Job> {
    const { name = "", requestId, validateOnly = false, ...call } = options;
    const request = create(JobEngine.method.createJob.input, {
      name,
      requestId: requestId || randomUUID(),
      spec: toSpec(spec),
      validateOnly,
    });
    const { job } = await this.#calls.unary(JobEngine.method.createJob, request, call);
    return job ?? create(JobSchema);
  }

  /**
   * Read a job, with its spec.
   *
   * @throws {@link JobNotFoundError}: there is no such job
   */
  async readJob(name: string, options: CallOptions = {}): Promise<Job> {
    const request = create(JobEngine.method.readJob.input, { name });
    const { job } = await this.#calls.unary(JobEngine.method.readJob, request, options);
    return job ?? create(JobSchema);
  }

  /**
   * Read a job's status, out of the server's memory, or with `fresh` from the engine.
   *
   * @throws {@link JobNotFoundError}: there is no such job
   */
  async readStatus(name: string, options: options.ReadStatusOptions = {}): Promise<JobStatus> {
    const { fresh = false, ...call } = options;
    const request = create(JobEngine.method.readStatus.input, { name, fresh });
    const { status } = await this.#calls.unary(JobEngine.method.readStatus, request, call);
    return status ?? create(JobStatusSchema);
  }

  /**
   * Stop a job and keep its record; return its status right after that.
   *
   * That is often not terminal yet: {@link JobEngineClient.wait} for it. Jobs that have ended stay
   * as they are.
   *
   * @throws {@link JobNotFoundError}: there is no such job
   * @throws {@link UidMismatchError}: the job has another uid
   */
  async cancelJob(name: string, options: options.CancelJobOptions = {}): Promise<JobStatus> {
    const { uid = "", graceMs, ...call } = options;
    const request = create(JobEngine.method.cancelJob.input, { name, uid });
    if (graceMs !== undefined) {
      request.gracePeriod = duration(graceMs, "graceMs");
    }
    const { status } = await this.#calls.unary(JobEngine.method.cancelJob, request, call);
    return status ?? create(JobStatusSchema);
  }

  /**
   * End a job if it still runs, then remove it with its instances and their output.
   *
   * @throws {@link JobNotFoundError}: there is no such job
   * @throws {@link UidMismatchError}: the job has another uid
   * @throws {@link DeadlineExceededError}: with `wait`, it isn't gone yet; the deletion goes on
   */
  async deleteJob(name: string, options: options.DeleteJobOptions = {}): Promise<void> {
    const { uid = "", allowMissing = false, wait = false, graceMs, ...call } = options;
    const request = create(JobEngine.method.deleteJob.input, { name, uid, allowMissing, wait });
    if (graceMs !== undefined) {
      request.gracePeriod = duration(graceMs, "graceMs");
    }
    await this.#calls.unary(JobEngine.method.deleteJob, request, call, () => {
      // The attempt whose answer was lost may well have removed the job.
      request.allowMissing = true;
    });
  }

  /** Yield all jobs that match, by name and without specs, page after page. */
  listJobs(options: options.ListJobsOptions = {}): AsyncGenerator<Job, void, undefined> {
    const { labelSelector = "", states = [], timeoutMs, signal } = options;
    return this.#stream(signal, (operation) =>
      listJobs(this.#calls, operation, { labelSelector, states: [...states] }, timeoutMs),
    );
  }

  /**
   * Yield a job's status as it is now, then each change, until it has ended.
   *
   * The last event is a terminal status, or the job's deletion. Interruptions are bridged; no
   * event comes twice. With the cursor of an event seen earlier, only what changed since comes,
   * which is nothing if that one was the last.
   *
   * @throws {@link JobNotFoundError}: there is no such job, or it is gone
   * @throws {@link UnavailableError}: the interruption took longer than the settings allow
   */
  watchStatus(
    name: string,
    options: options.WatchOptions = {},
  ): AsyncGenerator<WatchStatusResponse, void, undefined> {
    const { cursor = "", signal } = options;
    return this.#stream(signal, (operation) =>
      watch.watchStatus(this.#calls, operation, { name, cursor }),
    );
  }

  /**
   * Yield all jobs that match, then SYNCED, then what is added, changes or is deleted.
   *
   * Interruptions are bridged: afterwards come only the changes, and a DELETED event for each job
   * that vanished meanwhile, then SYNCED again. With the cursor of an event seen by an earlier
   * watch, only what changed since comes before the first SYNCED; but if a SYNCED says `full`,
   * forget every job that this watch hasn't told of.
   *
   * @throws {@link UnavailableError}: the interruption took longer than the settings allow
   */
  watchJobs(
    options: options.WatchJobsOptions = {},
  ): AsyncGenerator<WatchJobsResponse, void, undefined> {
    const { labelSelector = "", cursor = "", signal } = options;
    return this.#stream(signal, (operation) =>
      watch.watchJobs(this.#calls, operation, { labelSelector, cursor }),
    );
  }

  /**
   * Yield what an instance of a job wrote, in chunks of bytes, without gap or repeat. Chunks end
   * anywhere, also within a character.
   *
   * @throws {@link JobNotFoundError}: there is no such job
   * @throws {@link UnsupportedError}: the engine has no logs
   */
  logs(
    name: string,
    options: options.LogsOptions = {},
  ): AsyncGenerator<ReadLogsResponse, void, undefined> {
    const { signal, tailLines, ...fields } = options;
    const tail = tailLines === undefined ? {} : { tailLines: BigInt(tailLines) };
    return this.#stream(signal, (operation) =>
      watch.readLogs(this.#calls, operation, { name, ...fields, ...tail }),
    );
  }

  /**
   * Wait until a job has ended; return how. A job that failed is no error.
   *
   * @throws {@link JobNotFoundError}: there is no such job, or it is gone
   * @throws {@link DeadlineExceededError}: it hasn't ended within `timeoutMs`
   */
  wait(name: string, options: options.WaitOptions = {}): Promise<JobStatus> {
    return this.#wait(name, options, false);
  }

  /**
   * Start a job, wait until it has ended, and return how. A job that failed is no error.
   *
   * @throws {@link InvalidRequestError}: `violations` names every wrong field; nothing was started
   * @throws {@link JobAlreadyExistsError}: the name is taken by another job
   * @throws {@link DeadlineExceededError}: it hasn't ended within `timeoutMs`; it runs on
   */
  async run(spec: JobSpecInit, options: options.RunOptions = {}): Promise<JobStatus> {
    const { timeoutMs, ...create } = options;
    const job = await this.createJob(spec, create);
    if (job.status && isTerminal(job.status)) {
      return job.status;
    }
    return this.#wait(job.name, { timeoutMs, signal: options.signal }, true);
  }

  /** Ask which engine runs the jobs, how it is, what it can do and what limits apply. */
  readEngine(options: CallOptions = {}): Promise<ReadEngineResponse> {
    const method = JobEngine.method.readEngine;
    return this.#calls.unary(method, create(method.input), options);
  }

  /** Ask the server's health service whether it serves. */
  checkHealth(options: options.CheckHealthOptions = {}): Promise<boolean> {
    const { service = JobEngine.typeName, ...call } = options;
    return checkHealth(this.#calls, service, call);
  }

  #stream<T>(
    signal: AbortSignal | undefined,
    read: (operation: Operation) => AsyncGenerator<T, void, undefined>,
  ): AsyncGenerator<T, void, undefined> {
    return leavable(() => this.#calls.transport.begin(signal), read);
  }

  async #wait(
    name: string,
    { timeoutMs = Infinity, signal }: options.WaitOptions,
    established: boolean,
  ): Promise<JobStatus> {
    const deadline = performance.now() + milliseconds("timeoutMs", timeoutMs);
    using operation = this.#calls.transport.begin(signal);
    return await watch.wait(this.#calls, operation, name, { deadline, established });
  }
}
