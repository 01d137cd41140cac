"""Keeps in touch with what runs the jobs, however often that goes away."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, Generic, Protocol, TypeVar

import structlog

from engines.backoff import Backoff
from engines.errors import EngineError, EngineFailed, EngineUnavailable

RECONNECT: Final = Backoff(first=0.2, longest=5.0)
SYNC_SECONDS: Final = 20.0
"""How long a call waits for a session where the backend isn't known to be away."""

_log = structlog.get_logger(__name__)


class Session(Protocol):
    """One connection to a backend: what is known over it, and what is under way."""

    in_sync: asyncio.Event
    """Set once all that the backend has is known."""

    async def run(self) -> None:
        """Keep up with the backend; raises an EngineError when it is lost."""
        ...

    async def close(self, error: EngineError) -> None:
        """End what is under way, for this reason; jobs stay as they are."""
        ...


S = TypeVar("S", bound=Session)
T = TypeVar("T")


async def outcome(task: asyncio.Task[T], what: str) -> T:
    """What becomes of a task that goes on when its caller gives up; `what` is the backend's name.

    Raises:
        EngineUnavailable: it was ended because the connection is lost.
    """
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if task.cancelled() and current is not None and not current.cancelling():
            raise EngineUnavailable(f"{what} went away meanwhile: ask again") from None
        raise


class Link(Generic[S]):
    """One session after another, each made by `connect`, which may raise an EngineError."""

    def __init__(self, what: str, connect: Callable[[], Awaitable[S]]) -> None:
        self._what = what
        self._connect = connect
        self._session: S | None = None
        self._trouble: EngineError | None = None
        self._news = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to look for the backend; it may be away."""
        self._life = asyncio.create_task(self._live())

    async def close(self) -> None:
        """End the session."""
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)

    async def session(self) -> S:
        """The session, once it is in sync.

        Raises:
            EngineUnavailable: the backend is away; why, whatever kind of error that was.
        """
        if self._life is None:
            raise EngineUnavailable(f"the engine for {self._what} isn't started")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SYNC_SECONDS):
                while self._session is None and self._trouble is None:
                    await self._news.wait()
        if self._session is None:
            raise EngineUnavailable(str(self._trouble or f"{self._what} hasn't told its jobs yet"))
        return self._session

    async def _live(self) -> None:
        failures = 0
        while True:
            self._trouble = await self._until_lost()
            if self._session is not None:
                self._session = None
                # One that refuses won't do better at once, as one that was cut off may.
                if not isinstance(self._trouble, EngineFailed):
                    failures = 0
            self._tell()
            failures += 1
            await asyncio.sleep(RECONNECT.after(failures))

    async def _until_lost(self) -> EngineError:
        """Have one session; return why it ended."""
        try:
            session = await self._connect()
        except EngineError as error:
            return error
        except Exception as error:  # noqa: BLE001  (the next try may do better)
            return self._unexpected(error)
        trouble: EngineError = EngineUnavailable(f"{self._what}: the server is stopping")
        run = asyncio.create_task(session.run())
        try:
            synced = asyncio.create_task(session.in_sync.wait())
            await asyncio.wait([run, synced], return_when=asyncio.FIRST_COMPLETED)
            synced.cancel()
            if session.in_sync.is_set():
                self._session, self._trouble = session, None
                self._tell()
            await run
            trouble = EngineUnavailable(f"{self._what} ended the connection")
        except EngineError as error:
            trouble = error
        except Exception as error:  # noqa: BLE001  (the next session may do better)
            trouble = self._unexpected(error)
        finally:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
            await session.close(trouble)
        return trouble

    def _unexpected(self, error: Exception) -> EngineError:
        _log.error("engine_session_failed", backend=self._what, exc_info=error)
        return EngineUnavailable(f"{type(error).__name__}: {error}")

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
