// How long the delays between attempts are, and when they end.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff } from "../src/retry.js";

test("delays grow to a limit and are jittered", () => {
  const backoff = new Backoff(1_000_000);
  const delays = Array.from({ length: 40 }, () => backoff.nextDelayMs() ?? 0);
  for (const [index, delay] of delays.entries()) {
    const longest = Math.min(100 * 2 ** index, 10_000);
    assert.ok(delay >= longest / 2 && delay <= longest, `${index}: ${delay}`);
  }
  assert.equal(new Set(delays).size, delays.length);
});

test("the server may ask for a longer delay", () => {
  assert.equal(new Backoff(100_000).nextDelayMs(3_000), 3_000);
});

test("a delay beyond the budget means giving up", () => {
  assert.equal(new Backoff(2_000).nextDelayMs(3_000), undefined);
});

test("success begins anew", () => {
  const backoff = new Backoff(0);
  assert.equal(backoff.nextDelayMs(), undefined);
  backoff.succeeded(100_000);
  const delay = backoff.nextDelayMs();
  assert.ok(delay !== undefined && delay <= 100);
});
