"""Kills or stops the server that imports it right before a step, as JOBENGINE_FAULT_AT says.

Its value is an audit event of Python, a pattern for one of the event's arguments, and which
occurrence is meant: `os.rename */stop 1`. The event comes before the step is carried out; a
fourth word is how many seconds later the server dies, or `refuse`: then it stops as of SIGSTOP,
and when it is let go on, the step fails like a connection that is refused. A + stands for a blank.
Of bytes, the first line counts: that's the request of `http.client.send`.
Launchers and shims don't import this: they start in isolated mode.
"""

import errno
import fnmatch
import os
import re
import signal
import sys
import threading


def _text(arg: object) -> str:
    if isinstance(arg, bytes):
        return arg.partition(b"\r")[0].decode(errors="replace")
    return arg if isinstance(arg, str) else ""


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _refuse() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


def _arm(event: str, pattern: str, occurrence: str, how: str = "0") -> None:
    matches = re.compile(fnmatch.translate(pattern.replace("+", " "))).match
    left = int(occurrence)

    def hook(name: str, args: tuple[object, ...]) -> None:
        nonlocal left
        if name == event and any(matches(_text(arg)) for arg in args):
            left -= 1
            if left:
                return
            if how == "refuse":
                _refuse()
            elif how == "0":
                _die()
            else:
                threading.Timer(float(how), _die).start()

    sys.addaudithook(hook)


if _fault := os.environ.get("JOBENGINE_FAULT_AT"):
    _arm(*_fault.split())
