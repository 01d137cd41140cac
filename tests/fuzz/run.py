"""Random calls of a real server: `python -m tests.fuzz --seconds 600 --seed 1`."""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1.job_engine_pb2_grpc import JobEngineStub
from jobengine.v1.job_pb2 import JobSpec
from tests.clients.server import JOBENGINE, ROOT
from tests.faults import processes
from tests.fuzz.calls import PROMPT_SECONDS, Call, judge, make_call, play, write_file
from tests.fuzz.messages import SERVICE, Known

ENGINES = ("fake", "local")
WORKERS = 24
CHANNELS = 3
MAX_STREAMS = 48
"""What the server is told to allow: a stream that nobody ended would be missed at the end."""

STOP_GRACE_SECONDS = 5.0
PROBED = "probed-by-the-fuzzer"
MAX_JOBS = 150
MAX_GROWTH_BYTES = 300 << 20
REMEMBERED = 60
"""So many calls from before a failure are kept beside it."""

_SIGNS = ("Traceback", "rpc_failed", "engine_failed", "never retrieved", "was destroyed")


class Failure(AssertionError):
    """The server did what it must not do."""


@dataclass
class Report:
    """What a run has seen."""

    calls: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    probes: int = 0
    slowest_probe: float = 0.0
    rss: list[int] = field(default_factory=list)
    stop_seconds: float = 0.0

    def text(self) -> str:
        """For people."""
        by_rpc: dict[str, dict[str, int]] = {}
        for key, count in sorted(self.codes.items()):
            rpc, _, code = key.partition(" ")
            by_rpc.setdefault(rpc, {})[code] = count
        mib = [round(size / (1 << 20)) for size in self.rss]
        lines = [
            f"{self.calls} calls: {dict(self.kinds)}",
            *(f"  {rpc}: {codes}" for rpc, codes in by_rpc.items()),
            f"{self.probes} probes, the slowest {self.slowest_probe:.2f} s",
            f"RSS {mib[0]} MiB at first, {max(mib)} at most, {mib[-1]} at last",
            f"stopped in {self.stop_seconds:.1f} s",
        ]
        return "\n".join(lines)


class Target:
    """A server in a process of its own."""

    def __init__(self, engine: str, directory: Path) -> None:
        self.engine = engine
        self.log = directory / "server.log"
        self._state = directory / "state"
        options = ["--listen", "127.0.0.1:0", "--engine", engine, "--log-format", "json"]
        options += ["--max-streams", str(MAX_STREAMS), "--engine-timeout", "3"]
        options += ["--stop-grace", str(STOP_GRACE_SECONDS)]
        if engine == "local":
            options += ["--state-dir", str(self._state)]
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [JOBENGINE, "serve", *options],
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.log.read_text()
        self.address: str = json.loads(line)["address"]
        self._memory = psutil.Process(self._process.pid)

    def rss(self) -> int:
        """Its memory; the check that it lives, too."""
        if self._process.poll() is not None:
            raise Failure(f"the server ended with {self._process.returncode}")
        return self._memory.memory_info().rss

    def complaints(self) -> str:
        """What its log has of things that must not happen."""
        lines = self.log.read_text(errors="replace").splitlines()
        found = [line for line in lines if any(sign in line for sign in _SIGNS)]
        return "\n".join(found[:3])

    def stop(self) -> float:
        """Tell it to stop; how long that took."""
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(STOP_GRACE_SECONDS + 10)
        if code:
            raise Failure(f"SIGTERM ended the server with {code}")
        return time.monotonic() - began

    def close(self) -> None:
        """Leave nothing behind, however it went."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        if self.engine == "local":
            processes.kill_all(self._state.parent, self._state)


@contextmanager
def target(engine: str) -> Iterator[Target]:
    """A server for one run."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory:
        server = Target(engine, Path(directory))
        try:
            yield server
        finally:
            server.close()


class Run:
    """Calls a server from many sides until the time is over, and then looks at what is left."""

    def __init__(self, server: Target, seed: int, *, rate: float = 300.0) -> None:
        self._server = server
        self._seed = seed
        self._pause = WORKERS / rate
        self._known = Known()
        self._recent: deque[Call] = deque(maxlen=REMEMBERED)
        self._next = 0
        self.report = Report()

    async def random(self, seconds: float) -> None:
        """Make random calls for that long."""
        until = time.monotonic() + seconds

        async def work(channel: grpc.aio.Channel) -> None:
            while time.monotonic() < until:
                index = self._next
                self._next += 1
                random = Random(f"{self._seed}:{index}")
                await self._one(channel, make_call(index, random, self._known, self._server.engine))
                await asyncio.sleep(random.uniform(0, 2 * self._pause))

        async with self._channels() as channels:
            await self._around(*(work(channels[n % CHANNELS]) for n in range(WORKERS)))

    async def replay(self, calls: list[Call]) -> None:
        """Make these calls, in turn."""

        async def work(channel: grpc.aio.Channel) -> None:
            for call in calls:
                await self._one(channel, call)

        async with self._channels() as channels:
            await self._around(work(channels[0]))

    async def _one(self, channel: grpc.aio.Channel, call: Call) -> None:
        self._recent.append(call)
        outcome = await play(channel, call, self._known, self._server.engine)
        self.report.calls += 1
        self.report.kinds[call.kind] += 1
        self.report.codes[f"{call.rpc} {outcome.code.name}"] += 1
        if wrong := judge(call, outcome, self._server.engine):
            raise self._failure(f"{wrong}\n{outcome}", call)

    def _failure(self, wrong: str, call: Call | None = None) -> Failure:
        path = Path(tempfile.gettempdir()) / f"fuzz-{self._server.engine}-{self._seed}.jsonl"
        write_file(path, [*(each for each in self._recent if each is not call)])
        command = f"python -m tests.fuzz --engine {self._server.engine}"
        text = [f"seed {self._seed}: {wrong}"]
        if call is not None:
            alone = path.with_suffix(".one.jsonl")
            write_file(alone, [call])
            text += [call.text(), f"again: {command} --replay {alone}"]
        text.append(f"the calls before it: {command} --replay {path}")
        if complaints := self._server.complaints():
            text.append(f"the server's log: {complaints}")
        return Failure("\n".join(text))

    @contextmanager
    def _told_by(self, what: str) -> Iterator[None]:
        """Turn what goes wrong in a check into a failure that names it."""
        try:
            yield
        except (grpc.RpcError, TimeoutError) as error:
            raise self._failure(f"{what}: {error!r}") from error

    def _channels(self) -> Any:
        return _Channels(self._server.address, CHANNELS)

    async def _around(self, *work: Any) -> None:
        """Do the work while the server is watched, and look at the server after it."""
        async with _Channels(self._server.address, 1) as (channel,):
            stub: Any = JobEngineStub(channel)
            with self._told_by("before anything"):
                request = api.CreateJobRequest(name=PROBED, spec=JobSpec(command=["true"]))
                await stub.CreateJob(request, timeout=10)
            watching = asyncio.create_task(self._watch(stub))
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(each) for each in work]
                    done = asyncio.gather(*tasks, return_exceptions=True)
                    await asyncio.wait((done, watching), return_when=asyncio.FIRST_COMPLETED)
                    if watching.done():
                        watching.result()
            except* Failure as failures:
                raise failures.exceptions[0] from None
            finally:
                watching.cancel()
                await asyncio.wait((watching,))
            await self._check_what_is_left(channel, stub)
        self._server.rss()
        self.report.stop_seconds = await asyncio.to_thread(self._server.stop)
        if self.report.stop_seconds > STOP_GRACE_SECONDS - 1:
            raise self._failure(f"stopped in {self.report.stop_seconds:.1f} s: what was left?")
        if self._server.complaints():
            raise self._failure("what must not be in the log")

    async def _watch(self, stub: Any) -> None:
        """See now and then that others are served, how large the server is, and what it logs."""
        seen = 0
        while True:
            with self._told_by("a probe"):
                began = time.monotonic()
                await stub.ReadEngine(api.ReadEngineRequest(), timeout=PROMPT_SECONDS)
                request = api.ReadStatusRequest(name=PROBED)
                await stub.ReadStatus(request, timeout=PROMPT_SECONDS)
            self.report.probes += 1
            took = time.monotonic() - began
            self.report.slowest_probe = max(self.report.slowest_probe, took)
            self.report.rss.append(self._server.rss())
            if self.report.rss[-1] > self.report.rss[0] + MAX_GROWTH_BYTES:
                raise self._failure(f"the server has grown to {self.report.rss[-1]:,} bytes")
            if (size := self._server.log.stat().st_size) > seen:
                seen = size
                if self._server.complaints():
                    raise self._failure("what must not be in the log")
            with self._told_by("tidying up"):
                await self._tidy_up(stub)
            await asyncio.sleep(0.5)

    async def _tidy_up(self, stub: Any) -> None:
        """Remove jobs where there are too many, as many have names that no call will know."""
        answer = await stub.ListJobs(api.ListJobsRequest(page_size=1000), timeout=10)
        jobs = [job for job in answer.jobs if job.name != PROBED]
        for job in jobs[: max(0, len(jobs) - MAX_JOBS)]:
            request = api.DeleteJobRequest(name=job.name, allow_missing=True)
            await stub.DeleteJob(request, timeout=10)

    async def _check_what_is_left(self, channel: grpc.aio.Channel, stub: Any) -> None:
        with self._told_by("the health after all"):
            for service in ("", SERVICE.full_name):
                asked = health_pb2.HealthCheckRequest(service=service)
                health = await health_pb2_grpc.HealthStub(channel).Check(asked, timeout=5)
                if health.status != health_pb2.HealthCheckResponse.SERVING:
                    raise self._failure(f"the health of {service!r} after all: {health}")
        with self._told_by("as many streams as ever"):
            async with asyncio.timeout(10):
                while not await self._all_streams(stub):
                    await asyncio.sleep(0.1)  # the server may still hear of the last calls' ends

    async def _all_streams(self, stub: Any) -> bool:
        """Whether all streams that the server allows can be had."""
        request = api.WatchJobsRequest(label_selector="no-such-label")
        streams = [stub.WatchJobs(request, timeout=10) for _ in range(MAX_STREAMS)]
        try:
            first = await asyncio.gather(
                *(stream.read() for stream in streams), return_exceptions=True
            )
            return all(isinstance(each, api.WatchJobsResponse) for each in first)
        finally:
            for stream in streams:
                stream.cancel()


class _Channels:
    """Connections of their own, and no limit of this end to what is told."""

    _OPTIONS = (
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_metadata_size", 1 << 20),
        ("grpc.absolute_max_metadata_size", 1 << 20),
    )

    def __init__(self, address: str, count: int) -> None:
        self._channels = [
            grpc.aio.insecure_channel(address, options=self._OPTIONS) for _ in range(count)
        ]

    async def __aenter__(self) -> list[grpc.aio.Channel]:
        return self._channels

    async def __aexit__(self, *_: object) -> None:
        for channel in self._channels:
            await channel.close()


def fuzz(engine: str, seconds: float, seed: int, *, rate: float = 300.0) -> Report:
    """Make random calls of a server for that long.

    Raises:
        Failure: with what the server did, and how to make it do so again.
    """
    with target(engine) as server:
        run = Run(server, seed, rate=rate)
        asyncio.run(run.random(seconds))
        return run.report


def replay(engine: str, path: Path) -> Report:
    """Make the calls of a file once more."""
    calls = [Call.from_json(json.loads(line)) for line in path.read_text().splitlines()]
    with target(engine) as server:
        run = Run(server, 0)
        asyncio.run(run.replay(calls))
        return run.report


def main() -> None:
    """Fuzz as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="for all engines together")
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--engine", choices=ENGINES, help="default: one after the other")
    parser.add_argument("--rate", type=float, default=300.0, help="calls a second, about")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="calls that a failure left")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else time.time_ns() % 1_000_000
    engines = (given.engine,) if given.engine else ENGINES
    for engine in engines:
        try:
            if given.replay is not None:
                report = replay(engine, given.replay)
            else:
                print(f"{engine}: seed {seed}", flush=True)
                report = fuzz(engine, given.seconds / len(engines), seed, rate=given.rate)
        except Failure as failure:
            sys.exit(str(failure))
        print(report.text(), flush=True)
