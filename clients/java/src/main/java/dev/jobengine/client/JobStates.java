package dev.jobengine.client;

import dev.jobengine.v1.JobState;
import dev.jobengine.v1.JobStatus;
import java.util.Collections;
import java.util.EnumSet;
import java.util.Set;

/** What can be asked of a job's state. */
public final class JobStates {
  /** The states that are final. */
  public static final Set<JobState> TERMINAL =
      Collections.unmodifiableSet(
          EnumSet.of(
              JobState.JOB_STATE_SUCCEEDED,
              JobState.JOB_STATE_FAILED,
              JobState.JOB_STATE_CANCELLED,
              JobState.JOB_STATE_LOST));

  private JobStates() {}

  /**
   * Tells whether the job has ended; such a status never changes.
   *
   * @param status the job's status
   * @return whether it is final
   */
  public static boolean isTerminal(JobStatus status) {
    return TERMINAL.contains(status.getState());
  }
}
