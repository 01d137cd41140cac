import dev.jobengine.client.JobEngineClient;
import dev.jobengine.client.JobStates;
import dev.jobengine.client.JobStream;
import dev.jobengine.v1.CreateJobRequest;
import dev.jobengine.v1.JobSpec;
import dev.jobengine.v1.JobState;
import dev.jobengine.v1.JobStatus;
import dev.jobengine.v1.ReadLogsResponse;
import dev.jobengine.v1.WatchJobsRequest;
import dev.jobengine.v1.WatchJobsResponse;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Submits three jobs, watches them, prints their logs, and exits with the worst exit code.
 *
 * <p>Ctrl-C cancels them.
 */
public final class ThreeJobs {
  private static final List<String> SCRIPTS =
      List.of("echo first; sleep 1", "echo second; sleep 2; exit 3", "echo third; sleep 3");

  /** Exit code for a job that didn't succeed and has none of its own. */
  private static final int NO_EXIT_CODE = 125;

  private final JobEngineClient client;
  private final String run = "three-jobs-" + ProcessHandle.current().pid();
  private final Set<String> running = ConcurrentHashMap.newKeySet();

  private ThreeJobs(JobEngineClient client) {
    this.client = client;
  }

  /**
   * Runs the program.
   *
   * @param arguments none; the environment variable JOBENGINE_ADDRESS says where the server is
   * @throws IOException the output can't be written
   */
  public static void main(String[] arguments) throws IOException {
    int exitCode;
    try (JobEngineClient client = JobEngineClient.builder().build()) {
      exitCode = new ThreeJobs(client).run();
    }
    System.exit(exitCode);
  }

  private int run() throws IOException {
    Runtime.getRuntime().addShutdownHook(new Thread(this::cancel));
    for (int i = 0; i < SCRIPTS.size(); i++) {
      create(run + "-" + (i + 1), SCRIPTS.get(i));
    }
    Map<String, JobStatus> ended = watch();
    for (String name : ended.keySet()) {
      System.out.println("--- " + name);
      try (JobStream<ReadLogsResponse> logs = client.logs(name)) {
        for (ReadLogsResponse chunk : logs) {
          chunk.getData().writeTo(System.out);
        }
      }
    }
    return ended.values().stream().mapToInt(ThreeJobs::exitCode).max().orElse(0);
  }

  private void create(String name, String script) {
    JobSpec spec =
        JobSpec.newBuilder()
            .addAllCommand(List.of("sh", "-c", script))
            .putLabels("run", run)
            .build();
    running.add(name);
    client.createJob(CreateJobRequest.newBuilder().setName(name).setSpec(spec).build());
  }

  /** Prints what happens to the jobs, until all of them have ended. */
  private Map<String, JobStatus> watch() {
    Map<String, JobStatus> ended = new TreeMap<>();
    WatchJobsRequest mine = WatchJobsRequest.newBuilder().setLabelSelector("run=" + run).build();
    try (JobStream<WatchJobsResponse> events = client.watchJobs(mine)) {
      while (!running.isEmpty() && events.hasNext()) {
        WatchJobsResponse event = events.next();
        if (event.hasJob()) {
          String name = event.getJob().getName();
          JobStatus status = event.getJob().getStatus();
          System.out.println(name + ": " + status.getState() + " " + status.getMessage());
          if (JobStates.isTerminal(status)) {
            ended.put(name, status);
            running.remove(name);
          }
        }
      }
    }
    return ended;
  }

  private static int exitCode(JobStatus status) {
    if (status.hasExitCode()) {
      return status.getExitCode();
    }
    return status.getState() == JobState.JOB_STATE_SUCCEEDED ? 0 : NO_EXIT_CODE;
  }

  /** By a client of its own: the other one may be closed by now. */
  private void cancel() {
    try (JobEngineClient canceller = JobEngineClient.builder().build()) {
      for (String name : running) {
        System.out.println(name + ": cancelling");
        canceller.cancelJob(name);
      }
    }
  }
}
