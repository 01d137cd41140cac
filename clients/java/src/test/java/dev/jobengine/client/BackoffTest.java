package dev.jobengine.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Deadline;
import io.grpc.Status;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** How long the delays between attempts are, and when they end. */
class BackoffTest {
  private static final JobEngineException FAILURE = failure(null);

  private long now;

  @Test
  void delaysGrowToALimitAndAreJittered() {
    Backoff backoff = backoff(Duration.ofHours(1));
    List<Duration> delays = IntStream.range(0, 40).mapToObj(i -> delay(backoff)).toList();
    for (int i = 0; i < 6; i++) {
      long longest = 100L << i;
      assertTrue(delays.get(i).toMillis() >= longest / 2 && delays.get(i).toMillis() <= longest);
    }
    for (Duration delay : delays.subList(7, 40)) {
      assertTrue(delay.toMillis() >= 5_000 && delay.toMillis() <= 10_000);
    }
    assertEquals(40, delays.stream().distinct().count());
  }

  @Test
  void serverMayAskForALongerDelay() {
    Duration asked = Duration.ofSeconds(3);
    Backoff backoff = backoff(Duration.ofSeconds(100));
    assertEquals(Optional.of(asked), backoff.delayAfter(failure(asked), null));
  }

  @Test
  void delayBeyondTheBudgetMeansGivingUp() {
    Backoff backoff = backoff(Duration.ofSeconds(2));
    assertEquals(Optional.empty(), backoff.delayAfter(failure(Duration.ofSeconds(3)), null));
  }

  @Test
  void theBudgetRunsFromTheFirstFailure() {
    Backoff backoff = backoff(Duration.ofSeconds(2));
    delay(backoff);
    now += Duration.ofSeconds(2).toNanos();
    assertEquals(Optional.empty(), backoff.delayAfter(FAILURE, null));
  }

  @Test
  void delayBeyondTheDeadlineMeansGivingUp() {
    Deadline deadline = Deadline.after(10, TimeUnit.MILLISECONDS);
    assertEquals(Optional.empty(), backoff(Duration.ofHours(1)).delayAfter(FAILURE, deadline));
  }

  @Test
  void successBeginsAnew() {
    Backoff backoff = backoff(Duration.ZERO);
    assertEquals(Optional.empty(), backoff.delayAfter(FAILURE, null));
    backoff.succeeded(Duration.ofSeconds(100));
    assertTrue(delay(backoff).toMillis() <= 100);
  }

  private Backoff backoff(Duration budget) {
    return new Backoff(budget, () -> now);
  }

  private static Duration delay(Backoff backoff) {
    return backoff.delayAfter(FAILURE, null).orElseThrow();
  }

  private static JobEngineException failure(Duration retryDelay) {
    Status.Code code = Status.Code.UNAVAILABLE;
    return new UnavailableException(
        "away", new ErrorDetails(code, "", List.of(), retryDelay, Map.of()), null);
  }
}
