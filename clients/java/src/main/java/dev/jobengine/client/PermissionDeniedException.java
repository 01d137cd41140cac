package dev.jobengine.client;

/** The caller is known, and may not do this; the metadata's {@code verb} says what it lacks. */
public final class PermissionDeniedException extends JobEngineException {
  private static final long serialVersionUID = 1L;

  PermissionDeniedException(String message, ErrorDetails details, Throwable cause) {
    super(message, details, cause);
  }
}
