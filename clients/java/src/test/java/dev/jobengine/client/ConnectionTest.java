package dev.jobengine.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.jobengine.v1.JobEngineGrpc;
import dev.jobengine.v1.JobState;
import dev.jobengine.v1.JobStatus;
import dev.jobengine.v1.WatchEvent;
import dev.jobengine.v1.WatchStatusRequest;
import dev.jobengine.v1.WatchStatusResponse;
import io.grpc.BindableService;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerCredentials;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsServerCredentials;
import io.grpc.protobuf.StatusProto;
import io.grpc.protobuf.services.HealthStatusManager;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** How a client connects, and shows who it is, to a server that has nothing but its health. */
@Timeout(60)
class ConnectionTest {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  @TempDir private Path directory;
  private final BlockingQueue<String> authorizations = new LinkedBlockingQueue<>();
  private Server server;

  @AfterEach
  void stop() throws InterruptedException {
    assertTrue(server.shutdownNow().awaitTermination(10, TimeUnit.SECONDS));
  }

  @Test
  void theTokenIsSentWithEachCall() throws Exception {
    serve(InsecureServerCredentials.create());
    BlockingQueue<String> tokens = new LinkedBlockingQueue<>();
    tokens.add("first");
    tokens.add("second");
    try (JobEngineClient client = builder().bearerToken(tokens::remove).build()) {
      assertTrue(client.checkHealth(""));
      assertFalse(client.checkHealth("another.Service"));
    }
    assertEquals("Bearer first", authorizations.remove());
    assertEquals("Bearer second", authorizations.remove());
  }

  @Test
  void aWatchGoesOnWithTheTokenOfNow() throws Exception {
    Withdrawing service = new Withdrawing();
    serve(InsecureServerCredentials.create(), service);
    BlockingQueue<String> tokens = new LinkedBlockingQueue<>(List.of("first", "second"));
    try (JobEngineClient client = builder().bearerToken(tokens::remove).build();
        JobStream<WatchStatusResponse> events = client.watchStatus("a")) {
      assertEquals(
          List.of(JobState.JOB_STATE_RUNNING, JobState.JOB_STATE_SUCCEEDED),
          events.stream().map(event -> event.getStatus().getState()).toList());
    }
    assertEquals("Bearer first", authorizations.remove());
    assertEquals("Bearer second", authorizations.remove());
    assertEquals(List.of("", "c"), List.copyOf(service.cursors));
  }

  /** Takes the first watch's credential back. */
  private static final class Withdrawing extends JobEngineGrpc.JobEngineImplBase {
    private final Queue<String> cursors = new LinkedBlockingQueue<>();

    @Override
    public void watchStatus(
        WatchStatusRequest request, StreamObserver<WatchStatusResponse> answers) {
      cursors.add(request.getCursor());
      boolean first = request.getCursor().isEmpty();
      JobState state = first ? JobState.JOB_STATE_RUNNING : JobState.JOB_STATE_SUCCEEDED;
      answers.onNext(
          WatchStatusResponse.newBuilder()
              .setEvent(WatchEvent.WATCH_EVENT_STATUS)
              .setStatus(JobStatus.newBuilder().setState(state))
              .setUid("u")
              .setCursor("c")
              .build());
      if (first) {
        answers.onError(reauthenticate());
      } else {
        answers.onCompleted();
      }
    }

    private static StatusRuntimeException reauthenticate() {
      return StatusProto.toStatusRuntimeException(
          com.google.rpc.Status.newBuilder()
              .setCode(Status.Code.UNAVAILABLE.value())
              .addDetails(
                  Any.pack(
                      ErrorInfo.newBuilder()
                          .setDomain("jobengine")
                          .setReason("REAUTHENTICATE")
                          .build()))
              .addDetails(
                  Any.pack(
                      RetryInfo.newBuilder()
                          .setRetryDelay(JavaDurations.toProto(Duration.ofMillis(1)))
                          .build()))
              .build());
    }
  }

  @Test
  void whatTheServerLacksIsUnsupported() throws Exception {
    serve(InsecureServerCredentials.create());
    try (JobEngineClient client = builder().build()) {
      assertThrows(UnsupportedException.class, client::readEngine);
    }
  }

  @Test
  void encryptedAndKnownToEachOther() throws Exception {
    Identity serverIdentity = Identity.make(directory, "server");
    Identity clientIdentity = Identity.make(directory, "client");
    serve(
        TlsServerCredentials.newBuilder()
            .keyManager(serverIdentity.certificate().toFile(), serverIdentity.key().toFile())
            .trustManager(clientIdentity.certificate().toFile())
            .clientAuth(TlsServerCredentials.ClientAuth.REQUIRE)
            .build());
    JobEngineClientBuilder known =
        builder()
            .mutualTls(
                serverIdentity.certificate(), clientIdentity.certificate(), clientIdentity.key());
    try (JobEngineClient client = known.bearerToken("secret").build()) {
      assertTrue(client.checkHealth(""));
    }
    assertEquals("Bearer secret", authorizations.remove());
    JobEngineClientBuilder unknown = builder().tls(serverIdentity.certificate());
    try (JobEngineClient client = unknown.retryFor(Duration.ZERO).build()) {
      assertThrows(UnavailableException.class, () -> client.checkHealth(""));
    }
  }

  private JobEngineClientBuilder builder() {
    return JobEngineClient.builder().address("127.0.0.1:" + server.getPort());
  }

  private void serve(ServerCredentials credentials, BindableService... services)
      throws IOException {
    ServerInterceptor listen =
        new ServerInterceptor() {
          @Override
          public <Q, A> ServerCall.Listener<Q> interceptCall(
              ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
            if (headers.containsKey(AUTHORIZATION)) {
              authorizations.add(headers.get(AUTHORIZATION));
            }
            return next.startCall(call, headers);
          }
        };
    server =
        Grpc.newServerBuilderForPort(0, credentials)
            .intercept(listen)
            .addService(new HealthStatusManager().getHealthService())
            .addServices(Stream.of(services).map(BindableService::bindService).toList())
            .build()
            .start();
  }

  /** A certificate for 127.0.0.1, signed by itself, and its key, both in PEM. */
  private record Identity(Path certificate, Path key) {
    private static final String PASSWORD = "only for this test";

    static Identity make(Path directory, String name) throws Exception {
      Path store = directory.resolve(name + ".p12");
      Path keytool = Path.of(System.getProperty("java.home"), "bin", "keytool");
      Process made =
          new ProcessBuilder(
                  keytool.toString(),
                  "-genkeypair",
                  "-alias",
                  name,
                  "-keyalg",
                  "EC",
                  "-dname",
                  "CN=" + name,
                  "-ext",
                  "SAN=IP:127.0.0.1",
                  "-keystore",
                  store.toString(),
                  "-storepass",
                  PASSWORD)
              .inheritIO()
              .start();
      assertTrue(made.waitFor(30, TimeUnit.SECONDS));
      assertEquals(0, made.exitValue());
      KeyStore opened = KeyStore.getInstance(store.toFile(), PASSWORD.toCharArray());
      return new Identity(
          pem(
              directory.resolve(name + ".crt"),
              "CERTIFICATE",
              opened.getCertificate(name).getEncoded()),
          pem(
              directory.resolve(name + ".key"),
              "PRIVATE KEY",
              opened.getKey(name, PASSWORD.toCharArray()).getEncoded()));
    }

    private static Path pem(Path file, String what, byte[] content) throws IOException {
      String encoded = Base64.getMimeEncoder().encodeToString(content);
      String text = "-----BEGIN %1$s-----%n%2$s%n-----END %1$s-----%n".formatted(what, encoded);
      return Files.writeString(file, text);
    }
  }
}
