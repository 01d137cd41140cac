package dev.jobengine.client;

/** A limit of the server or the engine is reached; the metadata's {@code limit} names it. */
public final class LimitReachedException extends JobEngineException {
  private static final long serialVersionUID = 1L;

  LimitReachedException(String message, ErrorDetails details, Throwable cause) {
    super(message, details, cause);
  }
}
