import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";

import { type JobSpec, JobSpecSchema } from "./gen/jobengine/v1/job_pb.js";

/** The spec's durations in milliseconds, in place of the fields without "Ms" in their names. */
export interface SpecDurations {
  /** How long the job may take from its first start, retries included. */
  timeoutMs?: number;
  /** How long the job may wait to start, from its creation. */
  startTimeoutMs?: number;
  /** How long the job is kept after its end. 0: removed right after it. */
  ttlAfterFinishedMs?: number;
}

/**
 * What to run, and how: a plain object with the fields of {@link JobSpec}, or such a message.
 * Durations may be given in milliseconds.
 */
export type JobSpecInit = MessageInitShape<typeof JobSpecSchema> & SpecDurations;

const DURATIONS = [
  ["timeout", "timeoutMs"],
  ["startTimeout", "startTimeoutMs"],
  ["ttlAfterFinished", "ttlAfterFinishedMs"],
] as const;

/**
 * The message that is meant.
 *
 * @throws TypeError if a duration is given twice
 */
export function toSpec(init: JobSpecInit): JobSpec {
  // A copy: the caller's own message stays as it is.
  const spec = create(JobSpecSchema, { ...init });
  for (const [field, inMs] of DURATIONS) {
    const milliseconds = init[inMs];
    if (milliseconds === undefined) {
      continue;
    }
    if (init[field] !== undefined) {
      throw new TypeError(`spec.${field} and spec.${inMs} are both set: leave one of them out`);
    }
    spec[field] = duration(milliseconds, `spec.${inMs}`);
  }
  return spec;
}

/**
 * A Duration of milliseconds, rounded to whole ones.
 *
 * @throws RangeError if it is no finite number
 */
export function duration(milliseconds: number, field: string) {
  if (!Number.isFinite(milliseconds)) {
    throw new RangeError(`${field} is ${milliseconds}: give a number of milliseconds`);
  }
  return durationFromMs(Math.round(milliseconds));
}
