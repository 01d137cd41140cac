package dev.jobengine.client;

import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.InsecureChannelCredentials;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Supplier;

/** Builds a {@link JobEngineClient}. All settings have defaults. */
public final class JobEngineClientBuilder {
  private final List<ClientInterceptor> interceptors = new ArrayList<>();
  private String address;
  private ChannelCredentials credentials = InsecureChannelCredentials.create();
  private BearerToken token;
  private Duration timeout = Duration.ofSeconds(30);
  private Duration retryFor = Duration.ofSeconds(5);
  private Duration resumeFor = Duration.ofMinutes(5);
  private Duration heartbeat = Duration.ofSeconds(50);

  JobEngineClientBuilder() {}

  /**
   * Sets the server's address. Default: the environment variable JOBENGINE_ADDRESS, else
   * 127.0.0.1:50051.
   *
   * @param address host:port or unix:PATH
   * @return this
   */
  public JobEngineClientBuilder address(String address) {
    this.address = address;
    return this;
  }

  /**
   * Encrypts the connection, and trusts the authorities that the Java runtime trusts.
   *
   * @return this
   */
  public JobEngineClientBuilder tls() {
    return credentials(TlsChannelCredentials.create());
  }

  /**
   * Encrypts the connection, and trusts the given authorities only.
   *
   * @param authorities file of PEM certificates
   * @return this
   * @throws IOException the file can't be read
   */
  public JobEngineClientBuilder tls(Path authorities) throws IOException {
    return credentials(
        TlsChannelCredentials.newBuilder().trustManager(authorities.toFile()).build());
  }

  /**
   * Encrypts the connection, trusts the given authorities only, and shows the server who calls.
   *
   * @param authorities file of PEM certificates
   * @param certificate file of this client's PEM certificate chain
   * @param privateKey file of its unencrypted PKCS #8 key, in PEM
   * @return this
   * @throws IOException a file can't be read
   */
  public JobEngineClientBuilder mutualTls(Path authorities, Path certificate, Path privateKey)
      throws IOException {
    return credentials(
        TlsChannelCredentials.newBuilder()
            .trustManager(authorities.toFile())
            .keyManager(certificate.toFile(), privateKey.toFile())
            .build());
  }

  /**
   * Sets how the connection is secured, for what {@code tls} and {@code mutualTls} don't offer.
   * Default: no encryption.
   *
   * @param credentials gRPC's credentials of a channel
   * @return this
   */
  public JobEngineClientBuilder credentials(ChannelCredentials credentials) {
    this.credentials = Objects.requireNonNull(credentials, "credentials");
    return this;
  }

  /**
   * Sends {@code authorization: Bearer TOKEN} with each call.
   *
   * @param token the token
   * @return this
   */
  public JobEngineClientBuilder bearerToken(String token) {
    Objects.requireNonNull(token, "token");
    return bearerToken(() -> token);
  }

  /**
   * Sends {@code authorization: Bearer TOKEN} with each call, for tokens that are renewed.
   *
   * @param token asked for the token at each attempt of each call; must not block, because gRPC's
   *     threads may ask
   * @return this
   */
  public JobEngineClientBuilder bearerToken(Supplier<String> token) {
    this.token = new BearerToken(Objects.requireNonNull(token, "token"));
    return this;
  }

  /**
   * Adds an interceptor to all calls, for example for headers or tracing.
   *
   * @param interceptor runs before those that were added earlier
   * @return this
   */
  public JobEngineClientBuilder intercept(ClientInterceptor interceptor) {
    interceptors.add(Objects.requireNonNull(interceptor, "interceptor"));
    return this;
  }

  /**
   * Sets how long each call with a single answer may take, retries included. Default: 30 s.
   *
   * @param timeout longer than zero
   * @return this
   */
  public JobEngineClientBuilder timeout(Duration timeout) {
    if (timeout.isZero()) {
      throw new IllegalArgumentException("timeout: has to be longer than zero");
    }
    this.timeout = notNegative("timeout", timeout);
    return this;
  }

  /**
   * Sets for how long a call that found the service unavailable is made again. Default: 5 s.
   *
   * @param retryFor zero: not at all
   * @return this
   */
  public JobEngineClientBuilder retryFor(Duration retryFor) {
    this.retryFor = notNegative("retryFor", retryFor);
    return this;
  }

  /**
   * Sets for how long a stream that was interrupted is resumed, without hearing anything. Default:
   * 5 min.
   *
   * @param resumeFor zero: not at all
   * @return this
   */
  public JobEngineClientBuilder resumeFor(Duration resumeFor) {
    this.resumeFor = notNegative("resumeFor", resumeFor);
    return this;
  }

  /**
   * Sets how often a quiet watch wants to hear from the server. After twice that and a second in
   * silence, the watch takes its connection for dead. Default: 50 s.
   *
   * @param heartbeat held within 1 s and 5 min
   * @return this
   */
  public JobEngineClientBuilder heartbeat(Duration heartbeat) {
    this.heartbeat = notNegative("heartbeat", heartbeat);
    return this;
  }

  /**
   * Builds the client. It connects when it is first used.
   *
   * @return the client; close it when it isn't needed any more
   * @throws IllegalArgumentException the address is malformed, or a bearer token would be sent
   *     unencrypted to another machine
   */
  public JobEngineClient build() {
    String found = Settings.findAddress(address, System.getenv("JOBENGINE_ADDRESS"));
    List<ClientInterceptor> all = new ArrayList<>(interceptors);
    if (token != null) {
      if (credentials instanceof InsecureChannelCredentials && !Settings.isLoopback(found)) {
        throw new IllegalArgumentException(
            "bearerToken: without encryption, others could read it on its way to "
                + found
                + "; use tls()");
      }
      all.add(token);
    }
    return new JobEngineClient(
        new Settings(found, credentials, all, timeout, retryFor, resumeFor, heartbeat));
  }

  private static Duration notNegative(String name, Duration duration) {
    if (duration.isNegative()) {
      throw new IllegalArgumentException(name + ": must not be negative, but is " + duration);
    }
    return duration;
  }
}
