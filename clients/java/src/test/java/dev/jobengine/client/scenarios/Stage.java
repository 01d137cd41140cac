package dev.jobengine.client.scenarios;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;

/** A server behind a proxy, set up and broken over HTTP. */
record Stage(String id, String address, String direct, String directory) implements AutoCloseable {
  private static final Duration TIMEOUT = Duration.ofSeconds(60);

  /** All cases there are. */
  static JsonArray cases() {
    return send("GET", "/scenarios", null).getAsJsonArray("cases");
  }

  /** Set the stage for a case. */
  static Stage of(JsonObject scenario) {
    JsonObject wanted = new JsonObject();
    for (String key : new String[] {"engine", "options", "tls", "tokens", "policy"}) {
      if (scenario.has(key)) {
        wanted.add(key, scenario.get(key));
      }
    }
    JsonObject made = send("POST", "/stages", wanted);
    return new Stage(
        made.get("id").getAsString(),
        made.get("address").getAsString(),
        made.get("direct").getAsString(),
        made.get("directory").getAsString());
  }

  /** Tell how a case went: what went wrong, or nothing. */
  static void report(String scenario, String error) {
    JsonObject result = new JsonObject();
    result.addProperty("case", scenario);
    result.addProperty("error", error);
    send("POST", "/results", result);
  }

  /** Break or mend something. */
  void act(JsonObject step) {
    JsonObject wanted = new JsonObject();
    wanted.add("do", step.get("action"));
    for (String key : new String[] {"file", "text"}) {
      if (step.has(key)) {
        wanted.add(key, step.get(key));
      }
    }
    send("POST", "/stages/" + id, wanted);
  }

  @Override
  public void close() {
    send("DELETE", "/stages/" + id, null);
  }

  private static JsonObject send(String method, String path, JsonObject body) {
    HttpRequest request =
        HttpRequest.newBuilder(URI.create(System.getenv("JOBENGINE_STAGE") + path))
            .timeout(TIMEOUT)
            .method(
                method,
                body == null ? BodyPublishers.noBody() : BodyPublishers.ofString(body.toString()))
            .build();
    try {
      // A client for each request: this stage speaks HTTP/1.0, and the JDK's client would send the
      // next request over a connection that was closed after the one before.
      HttpResponse<String> answer =
          HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
      if (answer.statusCode() != 200) {
        throw new IllegalStateException(method + " " + path + " " + body + ": " + answer.body());
      }
      return JsonParser.parseString(answer.body()).getAsJsonObject();
    } catch (IOException e) {
      throw new IllegalStateException(method + " " + path, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(method + " " + path, e);
    }
  }
}
