package dev.jobengine.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.InsecureChannelCredentials;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a client is made from. */
class SettingsTest {

  @Test
  void theAddressGivenComesBeforeTheEnvironmentsAndTheDefault() {
    assertEquals("a:1", Settings.findAddress("a:1", "b:2"));
    assertEquals("b:2", Settings.findAddress(null, "b:2"));
    assertEquals("127.0.0.1:50051", Settings.findAddress(null, ""));
  }

  @ParameterizedTest
  @ValueSource(strings = {"a", "a:", ":1", "unix:", "a:b"})
  void malformedAddressesAreRefused(String address) {
    var failure =
        assertThrows(IllegalArgumentException.class, () -> Settings.findAddress(address, null));
    assertTrue(failure.getMessage().contains("host:port"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"localhost:1", "127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "unix:/a/b"})
  void thisMachinesOwnAddresses(String address) {
    assertTrue(Settings.isLoopback(address));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"a:1", "127.0.0.1.example.com:1", "localhost.example.com:1", "10.0.0.1:1"})
  void othersAddresses(String address) {
    assertFalse(Settings.isLoopback(address));
  }

  @ParameterizedTest
  @CsvSource({"100, 3000", "10000, 21000", "1000000, 601000"})
  void silenceIsMeasuredByWhatTheServerMakesOfTheInterval(long heartbeat, long silence) {
    Duration any = Duration.ofSeconds(1);
    Settings settings =
        new Settings(
            "a:1",
            InsecureChannelCredentials.create(),
            List.of(),
            any,
            any,
            any,
            Duration.ofMillis(heartbeat));
    assertEquals(Duration.ofMillis(silence), settings.silence());
  }

  @Test
  void aTokenIsNotSentUnencryptedToOtherMachines() {
    JobEngineClientBuilder builder =
        JobEngineClient.builder().address("jobs.example.com:443").bearerToken("secret");
    var failure = assertThrows(IllegalArgumentException.class, builder::build);
    assertTrue(failure.getMessage().startsWith("bearerToken: "));
    builder.tls().build().close();
    builder = JobEngineClient.builder().address("127.0.0.1:1").bearerToken("secret");
    builder.build().close();
  }

  @Test
  void spansThatMeanNothingAreRefused() {
    JobEngineClientBuilder builder = JobEngineClient.builder();
    assertThrows(IllegalArgumentException.class, () -> builder.timeout(Duration.ZERO));
    assertThrows(IllegalArgumentException.class, () -> builder.retryFor(Duration.ofSeconds(-1)));
  }

  @ParameterizedTest
  @ValueSource(strings = {"PT0S", "PT1.5S", "PT-1.5S", "PT-2S", "PT-0.000000001S"})
  void durationsStayTheSame(String text) {
    Duration duration = Duration.parse(text);
    var message = JavaDurations.toProto(duration);
    assertTrue(
        message.getSeconds() == 0
            || message.getNanos() == 0
            || message.getSeconds() < 0 == message.getNanos() < 0);
    assertEquals(duration, JavaDurations.fromProto(message));
  }
}
