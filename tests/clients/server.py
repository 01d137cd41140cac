"""A real server in a process of its own, which tests can stop, kill and start again."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

JOBENGINE = Path(sys.executable).with_name("jobengine")
ROOT = Path(__file__).resolve().parents[2]
_DEADLINE_SECONDS = 20


class Server:
    """`jobengine serve` on one state directory; every start takes the port of the first."""

    def __init__(self, engine: str, state_dir: Path, *options: str) -> None:
        self._engine = engine
        self._state_dir = state_dir
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self.address = "127.0.0.1:0"

    def start(self) -> None:
        """Start, and wait until it serves."""
        self._state_dir.mkdir(exist_ok=True)
        arguments = ("--engine", self._engine, "--listen", self.address, *self._options)
        if self._engine == "local":
            arguments = (*arguments, "--state-dir", str(self._state_dir))
        with (self._state_dir / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                [JOBENGINE, "serve", *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, (self._state_dir / "server.log").read_text()
        self.address = json.loads(line)["address"]

    def terminate(self) -> int:
        """Stop it by SIGTERM; return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Stop it as a crash would."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Stop it if it still runs."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        process, self._process = self._process, None
        assert process.stdout is not None
        process.send_signal(number)
        try:
            return process.wait(_DEADLINE_SECONDS)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


NewServer = Callable[..., Server]
"""The fixture `new_server`: an engine's name, and options of `jobengine serve`."""
