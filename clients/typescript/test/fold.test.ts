// One story out of a watch of all jobs that was interrupted.
import assert from "node:assert/strict";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";

import { JobsFold, MAX_REMEMBERED_DELETIONS } from "../src/fold.js";
import { type Job, JobReason, JobState, WatchEvent, type WatchJobsResponse } from "../src/index.js";
import { JobSchema, WatchJobsResponseSchema } from "../src/v1.js";

function job(name: string, state = JobState.RUNNING, uid = `uid-${name}`): Job {
  return create(JobSchema, { name, uid, status: { state } });
}

function status(of: Job, cursor = ""): WatchJobsResponse {
  return create(WatchJobsResponseSchema, { event: WatchEvent.STATUS, job: of, cursor });
}

function deleted(of: Job, cursor = ""): WatchJobsResponse {
  return create(WatchJobsResponseSchema, { event: WatchEvent.DELETED, job: of, cursor });
}

function synced(cursor: string, full: boolean): WatchJobsResponse {
  return create(WatchJobsResponseSchema, { event: WatchEvent.SYNCED, cursor, full });
}

function folded(fold: JobsFold, ...messages: WatchJobsResponse[]): WatchJobsResponse[] {
  return messages.flatMap((message) => fold.fold(message));
}

function interruptedAfter(...jobs: Job[]): JobsFold {
  const fold = new JobsFold("");
  folded(fold, ...jobs.map((one) => status(one)), synced("c1", true));
  fold.begin();
  return fold;
}

test("the first list is told as it is", () => {
  const messages = [status(job("a")), status(job("b")), synced("c1", true)];
  assert.deepEqual(folded(new JobsFold(""), ...messages), messages);
});

test("a heartbeat moves the cursor and tells nothing", () => {
  const fold = new JobsFold("");
  folded(fold, synced("c1", true));
  const beat = create(WatchJobsResponseSchema, { event: WatchEvent.HEARTBEAT, cursor: "c2" });
  assert.deepEqual(folded(fold, beat), []);
  assert.equal(fold.cursor, "c2");
});

test("a cursor within a list is not resumed from", () => {
  const fold = new JobsFold("before");
  folded(fold, status(job("a"), "midst"));
  assert.equal(fold.cursor, "before");
});

// Of what it has known from before the cursor only the caller can tell what is missing.
test("a full list after a beginning from a cursor is full for the caller", () => {
  const fold = new JobsFold("c1");
  assert.deepEqual(folded(fold, synced("c2", false)), [synced("c2", false)]);
  fold.begin();
  const list = [status(job("a")), synced("d1", true)];
  assert.deepEqual(folded(fold, ...list), list);
  fold.begin();
  assert.deepEqual(folded(fold, ...list), [synced("d1", false)]);
});

test("a replica that lags behind takes nothing back", () => {
  const fold = interruptedAfter(job("a"), job("b", JobState.SUCCEEDED));
  const behind = [job("a", JobState.PENDING), job("b", JobState.RUNNING)];
  const told = folded(fold, ...behind.map((one) => status(one)), synced("c2", true));
  assert.deepEqual(
    told.map(({ event }) => event),
    [WatchEvent.SYNCED],
  );
  assert.deepEqual(folded(fold, status(job("b", JobState.RUNNING))), []);
  const later = status(job("a", JobState.SUCCEEDED));
  assert.deepEqual(folded(fold, later), [later]);
});

test("unchanged jobs are not told again", () => {
  const fold = interruptedAfter(job("a"), job("b"));
  const changed = status(job("b", JobState.SUCCEEDED));
  const told = folded(fold, status(job("a")), changed, synced("c2", true));
  assert.deepEqual(told, [changed, synced("c2", false)]);
});

test("a job that vanished is lost", () => {
  const fold = interruptedAfter(job("a"), job("b"));
  const [gone, sync] = folded(fold, status(job("b")), synced("c2", true));
  assert.equal(gone?.event, WatchEvent.DELETED);
  assert.equal(gone.job?.uid, "uid-a");
  assert.equal(gone.job.status?.state, JobState.LOST);
  assert.equal(gone.job.status.reason, JobReason.DELETED);
  assert.equal(sync?.event, WatchEvent.SYNCED);
});

test("a job that vanished after its end keeps its end", () => {
  const fold = interruptedAfter(job("a", JobState.SUCCEEDED));
  const [gone] = folded(fold, synced("c2", true));
  assert.deepEqual(gone, deleted(job("a", JobState.SUCCEEDED)));
});

test("nothing vanished where only changes were sent", () => {
  const fold = interruptedAfter(job("a"), job("b"));
  assert.deepEqual(folded(fold, synced("c2", false)), [synced("c2", false)]);
});

test("a job made anew ends the one before", () => {
  const fold = interruptedAfter(job("a", JobState.RUNNING, "1"));
  const anew = status(job("a", JobState.RUNNING, "2"));
  const [gone, told] = folded(fold, anew);
  assert.equal(gone?.event, WatchEvent.DELETED);
  assert.equal(gone.job?.uid, "1");
  assert.deepEqual(told, anew);
  assert.deepEqual(folded(fold, deleted(job("a", JobState.RUNNING, "1"))), []);
});

test("the deletion of a job from before the cursor is told", () => {
  assert.deepEqual(folded(new JobsFold("c1"), deleted(job("a"))), [deleted(job("a"))]);
});

test("a job deleted while the list is sent is told gone once", () => {
  // The list lacks it already, and its deletion comes after the list.
  const gone = job("a", JobState.SUCCEEDED);
  const fold = interruptedAfter(gone);
  const told = folded(fold, synced("c2", true), deleted(gone, "c3"));
  assert.deepEqual(
    told.map(({ event }) => event),
    [WatchEvent.DELETED, WatchEvent.SYNCED],
  );
  assert.equal(fold.cursor, "c3");
});

test("a deletion is told once though the resumed call is cut short", () => {
  // The next call begins where that one began, and tells it again.
  const fold = interruptedAfter(job("a", JobState.SUCCEEDED));
  const gone = deleted(job("a", JobState.SUCCEEDED), "c2");
  assert.deepEqual(folded(fold, gone), [gone]);
  for (let call = 0; call < 2; call += 1) {
    fold.begin();
    assert.deepEqual(folded(fold, gone), []);
  }
  assert.deepEqual(folded(fold, synced("c2", false)), [synced("c2", false)]);
});

test("a job deleted while the list is sent is told gone once over two calls", () => {
  // The list lacks it already; its deletion is told by the call that goes on from its SYNCED.
  const fold = interruptedAfter(job("a"));
  assert.equal(folded(fold, synced("c2", true)).length, 2);
  fold.begin();
  const again = folded(fold, deleted(job("a", JobState.SUCCEEDED), "c3"), synced("c3", false));
  assert.deepEqual(again, [synced("c3", false)]);
});

test("what is gone stays so though a replica has not heard of it", () => {
  const fold = interruptedAfter(job("a"), job("b"));
  folded(fold, synced("c2", false), deleted(job("a", JobState.SUCCEEDED), "c3"));
  fold.begin();
  const behind = folded(fold, status(job("a")), status(job("b")), synced("d1", true));
  assert.deepEqual(behind, [synced("d1", false)]);
  assert.deepEqual(folded(fold, deleted(job("a", JobState.SUCCEEDED), "d2")), []);
});

test("only so many deletions are remembered", () => {
  const fold = interruptedAfter();
  for (let number = 0; number <= MAX_REMEMBERED_DELETIONS; number += 1) {
    folded(fold, deleted(job(number.toString())));
  }
  assert.deepEqual(folded(fold, deleted(job("1")), deleted(job("0"))), [deleted(job("0"))]);
});
