package dev.jobengine.client;

import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import java.time.Duration;
import java.util.List;
import java.util.regex.Pattern;

/** What a client is made from; the builder's methods say what the parts mean. */
record Settings(
    String address,
    ChannelCredentials credentials,
    List<ClientInterceptor> interceptors,
    Duration timeout,
    Duration retryFor,
    Duration resumeFor,
    Duration heartbeat) {

  private static final String DEFAULT_ADDRESS = "127.0.0.1:50051";
  private static final Pattern ADDRESS = Pattern.compile("unix:.+|.+:\\d{1,5}");
  private static final Pattern LOOPBACK =
      Pattern.compile("unix:.+|(localhost|127(\\.\\d{1,3}){3}|\\[::1]):\\d+");
  private static final Duration MIN_HEARTBEAT = Duration.ofSeconds(1);
  private static final Duration MAX_HEARTBEAT = Duration.ofMinutes(5);

  /** The address that is meant: the one given, else that of the environment, else the default. */
  static String findAddress(String given, String fromEnvironment) {
    String address =
        isSet(given) ? given : isSet(fromEnvironment) ? fromEnvironment : DEFAULT_ADDRESS;
    if (!ADDRESS.matcher(address).matches()) {
      throw new IllegalArgumentException(
          "address: has to be host:port or unix:PATH, but is '" + address + "'");
    }
    return address;
  }

  /** Whether the address is certain to be of this machine. */
  static boolean isLoopback(String address) {
    return LOOPBACK.matcher(address).matches();
  }

  /** How long a watch may be silent before its connection is taken for dead. */
  Duration silence() {
    Duration atLeast = heartbeat.compareTo(MIN_HEARTBEAT) < 0 ? MIN_HEARTBEAT : heartbeat;
    Duration held = atLeast.compareTo(MAX_HEARTBEAT) > 0 ? MAX_HEARTBEAT : atLeast;
    return held.multipliedBy(2).plusSeconds(1);
  }

  private static boolean isSet(String value) {
    return value != null && !value.isEmpty();
  }
}
