package dev.jobengine.client;

/** The job of that name isn't the one with the uid that was given. */
public final class UidMismatchException extends JobEngineException {
  private static final long serialVersionUID = 1L;

  UidMismatchException(String message, ErrorDetails details, Throwable cause) {
    super(message, details, cause);
  }
}
