package dev.jobengine.client.scenarios;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.protobuf.ByteString;
import com.google.protobuf.Message;
import dev.jobengine.client.JobStates;
import dev.jobengine.client.JobStream;
import dev.jobengine.v1.JobStatus;
import dev.jobengine.v1.ReadLogsResponse;
import dev.jobengine.v1.WatchEvent;
import dev.jobengine.v1.WatchJobsResponse;
import dev.jobengine.v1.WatchStatusResponse;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/** A stream that is read beside the steps, by a thread of its own. */
final class PlayedStream {
  private final JobStream<? extends Message> stream;
  private final boolean ofOneJob;
  private final Thread reader;
  private final List<Message> messages = new ArrayList<>();
  private int passed;
  private boolean over;
  private RuntimeException failure;

  PlayedStream(JobStream<? extends Message> stream, boolean ofOneJob) {
    this.stream = stream;
    this.ofOneJob = ofOneJob;
    reader = new Thread(this::read, "stream");
    reader.start();
  }

  private void read() {
    try (stream) {
      for (Message message : stream) {
        synchronized (this) {
          messages.add(message);
          notifyAll();
        }
      }
    } catch (RuntimeException e) {
      failure = e;
    } finally {
      synchronized (this) {
        over = true;
        notifyAll();
      }
    }
  }

  /** The next message that is like the example. */
  synchronized Message until(JsonElement example) throws InterruptedException {
    while (true) {
      while (passed < messages.size()) {
        Message message = messages.get(passed++);
        if (Json.difference(example, Json.of(message)).isEmpty()) {
          return message;
        }
      }
      await(() -> "no message like " + example);
    }
  }

  /** Wait until the logs are just that, or have it in them. */
  synchronized void text(JsonObject step) throws InterruptedException {
    while (true) {
      String text =
          messages.stream()
              .map(message -> ((ReadLogsResponse) message).getData())
              .reduce(ByteString.EMPTY, ByteString::concat)
              .toStringUtf8();
      if (step.has("expect") && text.equals(step.get("expect").getAsString())
          || step.has("contains") && text.contains(step.get("contains").getAsString())) {
        return;
      }
      await(() -> "only '" + text + "' for " + step);
    }
  }

  /** Wait for the end; throws what it ended with. */
  void end() throws InterruptedException {
    reader.join();
    check();
    if (failure != null) {
      throw failure;
    }
  }

  /** Leave the stream: its end is no error. */
  void close() throws InterruptedException {
    leave();
    end();
  }

  /** Leave it, however it ends, and check what it told. */
  void drop() throws InterruptedException {
    leave();
    check();
  }

  private void leave() throws InterruptedException {
    stream.close();
    reader.join(5_000);
    assertFalse(reader.isAlive(), "the stream goes on 5 s after it was closed");
  }

  private void await(Supplier<String> problem) throws InterruptedException {
    if (over) {
      throw new AssertionError(problem.get() + " in " + messages, failure);
    }
    wait();
  }

  /** Each piece of news once, in order, and no heartbeats. */
  private void check() {
    Map<String, News> latest = new HashMap<>();
    for (Message message : messages) {
      News news = News.of(message);
      if (news == null) {
        continue;
      }
      News before = latest.put(news.uid, news);
      if (before != null) {
        news.checkAfter(before);
      }
    }
    assertTrue(!ofOneJob || latest.size() <= 1, () -> "of several jobs: " + latest.keySet());
  }

  /** What a message of a watch tells of a job. */
  private record News(WatchEvent event, String uid, JobStatus status) {

    /** Null: the message tells of no job. */
    static News of(Message message) {
      News news = null;
      if (message instanceof WatchStatusResponse one) {
        news = new News(one.getEvent(), one.getUid(), one.getStatus());
      } else if (message instanceof WatchJobsResponse many) {
        news = new News(many.getEvent(), many.getJob().getUid(), many.getJob().getStatus());
      }
      if (news == null || news.event == WatchEvent.WATCH_EVENT_SYNCED) {
        return null;
      }
      assertNotEquals(WatchEvent.WATCH_EVENT_HEARTBEAT, news.event);
      return news;
    }

    void checkAfter(News before) {
      assertNotEquals(before, this, "told twice");
      assertNotEquals(WatchEvent.WATCH_EVENT_DELETED, before.event, () -> "then came " + this);
      assertFalse(
          status.getStateValue() < before.status.getStateValue(), () -> before + ", then " + this);
      if (JobStates.isTerminal(before.status)) {
        assertEquals(before.status, status);
      }
    }
  }
}
