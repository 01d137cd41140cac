"""Works on the shared directory without holding up the event loop, however long that hangs."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar, cast

from engines import EngineTimeout
from engines.slurm.store import unwritten
from engines.threads import Threads

DISK_SECONDS: Final = 30.0
"""How long a piece of work may take before it is given up. It may happen still."""

T = TypeVar("T")


class Disk:
    """Threads for what blocks."""

    def __init__(self) -> None:
        self._threads = Threads(exclusive=False)

    async def do(self, what: str, work: Callable[[], T], seconds: float = DISK_SECONDS) -> T:
        """Do a piece of work that is about this job, or whatever else.

        Raises:
            EngineTimeout: the file system doesn't answer.
            LimitReached: it is full.
            EngineFailed: it refused.
        """
        try:
            async with asyncio.timeout(seconds):
                outcome = await self._threads.call(what, work)
        except TimeoutError:
            raise EngineTimeout(
                f"the engine's directory didn't answer within {seconds:g} s"
            ) from None
        if isinstance(outcome.error, OSError):
            raise unwritten(outcome.error) from outcome.error
        if outcome.error is not None:
            raise outcome.error
        return cast("T", outcome.value)
