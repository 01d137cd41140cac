package dev.jobengine.client;

import dev.jobengine.v1.JobEngineGrpc;
import dev.jobengine.v1.WatchJobsRequest;
import dev.jobengine.v1.WatchJobsResponse;
import java.util.ArrayDeque;
import java.util.Queue;

/** Tells what happens to all jobs that match, without end. */
final class JobsWatch implements JobStream.Source<WatchJobsResponse> {
  private final WatchJobsRequest request;
  private final JobsFold jobs;
  private final ResumingStream<WatchJobsRequest, WatchJobsResponse> stream;
  private final Queue<WatchJobsResponse> untold = new ArrayDeque<>();

  JobsWatch(Transport transport, WatchJobsRequest request) {
    Settings settings = transport.settings();
    this.request =
        request.toBuilder()
            .setHeartbeatInterval(JavaDurations.toProto(settings.heartbeat()))
            .build();
    jobs = new JobsFold(request.getCursor());
    stream =
        new ResumingStream<>(
            transport,
            new ResumingStream.Plan<>(
                JobEngineGrpc.getWatchJobsMethod(),
                this::begin,
                () -> false,
                () -> false,
                settings.silence(),
                null,
                false));
  }

  @Override
  public WatchJobsResponse next() {
    while (untold.isEmpty()) {
      WatchJobsResponse message = stream.next();
      if (message == null) {
        return null;
      }
      untold.addAll(jobs.fold(message));
    }
    return untold.remove();
  }

  @Override
  public void close() {
    stream.close();
  }

  private WatchJobsRequest begin() {
    jobs.begin();
    return request.toBuilder().setCursor(jobs.cursor()).build();
  }
}
