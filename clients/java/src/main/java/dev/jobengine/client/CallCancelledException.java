package dev.jobengine.client;

import io.grpc.Status;

/**
 * The caller ended the call: its thread was interrupted (and still is, as far as {@link
 * Thread#isInterrupted} tells), or its {@link io.grpc.Context} was cancelled.
 */
public final class CallCancelledException extends JobEngineException {
  private static final long serialVersionUID = 1L;

  CallCancelledException(String message, Throwable cause) {
    super(message, ErrorDetails.of(Status.Code.CANCELLED), cause);
  }
}
