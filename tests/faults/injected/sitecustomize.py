"""Kills or stops the server that imports it right before a step, as JOBENGINE_FAULT_AT says.

Its value is an audit event of Python, a pattern for one of the event's arguments, and which
occurrence is meant: `os.rename */stop 1`. The event comes before the step is carried out; a
fourth word is how many seconds later the server dies, or `refuse`: then it stops as of SIGSTOP,
and when it is let go on, the step fails like a connection that is refused. A + stands for a blank.
Of bytes, the first line counts: that's the request of `http.client.send`.

No event of Python's tells what goes over TLS. What uses aiohttp gets two of ours: `aiohttp.request`
before a request is made, and `aiohttp.answer` once the head of its answer is there; their argument
is method and path, `POST /jobs`.
Launchers and shims don't import this: they start in isolated mode.
"""

import errno
import fnmatch
import os
import re
import signal
import sys
import threading
from typing import Any


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


def _tell_of_aiohttp() -> None:
    """Have aiohttp's client raise audit events, as http.client does."""
    import aiohttp
    from yarl import URL

    request = aiohttp.ClientSession._request

    async def audited(self: aiohttp.ClientSession, method: str, url: str | URL, **rest: Any) -> Any:
        what = f"{method} {URL(url).path}"
        sys.audit("aiohttp.request", what)
        answer = await request(self, method, url, **rest)
        sys.audit("aiohttp.answer", what)
        return answer

    aiohttp.ClientSession._request = audited  # type: ignore[assignment]


if _fault := os.environ.get("JOBENGINE_FAULT_AT"):
    if _fault.startswith("aiohttp."):
        _tell_of_aiohttp()
    _arm(*_fault.split())
