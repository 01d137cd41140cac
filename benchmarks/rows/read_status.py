"""ReadStatus beside a bare echo of the same sizes."""

from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Measure, Reference, ratio_at_least, ratio_at_most
from benchmarks.loads.calls import job_names
from benchmarks.processes import Server, echoing, run_load, serving
from benchmarks.scale import Scale
from jobengine import Client, JobSpec
from jobengine.v1.job_engine_pb2 import ReadStatusResponse

ROW = "ReadStatus"


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Calls per second, processor time per call, and the latency of one serial caller."""
    with serving(directory) as server:
        size = _answer_bytes(server)
        with echoing(directory, unary_bytes=size) as echo:
            subjects = [subject(server, 1), subject(echo, 1)]
            turns = {"turns": scale.turns, "seconds": scale.turn_seconds, "servers": subjects}
            busy = run_load("calls", directory, **turns)["servers"]
            one = {"connections": 1, "outstanding": 1}
            serial = run_load("calls", directory, **turns, **one)["servers"]
    name = f"bare echo, {size} B answers"
    return [
        Figure(
            ROW,
            "calls per second (4 connections, 64 callers)",
            "/s",
            _measure(busy[0], "per_second", 1),
            Reference(name, _measure(busy[1], "per_second", 1)),
            ratio_at_least(0.8),
        ),
        Figure(
            ROW,
            "server's processor time per call",
            "µs",
            _measure(busy[0], "cpu_seconds", 1e6),
            Reference(name, _measure(busy[1], "cpu_seconds", 1e6)),
            ratio_at_most(1 / 0.8),
        ),
        Figure(
            ROW,
            "latency of one serial caller, p50",
            "ms",
            _measure(serial[0], "p50_seconds", 1e3),
            Reference(name, _measure(serial[1], "p50_seconds", 1e3)),
        ),
    ]


def _answer_bytes(server: Server) -> int:
    """Make the job that is asked about; return the size of the answers."""
    (name,) = job_names(1)
    with Client(server.address) as client:
        job = client.create_job(JobSpec(command=["true"]), name=name)
        status = client.wait(name)
    return ReadStatusResponse(status=status, uid=job.uid).ByteSize()


def subject(server: Server, names: int) -> dict[str, Any]:
    """A server as the load generator wants it named."""
    return {"address": server.address, "pid": server.pid, "names": names}


def _measure(results: dict[str, Any], key: str, factor: float) -> Measure:
    return Measure.median([value * factor for value in results[key]])
