package dev.jobengine.client;

import io.grpc.Status;
import java.io.Serializable;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** What is known about a failure besides its message; {@code retryDelay} is null for none. */
record ErrorDetails(
    Status.Code code,
    String reason,
    List<FieldViolation> violations,
    Duration retryDelay,
    Map<String, String> metadata)
    implements Serializable {

  ErrorDetails {
    violations = List.copyOf(violations);
    metadata = Map.copyOf(metadata);
  }

  /** Of a failure of which only the code is known. */
  static ErrorDetails of(Status.Code code) {
    return of(code, "");
  }

  /** Of a failure of which only the code and the reason are known. */
  static ErrorDetails of(Status.Code code, String reason) {
    return new ErrorDetails(code, reason, List.of(), null, Map.of());
  }
}
