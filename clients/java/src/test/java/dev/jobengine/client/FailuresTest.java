package dev.jobengine.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import com.google.protobuf.Any;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** From a failed call to its exception. */
class FailuresTest {
  private static final ErrorInfo INFO =
      ErrorInfo.newBuilder()
          .setDomain("jobengine")
          .setReason("LIMIT_REACHED")
          .putMetadata("limit", "streams")
          .build();
  private static final RetryInfo RETRY =
      RetryInfo.newBuilder().setRetryDelay(JavaDurations.toProto(Duration.ofMillis(1_500))).build();

  @ParameterizedTest
  @CsvSource({
    "INVALID_FIELD, INVALID_ARGUMENT, InvalidRequestException, false",
    "UNSUPPORTED_FIELD, INVALID_ARGUMENT, InvalidRequestException, false",
    "INVALID_TOKEN, INVALID_ARGUMENT, InvalidRequestException, false",
    "JOB_NOT_FOUND, NOT_FOUND, JobNotFoundException, false",
    "JOB_ALREADY_EXISTS, ALREADY_EXISTS, JobAlreadyExistsException, false",
    "UID_MISMATCH, FAILED_PRECONDITION, UidMismatchException, false",
    "UNSUPPORTED_CAPABILITY, UNIMPLEMENTED, UnsupportedException, false",
    "ENGINE_UNAVAILABLE, UNAVAILABLE, UnavailableException, true",
    "ENGINE_TIMEOUT, DEADLINE_EXCEEDED, DeadlineExceededException, true",
    "ENGINE_FAILED, INTERNAL, EngineFailedException, false",
    "SERVER_STOPPING, UNAVAILABLE, UnavailableException, true",
    "LIMIT_REACHED, RESOURCE_EXHAUSTED, LimitReachedException, false",
    "UNAUTHENTICATED, UNAUTHENTICATED, UnauthenticatedException, false",
    "PERMISSION_DENIED, PERMISSION_DENIED, PermissionDeniedException, false",
    "REAUTHENTICATE, UNAVAILABLE, UnavailableException, true",
    "NEWER_THAN_THIS_CLIENT, INTERNAL, EngineFailedException, false",
  })
  void byReason(String reason, Status.Code code, String kind, boolean interruption) {
    JobEngineException failure =
        Failures.of(failed(code, INFO.toBuilder().setReason(reason).build()));
    assertEquals(kind, failure.getClass().getSimpleName());
    assertEquals(reason, failure.getReason());
    assertEquals(code, failure.getCode());
    assertEquals(interruption, Failures.isInterruption(failure));
  }

  @ParameterizedTest
  @CsvSource({
    "INVALID_ARGUMENT, InvalidRequestException, false",
    "NOT_FOUND, JobEngineException, false",
    "UNIMPLEMENTED, UnsupportedException, false",
    "RESOURCE_EXHAUSTED, LimitReachedException, false",
    "UNAVAILABLE, UnavailableException, true",
    "CANCELLED, UnavailableException, true",
    "DEADLINE_EXCEEDED, DeadlineExceededException, true",
    "INTERNAL, EngineFailedException, true",
    "UNKNOWN, JobEngineException, true",
    "UNAUTHENTICATED, UnauthenticatedException, false",
    "PERMISSION_DENIED, PermissionDeniedException, false",
  })
  void byCodeWhereThereIsNoReason(Status.Code code, String kind, boolean interruption) {
    JobEngineException failure = Failures.of(code.toStatus().asRuntimeException());
    assertEquals(kind, failure.getClass().getSimpleName());
    assertEquals("", failure.getReason());
    assertEquals(code.name(), failure.getMessage());
    assertEquals(interruption, Failures.isInterruption(failure));
  }

  @Test
  void detailsAreKept() {
    BadRequest wrong =
        BadRequest.newBuilder()
            .addFieldViolations(
                BadRequest.FieldViolation.newBuilder().setField("name").setDescription("too long"))
            .build();
    StatusRuntimeException cause = failed(Status.Code.RESOURCE_EXHAUSTED, INFO, RETRY, wrong);
    JobEngineException failure = Failures.of(cause);
    assertEquals("what is wrong", failure.getMessage());
    assertEquals(Map.of("limit", "streams"), failure.getMetadata());
    assertEquals(Optional.of(Duration.ofMillis(1_500)), failure.getRetryDelay());
    assertEquals(List.of(new FieldViolation("name", "too long")), failure.getViolations());
    assertSame(cause, failure.getCause());
  }

  @Test
  void whoMayNotIsToldWhatTheyLack() {
    ErrorInfo lacking =
        INFO.toBuilder().setReason("PERMISSION_DENIED").putMetadata("verb", "delete").build();
    JobEngineException failure = Failures.of(failed(Status.Code.PERMISSION_DENIED, lacking));
    assertEquals("delete", failure.getMetadata().get("verb"));
  }

  @Test
  void retryInfoMakesAnyFailureAnInterruption() {
    assertEquals(
        true, Failures.isInterruption(Failures.of(failed(Status.Code.NOT_FOUND, INFO, RETRY))));
  }

  @Test
  void reasonsOfOtherDomainsAreNotOurs() {
    ErrorInfo others = INFO.toBuilder().setDomain("proxy.example.com").build();
    JobEngineException failure = Failures.of(failed(Status.Code.UNAVAILABLE, others));
    assertEquals("", failure.getReason());
    assertEquals(Map.of(), failure.getMetadata());
  }

  @Test
  void detailsThatCannotBeReadLeaveTheCode() {
    Metadata trailers = new Metadata();
    trailers.put(
        Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER),
        new byte[] {1, 2, 3});
    JobEngineException failure = Failures.of(Status.UNAVAILABLE.asRuntimeException(trailers));
    assertEquals(UnavailableException.class, failure.getClass());
  }

  private static StatusRuntimeException failed(Status.Code code, Message... details) {
    com.google.rpc.Status.Builder status =
        com.google.rpc.Status.newBuilder().setCode(code.value()).setMessage("what is wrong");
    for (Message detail : details) {
      status.addDetails(Any.pack(detail));
    }
    return StatusProto.toStatusRuntimeException(status.build());
  }
}
