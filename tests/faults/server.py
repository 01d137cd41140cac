"""A server that can also be killed at a chosen step, frozen, moved, or refuse to start."""

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import psutil

from tests.clients.server import JOBENGINE, ROOT
from tests.faults.processes import until

INJECTED = Path(__file__).with_name("injected")
DEADLINE_SECONDS = 20


class FaultyServer:
    """`jobengine serve`, on the local engine; every start takes the port of the first."""

    def __init__(self, state_dir: Path, *options: str) -> None:
        self.state_dir = state_dir
        self.address = "127.0.0.1:0"
        self._options = options
        self._process: subprocess.Popen[str] | None = None

    @property
    def log(self) -> Path:
        """What the server writes to stderr, over all its starts; not in its state directory."""
        return next(p for p in self.state_dir.parents if p.is_dir()) / "server.log"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, fault: str = "") -> None:
        """Start, and wait until it serves; `fault` is a step of `injected.sitecustomize`."""
        self._process = self.spawn(fault)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.kill()
            raise AssertionError(f"the server didn't start:\n{self.log.read_text()}")
        self.address = json.loads(line)["address"]

    def engine_options(self) -> tuple[str, ...]:
        """Which engine, and where it is."""
        return "--engine", "local", "--state-dir", str(self.state_dir)

    def environment(self) -> dict[str, str]:
        """Variables that it has besides those of the test run."""
        return {}

    def spawn(self, fault: str = "") -> subprocess.Popen[str]:
        """Start it without waiting for anything."""
        options = (*self.engine_options(), "--listen", self.address, *self._options)
        with self.log.open("a") as log:
            return subprocess.Popen(
                [JOBENGINE, "serve", *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env={
                    **os.environ,
                    **self.environment(),
                    "PYTHONPATH": f"{INJECTED}:{ROOT}",
                    "JOBENGINE_FAULT_AT": fault,
                },
            )

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """End it by SIGTERM; return its exit code."""
        return self._end(signal.SIGTERM)

    def wait_for_its_death(self) -> None:
        """Wait until the fault that it was started with has killed it."""
        assert self._process is not None
        try:
            code = self._process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError("the server never came to the step where it was to die") from None
        self.kill()
        assert code == -signal.SIGKILL, self.log.read_text()

    def wait_for_its_stop(self) -> None:
        """Wait until the fault that it was started with has stopped it."""
        process = psutil.Process(self.pid)
        until("the server is stopped", lambda: process.status() == psutil.STATUS_STOPPED)

    def close(self) -> None:
        """End it if it still runs, frozen or not."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.send(signal.SIGCONT)
                self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        process, self._process = self._process, None
        assert process.stdout is not None
        process.send_signal(number)
        try:
            return process.wait(DEADLINE_SECONDS)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
