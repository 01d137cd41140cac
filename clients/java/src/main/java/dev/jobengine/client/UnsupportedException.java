package dev.jobengine.client;

/** The engine, or the server, can't do this at all; the metadata's {@code capability} says what. */
public final class UnsupportedException extends JobEngineException {
  private static final long serialVersionUID = 1L;

  UnsupportedException(String message, ErrorDetails details, Throwable cause) {
    super(message, details, cause);
  }
}
