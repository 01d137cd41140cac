package dev.jobengine.client;

import dev.jobengine.v1.JobEngineGrpc;
import dev.jobengine.v1.ReadLogsRequest;
import dev.jobengine.v1.ReadLogsResponse;

/** Reads what an instance of a job wrote, without gap or repeat. */
final class LogReader implements JobStream.Source<ReadLogsResponse> {
  private final ReadLogsRequest.Builder request;
  private final ResumingStream<ReadLogsRequest, ReadLogsResponse> stream;

  LogReader(Transport transport, ReadLogsRequest request) {
    this.request = request.toBuilder();
    stream =
        new ResumingStream<>(
            transport,
            new ResumingStream.Plan<>(
                JobEngineGrpc.getReadLogsMethod(),
                this.request::build,
                () -> true,
                () -> false,
                null,
                null,
                false));
  }

  @Override
  public ReadLogsResponse next() {
    ReadLogsResponse chunk = stream.next();
    if (chunk != null && !chunk.getCursor().isEmpty()) {
      request.setCursor(chunk.getCursor());
    }
    return chunk;
  }

  @Override
  public void close() {
    stream.close();
  }
}
