package dev.jobengine.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** From a failed call to its exception. */
final class Failures {
  private static final String DOMAIN = "jobengine";

  private static final Map<String, Kind> BY_REASON =
      Map.ofEntries(
          Map.entry("INVALID_FIELD", InvalidRequestException::new),
          Map.entry("UNSUPPORTED_FIELD", InvalidRequestException::new),
          Map.entry("INVALID_TOKEN", InvalidRequestException::new),
          Map.entry("JOB_NOT_FOUND", JobNotFoundException::new),
          Map.entry("JOB_ALREADY_EXISTS", JobAlreadyExistsException::new),
          Map.entry("UID_MISMATCH", UidMismatchException::new),
          Map.entry("UNSUPPORTED_CAPABILITY", UnsupportedException::new),
          Map.entry("ENGINE_UNAVAILABLE", UnavailableException::new),
          Map.entry("ENGINE_TIMEOUT", DeadlineExceededException::new),
          Map.entry("ENGINE_FAILED", EngineFailedException::new),
          Map.entry("SERVER_STOPPING", UnavailableException::new),
          Map.entry("LIMIT_REACHED", LimitReachedException::new),
          Map.entry("UNAUTHENTICATED", UnauthenticatedException::new),
          Map.entry("PERMISSION_DENIED", PermissionDeniedException::new),
          Map.entry("REAUTHENTICATE", UnavailableException::new));

  /** For failures that aren't the service's own, and for reasons newer than this client. */
  private static final Map<Status.Code, Kind> BY_CODE =
      Map.of(
          Status.Code.INVALID_ARGUMENT, InvalidRequestException::new,
          Status.Code.UNIMPLEMENTED, UnsupportedException::new,
          Status.Code.RESOURCE_EXHAUSTED, LimitReachedException::new,
          Status.Code.UNAVAILABLE, UnavailableException::new,
          // By a server that stops: so gRPC ends calls that came too late to be looked at. Calls
          // that are cancelled on this side never get here.
          Status.Code.CANCELLED, UnavailableException::new,
          Status.Code.DEADLINE_EXCEEDED, DeadlineExceededException::new,
          Status.Code.INTERNAL, EngineFailedException::new,
          Status.Code.UNAUTHENTICATED, UnauthenticatedException::new,
          Status.Code.PERMISSION_DENIED, PermissionDeniedException::new);

  private static final Set<String> INTERRUPTIONS =
      Set.of("ENGINE_UNAVAILABLE", "ENGINE_TIMEOUT", "SERVER_STOPPING", "REAUTHENTICATE");

  /** What connections and proxies end a stream with, when no reason of the service is given. */
  private static final Set<Status.Code> BROKEN_STREAM =
      EnumSet.of(
          Status.Code.UNAVAILABLE,
          Status.Code.CANCELLED,
          Status.Code.DEADLINE_EXCEEDED,
          Status.Code.INTERNAL,
          Status.Code.UNKNOWN);

  private Failures() {}

  /** The exception that a failed call means, with all that its details tell. */
  static JobEngineException of(Throwable failure) {
    Status status = Status.fromThrowable(failure);
    Details details = Details.of(status, Status.trailersFromThrowable(failure));
    boolean own = details.info().getDomain().equals(DOMAIN);
    String reason = own ? details.info().getReason() : "";
    Kind byCode = BY_CODE.getOrDefault(status.getCode(), JobEngineException::new);
    String message =
        status.getDescription() == null ? status.getCode().name() : status.getDescription();
    return BY_REASON
        .getOrDefault(reason, byCode)
        .make(message, details.asErrorDetails(status.getCode(), reason), failure);
  }

  /** Whether a stream that ended like this may go on in a new call. */
  static boolean isInterruption(JobEngineException failure) {
    if (failure.getRetryDelay().isPresent()) {
      return true;
    }
    return failure.getReason().isEmpty()
        ? BROKEN_STREAM.contains(failure.getCode())
        : INTERRUPTIONS.contains(failure.getReason());
  }

  /** A constructor of one of the exceptions. */
  private interface Kind {
    JobEngineException make(String message, ErrorDetails details, Throwable cause);
  }

  /** A failed call's details, empty where it has none. */
  private record Details(ErrorInfo info, BadRequest badRequest, RetryInfo retry) {

    static Details of(Status status, Metadata trailers) {
      ErrorInfo info = ErrorInfo.getDefaultInstance();
      BadRequest badRequest = BadRequest.getDefaultInstance();
      RetryInfo retry = RetryInfo.getDefaultInstance();
      try {
        for (Any packed : packed(status, trailers)) {
          if (packed.is(ErrorInfo.class)) {
            info = packed.unpack(ErrorInfo.class);
          } else if (packed.is(BadRequest.class)) {
            badRequest = packed.unpack(BadRequest.class);
          } else if (packed.is(RetryInfo.class)) {
            retry = packed.unpack(RetryInfo.class);
          }
        }
      } catch (IllegalArgumentException | InvalidProtocolBufferException e) {
        // Details that contradict the code, or aren't details: the code alone still tells.
      }
      return new Details(info, badRequest, retry);
    }

    private static List<Any> packed(Status status, Metadata trailers) {
      return trailers == null
          ? List.of()
          : StatusProto.fromStatusAndTrailers(status, trailers).getDetailsList();
    }

    ErrorDetails asErrorDetails(Status.Code code, String reason) {
      return new ErrorDetails(
          code,
          reason,
          badRequest.getFieldViolationsList().stream()
              .map(
                  violation -> new FieldViolation(violation.getField(), violation.getDescription()))
              .toList(),
          retry.hasRetryDelay() ? JavaDurations.fromProto(retry.getRetryDelay()) : null,
          reason.isEmpty() ? Map.of() : info.getMetadataMap());
    }
  }
}
