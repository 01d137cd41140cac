"""The engine: whether it can be made, and what it finds out by itself."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from engines.base import Engine
from engines.config import InvalidEngine, JobManager
from engines.errors import EngineError
from engines.findings import Finding, amiss, on_a_thread
from server.settings import Settings

ENGINE_SECONDS: Final = 15.0
"""How long an engine may look at itself; what it has found by then counts."""


async def examine_engine(settings: Settings) -> Sequence[Finding]:
    """What the engine of these settings says of its installation."""
    found: list[Finding] = []
    limit = asyncio.timeout(ENGINE_SECONDS)
    try:
        async with limit:
            # On a thread, for it may be anybody's class, and importing an SDK takes its time.
            engine = await on_a_thread("engine", lambda: _make(settings))
            await _collect(engine, found)
    except (EngineError, InvalidEngine, OSError) as error:
        late = f"no answer within {ENGINE_SECONDS:g} s: is all up that it needs?"
        found.append(amiss(settings.engine, late if limit.expired() else str(error)))
    except Exception as error:  # noqa: BLE001  (an engine may be anybody's)
        found.append(amiss(settings.engine, f"{type(error).__name__}: {error}"))
    return found


def _make(settings: Settings) -> Engine:
    return JobManager(settings.engine, **settings.of_engine())


async def _collect(engine: Engine, found: list[Finding]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        findings = engine.examine()
        if (close := getattr(findings, "aclose", None)) is not None:
            stack.push_async_callback(close)
        async for finding in findings:
            found.append(finding)  # noqa: PERF401  (each counts, also where the next never comes)
