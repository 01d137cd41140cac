package dev.jobengine.client.scenarios;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import com.google.protobuf.Message;
import dev.jobengine.client.FieldViolation;
import dev.jobengine.client.JobEngineClient;
import dev.jobengine.client.JobEngineClientBuilder;
import dev.jobengine.client.JobEngineException;
import dev.jobengine.v1.CancelJobRequest;
import dev.jobengine.v1.CreateJobRequest;
import dev.jobengine.v1.DeleteJobRequest;
import dev.jobengine.v1.Job;
import dev.jobengine.v1.ListJobsRequest;
import dev.jobengine.v1.ReadJobRequest;
import dev.jobengine.v1.ReadLogsRequest;
import dev.jobengine.v1.ReadStatusRequest;
import dev.jobengine.v1.WatchJobsRequest;
import dev.jobengine.v1.WatchJobsResponse;
import dev.jobengine.v1.WatchStatusRequest;
import dev.jobengine.v1.WatchStatusResponse;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** Takes the steps of one case. */
final class Player implements AutoCloseable {
  /** What of a step isn't for the client. */
  private static final Set<String> OWN = Set.of("do", "as", "expect", "error", "direct", "stream");

  /** Fields of steps that have another name in the requests. */
  private static final Map<String, String> RENAMED =
      Map.of("selector", "labelSelector", "logStream", "stream", "graceSeconds", "gracePeriod");

  private final Stage stage;
  private final JobEngineClient client;
  private final JobEngineClient direct;
  private final Map<String, PlayedStream> streams = new HashMap<>();
  private final Map<String, String> kept = new HashMap<>();

  Player(Stage stage, JsonObject settings) {
    this.stage = stage;
    client = client(stage.address(), settings);
    direct = client(stage.direct(), settings);
  }

  @Override
  public void close() {
    try {
      for (PlayedStream stream : streams.values()) {
        stream.drop();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      client.close();
      direct.close();
    }
  }

  /** Take a step, which has to fail if it says so. */
  void take(JsonObject written) throws InterruptedException {
    JsonObject step = Json.map(written, this::fillIn).getAsJsonObject();
    Outcome outcome;
    try {
      outcome = play(step);
    } catch (JobEngineException e) {
      Optional<String> problem =
          step.has("error")
              ? Json.difference(step.get("error"), json(e))
              : Optional.of(" failed, but must not");
      if (problem.isPresent()) {
        throw new AssertionError(step + problem.get(), e);
      }
      return;
    }
    if (step.has("error")) {
      throw new AssertionError(step + " didn't fail: " + outcome);
    }
    if (outcome.result != null && step.has("expect")) {
      Json.difference(step.get("expect"), outcome.result)
          .ifPresent(
              problem -> {
                throw new AssertionError(step + problem);
              });
    }
    if (step.has("as")) {
      kept.put(step.get("as").getAsString(), outcome.toKeep);
    }
  }

  private Outcome play(JsonObject step) throws InterruptedException {
    JobEngineClient caller = step.has("direct") ? direct : client;
    String name = step.has("stream") ? step.get("stream").getAsString() : null;
    return switch (step.get("do").getAsString()) {
      case "stage" -> {
        stage.act(step);
        yield Outcome.NOTHING;
      }
      case "watch" -> {
        WatchStatusRequest request = request(step, WatchStatusRequest.newBuilder()).build();
        streams.put(name, new PlayedStream(caller.watchStatus(request), true));
        yield Outcome.NOTHING;
      }
      case "watchAll" -> {
        WatchJobsRequest request = request(step, WatchJobsRequest.newBuilder()).build();
        streams.put(name, new PlayedStream(caller.watchJobs(request), false));
        yield Outcome.NOTHING;
      }
      case "logs" -> {
        ReadLogsRequest request = request(step, ReadLogsRequest.newBuilder()).build();
        streams.put(name, new PlayedStream(caller.logs(request), false));
        yield Outcome.NOTHING;
      }
      case "until" -> {
        yield new Outcome(null, cursor(streams.get(name).until(step.get("expect"))));
      }
      case "text" -> {
        streams.get(name).text(step);
        yield Outcome.NOTHING;
      }
      case "end" -> {
        streams.remove(name).end();
        yield Outcome.NOTHING;
      }
      case "close" -> {
        streams.remove(name).close();
        yield Outcome.NOTHING;
      }
      default -> call(caller, step);
    };
  }

  private static Outcome call(JobEngineClient caller, JsonObject step) {
    return switch (step.get("do").getAsString()) {
      case "create" ->
          Outcome.of(caller.createJob(request(step, CreateJobRequest.newBuilder()).build()));
      case "run" -> Outcome.of(caller.run(request(step, CreateJobRequest.newBuilder()).build()));
      case "wait" ->
          Outcome.of(
              step.has("timeoutSeconds")
                  ? caller.waitFor(name(step), seconds(step.get("timeoutSeconds")))
                  : caller.waitFor(name(step)));
      case "readJob" ->
          Outcome.of(caller.readJob(request(step, ReadJobRequest.newBuilder()).getName()));
      case "readStatus" ->
          Outcome.of(caller.readStatus(request(step, ReadStatusRequest.newBuilder()).build()));
      case "cancel" ->
          Outcome.of(caller.cancelJob(request(step, CancelJobRequest.newBuilder()).build()));
      case "delete" -> {
        caller.deleteJob(request(step, DeleteJobRequest.newBuilder()).build());
        yield Outcome.NOTHING;
      }
      case "list" -> {
        JsonArray names = new JsonArray();
        for (Job job : caller.listJobs(request(step, ListJobsRequest.newBuilder()).build())) {
          names.add(job.getName());
        }
        yield new Outcome(names, null);
      }
      case "readEngine" -> new Outcome(Json.of(caller.readEngine()), null);
      default -> throw new IllegalArgumentException("unknown step " + step);
    };
  }

  private String fillIn(String text) {
    return text.startsWith("$") ? kept.get(text.substring(1)) : text;
  }

  private static String cursor(Message event) {
    if (event instanceof WatchStatusResponse ofOne) {
      return ofOne.getCursor();
    }
    return event instanceof WatchJobsResponse ofAll ? ofAll.getCursor() : null;
  }

  private static String name(JsonObject step) {
    return step.get("name").getAsString();
  }

  /** A step's fields are those of the request, but for some names. */
  private static <B extends Message.Builder> B request(JsonObject step, B request) {
    JsonObject fields = new JsonObject();
    step.entrySet().stream()
        .filter(field -> !OWN.contains(field.getKey()))
        .forEach(
            field -> {
              boolean span = field.getKey().equals("graceSeconds");
              fields.add(
                  RENAMED.getOrDefault(field.getKey(), field.getKey()),
                  span ? new JsonPrimitive(field.getValue() + "s") : field.getValue());
            });
    return Json.parse(fields, request);
  }

  private static JobEngineClient client(String address, JsonObject settings) {
    JobEngineClientBuilder builder = JobEngineClient.builder().address(address);
    settings
        .entrySet()
        .forEach(
            setting -> {
              JsonElement value = setting.getValue();
              switch (setting.getKey()) {
                case "timeoutSeconds" -> builder.timeout(seconds(value));
                case "retryForSeconds" -> builder.retryFor(seconds(value));
                case "resumeForSeconds" -> builder.resumeFor(seconds(value));
                case "heartbeatSeconds" -> builder.heartbeat(seconds(value));
                case "ca" -> trust(builder, Path.of(value.getAsString()));
                case "token" -> builder.bearerToken(() -> read(Path.of(value.getAsString())));
                default -> throw new IllegalArgumentException("unknown setting " + setting);
              }
            });
    return builder.build();
  }

  private static void trust(JobEngineClientBuilder builder, Path authorities) {
    try {
      builder.tls(authorities);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Duration seconds(JsonElement value) {
    return Duration.ofNanos((long) (value.getAsDouble() * 1e9));
  }

  private static JsonObject json(JobEngineException error) {
    JsonObject json = new JsonObject();
    json.addProperty("kind", error.getClass().getSimpleName().replaceFirst("Exception$", ""));
    json.addProperty("code", error.getCode().name());
    json.addProperty("reason", error.getReason());
    JsonArray fields = new JsonArray();
    error.getViolations().stream().map(FieldViolation::field).sorted().forEach(fields::add);
    json.add("fields", fields);
    JsonObject metadata = new JsonObject();
    error.getMetadata().forEach(metadata::addProperty);
    json.add("metadata", metadata);
    return json;
  }

  /** What a step gave, if it is to be held against its example, and what {@code as} keeps. */
  private record Outcome(JsonElement result, String toKeep) {
    static final Outcome NOTHING = new Outcome(null, null);

    static Outcome of(Message result) {
      return new Outcome(Json.of(result), result instanceof Job job ? job.getUid() : null);
    }
  }
}
