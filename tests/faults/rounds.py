"""Random stories: jobs of all kinds, and a server that is killed under them again and again."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.story import Story
from tests.faults.truth import RUNS_ON, Task

_KILLS = (1, 1, 2)
_JOBS = 6
_LOOK_SECONDS = 0.001
_MOMENT_SECONDS = 0.7


class KillRound:
    """One story out of a seed."""

    def __init__(self, directory: Path, seed: int) -> None:
        self._random = random.Random(seed)
        self._directory = directory
        self._story = Story(directory, "--max-running", "4")
        self.kills: list[str] = []

    async def run(self) -> list[str]:
        """Play it and check it; return when the server was killed."""
        async with self._story as story:
            await story.begin()
            tasks = [self._task(number) for number in range(_JOBS)]
            async with asyncio.TaskGroup() as group:
                group.create_task(self._kill())
                for task in tasks:
                    story.submit(task)
                    await asyncio.sleep(self._random.choice((0, 0, 0.02, 0.1)))
            await story.settle()
            await story.check()
        return self.kills

    def _task(self, number: int) -> Task:
        roll = self._random
        kind = roll.choice((_exit, _exit, _instances, _retries, _output, _tree, _stopped, _stopped))
        task = kind(roll)
        task.name = f"{kind.__name__.strip('_')}-{number}"
        task.directory = self._directory
        return task

    async def _kill(self) -> None:
        for _ in range(self._random.choice(_KILLS)):
            moment = self._random.choice((*_MOMENTS, "time", "time"))
            await self._wait_for(moment)
            await asyncio.to_thread(self._story.server.kill)
            self.kills.append(moment)
            await asyncio.sleep(self._random.choice((0, 0, 0.2)))
            await asyncio.to_thread(self._story.server.start)

    async def _wait_for(self, moment: str) -> None:
        """Wait until a trace of the moment shows up, or for a random time."""
        if moment == "time":
            await asyncio.sleep(self._random.uniform(0, _MOMENT_SECONDS))
            return
        count = _MOMENTS[moment]
        before = count(self._directory)
        skip = self._random.randrange(3)
        end = time.monotonic() + _MOMENT_SECONDS
        while count(self._directory) <= before + skip and time.monotonic() < end:
            await asyncio.sleep(_LOOK_SECONDS)


def _files(pattern: str) -> Callable[[Path], int]:
    return lambda directory: len(list(directory.glob(pattern)))


def _words(word: str) -> Callable[[Path], int]:
    return lambda directory: sum(
        path.read_text().count(f"{word} ") for path in directory.glob("*.truth")
    )


_MOMENTS: dict[str, Callable[[Path], int]] = {
    "a job's directory": _files("state/jobs/*"),
    "a job's record": _files("state/jobs/*/job"),
    "an attempt's record": _files("state/jobs/*/[0-9].[0-9]"),
    "a job's start": _words("start"),
    "a job's end": _words("exit"),
    "a stop": _files("state/jobs/*/stop*"),
    "a deletion": _files("state/jobs/*/delete"),
    "a removal": _files("state/trash/*"),
}


def _seconds(roll: random.Random) -> float:
    return roll.choice((0, 0, 0.05, 0.2, roll.uniform(0, 1)))


def _new(body: str, **options: int) -> Task:
    return Task("", Path(), body, options)


def _exit(roll: random.Random) -> Task:
    return _new(f"sleep {_seconds(roll)}; leave {roll.choice((0, 1, 3, 42, 255))}")


def _instances(roll: random.Random) -> Task:
    completions = roll.randint(2, 5)
    failing = roll.choice((-1, -1, completions - 1))
    return _new(
        f"sleep {roll.uniform(0, 0.2)}; [ $JOB_COMPLETION_INDEX = {failing} ] && leave 9; leave 0",
        completions=completions,
        parallelism=roll.randint(1, completions),
    )


def _retries(roll: random.Random) -> Task:
    failures = roll.randint(1, 3)
    return _new(
        f"[ $(grep -c ^exit $t) -lt {failures} ] && leave 7; sleep {_seconds(roll)}; leave 0",
        max_retries=roll.randint(1, 3),
    )


def _output(roll: random.Random) -> Task:
    pause = roll.uniform(0, 0.02)
    return _new(f"for n in $(seq 20); do echo line $n; sleep {pause}; done; leave 0")


def _tree(roll: random.Random) -> Task:
    """Leaves processes behind, one of them in a session of its own."""
    return _new(f"sleep 60 & setsid sleep 60 & sleep {_seconds(roll)}; leave {roll.choice((0, 4))}")


def _stopped(roll: random.Random) -> Task:
    task = _new(RUNS_ON)
    task.act = roll.choice(("cancel", "delete"))
    task.delay = roll.uniform(0, 0.6)
    return task
