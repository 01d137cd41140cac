// Submits three jobs, watches them, prints what they wrote, and exits with their worst exit code.
// Ctrl-C cancels them. Run it by `make example`; JOBENGINE_ADDRESS says where the server is.
import { JobEngineClient, JobEngineError, type JobStatus, reasonName, stateName } from "jobengine";

const commands = ["echo one", "echo two; sleep 1; echo more of two", "echo three; exit 3"];
const interrupted = new AbortController();

process.once("SIGINT", () => {
  interrupted.abort();
});

async function follow(client: JobEngineClient, name: string): Promise<number> {
  let status: JobStatus | undefined;
  for await (const event of client.watchStatus(name, { signal: interrupted.signal })) {
    status = event.status;
    if (status) {
      console.log(name, stateName(status), reasonName(status));
    }
  }
  for await (const chunk of client.logs(name, { signal: interrupted.signal })) {
    process.stdout.write(chunk.data);
  }
  // Without an exit code it was lost, killed or never started: that is worse than any other.
  return status?.exitCode ?? 255;
}

async function main(): Promise<number> {
  await using client = new JobEngineClient();
  const names: string[] = [];
  try {
    for (const command of commands) {
      const job = await client.createJob({ command: ["sh", "-c", command], timeoutMs: 60_000 });
      names.push(job.name);
    }
    return Math.max(...(await Promise.all(names.map((name) => follow(client, name)))));
  } catch (error) {
    for (const name of names) {
      await client.cancelJob(name, { graceMs: 1_000 });
      console.error(name, "is cancelled");
    }
    if (interrupted.signal.aborted) {
      return 130;
    }
    throw error;
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof JobEngineError ? `${error.name}: ${error.message}` : error);
  process.exitCode = 125;
}
