"""Many watchers of one job: what they cost, and how fast one change reaches all."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from benchmarks.figures import Figure, Measure, Reference, Target, at_most
from benchmarks.loads.echo_server import SERVICE
from benchmarks.processes import LOAD_SECONDS, Process, Server, echoing, load, serving
from benchmarks.scale import Scale
from jobengine import Client, JobSpec, JobState

ROW = "watchers"
JOB = "watched"
PER_PROCESS = 5_000
ROUNDS = 3
CALL_SECONDS = 30.0
STREAM_BYTES = 110
"""About the size of a WatchStatusResponse."""


@dataclass(slots=True)
class Subject:
    """What is measured: the service or the bare server, and what its rounds came to."""

    bare: bool
    late_ms: list[list[float]] = field(default_factory=list[list[float]])
    kilobytes: list[float] = field(default_factory=list[float])
    opening_seconds: list[float] = field(default_factory=list[float])


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Each round on servers of its own, since memory once taken isn't all given back."""
    ours, bare = Subject(bare=False), Subject(bare=True)
    for number in range(ROUNDS):
        place = directory / str(number)
        place.mkdir()
        with serving(place) as server, Client(server.address) as client:
            start_job(client, JOB)
            cancel = partial(client.cancel_job, JOB, grace_seconds=0)
            _round(place, server, scale.watchers, cancel, ours)
        with echoing(place, stream_bytes=STREAM_BYTES) as echo:
            _round(place, echo, scale.watchers, partial(_change, echo), bare)
    return _figures(scale.watchers, ours, bare)


def _change(echo: Server) -> None:
    with grpc.insecure_channel(echo.address) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        method = channel.unary_unary(f"/{SERVICE}/CancelJob")
        method(b"", timeout=CALL_SECONDS)


def start_job(client: Client, name: str) -> None:
    """Start a job that runs for longer than any row; return once it runs."""
    client.create_job(JobSpec(command=["sleep", "600"]), name=name)
    for event in client.watch_status(name):
        if event.status.state == JobState.JOB_STATE_RUNNING:
            return
    raise RuntimeError("the job that was to be watched has ended")


def _round(
    directory: Path, server: Server, count: int, change: Callable[[], object], subject: Subject
) -> None:
    """Open the watches, see what they take, change the job's status, see when they hear it."""
    before = server.private_bytes
    with watching(directory, server, count, JOB, bare=subject.bare) as watchers:
        subject.opening_seconds.append(watchers.opening_seconds)
        subject.kilobytes.append((server.private_bytes - before) / count / 1e3)
        change()
        told = [seconds for one in watchers.told() for seconds in one["seconds"]]
    subject.late_ms.append([seconds * 1e3 for seconds in told])


@dataclass(frozen=True, slots=True)
class Watching:
    """Watchers of a job's end, all open, in the processes that `loads.watchers` has."""

    processes: Sequence[Process]
    opening_seconds: float

    def told(self) -> list[dict[str, Any]]:
        """What each process tells once its watchers have heard of the end."""
        return [one.read(LOAD_SECONDS) for one in self.processes]


@contextmanager
def watching(
    directory: Path, server: Server, count: int, job: str, *, bare: bool = False
) -> Iterator[Watching]:
    """So many watchers, from as many processes as that takes."""
    processes = -(-count // PER_PROCESS)
    arguments = {"address": server.address, "count": count // processes, "name": job, "bare": bare}
    with ExitStack() as stack:
        loads = [
            stack.enter_context(load("watchers", directory, **arguments)) for _ in range(processes)
        ]
        opened = [one.read(LOAD_SECONDS) for one in loads]
        assert sum(one["opened"] for one in opened) == count
        yield Watching(loads, max(one["seconds"] for one in opened))


def _figures(count: int, ours: Subject, bare: Subject) -> list[Figure]:
    row = f"{count:,} {ROW}"
    name = "bare streams"

    def late(what: str, percent: float, target: Target | None = None) -> Figure:
        theirs = Reference(name, Measure.percentile(bare.late_ms, percent))
        mine = Measure.percentile(ours.late_ms, percent)
        return Figure(row, f"one change told to all, {what}", "ms", mine, theirs, target)

    return [
        Figure(
            row,
            "all opened, none refused",
            "s",
            Measure.median(ours.opening_seconds),
            Reference(name, Measure.median(bare.opening_seconds)),
        ),
        late("p50", 50),
        late("p99", 99),
        late("max", 100, at_most(1000)),
        Figure(
            row,
            "server's memory per watcher",
            "KB",
            Measure.median(ours.kilobytes),
            Reference(name, Measure.median(bare.kilobytes)),
            at_most(20),
        ),
    ]
