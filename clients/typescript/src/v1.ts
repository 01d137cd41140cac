/**
 * The messages of `jobengine.v1` with their schemas, as generated from the proto files: for
 * `create`, `toJson`, `equals` and the rest of `@bufbuild/protobuf`.
 *
 * @module
 */
export * from "./gen/jobengine/v1/error_reason_pb.js";
export * from "./gen/jobengine/v1/job_engine_pb.js";
export * from "./gen/jobengine/v1/job_pb.js";
