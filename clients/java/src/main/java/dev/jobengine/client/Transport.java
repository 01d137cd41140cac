package dev.jobengine.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/** The channel to the server, opened when it is first needed. */
final class Transport implements AutoCloseable {
  private static final int MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
  private static final CallOptions CALL_OPTIONS =
      CallOptions.DEFAULT.withMaxOutboundMessageSize(MAX_MESSAGE_BYTES);

  private final Settings settings;
  private final Set<Runnable> underWay = ConcurrentHashMap.newKeySet();
  private ManagedChannel channel;
  private ManagedChannel retired;
  private boolean closed;

  Transport(Settings settings) {
    this.settings = settings;
  }

  Settings settings() {
    return settings;
  }

  CallOptions callOptions() {
    return CALL_OPTIONS;
  }

  /**
   * The channel.
   *
   * @throws ClientClosedException the client was closed
   */
  synchronized Channel channel() {
    if (closed) {
      throw new ClientClosedException("the client is closed: build a new one");
    }
    if (channel == null) {
      channel = open();
    }
    return channel;
  }

  /**
   * Have new calls open a new connection, if this channel is still the one they would use.
   *
   * <p>Other calls on the old connection are left to it until the next one is given up.
   */
  synchronized void giveUp(Channel silent) {
    if (channel != silent) {
      return;
    }
    if (retired != null) {
      retired.shutdownNow();
    }
    retired = channel;
    channel = null;
  }

  /** Have this done when the client is closed, which ends a call that is under way. */
  void add(Runnable end) {
    underWay.add(end);
  }

  /** The call is over. */
  void remove(Runnable end) {
    underWay.remove(end);
  }

  synchronized boolean isClosed() {
    return closed;
  }

  /** Close the channels; calls that are under way end with ClientClosedException. */
  @Override
  public void close() {
    synchronized (this) {
      closed = true;
    }
    // Who comes later finds no channel.
    underWay.forEach(Runnable::run);
    synchronized (this) {
      for (ManagedChannel open : new ManagedChannel[] {channel, retired}) {
        if (open != null) {
          open.shutdownNow();
        }
      }
    }
  }

  private ManagedChannel open() {
    ManagedChannelBuilder<?> builder =
        Grpc.newChannelBuilder(settings.address(), settings.credentials())
            .maxInboundMessageSize(MAX_MESSAGE_BYTES)
            // A connection that is silently dead is noticed within 40 s. The server permits a ping
            // every 10 s, and would cut off a client that pings more often.
            .keepAliveTime(30, TimeUnit.SECONDS)
            .keepAliveTimeout(10, TimeUnit.SECONDS)
            .intercept(settings.interceptors());
    if (Settings.isLoopback(settings.address())) {
      // A proxy in the environment isn't meant for this machine's own addresses.
      builder.proxyDetector(server -> null);
    }
    ManagedChannel opened = builder.build();
    Reconnection.lookAfter(opened);
    return opened;
  }
}
