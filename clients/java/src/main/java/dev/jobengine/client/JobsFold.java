package dev.jobengine.client;

import dev.jobengine.v1.Job;
import dev.jobengine.v1.JobReason;
import dev.jobengine.v1.JobState;
import dev.jobengine.v1.WatchEvent;
import dev.jobengine.v1.WatchJobsResponse;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
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
  /** So many of the jobs that are gone are known to be; the server remembers as many. */
  static final int MAX_REMEMBERED_DELETIONS = 10_000;

  private static final String VANISHED =
      "The job was removed while this watch was interrupted; how it ended can't be known here";

  private final Map<String, Job> known = new HashMap<>();
  private final Set<String> listed = new HashSet<>();
  // By uid, oldest first. A deletion may be told again: by the call that goes on from the list in
  // which the job was missed, or by a replica that hears of it later.
  private final Set<String> gone = new LinkedHashSet<>();
  private String cursor;
  private boolean listing = true;
  private boolean whole;

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
    if (gone.contains(job.getUid())) {
      return List.of();
    }
    if (listing) {
      listed.add(job.getName());
    }
    Job before = known.get(job.getName());
    if (before != null && (before.equals(job) || lagsBehind(job, before))) {
      return List.of();
    }
    known.put(job.getName(), job);
    if (before != null && !before.getUid().equals(job.getUid())) {
      rememberGone(before);
      return List.of(vanished(before), message);
    }
    return List.of(message);
  }

  private List<WatchJobsResponse> remove(WatchJobsResponse message) {
    Job job = message.getJob();
    Job before = known.get(job.getName());
    if (before != null && !before.getUid().equals(job.getUid())) {
      return List.of(); // its end was told when the next job of that name showed up
    }
    if (gone.contains(job.getUid())) {
      return List.of();
    }
    known.remove(job.getName());
    rememberGone(job);
    return List.of(message);
  }

  private List<WatchJobsResponse> sync(WatchJobsResponse message) {
    listing = false;
    List<WatchJobsResponse> news = new ArrayList<>();
    if (message.getFull()) {
      Set<String> missing = new HashSet<>(known.keySet());
      missing.removeAll(listed);
      for (String name : missing) {
        Job lost = known.remove(name);
        rememberGone(lost);
        news.add(vanished(lost));
      }
    }
    listed.clear();
    // Full as the caller sees it: all jobs since its own beginning, not since the resumption. Later
    // on it has been told of every end.
    boolean full = message.getFull() && !whole;
    whole = whole || message.getFull();
    news.add(
        WatchJobsResponse.newBuilder()
            .setEvent(message.getEvent())
            .setCursor(message.getCursor())
            .setFull(full)
            .build());
    return news;
  }

  private void rememberGone(Job job) {
    gone.add(job.getUid());
    if (gone.size() > MAX_REMEMBERED_DELETIONS) {
      gone.remove(gone.iterator().next());
    }
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
