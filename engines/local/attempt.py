"""Watches over one running command: its output, its end, its deadline and requests to stop."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Final

import psutil

from engines.lifecycle import facts
from engines.lifecycle.facts import End
from engines.local import record, tree
from engines.local.cgroup import Group
from engines.local.child import Child
from engines.local.log import READ_BYTES, STDERR, STDOUT, LogWriter

_DRAIN_SECONDS: Final = 5.0
_KILL_AGAIN_SECONDS: Final = 1.0


class Supervisor:
    """A running command."""

    def __init__(self, command: Child, log: LogWriter, group: Group | None, wakeup: int) -> None:
        self._pid = command.pid
        self._log = log
        self._group = group
        self._wakeup = wakeup
        self._status: int | None = None
        self._stopped = ""
        self._killed = False
        self._grace = 0.0
        self._streams = {command.stdout: STDOUT, command.stderr: STDERR}
        self._timers: dict[Callable[[], None], float] = {}
        self._poll = select.poll()
        for fd in (*self._streams, wakeup):
            self._poll.register(fd, select.POLLIN)

    def run(self, timeout: float | None, grace: float, mark: tuple[str, str]) -> End:
        """Wait for the command's end, and end all that it left behind."""
        self._mark = mark
        self._grace = grace
        if timeout is not None:
            self._timers[self._time_out] = time.monotonic() + timeout
        while self._status is None:
            self._step(min(self._timers.values(), default=None))
            now = time.monotonic()
            for action in [action for action, due in self._timers.items() if due <= now]:
                del self._timers[action]
                action()
        end_time = time.time()
        oom = self._oom_killed()
        self._end_rest()
        self._drain()
        code = os.waitstatus_to_exitcode(self._status)
        return End(
            self._stopped or facts.EXITED,
            end_time,
            code if code >= 0 else None,
            max(-code, 0),
            oom=oom,
            lost_bytes=self._log.lost_bytes,
        )

    def _step(self, until: float | None) -> None:
        """Handle what happens next, or nothing if `until` comes first."""
        milliseconds = None if until is None else max(until - time.monotonic(), 0.0) * 1000 + 1
        for fd, _ in self._poll.poll(milliseconds):
            if fd == self._wakeup:
                self._signalled()
            elif data := os.read(fd, READ_BYTES):
                self._log.write(self._streams[fd], data)
            else:
                self._close(fd)

    def _signalled(self) -> None:
        with contextlib.suppress(BlockingIOError):
            received = os.read(self._wakeup, 4096)
            self._reap()
            if signal.SIGTERM in received and self._status is None:
                self._read_stop()

    def _read_stop(self) -> None:
        stop = record.read_stop()
        if stop is not None:
            self._grace = min(self._grace, stop.grace) if self._stopped else stop.grace
            self._terminate(facts.STOPPED)

    def _time_out(self) -> None:
        self._terminate(facts.TIMED_OUT)

    def _terminate(self, reason: str) -> None:
        """Ask everything to end, and see to it after the grace time."""
        if not self._stopped:
            self._stopped = reason
            if self._grace > 0:
                tree.send(self._find(), signal.SIGTERM)
        due = time.monotonic() + self._grace
        self._timers[self._kill] = min(self._timers.get(self._kill, due), due)

    def _kill(self) -> None:
        self._killed = True
        if self._group is None or not self._group.kill():
            tree.kill(self._find, self._reap)
        self._timers[self._kill] = time.monotonic() + _KILL_AGAIN_SECONDS

    def _find(self) -> list[psutil.Process]:
        if tree.HAS_SUBREAPER:
            return tree.descendants(os.getpid())
        return tree.marked(*self._mark)

    def _reap(self) -> bool:
        """Collect children that have ended; False once there are none at all."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self._pid:
                    self._status = status
        except ChildProcessError:
            return False

    def _oom_killed(self) -> bool:
        """Whether the kernel ended the command for want of memory.

        A shell whose own command was killed so says 137 by convention, and nothing else.
        """
        code = os.waitstatus_to_exitcode(self._status or 0)
        suspicious = code in (-signal.SIGKILL, 128 + signal.SIGKILL) and not self._killed
        return suspicious and self._group is not None and self._group.oom_kills() > 0

    def _end_rest(self) -> None:
        """End whatever the command has left running, as a container would."""
        if not self._reap() and tree.HAS_SUBREAPER:
            return
        if self._group is not None:
            self._group.kill()
        tree.kill(self._find, self._reap)

    def _drain(self) -> None:
        """Read the output to its end; not for ever, as a stranger may hold the pipes open."""
        end = time.monotonic() + _DRAIN_SECONDS
        while self._streams and time.monotonic() < end:
            self._step(end)
        for fd in list(self._streams):
            self._close(fd)

    def _close(self, fd: int) -> None:
        self._poll.unregister(fd)
        del self._streams[fd]
        os.close(fd)
