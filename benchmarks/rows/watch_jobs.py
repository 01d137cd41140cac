"""One WatchJobs over many finished jobs: how fast it is, and what it takes of the server."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure, Measure
from benchmarks.finished_jobs import make_finished_jobs
from benchmarks.loads.calls import job_names
from benchmarks.processes import LOAD_SECONDS, Server, load, serving
from benchmarks.scale import Scale

ROUNDS = 3
LOOK_SECONDS = 0.02
"""Between two looks at the server's memory: what is taken for less may not be seen."""


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Each round on a server of its own, since memory once taken isn't all given back."""
    count = scale.listed
    make_finished_jobs(directory / "state", job_names(count))
    seconds: list[float] = []
    per_second: list[float] = []
    peaks: list[float] = []
    left: list[float] = []
    for _ in range(ROUNDS):
        with serving(directory) as server:
            before = server.private_bytes
            looks = [before]
            with load("watch_jobs", directory, address=server.address) as stream:
                with _looking(server, looks):
                    told = stream.read(LOAD_SECONDS)
                assert told["messages"] == count, told
            left.append((server.settled_private_bytes() - before) / 1e6)
        seconds.append(told["seconds"])
        per_second.append(told["messages"] / told["seconds"])
        peaks.append((max(looks) - before) / 1e6)
    row = f"WatchJobs, {count:,} jobs"
    return [
        Figure(row, "from the call to SYNCED", "s", Measure.median(seconds)),
        Figure(row, "messages per second", "/s", Measure.median(per_second)),
        Figure(row, "memory per stream, peak", "MB", Measure.median(peaks)),
        Figure(row, "memory per stream, left once closed", "MB", Measure.median(left)),
    ]


@contextmanager
def _looking(server: Server, looks: list[int]) -> Iterator[None]:
    """Note the server's private memory again and again, and once more at the end."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            looks.append(server.private_bytes)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        looks.append(server.private_bytes)
