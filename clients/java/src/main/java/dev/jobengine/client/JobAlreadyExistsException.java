package dev.jobengine.client;

/** The name is taken by another job. */
public final class JobAlreadyExistsException extends JobEngineException {
  private static final long serialVersionUID = 1L;

  JobAlreadyExistsException(String message, ErrorDetails details, Throwable cause) {
    super(message, details, cause);
  }
}
