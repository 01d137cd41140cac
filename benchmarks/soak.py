"""Does a server stay as it is? `make soak SOAK_ARGS='--minutes 60'` keeps one busy, and looks.

The fake engine's jobs come and go, with watchers of single jobs and of all. What the server takes
is written to soak.csv and drawn in soak.svg; the exit code says whether its memory stays flat. That
can't be before it remembers as many deletions as it ever will: in ten minutes it can.
"""

import argparse
import csv
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import psutil
from rich.console import Console

from benchmarks.loads.soak import REPORT_SECONDS
from benchmarks.plot import Line, draw
from benchmarks.processes import Server, load, serving_fake

PER_SECOND = 40.0
WATCHERS_OF_ALL = 10
MAX_GROWTH = 0.05
"""How much of its memory the server may gain in an hour."""

END_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The server at one moment: megabytes, open files, threads, and jobs that were made so far."""

    minutes: float
    megabytes: float
    files: int
    threads: int
    jobs: int

    @property
    def line(self) -> str:
        """In words."""
        return (
            f"{self.minutes:5.1f} min  {self.megabytes:6.1f} MB  {self.files} files  "
            f"{self.threads} threads  {self.jobs:,} jobs so far"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 where memory is flat over the second half of the time, and nothing stays open."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="of what happens (default: 1)")
    parser.add_argument("--output", type=Path, default=Path(), help="a directory (default: here)")
    options = parser.parse_args(arguments)
    if options.minutes < 1:
        parser.error("--minutes: use 1 or more, else there is nothing to judge by")
    console = Console()
    with tempfile.TemporaryDirectory() as directory, serving_fake(Path(directory)) as server:
        before = _look(server, 0.0, 0)
        samples = _soak(server, Path(directory), options.minutes, options.seed, console)
        left = _files_once_alone(server, before.files)
    _write(samples, options.output)
    growth = _growth_per_hour(samples)
    flat = growth <= MAX_GROWTH * samples[-1].megabytes
    console.print(
        f"memory over the second half: {growth:+.2f} MB an hour at {samples[-1].megabytes:.1f} MB "
        f"({'flat' if flat else 'NOT FLAT'}); "
        f"{left - before.files} files more are open than at the start"
    )
    return 0 if flat and left <= before.files else 1


def _soak(
    server: Server, directory: Path, minutes: float, seed: int, console: Console
) -> list[Sample]:
    arguments = {"per_second": PER_SECOND, "watchers": WATCHERS_OF_ALL, "seed": seed}
    samples: list[Sample] = []
    began = time.monotonic()
    with load("soak", directory, address=server.address, **arguments) as churn:
        while (passed := (time.monotonic() - began) / 60) < minutes:
            jobs = churn.read(REPORT_SECONDS * 6)["jobs"]
            samples.append(_look(server, passed, jobs))
            console.print(samples[-1].line)
    return samples


def _look(server: Server, minutes: float, jobs: int) -> Sample:
    process = psutil.Process(server.pid)
    megabytes = server.private_bytes / 1e6
    return Sample(minutes, megabytes, process.num_fds(), process.num_threads(), jobs)


def _files_once_alone(server: Server, wanted: int) -> int:
    """How many files are open once all clients are gone; it takes the server a moment to see it."""
    deadline = time.monotonic() + END_SECONDS
    while (files := psutil.Process(server.pid).num_fds()) > wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    return files


def _growth_per_hour(samples: Sequence[Sample]) -> float:
    """The slope of the memory over the second half, in megabytes an hour."""
    half = samples[len(samples) // 2 :]
    times, memory = [one.minutes for one in half], [one.megabytes for one in half]
    return statistics.linear_regression(times, memory).slope * 60


def _write(samples: Sequence[Sample], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "soak.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(Sample))
        writer.writerows(astuple(sample) for sample in samples)
    minutes = [one.minutes for one in samples]
    lines = [
        Line("memory, MB", [one.megabytes for one in samples]),
        Line("open files", [one.files for one in samples]),
        Line("threads", [one.threads for one in samples]),
    ]
    (directory / "soak.svg").write_text(draw("minutes", minutes, lines))


if __name__ == "__main__":
    sys.exit(main())
