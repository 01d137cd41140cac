"""Many jobs, each with a watcher of its own, ending one after another."""

import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figures import Figure, Measure
from benchmarks.processes import LOAD_SECONDS, load, serving_fake
from benchmarks.rows.watchers import PER_PROCESS
from benchmarks.scale import Scale

ENDS_PER_SECOND = 200
CREATES_PER_SECOND = 150
"""What is reckoned with: the first job ends once all are made and watched."""

LEAD_SECONDS = 4.0


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """By the fake engine, whose jobs take no processor: what is left is the watching."""
    count = scale.watched_jobs
    late_ms = [_round(directory, count) for _ in range(scale.watch_rounds)]
    return [
        Figure(
            f"{count:,} watched jobs",
            f"end to its watcher, at {ENDS_PER_SECOND} ends a second, {what}",
            "ms",
            Measure.percentile(late_ms, percent),
        )
        for what, percent in (("p50", 50), ("p99", 99), ("max", 100))
    ]


def _round(directory: Path, count: int) -> list[float]:
    """How late each end was told, in milliseconds."""
    processes = -(-count // PER_PROCESS)
    first = time.time() + LEAD_SECONDS + count / CREATES_PER_SECOND
    ends = [first + number / ENDS_PER_SECOND for number in range(count)]
    with serving_fake(directory) as server, ExitStack() as stack:
        loads = [
            stack.enter_context(
                load(
                    "watched_jobs",
                    directory,
                    address=server.address,
                    ends=ends[number::processes],
                    prefix=f"job-{number}",
                )
            )
            for number in range(processes)
        ]
        opened = sum(one.read(LOAD_SECONDS)["opened"] for one in loads)
        assert opened == count
        told = [seconds for one in loads for seconds in one.read(LOAD_SECONDS)["seconds"]]
    return [seconds * 1e3 for seconds in told]
