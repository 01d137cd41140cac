package dev.jobengine.client;

import io.grpc.Deadline;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;

/** The delays between the attempts at one thing, until the time for it runs out. */
final class Backoff {
  private static final Duration FIRST_DELAY = Duration.ofMillis(100);
  private static final Duration MAX_DELAY = Duration.ofSeconds(10);

  private final LongSupplier nanoTime;
  private Duration budget;
  private int failures;
  private long failingSince;

  Backoff(Duration budget) {
    this(budget, System::nanoTime);
  }

  Backoff(Duration budget, LongSupplier nanoTime) {
    this.budget = budget;
    this.nanoTime = nanoTime;
  }

  /** Begin anew, with this budget for the next series of failures. */
  void succeeded(Duration budget) {
    this.budget = budget;
    failures = 0;
  }

  /**
   * How long to wait after the failure just seen, never shorter than it asks for; empty: it is time
   * to give up, because the budget or the deadline (null: none) would be over by then.
   */
  Optional<Duration> delayAfter(JobEngineException failure, Deadline deadline) {
    long now = nanoTime.getAsLong();
    if (failures == 0) {
      failingSince = now;
    }
    Duration jittered = jittered(FIRST_DELAY, MAX_DELAY, failures++);
    Duration asked = failure.getRetryDelay().orElse(Duration.ZERO);
    Duration delay = jittered.compareTo(asked) < 0 ? asked : jittered;
    if (Duration.ofNanos(now - failingSince).plus(delay).compareTo(budget) > 0) {
      return Optional.empty();
    }
    if (deadline != null
        && delay.compareTo(Duration.ofNanos(deadline.timeRemaining(TimeUnit.NANOSECONDS))) >= 0) {
      return Optional.empty();
    }
    return Optional.of(delay);
  }

  /** A delay between half and all of the first one, doubled for each failure, up to a limit. */
  static Duration jittered(Duration first, Duration max, int failures) {
    long longest = Math.min(first.toNanos() << Math.min(failures, 20), max.toNanos());
    return Duration.ofNanos(ThreadLocalRandom.current().nextLong(longest / 2, longest + 1));
  }
}
