import { Connection } from "./connection.js";
import { ClientClosedError, UnavailableError } from "./errors.js";
import { Operation } from "./operation.js";
import type { Settings } from "./settings.js";

/** The connection to the server, opened when it is first needed, and what goes on over it. */
export class Transport {
  readonly #settings: Settings;
  readonly #operations = new Set<Operation>();
  #current: Connection | undefined;
  #retired: Connection | undefined;
  #closed = false;

  /** @param settings - says where to connect, and how */
  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /**
   * Begin something that `signal` ends, and so does closing this.
   *
   * @throws ClientClosedError if the client was closed
   */
  begin(signal: AbortSignal | undefined): Operation {
    if (this.#closed) {
      throw new ClientClosedError("the client is closed: make a new one");
    }
    return new Operation(signal, this.#operations);
  }

  /** The connection for the next call of an operation. */
  connection(): Connection {
    return (this.#current ??= new Connection(this.#settings));
  }

  /**
   * Have new calls open a new connection, if this one is still the one they would use. Other
   * calls on it are left to it until the next one is given up.
   */
  giveUp(connection: Connection): void {
    if (this.#current !== connection) {
      return;
    }
    this.#retired?.close(
      new UnavailableError("its connection was given up: nothing was heard on it by others", {
        code: "UNAVAILABLE",
      }),
    );
    this.#retired = connection;
    this.#current = undefined;
  }

  /** Close the connection; what is under way ends with ClientClosedError. */
  close(): void {
    this.#closed = true;
    const error = new ClientClosedError("the client was closed during the call");
    for (const operation of [...this.#operations]) {
      operation.end(error);
    }
    this.#current?.close(error);
    this.#retired?.close(error);
    this.#current = this.#retired = undefined;
  }
}
