"""From the start of `jobengine serve` to its line of JSON, and what it takes when idle."""

from pathlib import Path

from benchmarks.figures import Figure, Measure, Reference, at_most
from benchmarks.processes import echoing, serving
from benchmarks.scale import Scale


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """On an empty state directory."""
    ours: list[tuple[float, float]] = []
    bare: list[tuple[float, float]] = []
    for _ in range(scale.starts):
        with serving(directory) as server:
            ours.append((server.start_seconds, server.idle_bytes() / 1e6))
        with echoing(directory) as echo:
            bare.append((echo.start_seconds, echo.idle_bytes() / 1e6))
    return [
        Figure(
            "start",
            "start to serving",
            "s",
            Measure.median([seconds for seconds, _ in ours]),
            Reference("bare echo server", Measure.median([seconds for seconds, _ in bare])),
            at_most(1),
        ),
        Figure(
            "idle server",
            "resident memory, launcher included",
            "MB",
            Measure.median([size for _, size in ours]),
            Reference("bare echo server", Measure.median([size for _, size in bare])),
            at_most(80),
        ),
    ]
