package dev.jobengine.client;

import dev.jobengine.v1.CancelJobRequest;
import dev.jobengine.v1.CancelJobResponse;
import dev.jobengine.v1.CreateJobRequest;
import dev.jobengine.v1.CreateJobResponse;
import dev.jobengine.v1.DeleteJobRequest;
import dev.jobengine.v1.Job;
import dev.jobengine.v1.JobEngineGrpc;
import dev.jobengine.v1.JobSpec;
import dev.jobengine.v1.JobStatus;
import dev.jobengine.v1.ListJobsRequest;
import dev.jobengine.v1.ReadEngineRequest;
import dev.jobengine.v1.ReadEngineResponse;
import dev.jobengine.v1.ReadJobRequest;
import dev.jobengine.v1.ReadJobResponse;
import dev.jobengine.v1.ReadLogsRequest;
import dev.jobengine.v1.ReadLogsResponse;
import dev.jobengine.v1.ReadStatusRequest;
import dev.jobengine.v1.ReadStatusResponse;
import dev.jobengine.v1.WatchJobsRequest;
import dev.jobengine.v1.WatchJobsResponse;
import dev.jobengine.v1.WatchStatusRequest;
import dev.jobengine.v1.WatchStatusResponse;
import io.grpc.Deadline;
import java.time.Duration;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * Runs jobs on a job engine's server.
 *
 * <p>The connection is opened when it is first needed. Calls that find the service unavailable are
 * made again for a few seconds; streams that are interrupted go on by themselves. May be used by
 * any number of threads.
 *
 * <p>All methods throw {@link JobEngineException}s; an interrupt of the calling thread ends a call
 * with {@link CallCancelledException}. The futures of the methods in {@code Async} fail with the
 * same exceptions; cancelling one cancels its call. Where a request names a field, its comments say
 * what the field means.
 */
public final class JobEngineClient implements AutoCloseable {
  private final Transport transport;

  JobEngineClient(Settings settings) {
    transport = new Transport(settings);
  }

  /**
   * Begins to build a client.
   *
   * @return a builder with the default settings
   */
  public static JobEngineClientBuilder builder() {
    return new JobEngineClientBuilder();
  }

  /** Closes the connection; calls that are under way end with {@link ClientClosedException}. */
  @Override
  public void close() {
    transport.close();
  }

  /**
   * Starts a job; returns it once the engine holds it durably, usually before it runs.
   *
   * @param spec what to run
   * @return the job, with the name that the server gave it
   * @throws InvalidRequestException its violations name every wrong field; nothing was started
   */
  public Job createJob(JobSpec spec) {
    return createJob(CreateJobRequest.newBuilder().setSpec(spec).build());
  }

  /**
   * Starts a job; returns it once the engine holds it durably, usually before it runs.
   *
   * <p>Repeating the call with the same request id never starts a second job. The client makes one
   * where none is given, so its own retries are safe.
   *
   * @param request what to run, under which name
   * @return the job
   * @throws InvalidRequestException its violations name every wrong field; nothing was started
   * @throws JobAlreadyExistsException the name is taken by another job
   */
  public Job createJob(CreateJobRequest request) {
    return UnaryCall.await(createJobAsync(request));
  }

  /**
   * Starts a job, as {@link #createJob(CreateJobRequest)} does.
   *
   * @param request what to run, under which name
   * @return the job
   */
  public CompletableFuture<Job> createJobAsync(CreateJobRequest request) {
    CreateJobRequest repeatable =
        request.getRequestId().isEmpty()
            ? request.toBuilder().setRequestId(UUID.randomUUID().toString()).build()
            : request;
    return UnaryCall.map(
        UnaryCall.start(transport, JobEngineGrpc.getCreateJobMethod(), repeatable),
        CreateJobResponse::getJob);
  }

  /**
   * Reads a job, with its spec.
   *
   * @param name the job's name
   * @return the job
   * @throws JobNotFoundException there is no such job
   */
  public Job readJob(String name) {
    return UnaryCall.await(readJobAsync(name));
  }

  /**
   * Reads a job, as {@link #readJob} does.
   *
   * @param name the job's name
   * @return the job
   */
  public CompletableFuture<Job> readJobAsync(String name) {
    ReadJobRequest request = ReadJobRequest.newBuilder().setName(name).build();
    return UnaryCall.map(
        UnaryCall.start(transport, JobEngineGrpc.getReadJobMethod(), request),
        ReadJobResponse::getJob);
  }

  /**
   * Reads a job's status out of the server's memory.
   *
   * @param name the job's name
   * @return its status
   * @throws JobNotFoundException there is no such job
   */
  public JobStatus readStatus(String name) {
    return readStatus(ReadStatusRequest.newBuilder().setName(name).build());
  }

  /**
   * Reads a job's status, out of the server's memory, or with {@code fresh} from the engine.
   *
   * @param request of which job
   * @return its status
   * @throws JobNotFoundException there is no such job
   */
  public JobStatus readStatus(ReadStatusRequest request) {
    return UnaryCall.await(readStatusAsync(request));
  }

  /**
   * Reads a job's status, as {@link #readStatus(ReadStatusRequest)} does.
   *
   * @param request of which job
   * @return its status
   */
  public CompletableFuture<JobStatus> readStatusAsync(ReadStatusRequest request) {
    return UnaryCall.map(
        UnaryCall.start(transport, JobEngineGrpc.getReadStatusMethod(), request),
        ReadStatusResponse::getStatus);
  }

  /**
   * Stops a job and keeps its record; returns its status right after that.
   *
   * @param name the job's name
   * @return its status, often not terminal yet: {@link #waitFor(String) wait} for it
   * @throws JobNotFoundException there is no such job
   */
  public JobStatus cancelJob(String name) {
    return cancelJob(CancelJobRequest.newBuilder().setName(name).build());
  }

  /**
   * Stops a job and keeps its record; returns its status right after that. A job that has ended
   * stays as it is.
   *
   * @param request which job, and how long it gets to end by itself
   * @return its status, often not terminal yet: {@link #waitFor(String) wait} for it
   * @throws JobNotFoundException there is no such job
   * @throws UidMismatchException the job has another uid than the request's
   */
  public JobStatus cancelJob(CancelJobRequest request) {
    return UnaryCall.await(cancelJobAsync(request));
  }

  /**
   * Stops a job, as {@link #cancelJob(CancelJobRequest)} does.
   *
   * @param request which job, and how long it gets to end by itself
   * @return its status right after that
   */
  public CompletableFuture<JobStatus> cancelJobAsync(CancelJobRequest request) {
    return UnaryCall.map(
        UnaryCall.start(transport, JobEngineGrpc.getCancelJobMethod(), request),
        CancelJobResponse::getStatus);
  }

  /**
   * Ends a job if it still runs, then removes it with its instances and their output.
   *
   * @param name the job's name
   * @throws JobNotFoundException there is no such job
   */
  public void deleteJob(String name) {
    deleteJob(DeleteJobRequest.newBuilder().setName(name).build());
  }

  /**
   * Ends a job if it still runs, then removes it with its instances and their output.
   *
   * @param request which job, and whether to wait until all is gone
   * @throws JobNotFoundException there is no such job, and {@code allow_missing} isn't set
   * @throws UidMismatchException the job has another uid than the request's
   * @throws DeadlineExceededException with {@code wait}, it isn't gone yet; the deletion goes on
   */
  public void deleteJob(DeleteJobRequest request) {
    deleteJob(request, transport.settings().timeout());
  }

  /**
   * Ends a job if it still runs, then removes it, as {@link #deleteJob(DeleteJobRequest)} does.
   *
   * @param request which job, and whether to wait until all is gone
   * @param timeout how long the call may take
   */
  public void deleteJob(DeleteJobRequest request, Duration timeout) {
    UnaryCall.await(deleteJobAsync(request, timeout));
  }

  /**
   * Ends a job if it still runs, then removes it, as {@link #deleteJob(DeleteJobRequest)} does.
   *
   * @param request which job, and whether to wait until all is gone
   * @param timeout how long the call may take
   * @return done when the removal is noted, or with {@code wait} when all is gone
   */
  public CompletableFuture<Void> deleteJobAsync(DeleteJobRequest request, Duration timeout) {
    return UnaryCall.map(
        UnaryCall.start(
            transport,
            JobEngineGrpc.getDeleteJobMethod(),
            request,
            timeout,
            // The attempt whose answer was lost may well have removed the job.
            before -> before.toBuilder().setAllowMissing(true).build()),
        answer -> null);
  }

  /**
   * Lists all jobs, by name and without specs.
   *
   * @return the jobs, asked for page after page, anew for each iterator
   */
  public Iterable<Job> listJobs() {
    return listJobs(ListJobsRequest.getDefaultInstance());
  }

  /**
   * Lists the jobs that match, by name and without specs.
   *
   * @param request which jobs
   * @return the jobs, asked for page after page, anew for each iterator; that is where the
   *     exceptions come from
   */
  public Iterable<Job> listJobs(ListJobsRequest request) {
    return () -> new JobPages(transport, request);
  }

  /**
   * Tells a job's status as it is now, then each change, until it has ended.
   *
   * @param name the job's name
   * @return a stream, as of {@link #watchStatus(WatchStatusRequest)}
   */
  public JobStream<WatchStatusResponse> watchStatus(String name) {
    return watchStatus(WatchStatusRequest.newBuilder().setName(name).build());
  }

  /**
   * Tells a job's status as it is now, then each change, until it has ended.
   *
   * <p>The last event is a terminal status, or the job's deletion. Interruptions are bridged; no
   * event comes twice. With the cursor of an event seen earlier, only what changed since comes,
   * which is nothing if that one was the last.
   *
   * @param request which job; the heartbeats are asked for as the client is set
   * @return a stream. It throws {@link JobNotFoundException} where there is no such job, or it is
   *     gone, and {@link UnavailableException} where an interruption takes too long
   */
  public JobStream<WatchStatusResponse> watchStatus(WatchStatusRequest request) {
    return new JobStream<>(new StatusWatch(transport, request, null, false));
  }

  /**
   * Tells of all jobs, then SYNCED, then what is added, changes or is deleted.
   *
   * @return a stream, as of {@link #watchJobs(WatchJobsRequest)}
   */
  public JobStream<WatchJobsResponse> watchJobs() {
    return watchJobs(WatchJobsRequest.getDefaultInstance());
  }

  /**
   * Tells of all jobs that match, then SYNCED, then what is added, changes or is deleted.
   *
   * <p>Interruptions are bridged: afterwards come only the changes, and a DELETED event for each
   * job that vanished meanwhile, then SYNCED again. With the cursor of an event seen by an earlier
   * watch, only what changed since comes before the first SYNCED; but if a SYNCED says {@code
   * full}, forget every job that this watch hasn't told of.
   *
   * @param request which jobs; the heartbeats are asked for as the client is set
   * @return a stream without end. It throws {@link UnavailableException} where an interruption
   *     takes too long
   */
  public JobStream<WatchJobsResponse> watchJobs(WatchJobsRequest request) {
    return new JobStream<>(new JobsWatch(transport, request));
  }

  /**
   * Reads what the first instance of a job wrote up to now.
   *
   * @param name the job's name
   * @return a stream, as of {@link #logs(ReadLogsRequest)}
   */
  public JobStream<ReadLogsResponse> logs(String name) {
    return logs(ReadLogsRequest.newBuilder().setName(name).build());
  }

  /**
   * Reads what an instance of a job wrote, without gap or repeat.
   *
   * @param request of which job and instance, from where on, and with {@code follow} until the
   *     instance has ended
   * @return a stream of chunks of bytes. It throws {@link JobNotFoundException} where there is no
   *     such job, and {@link UnsupportedException} where the engine has no logs
   */
  public JobStream<ReadLogsResponse> logs(ReadLogsRequest request) {
    return new JobStream<>(new LogReader(transport, request));
  }

  /**
   * Waits until a job has ended, however long that takes.
   *
   * @param name the job's name
   * @return how it ended
   * @throws JobNotFoundException there is no such job, or it is gone
   */
  public JobStatus waitFor(String name) {
    return waitFor(name, null, false);
  }

  /**
   * Waits until a job has ended.
   *
   * @param name the job's name
   * @param timeout for how long
   * @return how it ended
   * @throws JobNotFoundException there is no such job, or it is gone
   * @throws DeadlineExceededException it hasn't ended in time; it runs on
   */
  public JobStatus waitFor(String name, Duration timeout) {
    return waitFor(name, JavaDurations.deadlineIn(timeout), false);
  }

  /**
   * Starts a job, and waits until it has ended. A job that fails is no error.
   *
   * @param spec what to run
   * @return how it ended
   * @throws InvalidRequestException its violations name every wrong field; nothing was started
   */
  public JobStatus run(JobSpec spec) {
    return run(CreateJobRequest.newBuilder().setSpec(spec).build());
  }

  /**
   * Starts a job, and waits until it has ended, however long that takes. A job that fails is no
   * error.
   *
   * @param request what to run, under which name
   * @return how it ended
   * @throws InvalidRequestException its violations name every wrong field; nothing was started
   * @throws JobAlreadyExistsException the name is taken by another job
   */
  public JobStatus run(CreateJobRequest request) {
    return finish(createJob(request), null);
  }

  /**
   * Starts a job, and waits until it has ended, as {@link #run(CreateJobRequest)} does.
   *
   * @param request what to run, under which name
   * @param timeout for how long to wait, once it is started
   * @return how it ended
   * @throws DeadlineExceededException it hasn't ended in time; it runs on
   */
  public JobStatus run(CreateJobRequest request, Duration timeout) {
    Job job = createJob(request);
    return finish(job, JavaDurations.deadlineIn(timeout));
  }

  /**
   * Asks which engine runs the jobs, how it is, what it can do and what limits apply.
   *
   * @return the answer
   */
  public ReadEngineResponse readEngine() {
    return UnaryCall.await(readEngineAsync());
  }

  /**
   * Asks about the engine, as {@link #readEngine} does.
   *
   * @return the answer
   */
  public CompletableFuture<ReadEngineResponse> readEngineAsync() {
    return UnaryCall.start(
        transport, JobEngineGrpc.getReadEngineMethod(), ReadEngineRequest.getDefaultInstance());
  }

  /**
   * Asks the server's health service whether it serves the job engine.
   *
   * @return whether it does
   */
  public boolean checkHealth() {
    return checkHealth(JobEngineGrpc.SERVICE_NAME);
  }

  /**
   * Asks the server's health service whether it serves a service.
   *
   * @param service the service's full name; empty: the server as a whole
   * @return whether it does
   */
  public boolean checkHealth(String service) {
    return UnaryCall.await(checkHealthAsync(service));
  }

  /**
   * Asks the server's health service, as {@link #checkHealth(String)} does.
   *
   * @param service the service's full name; empty: the server as a whole
   * @return whether the server serves it
   */
  public CompletableFuture<Boolean> checkHealthAsync(String service) {
    return Health.check(transport, service);
  }

  private JobStatus finish(Job job, Deadline deadline) {
    return JobStates.isTerminal(job.getStatus())
        ? job.getStatus()
        : waitFor(job.getName(), deadline, true);
  }

  private JobStatus waitFor(String name, Deadline deadline, boolean established) {
    WatchStatusRequest request = WatchStatusRequest.newBuilder().setName(name).build();
    JobStatus status = JobStatus.getDefaultInstance();
    try (var events = new JobStream<>(new StatusWatch(transport, request, deadline, established))) {
      for (WatchStatusResponse event : events) {
        status = event.getStatus();
      }
    }
    return status;
  }
}
