package dev.jobengine.client;

import io.grpc.Deadline;
import java.time.Duration;
import java.util.concurrent.TimeUnit;

/** Between Java's durations and those of the messages. */
public final class JavaDurations {
  private JavaDurations() {}

  /**
   * Returns a span of time as the messages have it, for example for {@code JobSpec.timeout}.
   *
   * @param duration the span, exact to the nanosecond
   * @return the same span
   */
  public static com.google.protobuf.Duration toProto(Duration duration) {
    // protobuf wants both parts to have the same sign.
    boolean borrowed = duration.isNegative() && duration.getNano() > 0;
    return com.google.protobuf.Duration.newBuilder()
        .setSeconds(duration.getSeconds() + (borrowed ? 1 : 0))
        .setNanos(duration.getNano() - (borrowed ? 1_000_000_000 : 0))
        .build();
  }

  /**
   * Returns a span of time out of a message, for example {@code ReadStatusResponse.age}.
   *
   * @param duration the span
   * @return the same span
   */
  public static Duration fromProto(com.google.protobuf.Duration duration) {
    return Duration.ofSeconds(duration.getSeconds(), duration.getNanos());
  }

  /** The deadline that is so far away; however long that is. */
  static Deadline deadlineIn(Duration timeout) {
    return Deadline.after(TimeUnit.NANOSECONDS.convert(timeout), TimeUnit.NANOSECONDS);
  }
}
