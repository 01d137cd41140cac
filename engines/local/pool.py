"""The server's side of the launcher: keeps enough shims, and hands them attempts to run."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from engines.local.shim import RETIRE, Request, Settings

_IDLE_SECONDS: Final = 10
_RESTART_MIN_SECONDS: Final = 0.1
_RESTART_MAX_SECONDS: Final = 5.0
_STOP_SECONDS: Final = 5.0

# The launcher starts without `site`, so it is told where to import from.
_BOOTSTRAP: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from engines.local.launcher import main; main()"
)

_log = structlog.get_logger(__name__)


class Pool:
    """A launcher and its shims. To be used on one event loop.

    `on_trouble` is called when requests may have been lost with a shim or the launcher; to
    submit a request twice is harmless.
    """

    def __init__(self, settings: Settings, on_trouble: Callable[[], None]) -> None:
        self._settings = settings
        self._on_trouble = on_trouble
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._queue = -1
        self._backlog: deque[bytes] = deque()
        self._reports = b""
        self._live = 0
        self._wanted = 0
        self._peak = 0
        self._ticks = 0
        self._restart_seconds = _RESTART_MIN_SECONDS
        self._restart: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """The launcher's PID, None while there is none."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the launcher. OSError where that isn't possible."""
        self._restart = None
        queue, self._queue = os.pipe()
        os.set_blocking(self._queue, False)
        path = [str(Path(entry or ".").resolve()) for entry in sys.path]
        settings = json.dumps(self._settings)
        log = os.open(
            f"{self._settings.state_dir}/launcher.log",
            os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND,
            0o600,
        )
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    _BOOTSTRAP,
                    json.dumps(path),
                    settings,
                    str(queue),
                ],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[queue],
                start_new_session=True,
                cwd="/",
                # Settings of the server, such as tokens, are none of a job's business.
                env={k: v for k, v in os.environ.items() if not k.startswith("JOBENGINE_")},
            )
        finally:
            os.close(queue)
            os.close(log)
        assert self._process.stdout is not None  # noqa: S101  (for the type checker)
        os.set_blocking(self._process.stdout.fileno(), False)
        self._loop.add_reader(self._process.stdout.fileno(), self._read_reports)
        self._live = 0
        self._grow()

    async def close(self) -> None:
        """End the idle shims, and the launcher once there are no others; those with a job go on."""
        if self._restart is not None:
            self._restart.cancel()
        process = self._disconnect()
        if process is None:
            return
        if not self._wanted:
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, _STOP_SECONDS)
        _reap_later(process)

    def submit(self, request: Request) -> None:
        """Hand an attempt to the next idle shim."""
        self._backlog.append(request.encode())
        self._flush()

    def want(self, shims: int) -> None:
        """Say how many attempts of this pool are to run at once."""
        self._wanted = shims
        self._peak = max(self._peak, shims)
        self._grow()

    def tick(self) -> None:
        """To be called about once a second: shims that were idle for long are let go."""
        self._ticks += 1
        if self._ticks % _IDLE_SECONDS == 0:
            self._restart_seconds = _RESTART_MIN_SECONDS
            for _ in range(self._live - self._peak):
                self._backlog.append(RETIRE)
                self._live -= 1
            self._peak = self._wanted
            self._flush()

    def _grow(self) -> None:
        missing = self._wanted - self._live
        if missing > 0 and self._process is not None and self._process.stdin is not None:
            try:
                os.write(self._process.stdin.fileno(), b"+" * min(missing, 4096))
            except OSError:
                return  # it has died, which the reader of its reports is told
            self._live += min(missing, 4096)

    def _flush(self) -> None:
        if self._process is None:
            return
        while self._backlog:
            try:
                os.write(self._queue, self._backlog[0])
            except BlockingIOError:
                self._loop.add_writer(self._queue, self._flush)
                return
            except OSError:
                return  # all readers have died, which the reader of reports is told
            self._backlog.popleft()
        self._loop.remove_writer(self._queue)

    def _read_reports(self) -> None:
        assert self._process is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        try:
            data = os.read(self._process.stdout.fileno(), 65536)
        except BlockingIOError:
            return
        if not data:
            self._launcher_died()
            return
        *lines, self._reports = (self._reports + data).split(b"\n")
        failed = [line for line in lines if not line.endswith(b" 0")]
        if failed:
            _log.warning("shims died", shims=[line.decode() for line in failed])
            self._live -= len(failed)
            self._grow()
            self._on_trouble()

    def _launcher_died(self) -> None:
        process = self._disconnect()
        _log.error("the launcher died and is started again", seconds=self._restart_seconds)
        if process is not None:
            _reap_later(process)
        self._restart = self._loop.call_later(self._restart_seconds, self._start_again)
        self._restart_seconds = min(self._restart_seconds * 2, _RESTART_MAX_SECONDS)

    def _start_again(self) -> None:
        try:
            self.start()
        except OSError as exc:
            _log.error("the launcher can't be started", error=str(exc))
            self._restart = self._loop.call_later(_RESTART_MAX_SECONDS, self._start_again)
        else:
            self._on_trouble()

    def _disconnect(self) -> subprocess.Popen[bytes] | None:
        process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        self._loop.remove_reader(process.stdout.fileno())
        self._loop.remove_writer(self._queue)
        process.stdin.close()
        process.stdout.close()
        os.close(self._queue)
        self._queue = -1
        self._backlog.clear()
        self._reports = b""
        return process


def _reap_later(process: subprocess.Popen[bytes]) -> None:
    """Collect the launcher whenever it ends, which is when its last shim has."""
    if process.poll() is None:
        threading.Thread(target=process.wait, name="local-engine-reap", daemon=True).start()
