"""CreateJob beside the cost of making one file durable on the same disk."""

from pathlib import Path

from benchmarks.figures import Figure, Measure, Reference
from benchmarks.processes import run_load, serving
from benchmarks.scale import Scale

ROW = "CreateJob"


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """One caller, one job after another."""
    creates: list[list[float]] = []
    files: list[list[float]] = []
    with serving(directory) as server:
        for _ in range(scale.rounds):
            told = run_load(
                "creates",
                directory,
                address=server.address,
                files_in=str(directory),
                count=scale.creates,
            )
            creates.append([seconds * 1e3 for seconds in told["creates"]])
            files.append([seconds * 1e3 for seconds in told["files"]])
    name = "one durable file"
    return [
        Figure(
            ROW,
            f"latency, serial, p{percent}",
            "ms",
            Measure.percentile(creates, percent),
            Reference(name, Measure.percentile(files, percent)),
        )
        for percent in (50, 99)
    ]
