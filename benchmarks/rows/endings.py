"""How late a watcher hears of its job's end."""

from pathlib import Path

from benchmarks.figures import Figure, Measure, at_most
from benchmarks.processes import run_load, serving
from benchmarks.scale import Scale

ROW = "job's end to watcher"
JOB_SECONDS = 0.05


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """From the end by the engine's clock to the client's receipt, one job at a time."""
    rounds: list[list[float]] = []
    with serving(directory) as server:
        for _ in range(scale.rounds):
            told = run_load(
                "endings",
                directory,
                address=server.address,
                count=scale.endings,
                job_seconds=JOB_SECONDS,
            )
            rounds.append([seconds * 1e3 for seconds in told["seconds"]])
    return [
        Figure(ROW, "p50", "ms", Measure.percentile(rounds, 50), target=at_most(10)),
        Figure(ROW, "p99", "ms", Measure.percentile(rounds, 99)),
    ]
