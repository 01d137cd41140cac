"""What the engine asks of Slurm, each by one command."""

import contextlib
from collections.abc import Iterable, Sequence
from typing import Final

from engines import EngineError, EngineFailed, EngineUnavailable
from engines.slurm import queue
from engines.slurm.commands import Commands, failure
from engines.slurm.queue import Ended, Entry
from engines.slurm.refusals import refusal
from engines.slurm.settings import About, read_about
from jobengine.v1.job_pb2 import JobSpec

SUBMIT_SECONDS: Final = 20.0
"""How long sbatch may take. What becomes of it later is looked for in the queue."""

IDS_AT_ONCE: Final = 200
_PING_SECONDS: Final = 5.0
_OVER: Final = ("already completing or completed", "Invalid job id specified", "Job/step already")


class Slurm:
    """A cluster, by its commands. `tag` is that of the jobs that are ours."""

    def __init__(self, commands: Commands, tag: str) -> None:
        self._commands = commands
        self._tag = tag

    @property
    def commands_run(self) -> int:
        """How many there were so far."""
        return self._commands.count

    async def connect(self) -> About:
        """What the cluster says of itself.

        Raises:
            EngineError: its controller is away, or the commands aren't here.
        """
        answer = await self._commands.run(["scontrol", "ping"], deadline=_PING_SECONDS)
        said = answer.out + answer.words
        if " is UP" not in said:
            if answer.code and "DOWN" not in said:
                raise failure("scontrol", answer)
            line = next((line for line in said.splitlines() if "DOWN" in line), said.strip())
            raise EngineUnavailable(f"Slurm can't be reached: {line}")
        return read_about(
            queue.parse_config(await self._commands.ask("scontrol", "show", "config"))
        )

    async def entries(self) -> list[Entry]:
        """The jobs of ours that Slurm knows, those that ended lately included."""
        text = await self._commands.ask(
            "squeue", "--me", "--noheader", "--states=all", f"--format={queue.FORMAT}", queued=False
        )
        return queue.parse_queue(text, self._tag)

    async def submit(self, arguments: Sequence[str], script: str, spec: JobSpec) -> str:
        """Submit a job or an array; return its id.

        Raises:
            InvalidSpec, LimitReached, EngineFailed: Slurm refused it.
            EngineUnavailable, EngineTimeout: it may have been accepted or not.
        """
        command = ["sbatch", "--parsable", *arguments, f"--wrap={script}"]
        answer = await self._commands.run(command, deadline=SUBMIT_SECONDS)
        number = answer.out.strip().partition(";")[0]
        if answer.code:
            raise refusal(answer, spec)
        if not number.isdecimal():
            raise EngineFailed(f"sbatch said {answer.out[:100]!r} in place of a job's id")
        return number

    # By name as well: a controller that was killed may have given an id to another job since.

    async def signal(self, job: str, ids: Iterable[str], signal: str) -> None:
        """Send a signal to all processes of these runs of a job. KILL ends those that wait, too."""
        await self._cancel(ids, f"--name={job}", f"--signal={signal}", "--full")

    async def cancel_waiting(self, job: str, ids: Iterable[str]) -> None:
        """Take these runs, or what waits of these arrays, out of the queue."""
        await self._cancel(ids, f"--name={job}", "--state=PENDING")

    async def _cancel(self, ids: Iterable[str], *options: str) -> None:
        numbers = sorted(set(ids), key=int)
        parts = [
            numbers[start : start + IDS_AT_ONCE] for start in range(0, len(numbers), IDS_AT_ONCE)
        ]
        for part in parts:
            answer = await self._commands.run(["scancel", *options, *part])
            if answer.code and not any(words in answer.words for words in _OVER):
                raise failure("scancel", answer)

    async def ended(self, number: str) -> Ended | None:
        """What the controller knows of a job; None where it knows none of that id any more."""
        command = ["scontrol", "--oneliner", "show", "job", number]
        answer = await self._commands.run(command, {"SLURM_TIME_FORMAT": "%s"})
        if answer.code:
            error = failure("scontrol", answer)
            if "Invalid job id" in answer.words:
                return None
            raise error
        jobs = [queue.parse_job(line) for line in answer.out.splitlines() if line.strip()]
        return jobs[-1] if jobs else None

    async def accounted(self, ids: Iterable[str]) -> dict[str, Ended]:
        """What the accounting knows of jobs, by id. Nothing where it doesn't answer."""
        with contextlib.suppress(EngineError):
            text = await self._commands.ask(
                *("sacct", "--allocations", "--noheader", "--parsable2", "--duplicates"),
                *(f"--jobs={','.join(sorted(set(ids)))}", f"--format={queue.ACCOUNTING_FIELDS}"),
            )
            return queue.parse_accounting(text)
        return {}

    async def partitions(self) -> dict[str, dict[str, int]]:
        """By partition, the default one with a `*`: how many nodes there are in each state."""
        text = await self._commands.ask("sinfo", "--noheader", "--format=%P|%T|%D")
        found: dict[str, dict[str, int]] = {}
        for line in text.splitlines():
            name, state, count = line.strip().split("|")
            nodes = found.setdefault(name, {})
            if count.isdecimal():
                nodes[state] = nodes.get(state, 0) + int(count)
        return found
