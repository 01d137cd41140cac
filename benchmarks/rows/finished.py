"""Many finished jobs beside few: memory, reads, lists, and the start."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Measure, Reference, at_most, ratio_at_least
from benchmarks.finished_jobs import make_finished_jobs
from benchmarks.loads.calls import job_names
from benchmarks.processes import Server, run_load, serving
from benchmarks.rows.read_status import subject
from benchmarks.scale import Scale

FEW = 100


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Two servers at once, one with 100 finished jobs, one with many; asked in turns."""
    count = scale.finished
    places = {FEW: directory / "few", count: directory / "many"}
    for jobs, place in places.items():
        place.mkdir()
        make_finished_jobs(place / "state", job_names(jobs))
    with serving(places[FEW]) as few, serving(places[count]) as many:
        fresh = _bytes_per_job(few, many, count)
        subjects = [subject(few, FEW), subject(many, count)]
        run_load("calls", directory, servers=subjects)  # each name once
        after_reads = _bytes_per_job(few, many, count)
        row, reference = f"{count:,} finished jobs", f"{FEW} jobs"
        asked = ask(row, directory, scale, subjects)
        starts = (few.start_seconds, many.start_seconds)
    return [
        Figure(row, "memory per job", "B", fresh, target=at_most(2_000)),
        Figure(row, "memory per job, each read once", "B", after_reads, target=at_most(2_000)),
        *asked,
        Figure(
            row,
            "start to serving",
            "s",
            Measure.median([starts[1]]),
            Reference(reference, Measure.median([starts[0]])),
        ),
    ]


def ask(
    row: str, directory: Path, scale: Scale, subjects: Sequence[Mapping[str, Any]]
) -> list[Figure]:
    """Reads and lists of two servers in turns, of which the second has many jobs."""
    few = subjects[0]["names"]
    reference = f"{few} jobs" if few > 1 else "1 job"
    turns = {"turns": scale.turns, "seconds": scale.turn_seconds, "servers": subjects}
    reads = run_load("calls", directory, **turns)["servers"]
    one = {"connections": 1, "outstanding": 1}
    lists = run_load("calls", directory, method="ListJobs", **turns, **one)["servers"]
    return [
        Figure(
            row,
            "ReadStatus per second, all names",
            "/s",
            Measure.median(reads[1]["per_second"]),
            Reference(reference, Measure.median(reads[0]["per_second"])),
            ratio_at_least(0.9),
        ),
        Figure(
            row,
            "first page of ListJobs (100), p50",
            "ms",
            _milliseconds(lists[1]["p50_seconds"]),
            Reference(reference, _milliseconds(lists[0]["p50_seconds"])),
            at_most(50),
        ),
    ]


def _bytes_per_job(few: Server, many: Server, count: int) -> Measure:
    difference = many.private_bytes - few.private_bytes
    return Measure.median([difference / (count - FEW)])


def _milliseconds(seconds: list[float]) -> Measure:
    return Measure.median([one * 1e3 for one in seconds])
