package dev.jobengine.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobengine.v1.Job;
import io.grpc.Context;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** How callers end what they began, on a server that never answers. */
@Timeout(20)
class EndingTest {
  private ServerSocket server;
  private JobEngineClient client;

  @BeforeEach
  void open() throws IOException {
    server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    client = JobEngineClient.builder().address("127.0.0.1:" + server.getLocalPort()).build();
  }

  @AfterEach
  void close() throws IOException {
    client.close();
    server.close();
  }

  @Test
  void anInterruptEndsACall() throws Exception {
    endsByInterrupt(() -> client.readJob("a"));
  }

  @Test
  void anInterruptEndsAStream() throws Exception {
    endsByInterrupt(() -> client.watchJobs().hasNext());
  }

  @Test
  void anInterruptEndsAWait() throws Exception {
    endsByInterrupt(() -> client.waitFor("a"));
  }

  private void endsByInterrupt(Runnable call) throws Exception {
    FutureTask<Boolean> task =
        new FutureTask<>(
            () -> {
              assertThrows(CallCancelledException.class, call::run);
              return Thread.currentThread().isInterrupted();
            });
    Thread thread = new Thread(task);
    thread.start();
    awaitConnection();
    thread.interrupt();
    assertTrue(task.get());
  }

  @Test
  void aStreamIsClosedByAnotherThread() throws Exception {
    JobStream<?> stream = client.watchStatus("a");
    FutureTask<Boolean> reader = new FutureTask<>(stream::hasNext);
    new Thread(reader).start();
    awaitConnection();
    stream.close();
    assertFalse(reader.get());
    assertFalse(stream.hasNext());
  }

  @Test
  void closingTheClientEndsItsCalls() throws Exception {
    CompletableFuture<Job> call = client.readJobAsync("a");
    FutureTask<Boolean> reader = new FutureTask<>(() -> client.logs("a").hasNext());
    new Thread(reader).start();
    awaitConnection();
    client.close();
    assertInstanceOf(
        ClientClosedException.class, assertThrows(ExecutionException.class, call::get).getCause());
    assertInstanceOf(
        ClientClosedException.class,
        assertThrows(ExecutionException.class, reader::get).getCause());
    assertThrows(ClientClosedException.class, () -> client.readJob("a"));
  }

  @Test
  void cancellingAFutureOrTheCallersContextEndsACall() throws Exception {
    client.readJobAsync("a").cancel(true);
    Context.CancellableContext context = Context.current().withCancellation();
    CompletableFuture<Job> call = context.call(() -> client.readJobAsync("a"));
    context.cancel(null);
    assertInstanceOf(
        CallCancelledException.class, assertThrows(ExecutionException.class, call::get).getCause());
  }

  @Test
  void theTraceOfAFailureLeadsToTheCaller() {
    client.close();
    var failure = assertThrows(ClientClosedException.class, () -> client.readJob("a"));
    assertEquals(UnaryCall.class.getName(), failure.getStackTrace()[0].getClassName());
  }

  /** Waits until the client has sent something. */
  private void awaitConnection() throws IOException {
    Socket connection = server.accept();
    InputStream sent = connection.getInputStream();
    assertTrue(sent.read() >= 0);
  }
}
