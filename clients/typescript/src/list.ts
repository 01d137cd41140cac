import { create, type MessageInitShape } from "@bufbuild/protobuf";

import type { Calls } from "./calls.js";
import { JobEngine, type ListJobsRequestSchema } from "./gen/jobengine/v1/job_engine_pb.js";
import type { Job } from "./gen/jobengine/v1/job_pb.js";
import type { Operation } from "./operation.js";

/** Yield all jobs that match, page after page, each of which may take `timeoutMs`. */
export async function* listJobs(
  calls: Calls,
  operation: Operation,
  init: MessageInitShape<typeof ListJobsRequestSchema>,
  timeoutMs: number | undefined,
): AsyncGenerator<Job, void, undefined> {
  const method = JobEngine.method.listJobs;
  const request = create(method.input, init);
  do {
    const page = await calls.attempt(operation, method, request, timeoutMs);
    yield* page.jobs;
    request.pageToken = page.nextPageToken;
  } while (request.pageToken);
}
