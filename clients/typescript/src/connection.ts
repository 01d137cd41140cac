import {
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Client, type ClientReadableStream, type Metadata } from "@grpc/grpc-js";

import { ConnectionSilentError } from "./errors.js";
import type { Settings } from "./settings.js";

/** What a call needs besides its request. */
export interface CallContext {
  /** Sent along. */
  metadata: Metadata;
  /** When the call ends at the latest, by `performance.now()`. */
  deadline: number;
  /** Ends the call at once, with its reason. */
  signal: AbortSignal;
}

/** A gRPC channel with calls on it, made from the descriptors of generated methods. */
export class Connection {
  readonly #client: Client;
  readonly #calls = new Set<(error: Error) => void>();

  /** Nothing is connected before the first call. */
  constructor(settings: Settings) {
    this.#client = new Client(settings.address, settings.credentials, settings.channelOptions);
  }

  /** End all calls with this error, and close the channel. */
  close(error: Error): void {
    for (const end of [...this.#calls]) {
      end(error);
    }
    this.#client.close();
  }

  /** Make a call with one answer. Rejects with gRPC's own error, or the signal's reason. */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
    { metadata, deadline, signal }: CallContext,
  ): Promise<MessageShape<O>> {
    signal.throwIfAborted();
    const bytes = serialized(method, request);
    let release = (): void => undefined;
    try {
      return await new Promise((resolve, reject) => {
        const call = this.#client.makeUnaryRequest(
          path(method),
          asIs,
          deserialize(method),
          bytes,
          metadata,
          { deadline: asDate(deadline) },
          (error, response) => {
            if (response === undefined) {
              reject(error ?? new Error("gRPC gave neither an answer nor an error"));
            } else {
              resolve(response);
            }
          },
        );
        release = this.#endBy(signal, (error) => {
          reject(error);
          call.cancel();
        });
      });
    } finally {
      release();
    }
  }

  /**
   * Make a call with many answers, and yield them until it ends with OK. Cancels it when left
   * early. Throws gRPC's own error, the signal's reason, or ConnectionSilentError if no message
   * came for `silenceMs`.
   */
  async *stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageShape<I>,
    { metadata, deadline, signal }: CallContext,
    silenceMs: number | undefined,
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    signal.throwIfAborted();
    const call = this.#client.makeServerStreamRequest(
      path(method),
      asIs,
      deserialize(method),
      serialized(method, request),
      metadata,
      { deadline: asDate(deadline) },
    );
    // The loop below takes errors; one that comes after it has nobody else to go to.
    call.on("error", () => undefined);
    const end = (error: Error): void => {
      call.destroy(error);
      call.cancel();
    };
    const release = this.#endBy(signal, end);
    const watchdog = new Watchdog(silenceMs, end);
    try {
      watchdog.start();
      for await (const message of call as ClientReadableStream<MessageShape<O>>) {
        // How long the caller takes over a message isn't the server's silence.
        watchdog.stop();
        yield message as MessageShape<O>;
        watchdog.start();
      }
    } finally {
      watchdog.stop();
      release();
      call.cancel();
    }
  }

  /** Have a call ended by the signal, and by closing this; returns what undoes that. */
  #endBy(signal: AbortSignal, end: (error: Error) => void): () => void {
    const abort = (): void => {
      end(signal.reason as Error);
    };
    signal.addEventListener("abort", abort);
    this.#calls.add(end);
    return () => {
      signal.removeEventListener("abort", abort);
      this.#calls.delete(end);
    };
  }
}

/** Ends a call on which nothing is heard for too long. */
class Watchdog {
  readonly #silenceMs: number | undefined;
  readonly #end: (error: Error) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(silenceMs: number | undefined, end: (error: Error) => void) {
    this.#silenceMs = silenceMs;
    this.#end = end;
  }

  start(): void {
    if (this.#silenceMs !== undefined) {
      this.#timer = setTimeout(this.#bark, this.#silenceMs);
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  readonly #bark = (): void => {
    const seconds = (this.#silenceMs ?? 0) / 1_000;
    const message = `nothing was heard for ${seconds} s, not even a heartbeat`;
    this.#end(new ConnectionSilentError(message, { code: "UNAVAILABLE" }));
  };
}

function path(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** Done before gRPC is asked, so that a value of a wrong type is told as what it is. */
function serialized<I extends DescMessage>(
  method: DescMethod & { input: I },
  request: MessageShape<I>,
): Buffer {
  return Buffer.from(toBinary(method.input, request));
}

function asIs(bytes: Buffer): Buffer {
  return bytes;
}

function deserialize<O extends DescMessage>(
  method: DescMethod & { output: O },
): (bytes: Buffer) => MessageShape<O> {
  return (bytes) => fromBinary(method.output, bytes);
}

/** gRPC wants its deadlines by the clock. */
function asDate(deadline: number): number {
  return Date.now() + deadline - performance.now();
}
