package dev.jobengine.client;

import io.grpc.Status;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Base of all errors of this client, and any failure that has no class of its own.
 *
 * <p>A job that fails is no error: its status says so.
 */
public class JobEngineException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** What is known besides the message. */
  private final ErrorDetails details;

  JobEngineException(String message, ErrorDetails details, Throwable cause) {
    super(message, cause);
    this.details = details;
  }

  /**
   * Returns the gRPC code.
   *
   * @return the code; for failures on this side, the one that comes closest
   */
  public final Status.Code getCode() {
    return details.code();
  }

  /**
   * Returns why the service refused the call.
   *
   * @return a name of {@link dev.jobengine.v1.ErrorReason} without its prefix, for example {@code
   *     JOB_NOT_FOUND}; empty where the failure isn't the service's own (a lost connection, a
   *     proxy)
   */
  public final String getReason() {
    return details.reason();
  }

  /**
   * Returns the request's wrong fields.
   *
   * @return each wrong field; empty where none is known
   */
  public final List<FieldViolation> getViolations() {
    return details.violations();
  }

  /**
   * Returns how long the server asks to wait before trying again.
   *
   * @return the delay; empty where trying again doesn't help, or it isn't known
   */
  public final Optional<Duration> getRetryDelay() {
    return Optional.ofNullable(details.retryDelay());
  }

  /**
   * Returns further facts about the reason.
   *
   * @return by name, for example {@code limit}
   */
  public final Map<String, String> getMetadata() {
    return details.metadata();
  }
}
