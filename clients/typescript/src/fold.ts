import { clone, create } from "@bufbuild/protobuf";

import {
  type Job,
  JobReason,
  JobSchema,
  JobState,
  JobStatusSchema,
} from "./gen/jobengine/v1/job_pb.js";
import {
  WatchEvent,
  type WatchJobsResponse,
  WatchJobsResponseSchema,
} from "./gen/jobengine/v1/job_engine_pb.js";
import { same } from "./same.js";
import { isTerminal } from "./states.js";

/** So many of the jobs that are gone are known to be; the server remembers as many. */
export const MAX_REMEMBERED_DELETIONS = 10_000;

const VANISHED =
  "The job was removed while this watch was interrupted; how it ended can't be known here";

/**
 * The jobs that a watch has told of, and what each further message changes about them.
 *
 * A resumed watch may begin with a full list again. Held against the jobs known from before, that
 * gives only what changed meanwhile, and an end for each job that vanished.
 */
export class JobsFold {
  /** Where a new call should begin. */
  cursor: string;
  readonly #known = new Map<string, Job>();
  readonly #listed = new Set<string>();
  // By uid, oldest first. A deletion may be told again: by the call that goes on from the list in
  // which the job was missed, or by a replica that hears of it later.
  readonly #gone = new Set<string>();
  #listing = true;
  #whole = false;

  /** @param cursor - where the first call begins */
  constructor(cursor: string) {
    this.cursor = cursor;
  }

  /** A new call begins, with the cursor. */
  begin(): void {
    this.#listed.clear();
    this.#listing = true;
  }

  /** What the caller doesn't know yet of what this message tells. */
  fold(message: WatchJobsResponse): WatchJobsResponse[] {
    const told = this.#told(message);
    // A cursor out of the midst of a list would leave out the rest of the list.
    if (message.cursor && !this.#listing) {
      this.cursor = message.cursor;
    }
    return told;
  }

  #told(message: WatchJobsResponse): WatchJobsResponse[] {
    if (message.event === WatchEvent.SYNCED) {
      return this.#sync(message);
    }
    if (message.event === WatchEvent.STATUS && message.job) {
      return this.#update(message, message.job);
    }
    if (message.event === WatchEvent.DELETED && message.job) {
      return this.#remove(message, message.job);
    }
    return [];
  }

  #update(message: WatchJobsResponse, job: Job): WatchJobsResponse[] {
    if (this.#gone.has(job.uid)) {
      return [];
    }
    if (this.#listing) {
      this.#listed.add(job.name);
    }
    const known = this.#known.get(job.name);
    if (known && (same(JobSchema, known, job) || lagsBehind(job, known))) {
      return [];
    }
    this.#known.set(job.name, job);
    if (known && known.uid !== job.uid) {
      this.#rememberGone(known);
      return [vanished(known), message];
    }
    return [message];
  }

  #remove(message: WatchJobsResponse, job: Job): WatchJobsResponse[] {
    const known = this.#known.get(job.name);
    if (known && known.uid !== job.uid) {
      return []; // its end was told when the next job of that name showed up
    }
    if (this.#gone.has(job.uid)) {
      return [];
    }
    this.#known.delete(job.name);
    this.#rememberGone(job);
    return [message];
  }

  #sync(message: WatchJobsResponse): WatchJobsResponse[] {
    this.#listing = false;
    const told = message.full ? this.#forgetUnlisted() : [];
    this.#listed.clear();
    // Full as the caller sees it: all jobs since its own beginning, not since the resumption.
    // Later on it has been told of every end.
    const full = message.full && !this.#whole;
    this.#whole ||= message.full;
    const { event, cursor } = message;
    return [...told, create(WatchJobsResponseSchema, { event, cursor, full })];
  }

  #forgetUnlisted(): WatchJobsResponse[] {
    const gone = [...this.#known.values()].filter((job) => !this.#listed.has(job.name));
    for (const job of gone) {
      this.#known.delete(job.name);
      this.#rememberGone(job);
    }
    return gone.map(vanished);
  }

  #rememberGone(job: Job): void {
    this.#gone.add(job.uid);
    const [oldest] = this.#gone;
    if (this.#gone.size > MAX_REMEMBERED_DELETIONS && oldest !== undefined) {
      this.#gone.delete(oldest);
    }
  }
}

/** Whether a replica, or a server before it, has told more of the same job already. */
function lagsBehind(job: Job, known: Job): boolean {
  if (job.uid !== known.uid) {
    return false;
  }
  return isTerminal(known.status) || state(job) < state(known);
}

function state(job: Job): JobState {
  return job.status?.state ?? JobState.UNSPECIFIED;
}

function vanished(job: Job): WatchJobsResponse {
  const last = clone(JobSchema, job);
  if (!isTerminal(last.status)) {
    last.status ??= create(JobStatusSchema);
    last.status.state = JobState.LOST;
    last.status.reason = JobReason.DELETED;
    last.status.message = VANISHED;
    delete last.status.active;
  }
  return create(WatchJobsResponseSchema, { event: WatchEvent.DELETED, job: last });
}
