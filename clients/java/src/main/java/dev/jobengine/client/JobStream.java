package dev.jobengine.client;

import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * What a watch tells or a job writes, one item after another; {@code hasNext} and {@code next} wait
 * for it, and throw what the methods of {@link JobEngineClient} say.
 *
 * <p>Its call begins with the first {@code hasNext} or {@code next}, and goes on until the stream's
 * end or until it is closed: use it in a try-with-resources statement. It is read by one thread at
 * a time, and may be closed by any, which ends it at once. An interrupt of the reading thread ends
 * it with {@link CallCancelledException}.
 *
 * @param <T> the items
 */
public final class JobStream<T> implements Iterator<T>, Iterable<T>, AutoCloseable {
  private final Source<T> source;
  private T ready;
  private boolean over;

  JobStream(Source<T> source) {
    this.source = source;
  }

  /** Where the items come from. */
  interface Source<T> {
    /** Wait for the next item; null: there is none any more. */
    T next();

    /** End the call; whoever waits for an item is told at once that there is none. */
    void close();
  }

  /**
   * Waits for the next item.
   *
   * @return whether there is one; false after the stream's end, or after it was closed
   */
  @Override
  public boolean hasNext() {
    if (ready == null && !over) {
      over = true; // also when this fails
      try {
        ready = source.next();
        over = ready == null;
      } finally {
        if (over) {
          close();
        }
      }
    }
    return ready != null;
  }

  @Override
  public T next() {
    if (!hasNext()) {
      throw new NoSuchElementException("the stream is over");
    }
    T item = ready;
    ready = null;
    return item;
  }

  /**
   * Returns this stream itself, for for-each loops: there is but one pass over it.
   *
   * @return this
   */
  @Override
  public Iterator<T> iterator() {
    return this;
  }

  /**
   * Returns the items as a Java stream, which closes this one when it is closed.
   *
   * @return a sequential stream
   */
  public Stream<T> stream() {
    int properties = Spliterator.ORDERED | Spliterator.NONNULL;
    return StreamSupport.stream(Spliterators.spliteratorUnknownSize(this, properties), false)
        .onClose(this::close);
  }

  /** Leaves the stream: its call is cancelled, and whoever waits for an item sees its end. */
  @Override
  public void close() {
    source.close();
  }
}
