"""Rounds out of a seed: jobs of all kinds, while an engine and its server are hurt at random."""

import asyncio
import contextlib
import os
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from tests.faults.story import Story
from tests.faults.truth import RUNS_ON, Task

_ACTS = ("",) * 7 + ("cancel", "delete")
_PATIENCE_SECONDS = (0.0, 15.0, 15.0)
"""How long it may be left in peace after it was hurt; or the next harm comes while it's down."""

_Story = TypeVar("_Story", bound=Story)


def roll_seed() -> int:
    """A seed, which is printed; JOBENGINE_TEST_SEED plays one again."""
    seed = int(os.environ.get("JOBENGINE_TEST_SEED") or random.randrange(1_000_000))
    print(f"JOBENGINE_TEST_SEED={seed}")
    return seed


def roll_body(
    roll: random.Random, *, longest_seconds: float = 1.0, codes: Sequence[int] = (0, 0, 1, 3, 42)
) -> tuple[str, dict[str, int]]:
    """What a `Task` does that ends by itself, in a shell's words, and its options."""
    seconds = roll.choice((0, 0, 0.1, roll.uniform(0, longest_seconds)))
    match roll.choice(("exit",) * 4 + ("retries", "instances")):
        case "retries":
            body = f"[ $(grep -c ^exit $t) -lt {roll.randint(1, 2)} ] && leave 7; leave 0"
            return body, {"max_retries": roll.randint(1, 3)}
        case "instances":
            completions = roll.randint(2, 4)
            parallelism = roll.randint(1, completions)
            options = {"completions": completions, "parallelism": parallelism}
            return f"sleep {seconds:.2f}; leave 0", options
        case _:
            return f"sleep {seconds:.2f}; leave {roll.choice(codes)}", {}


class RandomRound(ABC, Generic[_Story]):
    """One story out of a seed; what there is to be hurt, and how, is the engine's."""

    faults: ClassVar[Sequence[str]]
    pauses_seconds: ClassVar[Sequence[float]] = (0, 0.05, 0.3)
    """Between one job's creation and the next."""
    longest_seconds: ClassVar[float] = 2.0
    """How long a job runs, and how long it is left alone before it is stopped."""
    start_seconds: ClassVar[float] = 1.0
    """What starting a job takes on a busy machine: they queue for it."""

    def __init__(self, story: _Story, seed: int) -> None:
        self.story = story
        self.roll = random.Random(seed)
        self.harm: list[str] = []
        """What was done, in order."""

    async def play(self, jobs: int) -> None:
        """Run so many jobs while things break, check every one, and delete them all."""
        self.story.settle_seconds = self.story.call_seconds = 90 + self.start_seconds * jobs
        async with self.story as story:
            await story.begin()
            enough = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hurt_until(enough))
                for number in range(jobs):
                    story.submit(self._task(number))
                    await asyncio.sleep(self.roll.choice(self.pauses_seconds))
                enough.set()
            await story.settle()
            await story.check()
            await asyncio.to_thread(story.server.start)
            for task in story.tasks:
                await self.remove(task)
        assert self.harm

    @abstractmethod
    def new_task(self, name: str, body: str, options: dict[str, int]) -> Task:
        """A task for this engine."""

    @abstractmethod
    def hurt(self, fault: str) -> None:
        """Do one harm; what it took down is being started again when this returns."""

    async def remove(self, task: Task) -> None:
        """Delete a job, if it is there, and wait until it is gone."""
        await self.story.client.delete_job(task.name, allow_missing=True, wait=True)

    def _task(self, number: int) -> Task:
        act = self.roll.choice(_ACTS)
        body, options = roll_body(
            self.roll, longest_seconds=self.longest_seconds, codes=(0, 0, 1, 3, 42, 125)
        )
        if act:
            body, options = RUNS_ON, {}
        task = self.new_task(f"job-{number}", body, options)
        task.act = act
        task.delay = self.roll.uniform(0, self.longest_seconds)
        return task

    async def _hurt_until(self, enough: asyncio.Event) -> None:
        while not enough.is_set():
            await asyncio.sleep(self.roll.uniform(0, 2))
            fault = self.roll.choice(self.faults)
            self.harm.append(fault)
            await asyncio.to_thread(self.hurt, fault)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.roll.choice(_PATIENCE_SECONDS)):
                    await self.story.until_there()
