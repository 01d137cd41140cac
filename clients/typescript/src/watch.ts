// The three streams of the service, each resumed by itself.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";

import type { Calls } from "./calls.js";
import { JobNotFoundError } from "./errors.js";
import { JobsFold } from "./fold.js";
import {
  JobEngine,
  type ReadLogsRequestSchema,
  type ReadLogsResponse,
  type WatchJobsRequestSchema,
  type WatchJobsResponse,
  type WatchStatusRequestSchema,
  WatchEvent,
  type WatchStatusResponse,
  WatchStatusResponseSchema,
} from "./gen/jobengine/v1/job_engine_pb.js";
import { type JobStatus, JobStatusSchema } from "./gen/jobengine/v1/job_pb.js";
import type { Operation } from "./operation.js";
import { same } from "./same.js";
import { isTerminal } from "./states.js";

type Messages<T> = AsyncGenerator<T, void, undefined>;

/** How far a watch of one job may go, and for how long. */
export interface Following {
  /** When it ends at the latest, by `performance.now()`. */
  deadline?: number;
  /** Whether the job is known to be there. */
  established?: boolean;
}

/** Yield each status of one job once, until it has ended. */
export async function* watchStatus(
  calls: Calls,
  operation: Operation,
  init: MessageInitShape<typeof WatchStatusRequestSchema>,
  following: Following = {},
): Messages<WatchStatusResponse> {
  const method = JobEngine.method.watchStatus;
  const request = create(method.input, init);
  request.heartbeatInterval = durationFromMs(calls.settings.retry.heartbeatMs);
  const resumedByCaller = request.cursor !== "";
  let latest: WatchStatusResponse | undefined;
  const messages = calls.stream(operation, {
    method,
    request,
    // Nothing more comes after the cursor of a terminal status.
    complete: () => latest === undefined && resumedByCaller,
    over: () => latest !== undefined && isLast(latest),
    silenceMs: calls.settings.silenceMs,
    ...following,
  });
  // To the end that the server makes: a call that is cancelled just as it ends costs the server
  // memory for good (https://github.com/grpc/grpc/issues/43360).
  for await (const message of messages) {
    request.cursor = message.cursor || request.cursor;
    if (message.event === WatchEvent.HEARTBEAT || (latest && repeats(latest, message))) {
      continue;
    }
    if (latest && latest.uid !== message.uid) {
      // Another job got the name while the stream was away.
      throw new JobNotFoundError(
        `the job ${JSON.stringify(request.name)} that was watched (uid ${latest.uid}) is gone; ` +
          `there is another of its name now (uid ${message.uid})`,
        { code: "NOT_FOUND", reason: "JOB_NOT_FOUND" },
      );
    }
    latest = message;
    yield message;
  }
}

/** Follow a job until it has ended; return its last status. */
export async function wait(
  calls: Calls,
  operation: Operation,
  name: string,
  following: Following,
): Promise<JobStatus> {
  let status = create(JobStatusSchema);
  for await (const event of watchStatus(calls, operation, { name }, following)) {
    status = event.status ?? status;
  }
  return status;
}

/** Yield what happens to all jobs that match, for ever. */
export async function* watchJobs(
  calls: Calls,
  operation: Operation,
  init: MessageInitShape<typeof WatchJobsRequestSchema>,
): Messages<WatchJobsResponse> {
  const method = JobEngine.method.watchJobs;
  const request = create(method.input, init);
  request.heartbeatInterval = durationFromMs(calls.settings.retry.heartbeatMs);
  const jobs = new JobsFold(request.cursor);
  const messages = calls.stream(operation, {
    method,
    request,
    begin: () => {
      request.cursor = jobs.cursor;
      jobs.begin();
    },
    complete: () => false,
    silenceMs: calls.settings.silenceMs,
  });
  for await (const message of messages) {
    yield* jobs.fold(message);
  }
}

/** Yield what an instance of a job wrote, without gap or repeat. */
export async function* readLogs(
  calls: Calls,
  operation: Operation,
  init: MessageInitShape<typeof ReadLogsRequestSchema>,
): Messages<ReadLogsResponse> {
  const method = JobEngine.method.readLogs;
  const request = create(method.input, init);
  for await (const message of calls.stream(operation, { method, request, complete: () => true })) {
    request.cursor = message.cursor || request.cursor;
    yield message;
  }
}

function isLast({ event, status }: WatchStatusResponse): boolean {
  return event === WatchEvent.DELETED || isTerminal(status);
}

/** Whether a message tells just what the one before it told; its cursor doesn't matter. */
function repeats(latest: WatchStatusResponse, message: WatchStatusResponse): boolean {
  const again = { ...message, cursor: latest.cursor };
  return same(WatchStatusResponseSchema, latest, again);
}
