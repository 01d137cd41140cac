package dev.jobengine.client;

import dev.jobengine.v1.Job;
import dev.jobengine.v1.JobReason;
import dev.jobengine.v1.JobState;
import dev.jobengine.v1.WatchEvent;
import dev.jobengine.v1.WatchJobsResponse;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Makes one story out of a watch of many jobs that is interrupted and resumed.
 *
 * <p>A resumed watch may begin with a full list again. Held against the jobs known from before,
 * that gives only what changed meanwhile, and an end for each job that vanished.
 */
final class JobsFold {
  private static final String VANISHED =
      "The job was removed while this watch was interrupted; how it ended can't be known here";

  private final Map<String, Job> known = new HashMap<>();
  private final Set<String> listed = new HashSet<>();
  private final Set<String> toldGone = new HashSet<>();
  private String cursor;
  private boolean listing = true;
  private boolean synced;

  JobsFold(String cursor) {
    this.cursor = cursor;
  }

  /** Where a new call should begin. */
  String cursor() {
    return cursor;
  }

  /** A new call begins, with the cursor. */
  void begin() {
    listed.clear();
    if (!listing) {
      toldGone.clear();
    }
    // Otherwise the call before was cut short, and this one tells the same deletions again.
    listing = true;
  }

  /** What the caller doesn't know yet of what this message tells. */
  List<WatchJobsResponse> fold(WatchJobsResponse message) {
    List<WatchJobsResponse> news =
        switch (message.getEvent()) {
          case WATCH_EVENT_SYNCED -> sync(message);
          case WATCH_EVENT_STATUS -> update(message);
          case WATCH_EVENT_DELETED -> remove(message);
          default -> List.of();
        };
    // A cursor out of the midst of a list would leave out the rest of the list.
    if (!message.getCursor().isEmpty() && !listing) {
      cursor = message.getCursor();
    }
    return news;
  }

  private List<WatchJobsResponse> update(WatchJobsResponse message) {
    Job job = message.getJob();
    if (listing) {
      listed.add(job.getName());
    }
    Job before = known.get(job.getName());
    if (before != null && (before.equals(job) || lagsBehind(job, before))) {
      return List.of();
    }
    known.put(job.getName(), job);
    return before != null && !before.getUid().equals(job.getUid())
        ? List.of(vanished(before), message)
        : List.of(message);
  }

  private List<WatchJobsResponse> remove(WatchJobsResponse message) {
    Job job = message.getJob();
    Job before = known.get(job.getName());
    if (before != null && !before.getUid().equals(job.getUid())) {
      return List.of(); // its end was told when the next job of that name showed up
    }
    if (toldGone.contains(job.getUid())) {
      return List.of(); // it is missing from the list that was being sent, or that was cut short
    }
    if (listing) {
      toldGone.add(job.getUid());
    }
    known.remove(job.getName());
    return List.of(message);
  }

  private List<WatchJobsResponse> sync(WatchJobsResponse message) {
    listing = false;
    List<WatchJobsResponse> news = new ArrayList<>();
    if (message.getFull()) {
      Set<String> missing = new HashSet<>(known.keySet());
      missing.removeAll(listed);
      for (String name : missing) {
        Job gone = known.remove(name);
        toldGone.add(gone.getUid());
        news.add(vanished(gone));
      }
    }
    listed.clear();
    // Full as the caller sees it: all jobs since its own beginning, not since the resumption. Later
    // on it has been told of every end.
    boolean full = message.getFull() && !synced;
    synced = true;
    news.add(
        WatchJobsResponse.newBuilder()
            .setEvent(message.getEvent())
            .setCursor(message.getCursor())
            .setFull(full)
            .build());
    return news;
  }

  /** Whether a replica, or a server before it, has told more of the same job already. */
  private static boolean lagsBehind(Job job, Job before) {
    if (!job.getUid().equals(before.getUid())) {
      return false;
    }
    return JobStates.isTerminal(before.getStatus())
        || job.getStatus().getStateValue() < before.getStatus().getStateValue();
  }

  private static WatchJobsResponse vanished(Job job) {
    Job.Builder last = job.toBuilder();
    if (!JobStates.isTerminal(job.getStatus())) {
      last.getStatusBuilder()
          .setState(JobState.JOB_STATE_LOST)
          .setReason(JobReason.JOB_REASON_DELETED)
          .setMessage(VANISHED)
          .clearActive();
    }
    return WatchJobsResponse.newBuilder()
        .setEvent(WatchEvent.WATCH_EVENT_DELETED)
        .setJob(last)
        .build();
  }
}
