package dev.jobengine.client;

/**
 * Fields of the request are wrong, or ask for what the engine can't do; the violations say which.
 */
public final class InvalidRequestException extends JobEngineException {
  private static final long serialVersionUID = 1L;

  InvalidRequestException(String message, ErrorDetails details, Throwable cause) {
    super(message, details, cause);
  }
}
