"""ReadStatus of a server that asks who calls, beside one that doesn't."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.credentials import handed_out, issued
from benchmarks.figures import Figure, Measure, Reference, ratio_at_least, ratio_at_most
from benchmarks.loads.calls import job_names
from benchmarks.processes import run_load, serving
from benchmarks.rows.read_status import subject
from benchmarks.scale import Scale
from jobengine import Client, JobSpec

ROW = "authentication"

LEAST = 0.9
"""Of the rate without it."""


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Calls per second and processor time with a token, and with a JWT, under a policy."""
    with ExitStack() as stack:
        subjects = [_open(stack, directory / "nobody asked", "")]
        for name, make in (("token", handed_out), ("JWT", issued)):
            place = directory / name
            place.mkdir()
            credential = make(place)
            subjects.append(_open(stack, place, credential.token, *credential.options))
        results = run_load(
            "calls", directory, turns=scale.turns, seconds=scale.turn_seconds, servers=subjects
        )["servers"]
    plain, *asked = results
    figures: list[Figure] = []
    for name, result in zip(("a token", "a JWT"), asked, strict=True):
        figures += [
            Figure(
                ROW,
                f"ReadStatus per second, with {name} and a policy",
                "/s",
                _measure(result, "per_second", 1),
                Reference("nobody asked", _measure(plain, "per_second", 1)),
                ratio_at_least(LEAST),
            ),
            Figure(
                ROW,
                f"server's processor time per call, with {name} and a policy",
                "µs",
                _measure(result, "cpu_seconds", 1e6),
                Reference("nobody asked", _measure(plain, "cpu_seconds", 1e6)),
                ratio_at_most(1 / LEAST),
            ),
        ]
    return figures


def _open(stack: ExitStack, place: Path, token: str, *options: str) -> dict[str, Any]:
    """Start a server, and make the job that is asked about."""
    place.mkdir(exist_ok=True)
    server = stack.enter_context(serving(place, *options))
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    (name,) = job_names(1)
    with Client(server.address, metadata=metadata) as client:
        client.create_job(JobSpec(command=["true"]), name=name)
        client.wait(name)
    return {**subject(server, 1), "token": token}


def _measure(results: dict[str, Any], key: str, factor: float) -> Measure:
    return Measure.median([value * factor for value in results[key]])
