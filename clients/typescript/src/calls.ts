// Calls that are made again, and streams that go on, where that is safe and may help.
import type {
  DescMessage,
  DescMethodServerStreaming,
  DescMethodUnary,
  MessageShape,
} from "@bufbuild/protobuf";

import type { CallContext } from "./connection.js";
import {
  ConnectionSilentError,
  DeadlineExceededError,
  JobEngineError,
  UnavailableError,
} from "./errors.js";
import { type Operation, sleep } from "./operation.js";
import { Backoff } from "./retry.js";
import { milliseconds, type Settings } from "./settings.js";
import { isInterruption, toFailure } from "./status.js";
import { Transport } from "./transport.js";

/** What every call takes. */
export interface CallOptions {
  /** How long the call may take, retries included. Default: the client's. */
  timeoutMs?: number | undefined;
  /** Ends the call at once, with an AbortError whose cause is the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** A stream that can be resumed: each new call sends the request as it then is. */
export interface Stream<I extends DescMessage, O extends DescMessage> {
  readonly method: DescMethodServerStreaming<I, O>;
  readonly request: MessageShape<I>;
  /** Told before each call; brings the request's cursor up to date. */
  begin?(): void;
  /** Asked when a call ended with OK: whether that is the stream's end. */
  complete(): boolean;
  /** Asked when a call ended in any way: whether all had been told before that. Default: no. */
  over?(): boolean;
  /** After how long without a message the connection is taken for dead; undefined: never. */
  readonly silenceMs?: number;
  /** When the stream ends at the latest, by `performance.now()`; undefined: never. */
  readonly deadline?: number;
  /** Whether it follows what is known to be there, and is resumed for longer from the start. */
  readonly established?: boolean;
}

/** Makes a client's calls. */
export class Calls {
  readonly settings: Settings;
  readonly transport: Transport;

  /** @param settings - the client's */
  constructor(settings: Settings) {
    this.settings = settings;
    this.transport = new Transport(settings);
  }

  /** Make a call, again while the service is unavailable, within one deadline. */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
    options: CallOptions,
    beforeRetry?: () => void,
  ): Promise<MessageShape<O>> {
    using operation = this.transport.begin(options.signal);
    return await this.attempt(operation, method, request, options.timeoutMs, beforeRetry);
  }

  /** The same, as a part of an operation. */
  async attempt<I extends DescMessage, O extends DescMessage>(
    operation: Operation,
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
    timeoutMs = this.settings.timeoutMs,
    beforeRetry?: () => void,
  ): Promise<MessageShape<O>> {
    const deadline = performance.now() + milliseconds("timeoutMs", timeoutMs);
    const backoff = new Backoff(this.settings.retry.retryForMs);
    for (;;) {
      try {
        const context = this.#context(operation, deadline);
        return await this.transport.connection().unary(method, request, context);
      } catch (error) {
        const failure = toFailure(error);
        if (!(failure instanceof UnavailableError)) {
          throw failure;
        }
        await pause(failure, backoff, deadline, operation.signal);
      }
      beforeRetry?.();
    }
  }

  /**
   * Yield a stream's messages, over as many calls as that takes, heartbeats included.
   *
   * A stream of which nothing was heard yet fails as other calls do; later it is resumed for
   * longer.
   */
  async *stream<I extends DescMessage, O extends DescMessage>(
    operation: Operation,
    stream: Stream<I, O>,
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    const { retryForMs, resumeForMs } = this.settings.retry;
    const deadline = stream.deadline ?? Infinity;
    const backoff = new Backoff(stream.established ? resumeForMs : retryForMs);
    for (;;) {
      const connection = this.transport.connection();
      let failure: JobEngineError;
      try {
        stream.begin?.();
        const { method, request, silenceMs } = stream;
        const context = this.#context(operation, deadline);
        for await (const message of connection.stream(method, request, context, silenceMs)) {
          backoff.succeeded(resumeForMs);
          yield message;
        }
        if (stream.over?.() || stream.complete()) {
          return;
        }
        failure = new UnavailableError("the stream ended before its time", {
          code: "UNAVAILABLE",
        });
      } catch (error) {
        if (error instanceof ConnectionSilentError) {
          // Its keepalive may never find out: it begins anew with each call.
          this.transport.giveUp(connection);
        }
        if (stream.over?.()) {
          return;
        }
        failure = interruption(error, deadline);
      }
      await pause(failure, backoff, deadline, operation.signal);
    }
  }

  #context(operation: Operation, deadline: number): CallContext {
    return { metadata: this.settings.metadata(), deadline, signal: operation.signal };
  }
}

/** What a stream broke with, if it may go on after that; throws it otherwise. */
function interruption(error: unknown, deadline: number): JobEngineError {
  const failure = toFailure(error);
  if (!(failure instanceof JobEngineError)) {
    throw failure;
  }
  if (performance.now() >= deadline) {
    throw new DeadlineExceededError(failure.message, {
      code: "DEADLINE_EXCEEDED",
      cause: failure,
    });
  }
  if (!isInterruption(failure)) {
    throw failure;
  }
  return failure;
}

/** Wait before the next attempt, or throw the failure where there is time for none. */
async function pause(
  failure: JobEngineError,
  backoff: Backoff,
  deadline: number,
  signal: AbortSignal,
): Promise<void> {
  const delayMs = backoff.nextDelayMs(failure.retryDelayMs);
  if (delayMs === undefined || performance.now() + delayMs >= deadline) {
    throw failure;
  }
  await sleep(delayMs, signal);
}
