import { test } from "node:test";

import { play } from "./player.js";
import { type Case, Stages } from "./stage.js";

const url = process.env["JOBENGINE_STAGE"];

if (url) {
  const stages = new Stages(url);
  for (const played of await stages.cases()) {
    test(`scenario: ${played.name}`, { timeout: 120_000 }, () => playAndReport(played, stages));
  }
} else {
  const skip = "JOBENGINE_STAGE isn't set: see README.md for how to play them";
  test("scenarios", { skip }, () => undefined);
}

async function playAndReport(played: Case, stages: Stages): Promise<void> {
  try {
    const stage = await stages.add(played);
    try {
      await play(played, stage, stages);
    } finally {
      await stages.remove(stage);
    }
  } catch (error) {
    await stages.report(played.name, String(error));
    throw error;
  }
  await stages.report(played.name, "");
}
