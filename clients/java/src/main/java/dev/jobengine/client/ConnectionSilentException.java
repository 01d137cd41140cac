package dev.jobengine.client;

import io.grpc.Status;
import java.time.Duration;

/** Nothing was heard on a watch for too long, not even a heartbeat. */
public final class ConnectionSilentException extends UnavailableException {
  private static final long serialVersionUID = 1L;

  ConnectionSilentException(Duration silence) {
    super(
        "nothing was heard for " + silence.toMillis() / 1000.0 + " s, not even a heartbeat",
        ErrorDetails.of(Status.Code.UNAVAILABLE),
        null);
  }
}
