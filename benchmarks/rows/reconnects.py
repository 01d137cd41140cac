"""Many watchers whose server is restarted: when all have heard again, and who was refused."""

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figures import Figure, Measure, at_most
from benchmarks.processes import LOAD_SECONDS, load, serving
from benchmarks.rows.watchers import PER_PROCESS, start_job
from benchmarks.scale import Scale
from jobengine import Client

SIGNALS = {"stopped": signal.SIGTERM, "killed": signal.SIGKILL}


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """The job is cancelled as soon as the new server serves: each watcher has to be told."""
    row = f"reconnects, {scale.reconnects:,} watchers"
    figures: list[Figure] = []
    for how, number in SIGNALS.items():
        rounds = [
            _round(directory, f"{how}-{round_}", scale.reconnects, number)
            for round_ in range(scale.watch_rounds)
        ]
        figures += [
            Figure(
                row,
                f"server {how}: from its return until all are told",
                "s",
                Measure.median([seconds for seconds, _ in rounds]),
            ),
            Figure(
                row,
                f"server {how}: calls refused",
                "",
                Measure.median([refused for _, refused in rounds]),
                target=at_most(0),
            ),
        ]
    return figures


def _round(directory: Path, job: str, count: int, number: signal.Signals) -> tuple[float, int]:
    """The seconds until the last watcher is told, and how many calls were refused."""
    processes = -(-count // PER_PROCESS)
    with ExitStack() as stack:
        with serving(directory) as server:
            with Client(server.address) as client:
                start_job(client, job)
            arguments = {"address": server.address, "count": count // processes, "name": job}
            loads = [
                stack.enter_context(load("reconnecting", directory, **arguments))
                for _ in range(processes)
            ]
            assert sum(one.read(LOAD_SECONDS)["opened"] for one in loads) == count
            os.kill(server.pid, number)
        with serving(directory, f"--listen={server.address}") as successor:
            back = time.time()
            with Client(successor.address) as client:
                client.cancel_job(job, grace_seconds=0)
            told = [one.read(LOAD_SECONDS) for one in loads]
    refused = sum(one["broken"].get("RESOURCE_EXHAUSTED", 0) for one in told)
    return max(one["last"] for one in told) - back, refused
