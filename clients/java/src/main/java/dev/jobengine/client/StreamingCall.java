package dev.jobengine.client;

import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** The messages of one call, read one after another. */
final class StreamingCall<A> extends ClientCall.Listener<A> {
  /** Holds two at most: a message is asked for only when somebody waits for it. */
  private final BlockingQueue<Event<A>> events = new LinkedBlockingQueue<>();

  private final ClientCall<?, A> call;

  private StreamingCall(ClientCall<?, A> call) {
    this.call = call;
  }

  static <Q, A> StreamingCall<A> start(ClientCall<Q, A> call, Q request) {
    StreamingCall<A> started = new StreamingCall<>(call);
    call.start(started, new Metadata());
    call.sendMessage(request);
    call.halfClose();
    return started;
  }

  /**
   * Wait for the next message; null: the call ended with OK.
   *
   * @param silence for how long; null: until the call ends
   * @throws ConnectionSilentException nothing came for so long
   * @throws io.grpc.StatusRuntimeException the call failed
   */
  A read(Duration silence) throws InterruptedException {
    call.request(1);
    Event<A> event =
        silence == null ? events.take() : events.poll(silence.toNanos(), TimeUnit.NANOSECONDS);
    if (event == null) {
      ConnectionSilentException failure = new ConnectionSilentException(silence);
      call.cancel(failure.getMessage(), failure);
      throw failure;
    }
    if (event.end() == null) {
      return event.message();
    }
    if (event.end().isOk()) {
      return null;
    }
    throw event.end().asRuntimeException(event.trailers());
  }

  @Override
  public void onMessage(A message) {
    events.add(new Event<>(message, null, null));
  }

  @Override
  public void onClose(Status status, Metadata trailers) {
    events.add(new Event<>(null, status, trailers));
  }

  /** A message, or how the call ended. */
  private record Event<A>(A message, Status end, Metadata trailers) {}
}
