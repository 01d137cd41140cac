import { type JobStatus, JobReason, JobState } from "./gen/jobengine/v1/job_pb.js";

/** The states that are final. */
export const TERMINAL_STATES: ReadonlySet<JobState> = new Set([
  JobState.SUCCEEDED,
  JobState.FAILED,
  JobState.CANCELLED,
  JobState.LOST,
]);

/** Whether the job has ended; such a status never changes. */
export function isTerminal(status: JobStatus | undefined): boolean {
  return status !== undefined && TERMINAL_STATES.has(status.state);
}

/** The state's name, for example `"SUCCEEDED"`; its number where the server is newer. */
export function stateName(status: JobStatus): string {
  return enumName(JobState, status.state);
}

/** The reason's name, for example `"OOM_KILLED"`; empty for none. */
export function reasonName(status: JobStatus): string {
  if (status.reason === JobReason.UNSPECIFIED) {
    return "";
  }
  return enumName(JobReason, status.reason);
}

function enumName(names: Readonly<Record<number, string>>, number: number): string {
  return names[number] ?? String(number);
}
