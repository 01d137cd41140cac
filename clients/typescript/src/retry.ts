const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 10_000;

/** The delays between the attempts at one thing, until the time for it runs out. */
export class Backoff {
  #budgetMs: number;
  #failures = 0;
  #failingSince = 0;

  /** @param budgetMs - for how long a series of failures is borne */
  constructor(budgetMs: number) {
    this.#budgetMs = budgetMs;
  }

  /** Begin anew, with this budget for the next series of failures. */
  succeeded(budgetMs: number): void {
    this.#budgetMs = budgetMs;
    this.#failures = 0;
  }

  /**
   * How long to wait after the failure just seen, in milliseconds; undefined: it is time to give
   * up. Delays double from 0.1 s to 10 s, are jittered, and are never shorter than `atLeastMs`.
   */
  nextDelayMs(atLeastMs = 0): number | undefined {
    const now = performance.now();
    if (this.#failures === 0) {
      this.#failingSince = now;
    }
    const longest = Math.min(FIRST_DELAY_MS * 2 ** this.#failures, MAX_DELAY_MS);
    this.#failures += 1;
    const jittered = longest / 2 + (Math.random() * longest) / 2;
    const delay = Math.max(jittered, atLeastMs);
    return now + delay <= this.#failingSince + this.#budgetMs ? delay : undefined;
  }
}
