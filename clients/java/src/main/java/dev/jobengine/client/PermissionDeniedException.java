package dev.jobengine.client;

/** The caller may not do this. */
public final class PermissionDeniedException extends JobEngineException {
  private static final long serialVersionUID = 1L;

  PermissionDeniedException(String message, ErrorDetails details, Throwable cause) {
    super(message, details, cause);
  }
}
