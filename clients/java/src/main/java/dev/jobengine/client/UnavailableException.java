package dev.jobengine.client;

/** The server or its engine can't be reached, also after the client's own retries. */
public class UnavailableException extends JobEngineException {
  private static final long serialVersionUID = 1L;

  UnavailableException(String message, ErrorDetails details, Throwable cause) {
    super(message, details, cause);
  }
}
