package dev.jobengine.client;

import static dev.jobengine.v1.JobState.JOB_STATE_LOST;
import static dev.jobengine.v1.JobState.JOB_STATE_PENDING;
import static dev.jobengine.v1.JobState.JOB_STATE_RUNNING;
import static dev.jobengine.v1.JobState.JOB_STATE_SUCCEEDED;
import static dev.jobengine.v1.WatchEvent.WATCH_EVENT_DELETED;
import static dev.jobengine.v1.WatchEvent.WATCH_EVENT_HEARTBEAT;
import static dev.jobengine.v1.WatchEvent.WATCH_EVENT_STATUS;
import static dev.jobengine.v1.WatchEvent.WATCH_EVENT_SYNCED;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.jobengine.v1.Job;
import dev.jobengine.v1.JobReason;
import dev.jobengine.v1.JobState;
import dev.jobengine.v1.JobStatus;
import dev.jobengine.v1.WatchEvent;
import dev.jobengine.v1.WatchJobsResponse;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** One story out of a watch of all jobs that was interrupted. */
class JobsFoldTest {
  private static final Job A = job("a", JOB_STATE_RUNNING);
  private static final Job B = job("b", JOB_STATE_RUNNING);
  private static final Job ENDED_A = job("a", JOB_STATE_SUCCEEDED);
  private static final Job ENDED_B = job("b", JOB_STATE_SUCCEEDED);

  @Test
  void firstListIsToldAsItIs() {
    WatchJobsResponse[] messages = {status(A), status(B), synced("c1", true)};
    assertEquals(List.of(messages), folded(new JobsFold(""), messages));
  }

  @Test
  void heartbeatMovesTheCursorAndTellsNothing() {
    JobsFold fold = new JobsFold("");
    folded(fold, synced("c1", true));
    assertEquals(List.of(), folded(fold, message(WATCH_EVENT_HEARTBEAT, null, "c2")));
    assertEquals("c2", fold.cursor());
  }

  @Test
  void cursorWithinAListIsNotResumedFrom() {
    JobsFold fold = new JobsFold("before");
    folded(fold, message(WATCH_EVENT_STATUS, A, "midst"));
    assertEquals("before", fold.cursor());
  }

  @Test
  void aReplicaThatLagsBehindTakesNothingBack() {
    JobsFold fold = interruptedAfter(A, ENDED_B);
    assertEquals(
        List.of(synced("c2", false)),
        folded(fold, status(job("a", JOB_STATE_PENDING)), status(B), synced("c2", true)));
    assertEquals(List.of(), folded(fold, status(B)));
    assertEquals(List.of(status(ENDED_A)), folded(fold, status(ENDED_A)));
  }

  @Test
  void unchangedJobsAreNotToldAgain() {
    JobsFold fold = interruptedAfter(A, B);
    assertEquals(
        List.of(status(ENDED_B), synced("c2", false)),
        folded(fold, status(A), status(ENDED_B), synced("c2", true)));
  }

  @Test
  void jobThatVanishedIsLost() {
    List<WatchJobsResponse> told = folded(interruptedAfter(A, B), status(B), synced("c2", true));
    assertEquals(2, told.size());
    WatchJobsResponse gone = told.get(0);
    assertEquals(WATCH_EVENT_DELETED, gone.getEvent());
    assertEquals("uid-a", gone.getJob().getUid());
    assertEquals(JOB_STATE_LOST, gone.getJob().getStatus().getState());
    assertEquals(JobReason.JOB_REASON_DELETED, gone.getJob().getStatus().getReason());
    assertEquals(WATCH_EVENT_SYNCED, told.get(1).getEvent());
  }

  @Test
  void jobThatVanishedAfterItsEndKeepsItsEnd() {
    assertEquals(
        List.of(deleted(ENDED_A, ""), synced("c2", false)),
        folded(interruptedAfter(ENDED_A), synced("c2", true)));
  }

  /** Of what it has known from before the cursor only the caller can tell what is missing. */
  @Test
  void aFullListAfterABeginningFromACursorIsFullForTheCaller() {
    JobsFold fold = new JobsFold("c1");
    assertEquals(List.of(synced("c2", false)), folded(fold, synced("c2", false)));
    fold.begin();
    assertEquals(
        List.of(status(A), synced("d1", true)), folded(fold, status(A), synced("d1", true)));
    fold.begin();
    assertEquals(List.of(synced("d1", false)), folded(fold, status(A), synced("d1", true)));
  }

  @Test
  void nothingVanishedWhereOnlyChangesWereSent() {
    assertEquals(List.of(synced("c2", false)), folded(interruptedAfter(A, B), synced("c2", false)));
  }

  @Test
  void jobMadeAnewEndsTheOneBefore() {
    JobsFold fold = interruptedAfter(A);
    Job anew = A.toBuilder().setUid("another").build();
    List<WatchJobsResponse> told = folded(fold, status(anew));
    assertEquals(WATCH_EVENT_DELETED, told.get(0).getEvent());
    assertEquals("uid-a", told.get(0).getJob().getUid());
    assertEquals(List.of(status(anew)), told.subList(1, told.size()));
    assertEquals(List.of(), folded(fold, deleted(A, "")));
  }

  @Test
  void deletionOfAJobFromBeforeTheCursorIsTold() {
    assertEquals(List.of(deleted(A, "")), folded(new JobsFold("c1"), deleted(A, "")));
  }

  /** The list lacks it already, and its deletion comes after the list. */
  @Test
  void aJobDeletedWhileTheListIsSentIsToldGoneOnce() {
    JobsFold fold = interruptedAfter(ENDED_A);
    assertEquals(
        List.of(deleted(ENDED_A, ""), synced("c2", false)),
        folded(fold, synced("c2", true), deleted(ENDED_A, "c3")));
    assertEquals("c3", fold.cursor());
  }

  /** The next call begins where that one began, and tells it again. */
  @Test
  void aDeletionIsToldOnceThoughTheResumedCallIsCutShort() {
    JobsFold fold = interruptedAfter(ENDED_A);
    WatchJobsResponse gone = deleted(ENDED_A, "c2");
    assertEquals(List.of(gone), folded(fold, gone));
    for (int i = 0; i < 2; i++) {
      fold.begin();
      assertEquals(List.of(), folded(fold, gone));
    }
    assertEquals(List.of(synced("c2", false)), folded(fold, synced("c2", false)));
  }

  /** The list lacks it already; its deletion is told by the call that goes on from its SYNCED. */
  @Test
  void aJobDeletedWhileTheListIsSentIsToldGoneOnceOverTwoCalls() {
    JobsFold fold = interruptedAfter(A);
    assertEquals(2, folded(fold, synced("c2", true)).size());
    fold.begin();
    assertEquals(
        List.of(synced("c3", false)), folded(fold, deleted(ENDED_A, "c3"), synced("c3", false)));
  }

  @Test
  void whatIsGoneStaysSoThoughAReplicaHasNotHeardOfIt() {
    JobsFold fold = interruptedAfter(A, B);
    folded(fold, synced("c2", false), deleted(ENDED_A, "c3"));
    fold.begin();
    assertEquals(
        List.of(synced("d1", false)), folded(fold, status(A), status(B), synced("d1", true)));
    assertEquals(List.of(), folded(fold, deleted(ENDED_A, "d2")));
  }

  @Test
  void onlySoManyDeletionsAreRemembered() {
    JobsFold fold = interruptedAfter();
    for (int number = 0; number <= JobsFold.MAX_REMEMBERED_DELETIONS; number++) {
      folded(fold, deleted(job(Integer.toString(number), JOB_STATE_RUNNING), ""));
    }
    WatchJobsResponse second = deleted(job("1", JOB_STATE_RUNNING), "");
    WatchJobsResponse first = deleted(job("0", JOB_STATE_RUNNING), "");
    assertEquals(List.of(first), folded(fold, second, first));
  }

  private static JobsFold interruptedAfter(Job... jobs) {
    JobsFold fold = new JobsFold("");
    folded(fold, Stream.of(jobs).map(JobsFoldTest::status).toArray(WatchJobsResponse[]::new));
    folded(fold, synced("c1", true));
    fold.begin();
    return fold;
  }

  private static List<WatchJobsResponse> folded(JobsFold fold, WatchJobsResponse... messages) {
    return Stream.of(messages).flatMap(message -> fold.fold(message).stream()).toList();
  }

  private static Job job(String name, JobState state) {
    return Job.newBuilder()
        .setName(name)
        .setUid("uid-" + name)
        .setStatus(JobStatus.newBuilder().setState(state))
        .build();
  }

  private static WatchJobsResponse status(Job job) {
    return message(WATCH_EVENT_STATUS, job, "");
  }

  private static WatchJobsResponse deleted(Job job, String cursor) {
    return message(WATCH_EVENT_DELETED, job, cursor);
  }

  private static WatchJobsResponse synced(String cursor, boolean full) {
    return message(WATCH_EVENT_SYNCED, null, cursor).toBuilder().setFull(full).build();
  }

  private static WatchJobsResponse message(WatchEvent event, Job job, String cursor) {
    WatchJobsResponse.Builder message =
        WatchJobsResponse.newBuilder().setEvent(event).setCursor(cursor);
    return (job == null ? message : message.setJob(job)).build();
  }
}
