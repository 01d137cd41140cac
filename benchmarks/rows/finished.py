"""Many finished jobs beside few: memory, reads, lists, and the start."""

from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Measure, Reference, at_most, in_turns, ratio_at_least
from benchmarks.finished_jobs import make_finished_jobs
from benchmarks.loads.calls import job_names
from benchmarks.processes import Server, run_load, serving
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
        _read(directory, few, FEW)
        _read(directory, many, count)
        after_reads = _bytes_per_job(few, many, count)
        few_rates, many_rates, few_lists, many_lists = in_turns(
            scale.rounds,
            lambda: _read(directory, few, FEW, scale.round_seconds)["per_second"],
            lambda: _read(directory, many, count, scale.round_seconds)["per_second"],
            lambda: _list_ms(directory, few, scale),
            lambda: _list_ms(directory, many, scale),
        )
        starts = (few.start_seconds, many.start_seconds)
    row, reference = f"{count:,} finished jobs", f"{FEW} jobs"
    return [
        Figure(row, "memory per job", "B", fresh, target=at_most(2_000)),
        Figure(row, "memory per job, each read once", "B", after_reads, target=at_most(2_000)),
        Figure(
            row,
            "ReadStatus per second, all names",
            "/s",
            Measure.median(many_rates),
            Reference(reference, Measure.median(few_rates)),
            ratio_at_least(0.9),
        ),
        Figure(
            row,
            "first page of ListJobs (100), p50",
            "ms",
            Measure.median(many_lists),
            Reference(reference, Measure.median(few_lists)),
            at_most(50),
        ),
        Figure(
            row,
            "start to serving",
            "s",
            Measure.median([starts[1]]),
            Reference(reference, Measure.median([starts[0]])),
        ),
    ]


def _bytes_per_job(few: Server, many: Server, count: int) -> Measure:
    difference = many.private_bytes - few.private_bytes
    return Measure.median([difference / (count - FEW)])


def _read(
    directory: Path, server: Server, names: int, seconds: float | None = None
) -> dict[str, Any]:
    """Read jobs' statuses: for so long, or each once."""
    return run_load(
        "calls", directory, address=server.address, pid=server.pid, names=names, seconds=seconds
    )


def _list_ms(directory: Path, server: Server, scale: Scale) -> float:
    told = run_load(
        "calls",
        directory,
        address=server.address,
        pid=server.pid,
        method="ListJobs",
        seconds=scale.round_seconds / 2,
        connections=1,
        outstanding=1,
    )
    return float(told["p50_seconds"] * 1e3)
