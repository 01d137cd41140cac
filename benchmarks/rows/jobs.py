"""Short local jobs, from CreateJob to being seen as succeeded, beside what runs commands barely."""

from pathlib import Path

from benchmarks.figures import Figure, Measure, Reference, in_turns, ratio_at_least
from benchmarks.processes import run_load, serving
from benchmarks.scale import Scale

ROW = "local jobs"
OUTSTANDING = 32


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Jobs per second of one caller that keeps 32 unfinished, and sees ends over WatchJobs."""
    with serving(directory) as server:
        ours, spawned, psij = in_turns(
            scale.rounds,
            lambda: _rate(
                "jobs", directory, address=server.address, count=scale.jobs, outstanding=OUTSTANDING
            ),
            lambda: _rate("spawn", directory, count=scale.jobs),
            lambda: _rate("psij_jobs", directory, count=scale.psij_jobs, outstanding=OUTSTANDING),
        )
    name = "`true`, created to seen succeeded"
    return [
        Figure(
            ROW,
            name,
            "/s",
            Measure.median(ours),
            Reference("posix_spawn + wait, serial", Measure.median(spawned)),
            ratio_at_least(0.25),
        ),
        Figure(
            ROW,
            name,
            "/s",
            Measure.median(ours),
            Reference("psij-python, local executor", Measure.median(psij)),
            ratio_at_least(2),
        ),
    ]


def _rate(module: str, directory: Path, **arguments: object) -> float:
    return float(run_load(module, directory, **arguments)["per_second"])
