"""The engines that a history is made on: their servers, and jobs whose ends are known."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jobengine import JobSpec, JobState
from tests.clients.specs import fake
from tests.faults import processes
from tests.faults.random_rounds import roll_body
from tests.faults.server import FaultyServer
from tests.faults.truth import RUNS_ON, Task

Ends = frozenset[tuple[int, int]]
"""The states in which a job may have ended, each with its exit code."""

_SUCCEEDED: Ends = frozenset({(JobState.JOB_STATE_SUCCEEDED, 0)})


class Script(Protocol):
    """What a job is to do, and how it may have ended if nobody stopped it."""

    @property
    def spec(self) -> JobSpec:
        """What the engine is given."""
        ...

    def ends(self) -> Ends:
        """Asked once all is over."""
        ...


class Stage(Protocol):
    """An engine, ready to be hurt."""

    @property
    def server(self) -> FaultyServer:
        """Not started yet."""
        ...

    @property
    def forgets(self) -> bool:
        """Whether its jobs are gone with its server."""
        ...

    def script(self, roll: random.Random, name: str, *, stopped: bool) -> Script:
        """A new job; one that is to be stopped runs until then. The name is new."""
        ...

    def clear(self) -> None:
        """Remove what its server left behind."""
        ...


@dataclass(frozen=True, slots=True)
class FakeScript:
    """A job of the fake engine, which ends as its knobs say."""

    spec: JobSpec
    fails_with: int

    def ends(self) -> Ends:
        if self.fails_with:
            return frozenset({(JobState.JOB_STATE_FAILED, self.fails_with)})
        return _SUCCEEDED


class _FakeServer(FaultyServer):
    """`jobengine serve` on the fake engine."""

    def engine_options(self) -> tuple[str, ...]:
        return "--engine", "fake"


class FakeStage:
    """The fake engine, with jobs of many statuses in quick succession."""

    forgets = True

    def __init__(self, directory: Path) -> None:
        self.server: FaultyServer = _FakeServer(directory / "state")

    def script(self, roll: random.Random, name: str, *, stopped: bool) -> FakeScript:
        code = roll.choice((0, 0, 1, 3))
        failures = roll.choice((1, 2, 5)) if code else 0
        retries = roll.choice((0, 2))
        spec = fake(
            pending_for=roll.choice((0, 0.1, 0.5)),
            run_for=3600 if stopped else roll.choice((0, 0.01, 0.2, roll.uniform(0, 1))),
            exit_code=code,
            failures=failures,
            stop_for=roll.choice((0, 0.1)),
        )
        spec.max_retries = retries
        spec.completions = roll.choice((1, 1, 3, 10))
        spec.parallelism = min(spec.completions, roll.choice((1, 2, 3)))
        return FakeScript(spec, code if failures > retries else 0)

    def clear(self) -> None:
        """Nothing outlives the server."""


@dataclass(frozen=True, slots=True)
class TaskScript:
    """A job that writes its truth down; any engine of processes or containers runs it."""

    task: Task

    @property
    def spec(self) -> JobSpec:
        return self.task.spec

    def ends(self) -> Ends:
        """What its own words lead to; none if it didn't come to an end by itself."""
        runs = self.task.runs()
        completions = self.task.options.get("completions", 1)
        failed = [run.code for run in runs if run.code]
        if {run.instance for run in runs if run.code == 0} == set(range(completions)):
            return _SUCCEEDED
        if len(failed) <= self.task.options.get("max_retries", 0):
            return frozenset()
        return frozenset((JobState.JOB_STATE_FAILED, code) for code in failed)


@dataclass(frozen=True, slots=True)
class TaskStage:
    """An engine that runs tasks, as `task` makes them, and whose jobs outlive every server."""

    server: FaultyServer
    directory: Path
    task: Callable[[str, Path, str, Mapping[str, int]], Task] = Task
    wipe: Callable[[], None] = lambda: None
    forgets: bool = False

    def script(self, roll: random.Random, name: str, *, stopped: bool) -> TaskScript:
        body, options = (RUNS_ON, dict[str, int]()) if stopped else roll_body(roll)
        return TaskScript(self.task(name, self.directory, body, options))

    def clear(self) -> None:
        self.wipe()


def local_stage(directory: Path) -> TaskStage:
    """The local engine, with few places, so that jobs wait for each other."""
    server = FaultyServer(directory / "state", "--max-running", "8")
    return TaskStage(
        server, directory, wipe=lambda: processes.kill_all(directory, server.state_dir)
    )
