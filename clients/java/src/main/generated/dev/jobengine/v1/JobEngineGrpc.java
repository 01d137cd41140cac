package dev.jobengine.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Runs commands and containers as jobs, on the engine that the server was started with.
 * Every failed RPC carries `google.rpc.ErrorInfo` (reason: an ErrorReason, domain:
 * "jobengine") and, where it applies, BadRequest, ResourceInfo or RetryInfo. Any RPC may end
 * with UNAVAILABLE: nothing was changed, or, for CreateJob, a repeat with the same
 * request_id is safe.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class JobEngineGrpc {

  private JobEngineGrpc() {}

  public static final java.lang.String SERVICE_NAME = "jobengine.v1.JobEngine";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.jobengine.v1.CreateJobRequest,
      dev.jobengine.v1.CreateJobResponse> getCreateJobMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CreateJob",
      requestType = dev.jobengine.v1.CreateJobRequest.class,
      responseType = dev.jobengine.v1.CreateJobResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.jobengine.v1.CreateJobRequest,
      dev.jobengine.v1.CreateJobResponse> getCreateJobMethod() {
    io.grpc.MethodDescriptor<dev.jobengine.v1.CreateJobRequest, dev.jobengine.v1.CreateJobResponse> getCreateJobMethod;
    if ((getCreateJobMethod = JobEngineGrpc.getCreateJobMethod) == null) {
      synchronized (JobEngineGrpc.class) {
        if ((getCreateJobMethod = JobEngineGrpc.getCreateJobMethod) == null) {
          JobEngineGrpc.getCreateJobMethod = getCreateJobMethod =
              io.grpc.MethodDescriptor.<dev.jobengine.v1.CreateJobRequest, dev.jobengine.v1.CreateJobResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CreateJob"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.CreateJobRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.CreateJobResponse.getDefaultInstance()))
              .setSchemaDescriptor(new JobEngineMethodDescriptorSupplier("CreateJob"))
              .build();
        }
      }
    }
    return getCreateJobMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.jobengine.v1.DeleteJobRequest,
      dev.jobengine.v1.DeleteJobResponse> getDeleteJobMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "DeleteJob",
      requestType = dev.jobengine.v1.DeleteJobRequest.class,
      responseType = dev.jobengine.v1.DeleteJobResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.jobengine.v1.DeleteJobRequest,
      dev.jobengine.v1.DeleteJobResponse> getDeleteJobMethod() {
    io.grpc.MethodDescriptor<dev.jobengine.v1.DeleteJobRequest, dev.jobengine.v1.DeleteJobResponse> getDeleteJobMethod;
    if ((getDeleteJobMethod = JobEngineGrpc.getDeleteJobMethod) == null) {
      synchronized (JobEngineGrpc.class) {
        if ((getDeleteJobMethod = JobEngineGrpc.getDeleteJobMethod) == null) {
          JobEngineGrpc.getDeleteJobMethod = getDeleteJobMethod =
              io.grpc.MethodDescriptor.<dev.jobengine.v1.DeleteJobRequest, dev.jobengine.v1.DeleteJobResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "DeleteJob"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.DeleteJobRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.DeleteJobResponse.getDefaultInstance()))
              .setSchemaDescriptor(new JobEngineMethodDescriptorSupplier("DeleteJob"))
              .build();
        }
      }
    }
    return getDeleteJobMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.jobengine.v1.ReadJobRequest,
      dev.jobengine.v1.ReadJobResponse> getReadJobMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ReadJob",
      requestType = dev.jobengine.v1.ReadJobRequest.class,
      responseType = dev.jobengine.v1.ReadJobResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.jobengine.v1.ReadJobRequest,
      dev.jobengine.v1.ReadJobResponse> getReadJobMethod() {
    io.grpc.MethodDescriptor<dev.jobengine.v1.ReadJobRequest, dev.jobengine.v1.ReadJobResponse> getReadJobMethod;
    if ((getReadJobMethod = JobEngineGrpc.getReadJobMethod) == null) {
      synchronized (JobEngineGrpc.class) {
        if ((getReadJobMethod = JobEngineGrpc.getReadJobMethod) == null) {
          JobEngineGrpc.getReadJobMethod = getReadJobMethod =
              io.grpc.MethodDescriptor.<dev.jobengine.v1.ReadJobRequest, dev.jobengine.v1.ReadJobResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ReadJob"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.ReadJobRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.ReadJobResponse.getDefaultInstance()))
              .setSchemaDescriptor(new JobEngineMethodDescriptorSupplier("ReadJob"))
              .build();
        }
      }
    }
    return getReadJobMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.jobengine.v1.ReadStatusRequest,
      dev.jobengine.v1.ReadStatusResponse> getReadStatusMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ReadStatus",
      requestType = dev.jobengine.v1.ReadStatusRequest.class,
      responseType = dev.jobengine.v1.ReadStatusResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.jobengine.v1.ReadStatusRequest,
      dev.jobengine.v1.ReadStatusResponse> getReadStatusMethod() {
    io.grpc.MethodDescriptor<dev.jobengine.v1.ReadStatusRequest, dev.jobengine.v1.ReadStatusResponse> getReadStatusMethod;
    if ((getReadStatusMethod = JobEngineGrpc.getReadStatusMethod) == null) {
      synchronized (JobEngineGrpc.class) {
        if ((getReadStatusMethod = JobEngineGrpc.getReadStatusMethod) == null) {
          JobEngineGrpc.getReadStatusMethod = getReadStatusMethod =
              io.grpc.MethodDescriptor.<dev.jobengine.v1.ReadStatusRequest, dev.jobengine.v1.ReadStatusResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ReadStatus"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.ReadStatusRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.ReadStatusResponse.getDefaultInstance()))
              .setSchemaDescriptor(new JobEngineMethodDescriptorSupplier("ReadStatus"))
              .build();
        }
      }
    }
    return getReadStatusMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.jobengine.v1.WatchStatusRequest,
      dev.jobengine.v1.WatchStatusResponse> getWatchStatusMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "WatchStatus",
      requestType = dev.jobengine.v1.WatchStatusRequest.class,
      responseType = dev.jobengine.v1.WatchStatusResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.jobengine.v1.WatchStatusRequest,
      dev.jobengine.v1.WatchStatusResponse> getWatchStatusMethod() {
    io.grpc.MethodDescriptor<dev.jobengine.v1.WatchStatusRequest, dev.jobengine.v1.WatchStatusResponse> getWatchStatusMethod;
    if ((getWatchStatusMethod = JobEngineGrpc.getWatchStatusMethod) == null) {
      synchronized (JobEngineGrpc.class) {
        if ((getWatchStatusMethod = JobEngineGrpc.getWatchStatusMethod) == null) {
          JobEngineGrpc.getWatchStatusMethod = getWatchStatusMethod =
              io.grpc.MethodDescriptor.<dev.jobengine.v1.WatchStatusRequest, dev.jobengine.v1.WatchStatusResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "WatchStatus"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.WatchStatusRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.WatchStatusResponse.getDefaultInstance()))
              .setSchemaDescriptor(new JobEngineMethodDescriptorSupplier("WatchStatus"))
              .build();
        }
      }
    }
    return getWatchStatusMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.jobengine.v1.CancelJobRequest,
      dev.jobengine.v1.CancelJobResponse> getCancelJobMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CancelJob",
      requestType = dev.jobengine.v1.CancelJobRequest.class,
      responseType = dev.jobengine.v1.CancelJobResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.jobengine.v1.CancelJobRequest,
      dev.jobengine.v1.CancelJobResponse> getCancelJobMethod() {
    io.grpc.MethodDescriptor<dev.jobengine.v1.CancelJobRequest, dev.jobengine.v1.CancelJobResponse> getCancelJobMethod;
    if ((getCancelJobMethod = JobEngineGrpc.getCancelJobMethod) == null) {
      synchronized (JobEngineGrpc.class) {
        if ((getCancelJobMethod = JobEngineGrpc.getCancelJobMethod) == null) {
          JobEngineGrpc.getCancelJobMethod = getCancelJobMethod =
              io.grpc.MethodDescriptor.<dev.jobengine.v1.CancelJobRequest, dev.jobengine.v1.CancelJobResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CancelJob"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.CancelJobRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.CancelJobResponse.getDefaultInstance()))
              .setSchemaDescriptor(new JobEngineMethodDescriptorSupplier("CancelJob"))
              .build();
        }
      }
    }
    return getCancelJobMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.jobengine.v1.ListJobsRequest,
      dev.jobengine.v1.ListJobsResponse> getListJobsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListJobs",
      requestType = dev.jobengine.v1.ListJobsRequest.class,
      responseType = dev.jobengine.v1.ListJobsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.jobengine.v1.ListJobsRequest,
      dev.jobengine.v1.ListJobsResponse> getListJobsMethod() {
    io.grpc.MethodDescriptor<dev.jobengine.v1.ListJobsRequest, dev.jobengine.v1.ListJobsResponse> getListJobsMethod;
    if ((getListJobsMethod = JobEngineGrpc.getListJobsMethod) == null) {
      synchronized (JobEngineGrpc.class) {
        if ((getListJobsMethod = JobEngineGrpc.getListJobsMethod) == null) {
          JobEngineGrpc.getListJobsMethod = getListJobsMethod =
              io.grpc.MethodDescriptor.<dev.jobengine.v1.ListJobsRequest, dev.jobengine.v1.ListJobsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListJobs"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.ListJobsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.ListJobsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new JobEngineMethodDescriptorSupplier("ListJobs"))
              .build();
        }
      }
    }
    return getListJobsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.jobengine.v1.WatchJobsRequest,
      dev.jobengine.v1.WatchJobsResponse> getWatchJobsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "WatchJobs",
      requestType = dev.jobengine.v1.WatchJobsRequest.class,
      responseType = dev.jobengine.v1.WatchJobsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.jobengine.v1.WatchJobsRequest,
      dev.jobengine.v1.WatchJobsResponse> getWatchJobsMethod() {
    io.grpc.MethodDescriptor<dev.jobengine.v1.WatchJobsRequest, dev.jobengine.v1.WatchJobsResponse> getWatchJobsMethod;
    if ((getWatchJobsMethod = JobEngineGrpc.getWatchJobsMethod) == null) {
      synchronized (JobEngineGrpc.class) {
        if ((getWatchJobsMethod = JobEngineGrpc.getWatchJobsMethod) == null) {
          JobEngineGrpc.getWatchJobsMethod = getWatchJobsMethod =
              io.grpc.MethodDescriptor.<dev.jobengine.v1.WatchJobsRequest, dev.jobengine.v1.WatchJobsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "WatchJobs"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.WatchJobsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.WatchJobsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new JobEngineMethodDescriptorSupplier("WatchJobs"))
              .build();
        }
      }
    }
    return getWatchJobsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.jobengine.v1.ReadLogsRequest,
      dev.jobengine.v1.ReadLogsResponse> getReadLogsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ReadLogs",
      requestType = dev.jobengine.v1.ReadLogsRequest.class,
      responseType = dev.jobengine.v1.ReadLogsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.jobengine.v1.ReadLogsRequest,
      dev.jobengine.v1.ReadLogsResponse> getReadLogsMethod() {
    io.grpc.MethodDescriptor<dev.jobengine.v1.ReadLogsRequest, dev.jobengine.v1.ReadLogsResponse> getReadLogsMethod;
    if ((getReadLogsMethod = JobEngineGrpc.getReadLogsMethod) == null) {
      synchronized (JobEngineGrpc.class) {
        if ((getReadLogsMethod = JobEngineGrpc.getReadLogsMethod) == null) {
          JobEngineGrpc.getReadLogsMethod = getReadLogsMethod =
              io.grpc.MethodDescriptor.<dev.jobengine.v1.ReadLogsRequest, dev.jobengine.v1.ReadLogsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ReadLogs"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.ReadLogsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.ReadLogsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new JobEngineMethodDescriptorSupplier("ReadLogs"))
              .build();
        }
      }
    }
    return getReadLogsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.jobengine.v1.ReadEngineRequest,
      dev.jobengine.v1.ReadEngineResponse> getReadEngineMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ReadEngine",
      requestType = dev.jobengine.v1.ReadEngineRequest.class,
      responseType = dev.jobengine.v1.ReadEngineResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.jobengine.v1.ReadEngineRequest,
      dev.jobengine.v1.ReadEngineResponse> getReadEngineMethod() {
    io.grpc.MethodDescriptor<dev.jobengine.v1.ReadEngineRequest, dev.jobengine.v1.ReadEngineResponse> getReadEngineMethod;
    if ((getReadEngineMethod = JobEngineGrpc.getReadEngineMethod) == null) {
      synchronized (JobEngineGrpc.class) {
        if ((getReadEngineMethod = JobEngineGrpc.getReadEngineMethod) == null) {
          JobEngineGrpc.getReadEngineMethod = getReadEngineMethod =
              io.grpc.MethodDescriptor.<dev.jobengine.v1.ReadEngineRequest, dev.jobengine.v1.ReadEngineResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ReadEngine"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.ReadEngineRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.jobengine.v1.ReadEngineResponse.getDefaultInstance()))
              .setSchemaDescriptor(new JobEngineMethodDescriptorSupplier("ReadEngine"))
              .build();
        }
      }
    }
    return getReadEngineMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static JobEngineStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<JobEngineStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<JobEngineStub>() {
        @java.lang.Override
        public JobEngineStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new JobEngineStub(channel, callOptions);
        }
      };
    return JobEngineStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static JobEngineBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<JobEngineBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<JobEngineBlockingV2Stub>() {
        @java.lang.Override
        public JobEngineBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new JobEngineBlockingV2Stub(channel, callOptions);
        }
      };
    return JobEngineBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static JobEngineBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<JobEngineBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<JobEngineBlockingStub>() {
        @java.lang.Override
        public JobEngineBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new JobEngineBlockingStub(channel, callOptions);
        }
      };
    return JobEngineBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static JobEngineFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<JobEngineFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<JobEngineFutureStub>() {
        @java.lang.Override
        public JobEngineFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new JobEngineFutureStub(channel, callOptions);
        }
      };
    return JobEngineFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Runs commands and containers as jobs, on the engine that the server was started with.
   * Every failed RPC carries `google.rpc.ErrorInfo` (reason: an ErrorReason, domain:
   * "jobengine") and, where it applies, BadRequest, ResourceInfo or RetryInfo. Any RPC may end
   * with UNAVAILABLE: nothing was changed, or, for CreateJob, a repeat with the same
   * request_id is safe.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Starts a job. Returns once the engine holds it durably, usually before it runs.
     * A repeat with the same name, request_id and spec returns the first job and starts
     * nothing; so does a repeat without a name but with the same request_id. The same name
     * with another request_id or spec: ALREADY_EXISTS. Every wrong field is named in
     * INVALID_ARGUMENT, and nothing is started.
     * The job itself remembers its request: once it is gone (DeleteJob, ttl_after_finished), a
     * repeat is a new job. Let a ttl_after_finished outlast the time for which you repeat.
     * </pre>
     */
    default void createJob(dev.jobengine.v1.CreateJobRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.CreateJobResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCreateJobMethod(), responseObserver);
    }

    /**
     * <pre>
     * Ends a job if it still runs, then removes it with all its instances and their output.
     * Idempotent with allow_missing; without it NOT_FOUND if there is no such job. Returns
     * once the engine has durably noted the deletion, or with `wait` once all is gone.
     * </pre>
     */
    default void deleteJob(dev.jobengine.v1.DeleteJobRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.DeleteJobResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDeleteJobMethod(), responseObserver);
    }

    /**
     * <pre>
     * Reads a job, with its spec. NOT_FOUND if there is no such job.
     * </pre>
     */
    default void readJob(dev.jobengine.v1.ReadJobRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.ReadJobResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getReadJobMethod(), responseObserver);
    }

    /**
     * <pre>
     * Reads a job's status. Answered from the server's memory, always at least as new as this
     * server's own last write; `fresh` asks the engine. NOT_FOUND if there is no such job.
     * </pre>
     */
    default void readStatus(dev.jobengine.v1.ReadStatusRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.ReadStatusResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getReadStatusMethod(), responseObserver);
    }

    /**
     * <pre>
     * Streams a job's status: first as it is now, then each change, and ends with OK after a
     * terminal status or after the message that tells of the job's deletion. A slow reader
     * gets the newest status, never a backlog, and always the terminal one. Heartbeats while
     * nothing changes. NOT_FOUND if there is no such job.
     * A call that brings the cursor of the last message it saw gets no repeat of that; a cursor
     * that can't be matched just means a first message as without one. UNAVAILABLE: call again
     * with the last cursor.
     * </pre>
     */
    default void watchStatus(dev.jobengine.v1.WatchStatusRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.WatchStatusResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getWatchStatusMethod(), responseObserver);
    }

    /**
     * <pre>
     * Stops a job's instances and keeps its record, which ends as CANCELLED. Success means
     * that the engine has durably noted it; the end comes later. No change for a job that has
     * ended. Idempotent.
     * </pre>
     */
    default void cancelJob(dev.jobengine.v1.CancelJobRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.CancelJobResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCancelJobMethod(), responseObserver);
    }

    /**
     * <pre>
     * Lists jobs by name, a page at a time. Jobs that exist throughout are listed exactly
     * once, whatever comes and goes meanwhile.
     * </pre>
     */
    default void listJobs(dev.jobengine.v1.ListJobsRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.ListJobsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListJobsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Streams all jobs that match: the present ones, then a SYNCED message, then what is
     * added, changes or is deleted, until the caller ends it. Heartbeats and cursors as in
     * WatchStatus; after a cursor that the server knows, only what changed since is sent
     * before SYNCED.
     * </pre>
     */
    default void watchJobs(dev.jobengine.v1.WatchJobsRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.WatchJobsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getWatchJobsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Streams what an instance of a job wrote. Ends with OK at the end of the output, which
     * with `follow` is the end of the instance's last run. Each chunk has a cursor; a call
     * that brings one goes on right after that chunk, without gap or repeat.
     * </pre>
     */
    default void readLogs(dev.jobengine.v1.ReadLogsRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.ReadLogsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getReadLogsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Tells which engine runs the jobs, how it is, what it can do and what limits apply.
     * </pre>
     */
    default void readEngine(dev.jobengine.v1.ReadEngineRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.ReadEngineResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getReadEngineMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service JobEngine.
   * <pre>
   * Runs commands and containers as jobs, on the engine that the server was started with.
   * Every failed RPC carries `google.rpc.ErrorInfo` (reason: an ErrorReason, domain:
   * "jobengine") and, where it applies, BadRequest, ResourceInfo or RetryInfo. Any RPC may end
   * with UNAVAILABLE: nothing was changed, or, for CreateJob, a repeat with the same
   * request_id is safe.
   * </pre>
   */
  public static abstract class JobEngineImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return JobEngineGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service JobEngine.
   * <pre>
   * Runs commands and containers as jobs, on the engine that the server was started with.
   * Every failed RPC carries `google.rpc.ErrorInfo` (reason: an ErrorReason, domain:
   * "jobengine") and, where it applies, BadRequest, ResourceInfo or RetryInfo. Any RPC may end
   * with UNAVAILABLE: nothing was changed, or, for CreateJob, a repeat with the same
   * request_id is safe.
   * </pre>
   */
  public static final class JobEngineStub
      extends io.grpc.stub.AbstractAsyncStub<JobEngineStub> {
    private JobEngineStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected JobEngineStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new JobEngineStub(channel, callOptions);
    }

    /**
     * <pre>
     * Starts a job. Returns once the engine holds it durably, usually before it runs.
     * A repeat with the same name, request_id and spec returns the first job and starts
     * nothing; so does a repeat without a name but with the same request_id. The same name
     * with another request_id or spec: ALREADY_EXISTS. Every wrong field is named in
     * INVALID_ARGUMENT, and nothing is started.
     * The job itself remembers its request: once it is gone (DeleteJob, ttl_after_finished), a
     * repeat is a new job. Let a ttl_after_finished outlast the time for which you repeat.
     * </pre>
     */
    public void createJob(dev.jobengine.v1.CreateJobRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.CreateJobResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCreateJobMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Ends a job if it still runs, then removes it with all its instances and their output.
     * Idempotent with allow_missing; without it NOT_FOUND if there is no such job. Returns
     * once the engine has durably noted the deletion, or with `wait` once all is gone.
     * </pre>
     */
    public void deleteJob(dev.jobengine.v1.DeleteJobRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.DeleteJobResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getDeleteJobMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Reads a job, with its spec. NOT_FOUND if there is no such job.
     * </pre>
     */
    public void readJob(dev.jobengine.v1.ReadJobRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.ReadJobResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getReadJobMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Reads a job's status. Answered from the server's memory, always at least as new as this
     * server's own last write; `fresh` asks the engine. NOT_FOUND if there is no such job.
     * </pre>
     */
    public void readStatus(dev.jobengine.v1.ReadStatusRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.ReadStatusResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getReadStatusMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Streams a job's status: first as it is now, then each change, and ends with OK after a
     * terminal status or after the message that tells of the job's deletion. A slow reader
     * gets the newest status, never a backlog, and always the terminal one. Heartbeats while
     * nothing changes. NOT_FOUND if there is no such job.
     * A call that brings the cursor of the last message it saw gets no repeat of that; a cursor
     * that can't be matched just means a first message as without one. UNAVAILABLE: call again
     * with the last cursor.
     * </pre>
     */
    public void watchStatus(dev.jobengine.v1.WatchStatusRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.WatchStatusResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getWatchStatusMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Stops a job's instances and keeps its record, which ends as CANCELLED. Success means
     * that the engine has durably noted it; the end comes later. No change for a job that has
     * ended. Idempotent.
     * </pre>
     */
    public void cancelJob(dev.jobengine.v1.CancelJobRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.CancelJobResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCancelJobMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Lists jobs by name, a page at a time. Jobs that exist throughout are listed exactly
     * once, whatever comes and goes meanwhile.
     * </pre>
     */
    public void listJobs(dev.jobengine.v1.ListJobsRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.ListJobsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListJobsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Streams all jobs that match: the present ones, then a SYNCED message, then what is
     * added, changes or is deleted, until the caller ends it. Heartbeats and cursors as in
     * WatchStatus; after a cursor that the server knows, only what changed since is sent
     * before SYNCED.
     * </pre>
     */
    public void watchJobs(dev.jobengine.v1.WatchJobsRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.WatchJobsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getWatchJobsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Streams what an instance of a job wrote. Ends with OK at the end of the output, which
     * with `follow` is the end of the instance's last run. Each chunk has a cursor; a call
     * that brings one goes on right after that chunk, without gap or repeat.
     * </pre>
     */
    public void readLogs(dev.jobengine.v1.ReadLogsRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.ReadLogsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getReadLogsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Tells which engine runs the jobs, how it is, what it can do and what limits apply.
     * </pre>
     */
    public void readEngine(dev.jobengine.v1.ReadEngineRequest request,
        io.grpc.stub.StreamObserver<dev.jobengine.v1.ReadEngineResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getReadEngineMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service JobEngine.
   * <pre>
   * Runs commands and containers as jobs, on the engine that the server was started with.
   * Every failed RPC carries `google.rpc.ErrorInfo` (reason: an ErrorReason, domain:
   * "jobengine") and, where it applies, BadRequest, ResourceInfo or RetryInfo. Any RPC may end
   * with UNAVAILABLE: nothing was changed, or, for CreateJob, a repeat with the same
   * request_id is safe.
   * </pre>
   */
  public static final class JobEngineBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<JobEngineBlockingV2Stub> {
    private JobEngineBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected JobEngineBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new JobEngineBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Starts a job. Returns once the engine holds it durably, usually before it runs.
     * A repeat with the same name, request_id and spec returns the first job and starts
     * nothing; so does a repeat without a name but with the same request_id. The same name
     * with another request_id or spec: ALREADY_EXISTS. Every wrong field is named in
     * INVALID_ARGUMENT, and nothing is started.
     * The job itself remembers its request: once it is gone (DeleteJob, ttl_after_finished), a
     * repeat is a new job. Let a ttl_after_finished outlast the time for which you repeat.
     * </pre>
     */
    public dev.jobengine.v1.CreateJobResponse createJob(dev.jobengine.v1.CreateJobRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCreateJobMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Ends a job if it still runs, then removes it with all its instances and their output.
     * Idempotent with allow_missing; without it NOT_FOUND if there is no such job. Returns
     * once the engine has durably noted the deletion, or with `wait` once all is gone.
     * </pre>
     */
    public dev.jobengine.v1.DeleteJobResponse deleteJob(dev.jobengine.v1.DeleteJobRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getDeleteJobMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reads a job, with its spec. NOT_FOUND if there is no such job.
     * </pre>
     */
    public dev.jobengine.v1.ReadJobResponse readJob(dev.jobengine.v1.ReadJobRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getReadJobMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reads a job's status. Answered from the server's memory, always at least as new as this
     * server's own last write; `fresh` asks the engine. NOT_FOUND if there is no such job.
     * </pre>
     */
    public dev.jobengine.v1.ReadStatusResponse readStatus(dev.jobengine.v1.ReadStatusRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getReadStatusMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams a job's status: first as it is now, then each change, and ends with OK after a
     * terminal status or after the message that tells of the job's deletion. A slow reader
     * gets the newest status, never a backlog, and always the terminal one. Heartbeats while
     * nothing changes. NOT_FOUND if there is no such job.
     * A call that brings the cursor of the last message it saw gets no repeat of that; a cursor
     * that can't be matched just means a first message as without one. UNAVAILABLE: call again
     * with the last cursor.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.jobengine.v1.WatchStatusResponse>
        watchStatus(dev.jobengine.v1.WatchStatusRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getWatchStatusMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Stops a job's instances and keeps its record, which ends as CANCELLED. Success means
     * that the engine has durably noted it; the end comes later. No change for a job that has
     * ended. Idempotent.
     * </pre>
     */
    public dev.jobengine.v1.CancelJobResponse cancelJob(dev.jobengine.v1.CancelJobRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCancelJobMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists jobs by name, a page at a time. Jobs that exist throughout are listed exactly
     * once, whatever comes and goes meanwhile.
     * </pre>
     */
    public dev.jobengine.v1.ListJobsResponse listJobs(dev.jobengine.v1.ListJobsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListJobsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams all jobs that match: the present ones, then a SYNCED message, then what is
     * added, changes or is deleted, until the caller ends it. Heartbeats and cursors as in
     * WatchStatus; after a cursor that the server knows, only what changed since is sent
     * before SYNCED.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.jobengine.v1.WatchJobsResponse>
        watchJobs(dev.jobengine.v1.WatchJobsRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getWatchJobsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams what an instance of a job wrote. Ends with OK at the end of the output, which
     * with `follow` is the end of the instance's last run. Each chunk has a cursor; a call
     * that brings one goes on right after that chunk, without gap or repeat.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.jobengine.v1.ReadLogsResponse>
        readLogs(dev.jobengine.v1.ReadLogsRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getReadLogsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Tells which engine runs the jobs, how it is, what it can do and what limits apply.
     * </pre>
     */
    public dev.jobengine.v1.ReadEngineResponse readEngine(dev.jobengine.v1.ReadEngineRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getReadEngineMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service JobEngine.
   * <pre>
   * Runs commands and containers as jobs, on the engine that the server was started with.
   * Every failed RPC carries `google.rpc.ErrorInfo` (reason: an ErrorReason, domain:
   * "jobengine") and, where it applies, BadRequest, ResourceInfo or RetryInfo. Any RPC may end
   * with UNAVAILABLE: nothing was changed, or, for CreateJob, a repeat with the same
   * request_id is safe.
   * </pre>
   */
  public static final class JobEngineBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<JobEngineBlockingStub> {
    private JobEngineBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected JobEngineBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new JobEngineBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Starts a job. Returns once the engine holds it durably, usually before it runs.
     * A repeat with the same name, request_id and spec returns the first job and starts
     * nothing; so does a repeat without a name but with the same request_id. The same name
     * with another request_id or spec: ALREADY_EXISTS. Every wrong field is named in
     * INVALID_ARGUMENT, and nothing is started.
     * The job itself remembers its request: once it is gone (DeleteJob, ttl_after_finished), a
     * repeat is a new job. Let a ttl_after_finished outlast the time for which you repeat.
     * </pre>
     */
    public dev.jobengine.v1.CreateJobResponse createJob(dev.jobengine.v1.CreateJobRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCreateJobMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Ends a job if it still runs, then removes it with all its instances and their output.
     * Idempotent with allow_missing; without it NOT_FOUND if there is no such job. Returns
     * once the engine has durably noted the deletion, or with `wait` once all is gone.
     * </pre>
     */
    public dev.jobengine.v1.DeleteJobResponse deleteJob(dev.jobengine.v1.DeleteJobRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getDeleteJobMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reads a job, with its spec. NOT_FOUND if there is no such job.
     * </pre>
     */
    public dev.jobengine.v1.ReadJobResponse readJob(dev.jobengine.v1.ReadJobRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getReadJobMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reads a job's status. Answered from the server's memory, always at least as new as this
     * server's own last write; `fresh` asks the engine. NOT_FOUND if there is no such job.
     * </pre>
     */
    public dev.jobengine.v1.ReadStatusResponse readStatus(dev.jobengine.v1.ReadStatusRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getReadStatusMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams a job's status: first as it is now, then each change, and ends with OK after a
     * terminal status or after the message that tells of the job's deletion. A slow reader
     * gets the newest status, never a backlog, and always the terminal one. Heartbeats while
     * nothing changes. NOT_FOUND if there is no such job.
     * A call that brings the cursor of the last message it saw gets no repeat of that; a cursor
     * that can't be matched just means a first message as without one. UNAVAILABLE: call again
     * with the last cursor.
     * </pre>
     */
    public java.util.Iterator<dev.jobengine.v1.WatchStatusResponse> watchStatus(
        dev.jobengine.v1.WatchStatusRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getWatchStatusMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Stops a job's instances and keeps its record, which ends as CANCELLED. Success means
     * that the engine has durably noted it; the end comes later. No change for a job that has
     * ended. Idempotent.
     * </pre>
     */
    public dev.jobengine.v1.CancelJobResponse cancelJob(dev.jobengine.v1.CancelJobRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCancelJobMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists jobs by name, a page at a time. Jobs that exist throughout are listed exactly
     * once, whatever comes and goes meanwhile.
     * </pre>
     */
    public dev.jobengine.v1.ListJobsResponse listJobs(dev.jobengine.v1.ListJobsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListJobsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams all jobs that match: the present ones, then a SYNCED message, then what is
     * added, changes or is deleted, until the caller ends it. Heartbeats and cursors as in
     * WatchStatus; after a cursor that the server knows, only what changed since is sent
     * before SYNCED.
     * </pre>
     */
    public java.util.Iterator<dev.jobengine.v1.WatchJobsResponse> watchJobs(
        dev.jobengine.v1.WatchJobsRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getWatchJobsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams what an instance of a job wrote. Ends with OK at the end of the output, which
     * with `follow` is the end of the instance's last run. Each chunk has a cursor; a call
     * that brings one goes on right after that chunk, without gap or repeat.
     * </pre>
     */
    public java.util.Iterator<dev.jobengine.v1.ReadLogsResponse> readLogs(
        dev.jobengine.v1.ReadLogsRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getReadLogsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Tells which engine runs the jobs, how it is, what it can do and what limits apply.
     * </pre>
     */
    public dev.jobengine.v1.ReadEngineResponse readEngine(dev.jobengine.v1.ReadEngineRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getReadEngineMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service JobEngine.
   * <pre>
   * Runs commands and containers as jobs, on the engine that the server was started with.
   * Every failed RPC carries `google.rpc.ErrorInfo` (reason: an ErrorReason, domain:
   * "jobengine") and, where it applies, BadRequest, ResourceInfo or RetryInfo. Any RPC may end
   * with UNAVAILABLE: nothing was changed, or, for CreateJob, a repeat with the same
   * request_id is safe.
   * </pre>
   */
  public static final class JobEngineFutureStub
      extends io.grpc.stub.AbstractFutureStub<JobEngineFutureStub> {
    private JobEngineFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected JobEngineFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new JobEngineFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Starts a job. Returns once the engine holds it durably, usually before it runs.
     * A repeat with the same name, request_id and spec returns the first job and starts
     * nothing; so does a repeat without a name but with the same request_id. The same name
     * with another request_id or spec: ALREADY_EXISTS. Every wrong field is named in
     * INVALID_ARGUMENT, and nothing is started.
     * The job itself remembers its request: once it is gone (DeleteJob, ttl_after_finished), a
     * repeat is a new job. Let a ttl_after_finished outlast the time for which you repeat.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.jobengine.v1.CreateJobResponse> createJob(
        dev.jobengine.v1.CreateJobRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCreateJobMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Ends a job if it still runs, then removes it with all its instances and their output.
     * Idempotent with allow_missing; without it NOT_FOUND if there is no such job. Returns
     * once the engine has durably noted the deletion, or with `wait` once all is gone.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.jobengine.v1.DeleteJobResponse> deleteJob(
        dev.jobengine.v1.DeleteJobRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getDeleteJobMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Reads a job, with its spec. NOT_FOUND if there is no such job.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.jobengine.v1.ReadJobResponse> readJob(
        dev.jobengine.v1.ReadJobRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getReadJobMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Reads a job's status. Answered from the server's memory, always at least as new as this
     * server's own last write; `fresh` asks the engine. NOT_FOUND if there is no such job.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.jobengine.v1.ReadStatusResponse> readStatus(
        dev.jobengine.v1.ReadStatusRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getReadStatusMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Stops a job's instances and keeps its record, which ends as CANCELLED. Success means
     * that the engine has durably noted it; the end comes later. No change for a job that has
     * ended. Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.jobengine.v1.CancelJobResponse> cancelJob(
        dev.jobengine.v1.CancelJobRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCancelJobMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Lists jobs by name, a page at a time. Jobs that exist throughout are listed exactly
     * once, whatever comes and goes meanwhile.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.jobengine.v1.ListJobsResponse> listJobs(
        dev.jobengine.v1.ListJobsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListJobsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Tells which engine runs the jobs, how it is, what it can do and what limits apply.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.jobengine.v1.ReadEngineResponse> readEngine(
        dev.jobengine.v1.ReadEngineRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getReadEngineMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_CREATE_JOB = 0;
  private static final int METHODID_DELETE_JOB = 1;
  private static final int METHODID_READ_JOB = 2;
  private static final int METHODID_READ_STATUS = 3;
  private static final int METHODID_WATCH_STATUS = 4;
  private static final int METHODID_CANCEL_JOB = 5;
  private static final int METHODID_LIST_JOBS = 6;
  private static final int METHODID_WATCH_JOBS = 7;
  private static final int METHODID_READ_LOGS = 8;
  private static final int METHODID_READ_ENGINE = 9;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final AsyncService serviceImpl;
    private final int methodId;

    MethodHandlers(AsyncService serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_CREATE_JOB:
          serviceImpl.createJob((dev.jobengine.v1.CreateJobRequest) request,
              (io.grpc.stub.StreamObserver<dev.jobengine.v1.CreateJobResponse>) responseObserver);
          break;
        case METHODID_DELETE_JOB:
          serviceImpl.deleteJob((dev.jobengine.v1.DeleteJobRequest) request,
              (io.grpc.stub.StreamObserver<dev.jobengine.v1.DeleteJobResponse>) responseObserver);
          break;
        case METHODID_READ_JOB:
          serviceImpl.readJob((dev.jobengine.v1.ReadJobRequest) request,
              (io.grpc.stub.StreamObserver<dev.jobengine.v1.ReadJobResponse>) responseObserver);
          break;
        case METHODID_READ_STATUS:
          serviceImpl.readStatus((dev.jobengine.v1.ReadStatusRequest) request,
              (io.grpc.stub.StreamObserver<dev.jobengine.v1.ReadStatusResponse>) responseObserver);
          break;
        case METHODID_WATCH_STATUS:
          serviceImpl.watchStatus((dev.jobengine.v1.WatchStatusRequest) request,
              (io.grpc.stub.StreamObserver<dev.jobengine.v1.WatchStatusResponse>) responseObserver);
          break;
        case METHODID_CANCEL_JOB:
          serviceImpl.cancelJob((dev.jobengine.v1.CancelJobRequest) request,
              (io.grpc.stub.StreamObserver<dev.jobengine.v1.CancelJobResponse>) responseObserver);
          break;
        case METHODID_LIST_JOBS:
          serviceImpl.listJobs((dev.jobengine.v1.ListJobsRequest) request,
              (io.grpc.stub.StreamObserver<dev.jobengine.v1.ListJobsResponse>) responseObserver);
          break;
        case METHODID_WATCH_JOBS:
          serviceImpl.watchJobs((dev.jobengine.v1.WatchJobsRequest) request,
              (io.grpc.stub.StreamObserver<dev.jobengine.v1.WatchJobsResponse>) responseObserver);
          break;
        case METHODID_READ_LOGS:
          serviceImpl.readLogs((dev.jobengine.v1.ReadLogsRequest) request,
              (io.grpc.stub.StreamObserver<dev.jobengine.v1.ReadLogsResponse>) responseObserver);
          break;
        case METHODID_READ_ENGINE:
          serviceImpl.readEngine((dev.jobengine.v1.ReadEngineRequest) request,
              (io.grpc.stub.StreamObserver<dev.jobengine.v1.ReadEngineResponse>) responseObserver);
          break;
        default:
          throw new AssertionError();
      }
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public io.grpc.stub.StreamObserver<Req> invoke(
        io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getCreateJobMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.jobengine.v1.CreateJobRequest,
              dev.jobengine.v1.CreateJobResponse>(
                service, METHODID_CREATE_JOB)))
        .addMethod(
          getDeleteJobMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.jobengine.v1.DeleteJobRequest,
              dev.jobengine.v1.DeleteJobResponse>(
                service, METHODID_DELETE_JOB)))
        .addMethod(
          getReadJobMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.jobengine.v1.ReadJobRequest,
              dev.jobengine.v1.ReadJobResponse>(
                service, METHODID_READ_JOB)))
        .addMethod(
          getReadStatusMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.jobengine.v1.ReadStatusRequest,
              dev.jobengine.v1.ReadStatusResponse>(
                service, METHODID_READ_STATUS)))
        .addMethod(
          getWatchStatusMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.jobengine.v1.WatchStatusRequest,
              dev.jobengine.v1.WatchStatusResponse>(
                service, METHODID_WATCH_STATUS)))
        .addMethod(
          getCancelJobMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.jobengine.v1.CancelJobRequest,
              dev.jobengine.v1.CancelJobResponse>(
                service, METHODID_CANCEL_JOB)))
        .addMethod(
          getListJobsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.jobengine.v1.ListJobsRequest,
              dev.jobengine.v1.ListJobsResponse>(
                service, METHODID_LIST_JOBS)))
        .addMethod(
          getWatchJobsMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.jobengine.v1.WatchJobsRequest,
              dev.jobengine.v1.WatchJobsResponse>(
                service, METHODID_WATCH_JOBS)))
        .addMethod(
          getReadLogsMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.jobengine.v1.ReadLogsRequest,
              dev.jobengine.v1.ReadLogsResponse>(
                service, METHODID_READ_LOGS)))
        .addMethod(
          getReadEngineMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.jobengine.v1.ReadEngineRequest,
              dev.jobengine.v1.ReadEngineResponse>(
                service, METHODID_READ_ENGINE)))
        .build();
  }

  private static abstract class JobEngineBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    JobEngineBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.jobengine.v1.JobEngineProto.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("JobEngine");
    }
  }

  private static final class JobEngineFileDescriptorSupplier
      extends JobEngineBaseDescriptorSupplier {
    JobEngineFileDescriptorSupplier() {}
  }

  private static final class JobEngineMethodDescriptorSupplier
      extends JobEngineBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    JobEngineMethodDescriptorSupplier(java.lang.String methodName) {
      this.methodName = methodName;
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.MethodDescriptor getMethodDescriptor() {
      return getServiceDescriptor().findMethodByName(methodName);
    }
  }

  private static volatile io.grpc.ServiceDescriptor serviceDescriptor;

  public static io.grpc.ServiceDescriptor getServiceDescriptor() {
    io.grpc.ServiceDescriptor result = serviceDescriptor;
    if (result == null) {
      synchronized (JobEngineGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new JobEngineFileDescriptorSupplier())
              .addMethod(getCreateJobMethod())
              .addMethod(getDeleteJobMethod())
              .addMethod(getReadJobMethod())
              .addMethod(getReadStatusMethod())
              .addMethod(getWatchStatusMethod())
              .addMethod(getCancelJobMethod())
              .addMethod(getListJobsMethod())
              .addMethod(getWatchJobsMethod())
              .addMethod(getReadLogsMethod())
              .addMethod(getReadEngineMethod())
              .build();
        }
      }
    }
    return result;
  }
}
