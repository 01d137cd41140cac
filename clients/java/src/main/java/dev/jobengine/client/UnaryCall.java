package dev.jobengine.client;

import com.google.common.util.concurrent.FutureCallback;
import com.google.common.util.concurrent.Futures;
import com.google.common.util.concurrent.MoreExecutors;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.MethodDescriptor;
import io.grpc.stub.ClientCalls;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.function.UnaryOperator;

/** A call with one answer, made again while the service is unavailable, within one deadline. */
final class UnaryCall<Q, A> implements FutureCallback<A> {
  private final Transport transport;
  private final MethodDescriptor<Q, A> method;
  private final UnaryOperator<Q> forRetry;
  private final Deadline deadline;
  private final Backoff backoff;
  private final Context.CancellableContext context = Context.current().withCancellation();
  private final CompletableFuture<A> answer = new CompletableFuture<>();
  private Q request;

  private UnaryCall(
      Transport transport,
      MethodDescriptor<Q, A> method,
      Q request,
      Duration timeout,
      UnaryOperator<Q> forRetry) {
    this.transport = transport;
    this.method = method;
    this.request = request;
    this.forRetry = forRetry;
    deadline = JavaDurations.deadlineIn(timeout);
    backoff = new Backoff(transport.settings().retryFor());
  }

  /** Make a call within the client's own timeout. */
  static <Q, A> CompletableFuture<A> start(
      Transport transport, MethodDescriptor<Q, A> method, Q request) {
    return start(
        transport, method, request, transport.settings().timeout(), UnaryOperator.identity());
  }

  /**
   * Make a call; a repeat sends what {@code forRetry} makes of the request before it.
   *
   * <p>Whatever else completes the future, its cancellation for example, cancels the call.
   */
  static <Q, A> CompletableFuture<A> start(
      Transport transport,
      MethodDescriptor<Q, A> method,
      Q request,
      Duration timeout,
      UnaryOperator<Q> forRetry) {
    UnaryCall<Q, A> call = new UnaryCall<>(transport, method, request, timeout, forRetry);
    Runnable clientClosed = call::clientClosed;
    transport.add(clientClosed);
    call.answer.whenComplete(
        (answer, failure) -> {
          transport.remove(clientClosed);
          call.context.cancel(null);
        });
    call.attempt();
    return call.answer;
  }

  /** What becomes of a call's answer; cancelling that future cancels the call, too. */
  static <A, R> CompletableFuture<R> map(CompletableFuture<A> call, Function<A, R> function) {
    return tied(call, call.thenApply(function));
  }

  /** Have a future that was derived from a call cancel it. */
  static <R> CompletableFuture<R> tied(CompletableFuture<?> call, CompletableFuture<R> derived) {
    derived.whenComplete((result, failure) -> call.cancel(false));
    return derived;
  }

  /** Wait for a call's end; an interrupt of this thread cancels it. */
  static <R> R await(CompletableFuture<R> call) {
    try {
      return call.get();
    } catch (InterruptedException e) {
      call.cancel(false);
      Thread.currentThread().interrupt();
      throw new CallCancelledException("the thread was interrupted during the call", e);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof RuntimeException failure) {
        // Where the call was made tells more than where gRPC's threads found that it failed.
        failure.fillInStackTrace();
        throw failure;
      }
      throw new IllegalStateException(e.getCause());
    }
  }

  private void attempt() {
    if (answer.isDone()) {
      return;
    }
    try {
      context.run(
          () -> {
            var call =
                transport.channel().newCall(method, transport.callOptions().withDeadline(deadline));
            Futures.addCallback(
                ClientCalls.futureUnaryCall(call, request), this, MoreExecutors.directExecutor());
          });
    } catch (RuntimeException e) {
      answer.completeExceptionally(e);
    }
  }

  @Override
  public void onSuccess(A result) {
    answer.complete(result);
  }

  @Override
  public void onFailure(Throwable error) {
    JobEngineException failure = Failures.of(error);
    Optional<Duration> delay =
        failure instanceof UnavailableException
            ? backoff.delayAfter(failure, deadline)
            : Optional.empty();
    if (failure instanceof UnavailableException && context.isCancelled()) {
      answer.completeExceptionally(
          new CallCancelledException("the caller's gRPC context was cancelled", error));
    } else if (delay.isEmpty()) {
      answer.completeExceptionally(failure);
    } else {
      CompletableFuture.delayedExecutor(delay.get().toNanos(), TimeUnit.NANOSECONDS)
          .execute(this::repeat);
    }
  }

  private void repeat() {
    request = forRetry.apply(request);
    attempt();
  }

  private void clientClosed() {
    answer.completeExceptionally(
        new ClientClosedException("the client was closed during the call"));
  }
}
