"""Many open streams on which nothing happens: what they take, and what they leave for others."""

import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figures import Figure, Measure, Reference, at_most, ratio_at_least
from benchmarks.loads import cpu_seconds
from benchmarks.loads.calls import job_names
from benchmarks.processes import Server, echoing, run_load, serving
from benchmarks.rows.read_status import subject
from benchmarks.rows.watchers import STREAM_BYTES, start_job, watching
from benchmarks.scale import Scale
from jobengine import Client


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """A server and the bare one with the streams, and a server without, all at once."""
    (job,) = job_names(1)
    places = [directory / name for name in ("streams", "none", "bare")]
    with ExitStack() as stack:
        for place in places:
            place.mkdir()
        server, without = (stack.enter_context(serving(place)) for place in places[:2])
        echo = stack.enter_context(echoing(places[2], stream_bytes=STREAM_BYTES))
        for one in (server, without):
            with Client(one.address) as client:
                start_job(client, job)
                interval = client.read_engine().limits.default_heartbeat_interval
        count = scale.idle_streams
        stack.enter_context(watching(places[0], server, count, job))
        stack.enter_context(watching(places[2], echo, count, job, bare=True))
        # Each stream has just one heartbeat in that time.
        ours, theirs = _idle_percent([server, echo], interval.ToTimedelta().total_seconds())
        subjects = [subject(server, 1), subject(without, 1)]
        turns = {"turns": scale.turns, "seconds": scale.turn_seconds, "servers": subjects}
        reads = run_load("calls", directory, **turns)["servers"]
    row = f"{count:,} idle streams"
    return [
        Figure(
            row,
            "processor time while idle, of one core",
            "%",
            Measure.median([ours]),
            Reference("bare streams", Measure.median([theirs])),
            at_most(2),
        ),
        Figure(
            row,
            "ReadStatus per second beside them",
            "/s",
            Measure.median(reads[0]["per_second"]),
            Reference("no streams", Measure.median(reads[1]["per_second"])),
            ratio_at_least(0.9),
        ),
    ]


def _idle_percent(servers: list[Server], seconds: float) -> list[float]:
    """The share of a core that each server takes within that time."""
    began, before = time.perf_counter(), [cpu_seconds(one.pid) for one in servers]
    time.sleep(seconds)
    after, elapsed = [cpu_seconds(one.pid) for one in servers], time.perf_counter() - began
    return [(b - a) / elapsed * 100 for a, b in zip(before, after, strict=True)]
