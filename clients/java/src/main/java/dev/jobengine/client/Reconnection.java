package dev.jobengine.client;

import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * Has a channel connect again within 5 s at most.
 *
 * <p>gRPC's own delays between connection attempts grow to 2 min, which would keep a client away
 * from a server that has long come back, and can't be set.
 */
final class Reconnection {
  private static final Duration FIRST_DELAY = Duration.ofMillis(200);
  private static final Duration MAX_DELAY = Duration.ofSeconds(1);

  private final ManagedChannel channel;
  private int failures;

  private Reconnection(ManagedChannel channel) {
    this.channel = channel;
  }

  /** Looks after a channel until it is shut down. */
  static void lookAfter(ManagedChannel channel) {
    new Reconnection(channel).follow();
  }

  private void follow() {
    ConnectivityState state = channel.getState(false);
    switch (state) {
      case SHUTDOWN -> {}
      case TRANSIENT_FAILURE -> connectLater();
      default -> {
        failures = state == ConnectivityState.READY ? 0 : failures;
        channel.notifyWhenStateChanged(state, this::follow);
      }
    }
  }

  private void connectLater() {
    Duration delay = Backoff.jittered(FIRST_DELAY, MAX_DELAY, failures++);
    CompletableFuture.delayedExecutor(delay.toNanos(), TimeUnit.NANOSECONDS)
        .execute(
            () -> {
              channel.resetConnectBackoff();
              follow();
            });
  }
}
