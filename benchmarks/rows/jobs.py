"""Short local jobs, from CreateJob to being seen as succeeded, beside what runs commands barely."""

from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Measure, Reference, ratio_at_least
from benchmarks.processes import run_load, serving
from benchmarks.scale import Scale

ROW = "local jobs"
OUTSTANDING = 32
WARM_UP = 50


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Jobs per second of one caller that keeps 32 unfinished, and sees ends over WatchJobs."""
    ours: list[dict[str, Any]] = []
    spawned: list[dict[str, Any]] = []
    psij: list[dict[str, Any]] = []
    psij_arguments = {"count": scale.psij_jobs, "outstanding": OUTSTANDING}
    with serving(directory) as server:
        arguments = {"address": server.address, "pid": server.pid, "outstanding": OUTSTANDING}
        run_load("jobs", directory, count=WARM_UP, **arguments)
        for _ in range(scale.rounds):
            ours.append(run_load("jobs", directory, count=scale.jobs, **arguments))
            spawned.append(run_load("spawn", directory, count=scale.jobs))
            psij.append(run_load("psij_jobs", directory, **psij_arguments))
    name, rate = "`true`, created to seen succeeded", _measure(ours, "per_second", 1)
    spawn = "posix_spawn + wait, serial"
    return [
        Figure(
            ROW,
            name,
            "/s",
            rate,
            Reference(spawn, _measure(spawned, "per_second", 1)),
            ratio_at_least(0.25),
        ),
        Figure(
            ROW,
            name,
            "/s",
            rate,
            Reference("psij-python, local executor", _measure(psij, "per_second", 1)),
            ratio_at_least(2),
        ),
        Figure(
            ROW,
            "processor time per job (server, shims, job)",
            "ms",
            _measure(ours, "cpu_seconds", 1e3),
            Reference(spawn, _measure(spawned, "cpu_seconds", 1e3)),
        ),
    ]


def _measure(results: list[dict[str, Any]], key: str, factor: float) -> Measure:
    return Measure.median([result[key] * factor for result in results])
