package dev.jobengine.client.scenarios;

import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.time.Duration;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;

/** Plays the scenarios that the clients of all languages share, against real servers. */
class ScenariosTest {
  private static final Duration STEP = Duration.ofSeconds(30);

  @TestFactory
  @EnabledIfEnvironmentVariable(
      named = "JOBENGINE_STAGE",
      matches = ".+",
      disabledReason = "JOBENGINE_STAGE isn't set: no scenario is played")
  Stream<DynamicTest> scenarios() {
    return StreamSupport.stream(Stage.cases().spliterator(), false)
        .map(JsonElement::getAsJsonObject)
        .map(
            scenario -> {
              String name = scenario.get("name").getAsString();
              return DynamicTest.dynamicTest(name, () -> playAndReport(name, scenario));
            });
  }

  private static void playAndReport(String name, JsonObject scenario) throws Exception {
    try {
      play(scenario);
      Stage.report(name, "");
    } catch (Exception | AssertionError e) {
      Stage.report(name, e.toString());
      throw e;
    }
  }

  private static void play(JsonObject written) throws Exception {
    try (Stage stage = Stage.of(written)) {
      JsonObject scenario =
          Json.map(written, text -> text.replace("${directory}", stage.directory()))
              .getAsJsonObject();
      JsonObject settings =
          scenario.has("client") ? scenario.getAsJsonObject("client") : new JsonObject();
      try (Player player = new Player(stage, settings)) {
        for (JsonElement step : scenario.getAsJsonArray("steps")) {
          assertTimeoutPreemptively(
              STEP, () -> player.take(step.getAsJsonObject()), () -> step + " took too long");
        }
      }
    }
  }
}
