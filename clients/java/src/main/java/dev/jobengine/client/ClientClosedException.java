package dev.jobengine.client;

import io.grpc.Status;

/** The client was closed, before or during the call. */
public final class ClientClosedException extends JobEngineException {
  private static final long serialVersionUID = 1L;

  ClientClosedException(String message) {
    super(message, ErrorDetails.of(Status.Code.CANCELLED), null);
  }
}
