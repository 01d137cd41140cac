package dev.jobengine.client;

/** The call brought no credential, or none that the server takes. */
public final class UnauthenticatedException extends JobEngineException {
  private static final long serialVersionUID = 1L;

  UnauthenticatedException(String message, ErrorDetails details, Throwable cause) {
    super(message, details, cause);
  }
}
