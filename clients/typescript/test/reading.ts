import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";

import {
  isTerminal,
  type Job,
  JobState,
  type JobStatus,
  type ReadLogsResponse,
  WatchEvent,
  type WatchJobsResponse,
  type WatchStatusResponse,
} from "../src/index.js";
import { asJson, difference } from "./examples.js";

export type Message = WatchStatusResponse | WatchJobsResponse | ReadLogsResponse;

interface News {
  event: WatchEvent;
  status: unknown;
  state: JobState;
  ended: boolean;
}

/** A stream that is read beside the steps. */
export class Reading {
  readonly #messages: Message[] = [];
  readonly #stream: AsyncGenerator<Message, void, undefined>;
  readonly #changes = new EventEmitter();
  readonly #reading: Promise<void>;
  #passed = 0;
  #ended = false;
  #error: unknown;

  constructor(stream: AsyncGenerator<Message, void, undefined>) {
    this.#stream = stream;
    this.#reading = this.#read();
  }

  /** The next message that is like the example. */
  async until(example: unknown, signal: AbortSignal): Promise<Message> {
    for (;;) {
      for (let next = this.#next(); next; next = this.#next()) {
        if (!difference(example, asJson(next))) {
          return next;
        }
      }
      await this.#change(`no message like ${JSON.stringify(example)}`, signal);
    }
  }

  /** Wait until the logs are just that, or have it in them. */
  async text(expected: unknown, part: unknown, signal: AbortSignal): Promise<void> {
    for (;;) {
      const chunks = this.#messages.map((message) => (message as ReadLogsResponse).data);
      const text = Buffer.concat(chunks).toString();
      if (text === expected || (typeof part === "string" && text.includes(part))) {
        return;
      }
      await this.#change(`only ${JSON.stringify(text)}`, signal);
    }
  }

  /** Wait for the end; throws what it ended with. */
  async end(signal: AbortSignal): Promise<void> {
    while (!this.#ended) {
      await this.#change("no end", signal);
    }
    this.#check();
    if (this.#error !== undefined) {
      throw this.#error as Error;
    }
  }

  /** Leave the stream, which is no error. */
  async close(): Promise<void> {
    await this.drop();
    if (this.#error !== undefined) {
      throw this.#error as Error;
    }
  }

  /** Leave it, however it ends, and check what it told. */
  async drop(): Promise<void> {
    await this.#stream.return();
    await this.#reading;
    this.#check();
  }

  async #read(): Promise<void> {
    try {
      for await (const message of this.#stream) {
        this.#messages.push(message);
        this.#changes.emit("change");
      }
    } catch (error) {
      this.#error = error;
    } finally {
      this.#ended = true;
      this.#changes.emit("change");
    }
  }

  #next(): Message | undefined {
    const message = this.#messages[this.#passed];
    this.#passed += message ? 1 : 0;
    return message;
  }

  async #change(problem: string, signal: AbortSignal): Promise<void> {
    const all = (): string => `${problem} in ${JSON.stringify(this.#messages.map(asJson))}`;
    assert.ok(!this.#ended, `${all()}, and the stream has ended: ${String(this.#error)}`);
    try {
      await once(this.#changes, "change", { signal });
    } catch (cause) {
      throw new Error(all(), { cause });
    }
  }

  /** Each piece of news once, in order, of one uid per watch of one job, and no heartbeats. */
  #check(): void {
    const byUid = new Map<string, News[]>();
    let ofOneJob = false;
    for (const message of this.#messages) {
      if (message.$typeName === "jobengine.v1.ReadLogsResponse") {
        continue;
      }
      assert.notEqual(message.event, WatchEvent.HEARTBEAT);
      if (message.event === WatchEvent.SYNCED) {
        continue;
      }
      ofOneJob ||= message.$typeName === "jobengine.v1.WatchStatusResponse";
      const { uid, status } = told(message);
      byUid.set(uid, [...(byUid.get(uid) ?? []), news(message.event, status)]);
    }
    assert.ok(!ofOneJob || byUid.size <= 1, `of several jobs: ${[...byUid.keys()].join()}`);
    byUid.forEach(checkOrder);
  }
}

/** Whose news a message is, and which. */
function told(message: WatchStatusResponse | WatchJobsResponse): Pick<Job, "uid" | "status"> {
  if (message.$typeName === "jobengine.v1.WatchStatusResponse") {
    return message;
  }
  assert.ok(message.job, "news of no job");
  return message.job;
}

function news(event: WatchEvent, status: JobStatus | undefined): News {
  return {
    event,
    status: asJson(status),
    state: status?.state ?? JobState.UNSPECIFIED,
    ended: isTerminal(status),
  };
}

function checkOrder([before, ...rest]: News[]): void {
  for (const next of rest) {
    assert.ok(before);
    const both = JSON.stringify([before, next]);
    assert.notDeepEqual(next, before, `told twice: ${both}`);
    assert.notEqual(before.event, WatchEvent.DELETED, `after its deletion: ${both}`);
    assert.ok(next.state >= before.state, `a state goes back: ${both}`);
    if (before.ended) {
      assert.deepEqual(next.status, before.status, `an end changes: ${both}`);
    }
    before = next;
  }
}
