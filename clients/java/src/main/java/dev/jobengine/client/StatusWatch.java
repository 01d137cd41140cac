package dev.jobengine.client;

import dev.jobengine.v1.JobEngineGrpc;
import dev.jobengine.v1.WatchEvent;
import dev.jobengine.v1.WatchStatusRequest;
import dev.jobengine.v1.WatchStatusResponse;
import io.grpc.Deadline;
import io.grpc.Status;

/** Tells each status of one job once, until it has ended. */
final class StatusWatch implements JobStream.Source<WatchStatusResponse> {
  private final WatchStatusRequest.Builder request;
  private final ResumingStream<WatchStatusRequest, WatchStatusResponse> stream;
  private WatchStatusResponse latest;

  StatusWatch(
      Transport transport, WatchStatusRequest request, Deadline deadline, boolean established) {
    Settings settings = transport.settings();
    this.request =
        request.toBuilder().setHeartbeatInterval(JavaDurations.toProto(settings.heartbeat()));
    boolean resumedByCaller = !request.getCursor().isEmpty();
    stream =
        new ResumingStream<>(
            transport,
            new ResumingStream.Plan<>(
                JobEngineGrpc.getWatchStatusMethod(),
                this.request::build,
                // Nothing more comes after the cursor of a terminal status.
                () -> latest == null && resumedByCaller,
                () -> latest != null && isLast(latest),
                settings.silence(),
                deadline,
                established));
  }

  /**
   * Waits for the next status, or after the last one for the end that the server makes.
   *
   * <p>A call that is cancelled just as it ends costs the server memory for good
   * (https://github.com/grpc/grpc/issues/43360).
   */
  @Override
  public WatchStatusResponse next() {
    while (true) {
      WatchStatusResponse message = stream.next();
      if (message == null) {
        return null;
      }
      if (!message.getCursor().isEmpty()) {
        request.setCursor(message.getCursor());
      }
      if (message.getEvent() == WatchEvent.WATCH_EVENT_HEARTBEAT || repeatsLatest(message)) {
        continue;
      }
      checkSameJob(message);
      latest = message;
      return message;
    }
  }

  @Override
  public void close() {
    stream.close();
  }

  private static boolean isLast(WatchStatusResponse message) {
    return message.getEvent() == WatchEvent.WATCH_EVENT_DELETED
        || JobStates.isTerminal(message.getStatus());
  }

  private boolean repeatsLatest(WatchStatusResponse message) {
    return latest != null
        && message.getEvent() == latest.getEvent()
        && message.getUid().equals(latest.getUid())
        && message.getStatus().equals(latest.getStatus());
  }

  /** Refuse to go on with another job, which got the name while the stream was away. */
  private void checkSameJob(WatchStatusResponse message) {
    if (latest != null && !message.getUid().equals(latest.getUid())) {
      throw new JobNotFoundException(
          "the job '%s' that was watched (uid %s) is gone; there is another of its name now (uid %s)"
              .formatted(request.getName(), latest.getUid(), message.getUid()),
          ErrorDetails.of(Status.Code.NOT_FOUND, "JOB_NOT_FOUND"),
          null);
    }
  }
}
