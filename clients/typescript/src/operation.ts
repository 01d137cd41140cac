import { setMaxListeners } from "node:events";

/**
 * Something that a caller asked for, and that may be ended before its time: by the caller's
 * signal, by leaving a stream, or by closing the client. `signal.reason` is then the error that
 * the caller gets.
 */
export class Operation implements Disposable {
  /** Aborted when this is to end. */
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  readonly #caller: AbortSignal | undefined;
  readonly #all: Set<Operation>;

  /**
   * @param caller - the caller's own signal
   * @param all - those that are under way, of which this is one until it is disposed of
   */
  constructor(caller: AbortSignal | undefined, all: Set<Operation>) {
    this.signal = this.#controller.signal;
    this.#caller = caller;
    this.#all = all.add(this);
    if (caller) {
      // One signal may end any number of operations, each of which listens until it is over: no
      // leak, of which Node would warn at the eleventh.
      setMaxListeners(0, caller);
      caller.addEventListener("abort", this.#abort);
    }
    if (caller?.aborted) {
      this.#abort();
    }
  }

  /** End it with this error. Only the first one counts. */
  end(error: Error): void {
    this.#controller.abort(error);
  }

  [Symbol.dispose](): void {
    this.#caller?.removeEventListener("abort", this.#abort);
    this.#all.delete(this);
  }

  readonly #abort = (): void => {
    const cause: unknown = this.#caller?.reason;
    this.end(new DOMException("The call was aborted by its signal", { name: "AbortError", cause }));
  };
}

/** Wait, unless the signal ends that with its reason. */
export async function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", abort, { once: true });
  });
}
