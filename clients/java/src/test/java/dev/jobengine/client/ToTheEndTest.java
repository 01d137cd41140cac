package dev.jobengine.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobengine.v1.JobEngineGrpc;
import dev.jobengine.v1.JobState;
import dev.jobengine.v1.JobStatus;
import dev.jobengine.v1.WatchEvent;
import dev.jobengine.v1.WatchStatusRequest;
import dev.jobengine.v1.WatchStatusResponse;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The server ends a watch: one that its client cancels as it ends costs the server memory. */
@Timeout(20)
class ToTheEndTest {
  private static final WatchStatusResponse LAST =
      WatchStatusResponse.newBuilder()
          .setEvent(WatchEvent.WATCH_EVENT_STATUS)
          .setStatus(JobStatus.newBuilder().setState(JobState.JOB_STATE_SUCCEEDED))
          .setUid("u")
          .setCursor("c")
          .build();

  private final Slow service = new Slow();
  private Server server;
  private JobEngineClient client;

  @BeforeEach
  void open() throws IOException {
    server =
        Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
            .addService(service)
            .build()
            .start();
    client = JobEngineClient.builder().address("127.0.0.1:" + server.getPort()).build();
  }

  @AfterEach
  void close() throws InterruptedException {
    client.close();
    assertTrue(server.shutdownNow().awaitTermination(10, TimeUnit.SECONDS));
  }

  @Test
  void aWatchIsReadToItsEnd() throws InterruptedException {
    assertEquals(LAST.getStatus(), client.waitFor("a"));
    assertFalse(service.cancelled.take());
  }

  @Test
  void whatBreaksAfterTheLastMessageBreaksNothing() throws InterruptedException {
    service.breaks = true;
    try (JobStream<WatchStatusResponse> events = client.watchStatus("a")) {
      assertEquals(List.of(LAST), events.stream().toList());
    }
    assertFalse(service.cancelled.take());
    assertTrue(service.cancelled.isEmpty(), "it called again");
  }

  /** Takes its time to end a stream whose last message it has sent, and may break it off then. */
  private static final class Slow extends JobEngineGrpc.JobEngineImplBase {
    private volatile boolean breaks;

    /** Whether they were cancelled before their end, of all calls. */
    private final BlockingQueue<Boolean> cancelled = new LinkedBlockingQueue<>();

    @Override
    public void watchStatus(
        WatchStatusRequest request, StreamObserver<WatchStatusResponse> answers) {
      answers.onNext(LAST);
      try {
        Thread.sleep(100);
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
      cancelled.add(Context.current().isCancelled());
      if (breaks) {
        answers.onError(Status.UNAVAILABLE.asRuntimeException());
      } else {
        answers.onCompleted();
      }
    }
  }
}
