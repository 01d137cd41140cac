"""What looking at an installation has shown; for `jobengine doctor`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from engines.errors import EngineError
from engines.threads import Threads

T = TypeVar("T")

LOOK_SECONDS: Final = 5.0
"""How long one look may take, where nothing else is said."""

CLOCK_SECONDS: Final = 5.0
"""How far a clock may be from ours: what is nearer is seldom noticed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look has shown.

    `what` is its subject, in a word or three; `words` say what was seen and, unless that is fine,
    what to do. Neither has secrets in it.
    """

    fine: bool
    what: str
    words: str


def fine(what: str, words: str) -> Finding:
    """Nothing is to be mended here."""
    return Finding(fine=True, what=what, words=words)


def amiss(what: str, words: str) -> Finding:
    """Something is to be mended."""
    return Finding(fine=False, what=what, words=words)


async def look(
    what: str, looking: Awaitable[Sequence[Finding]], seconds: float = LOOK_SECONDS
) -> Sequence[Finding]:
    """What a look has shown; that it failed, or took longer than this, is a finding as well."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await looking
    except (EngineError, OSError, ValueError) as error:
        if limit.expired():
            return [amiss(what, f"no answer within {seconds:g} s")]
        return [amiss(what, str(error) or type(error).__name__)]
    except Exception as error:  # noqa: BLE001  (one that fails is no reason not to take the others)
        return [amiss(what, f"looking at it failed: {type(error).__name__}: {error}")]


async def on_a_thread(what: str, function: Callable[[], T]) -> T:
    """Call what blocks; for a caller that gives up, its thread is left behind."""
    outcome = await Threads(exclusive=False).call(what, function)
    if outcome.error is not None:
        raise outcome.error
    return cast("T", outcome.value)


def clock(what: str, ahead: float) -> Finding:
    """Another clock that is so many seconds ahead of ours, or behind it."""
    if abs(ahead) <= CLOCK_SECONDS:
        return fine(what, "agrees with this machine's")
    direction = "ahead of" if ahead > 0 else "behind"
    return amiss(
        what,
        f"is {abs(ahead):.0f} s {direction} this machine's: times of jobs are wrong, and tokens "
        "expire too soon or too late; set both by NTP",
    )


def many(count: int, thing: str) -> str:
    """So many of these, in words."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
