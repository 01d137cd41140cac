package dev.jobengine.client;

/** The server doesn't know who calls. */
public final class UnauthenticatedException extends JobEngineException {
  private static final long serialVersionUID = 1L;

  UnauthenticatedException(String message, ErrorDetails details, Throwable cause) {
    super(message, details, cause);
  }
}
