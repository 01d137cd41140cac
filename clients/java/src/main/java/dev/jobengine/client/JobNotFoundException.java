package dev.jobengine.client;

/** There is no such job, or the one that was followed is gone. */
public final class JobNotFoundException extends JobEngineException {
  private static final long serialVersionUID = 1L;

  JobNotFoundException(String message, ErrorDetails details, Throwable cause) {
    super(message, details, cause);
  }
}
