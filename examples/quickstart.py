"""Starts a server, runs two real jobs through it over gRPC, shows how they go, and stops it."""

import asyncio
import contextlib
import json
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from rich.console import Console
from rich.text import Text

from jobengine import (
    AsyncClient,
    JobEngineError,
    JobSpec,
    JobState,
    JobStatus,
    LogStream,
    reason_name,
    state_name,
)

DEADLINE_SECONDS = 50
STOP_SECONDS = 10

STEPS = """
for step in 1 2 3 4; do
    echo "step $step of 4"
    echo "a remark on step $step" >&2
    sleep 0.5
done
"""
FAILS = "echo 'looking for trouble'; echo 'found it' >&2; exit 3"

STYLES = {"status": "bold cyan", "stdout": "", "stderr": "yellow"}

console = Console(highlight=False, soft_wrap=True)


class Unexpected(Exception):
    """Something went otherwise than this example promises."""


@contextlib.asynccontextmanager
async def running_server(state_dir: Path) -> AsyncGenerator[str]:
    """A server on the local engine; gives its address, and stops it at the end."""
    arguments = ["serve", "--engine", "local", "--listen", "127.0.0.1:0", "--state-dir"]
    console.print(f"[bold]$ jobengine {shlex.join(arguments)} {state_dir}[/]")
    with (state_dir / "server.log").open("wb") as log:
        # In a session of its own: Ctrl-C comes to this program, which stops the server.
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "jobengine", *arguments, str(state_dir)),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert server.stdout is not None
    try:
        if not (line := await server.stdout.readline()):
            raise Unexpected(f"no server: {(state_dir / 'server.log').read_text()}")
        address: str = json.loads(line)["address"]
        console.print(f"serving on {address}, process {server.pid}\n")
        yield address
    finally:
        code = await stop(server)
    console.print(f"[bold]server stopped[/] with exit code {code}")
    if code != 0:
        raise Unexpected(f"the server exited {code}")


async def stop(server: asyncio.subprocess.Process) -> int:
    """Ask the server to stop; make it, if it doesn't."""
    with contextlib.suppress(ProcessLookupError):
        server.send_signal(signal.SIGTERM)
    try:
        return await asyncio.wait_for(server.wait(), STOP_SECONDS)
    finally:
        if server.returncode is None:
            server.kill()


async def run(client: AsyncClient, script: str) -> JobStatus:
    """Run a job, and show its statuses and its output as they come."""
    console.print("[bold]CreateJob[/] sh -c", Text(repr(script.strip()), style="dim"))
    began = time.monotonic()
    job = await client.create_job(JobSpec(command=["sh", "-c", script]))

    def show(kind: str, text: str) -> None:
        line = Text.assemble(
            (f"{time.monotonic() - began:7.2f} s  ", "dim"), (f"{kind}  ", STYLES[kind]), text
        )
        console.print(line)

    async def show_statuses() -> JobStatus:
        status = JobStatus()
        async with aclosing(client.watch_status(job.name)) as events:
            async for event in events:
                if state_name(event.status) != state_name(status):
                    show("status", state_name(event.status))
                status = event.status
        return status

    async def show_output() -> None:
        async with aclosing(client.logs(job.name, follow=True)) as chunks:
            async for chunk in chunks:
                to_stderr = chunk.stream == LogStream.LOG_STREAM_STDERR
                for line in chunk.data.decode(errors="replace").splitlines():
                    show("stderr" if to_stderr else "stdout", line)

    try:
        status, _ = await asyncio.gather(show_statuses(), show_output())
    finally:
        # Also after Ctrl-C: jobs outlive the server, and this one is nobody's then.
        await client.delete_job(job.name, wait=True, grace_seconds=0, timeout_seconds=STOP_SECONDS)
    took = status.end_time.ToNanoseconds() - status.start_time.ToNanoseconds()
    console.print(
        f"[bold]{state_name(status)}[/]: reason {reason_name(status)}, "
        f"exit code {status.exit_code}, started {status.start_time.ToJsonString()}, "
        f"took {took / 1e9:.2f} s\n"
    )
    return status


def expect(status: JobStatus, state: "JobState.ValueType", exit_code: int) -> None:
    """Refuse any other end."""
    if (status.state, status.exit_code) != (state, exit_code):
        raise Unexpected(f"expected {JobState.Name(state)} and exit code {exit_code}: {status}")


async def main() -> None:
    """Show it."""
    with tempfile.TemporaryDirectory(prefix="jobengine-") as directory:
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            running_server(Path(directory)) as address,
            AsyncClient(address) as client,
        ):
            expect(await run(client, STEPS), JobState.JOB_STATE_SUCCEEDED, 0)
            expect(await run(client, FAILS), JobState.JOB_STATE_FAILED, 3)
    console.print("All went as it should: one job succeeded, one failed, each with its reason.")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (Unexpected, JobEngineError, TimeoutError) as error:
        sys.exit(f"quickstart: {error or 'it took too long'}")
