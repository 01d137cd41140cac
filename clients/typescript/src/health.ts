import { create } from "@bufbuild/protobuf";

import type { CallOptions, Calls } from "./calls.js";
import { JobEngineError } from "./errors.js";
import { Health, HealthCheckResponse_ServingStatus } from "./gen/grpc/health/v1/health_pb.js";

/** Whether the server says, by gRPC's standard health service, that it serves this service. */
export async function checkHealth(
  calls: Calls,
  service: string,
  options: CallOptions,
): Promise<boolean> {
  const method = Health.method.check;
  try {
    const answer = await calls.unary(method, create(method.input, { service }), options);
    return answer.status === HealthCheckResponse_ServingStatus.SERVING;
  } catch (error) {
    if (error instanceof JobEngineError && error.code === "NOT_FOUND") {
      return false;
    }
    throw error;
  }
}
