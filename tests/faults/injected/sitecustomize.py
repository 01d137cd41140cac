"""Kills the server that imports it right before a chosen step, as JOBENGINE_FAULT_AT says.

Its value is an audit event of Python, a pattern for one of the event's arguments, and which
occurrence is meant: `os.rename */stop 1`. The event comes before the step is carried out.
Launchers and shims don't import this: they start in isolated mode.
"""

import fnmatch
import os
import re
import signal
import sys


def _arm(event: str, pattern: str, occurrence: str) -> None:
    matches = re.compile(fnmatch.translate(pattern)).match
    left = int(occurrence)

    def hook(name: str, args: tuple[object, ...]) -> None:
        nonlocal left
        if name == event and any(isinstance(arg, str) and matches(arg) for arg in args):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if _fault := os.environ.get("JOBENGINE_FAULT_AT"):
    _arm(*_fault.split())
