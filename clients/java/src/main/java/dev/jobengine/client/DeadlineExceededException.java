package dev.jobengine.client;

/** There was no answer in time. What was asked for may still happen. */
public final class DeadlineExceededException extends JobEngineException {
  private static final long serialVersionUID = 1L;

  DeadlineExceededException(String message, ErrorDetails details, Throwable cause) {
    super(message, details, cause);
  }
}
