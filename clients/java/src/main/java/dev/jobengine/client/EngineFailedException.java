package dev.jobengine.client;

/** The engine or the server failed in a way that it should not. */
public final class EngineFailedException extends JobEngineException {
  private static final long serialVersionUID = 1L;

  EngineFailedException(String message, ErrorDetails details, Throwable cause) {
    super(message, details, cause);
  }
}
