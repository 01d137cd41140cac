package dev.jobengine.client;

import io.grpc.Status;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/** The standard health service, asked over the client's own channel. */
final class Health {
  private Health() {}

  /** Whether the server says that it serves this service. */
  static CompletableFuture<Boolean> check(Transport transport, String service) {
    HealthCheckRequest request = HealthCheckRequest.newBuilder().setService(service).build();
    CompletableFuture<HealthCheckResponse> call =
        UnaryCall.start(transport, HealthGrpc.getCheckMethod(), request);
    return UnaryCall.tied(call, call.handle(Health::isServing));
  }

  private static boolean isServing(HealthCheckResponse answer, Throwable failure) {
    if (failure == null) {
      return answer.getStatus() == ServingStatus.SERVING;
    }
    if (failure instanceof JobEngineException known && known.getCode() == Status.Code.NOT_FOUND) {
      return false;
    }
    throw new CompletionException(failure);
  }
}
