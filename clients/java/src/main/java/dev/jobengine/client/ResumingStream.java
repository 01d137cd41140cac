package dev.jobengine.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;

/**
 * The messages of a stream, over as many calls as that takes, heartbeats included.
 *
 * <p>Read by one thread at a time; may be closed by any.
 */
final class ResumingStream<Q, A> implements AutoCloseable {
  private final Transport transport;
  private final Plan<Q, A> plan;
  private final Backoff backoff;
  private final Context.CancellableContext context = Context.current().withCancellation();
  private final CountDownLatch ended = new CountDownLatch(1);
  private final Runnable clientClosed = this::end;
  private volatile boolean left;
  private Channel channel;
  private StreamingCall<A> call;

  /**
   * What a stream is made of.
   *
   * @param request asked before each call for what to send then
   * @param complete asked when a call ended with OK: whether that is the stream's end
   * @param over asked when a call ended in any way: whether all had been told before that
   * @param silence after how long without a message the connection is taken for dead; null: never
   * @param deadline when the stream has to be over; null: never
   * @param established whether something was heard of it before: it is resumed for longer than one
   *     of which nothing was heard yet, which fails as other calls do
   */
  record Plan<Q, A>(
      MethodDescriptor<Q, A> method,
      Supplier<Q> request,
      BooleanSupplier complete,
      BooleanSupplier over,
      Duration silence,
      Deadline deadline,
      boolean established) {}

  ResumingStream(Transport transport, Plan<Q, A> plan) {
    this.transport = transport;
    this.plan = plan;
    Settings settings = transport.settings();
    backoff = new Backoff(plan.established() ? settings.resumeFor() : settings.retryFor());
  }

  /** Wait for the next message; null: there is none any more. */
  A next() {
    try {
      while (!left) {
        JobEngineException failure;
        try {
          if (call == null) {
            begin();
          }
          A message = call.read(plan.silence());
          if (message != null) {
            backoff.succeeded(transport.settings().resumeFor());
            return message;
          }
          if (plan.complete().getAsBoolean()) {
            return null;
          }
          failure =
              new UnavailableException(
                  "the stream ended before its time",
                  ErrorDetails.of(Status.Code.UNAVAILABLE),
                  null);
        } catch (ConnectionSilentException e) {
          // Its keepalive may never find out: it begins anew with each call.
          transport.giveUp(channel);
          failure = e;
        } catch (StatusRuntimeException e) {
          failure = Failures.of(e);
        }
        if (plan.over().getAsBoolean()) {
          return null;
        }
        call = null;
        pauseAfter(failure);
      }
      return null;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      if (plan.over().getAsBoolean()) {
        return null;
      }
      throw new CallCancelledException("the thread was interrupted during the call", e);
    }
  }

  /** Leave the stream: whoever waits for a message is told at once that there is none. */
  @Override
  public void close() {
    left = true;
    end();
  }

  private void begin() {
    context.run(
        () -> {
          transport.add(clientClosed);
          channel = transport.channel();
          CallOptions options = transport.callOptions().withDeadline(plan.deadline());
          call = StreamingCall.start(channel.newCall(plan.method(), options), plan.request().get());
        });
  }

  /** Wait before the next attempt, or throw the failure where there is to be none. */
  private void pauseAfter(JobEngineException failure) throws InterruptedException {
    if (left) {
      return;
    }
    if (transport.isClosed()) {
      throw new ClientClosedException("the client was closed during the call");
    }
    if (context.isCancelled()) {
      throw new CallCancelledException("the caller's gRPC context was cancelled", failure);
    }
    if (plan.deadline() != null && plan.deadline().isExpired()) {
      throw new DeadlineExceededException(
          failure.getMessage(), ErrorDetails.of(Status.Code.DEADLINE_EXCEEDED), failure);
    }
    if (!Failures.isInterruption(failure)) {
      throw failure;
    }
    Duration delay = backoff.delayAfter(failure, plan.deadline()).orElseThrow(() -> failure);
    ended.await(delay.toNanos(), TimeUnit.NANOSECONDS);
  }

  private void end() {
    transport.remove(clientClosed);
    ended.countDown();
    context.cancel(null);
  }
}
