"""One session after another with a backend that comes and goes."""

import asyncio

import pytest

from engines import link
from engines.backoff import Backoff
from engines.errors import EngineError, EngineFailed, EngineTimeout, EngineUnavailable
from engines.link import Link

pytestmark = pytest.mark.timeout(10)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "RECONNECT", Backoff(first=0.001, longest=0.001))
    monkeypatch.setattr(link, "SYNC_SECONDS", 0.2)


class Scripted:
    """A session that is lost when it is told to."""

    def __init__(self, *, syncs: bool = True) -> None:
        self.in_sync = asyncio.Event()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed_for: list[EngineError] = []
        self._syncs = syncs

    async def run(self) -> None:
        if self._syncs:
            self.in_sync.set()
        await self.lost

    async def close(self, error: EngineError) -> None:
        self.closed_for.append(error)


class Backend:
    """Gives out sessions, or an error in place of one."""

    def __init__(self, *script: Scripted | Exception) -> None:
        self.script = list(script)
        self.link = Link("the backend", self._connect)

    async def _connect(self) -> Scripted:
        if not self.script:
            await asyncio.Event().wait()
        each = self.script.pop(0)
        if isinstance(each, Exception):
            raise each
        return each


async def test_a_link_that_is_not_open() -> None:
    with pytest.raises(EngineUnavailable, match="isn't started"):
        await Backend().link.session()


async def test_a_lost_session_is_followed_by_another() -> None:
    first, second = Scripted(), Scripted()
    backend = Backend(first, EngineUnavailable("away"), second)
    backend.link.open()
    assert await backend.link.session() is first
    first.lost.set_exception(EngineTimeout("it said nothing"))
    while not first.closed_for:
        await asyncio.sleep(0)
    assert str(first.closed_for[0]) == "it said nothing"
    while await trouble(backend):
        await asyncio.sleep(0)
    assert await backend.link.session() is second
    await backend.link.close()
    assert len(second.closed_for) == 1


async def trouble(backend: Backend) -> str:
    try:
        await backend.link.session()
    except EngineUnavailable as error:
        return str(error)
    return ""


async def test_callers_are_told_at_once_that_it_is_unavailable_and_why() -> None:
    """Whatever the error was: a timeout of ours is no timeout of the call."""
    backend = Backend(EngineTimeout("no answer"))
    backend.link.open()
    with pytest.raises(EngineUnavailable, match="no answer"):
        await backend.link.session()
    await backend.link.close()


async def test_one_that_never_comes_in_sync_is_waited_for_with_a_bound() -> None:
    backend = Backend(Scripted(syncs=False))
    backend.link.open()
    with pytest.raises(EngineUnavailable, match="hasn't told its jobs yet"):
        await backend.link.session()
    await backend.link.close()


async def test_a_bug_is_met_like_trouble() -> None:
    session = Scripted()
    backend = Backend(ValueError("oops"), session)
    backend.link.open()
    with pytest.raises(EngineUnavailable, match="ValueError: oops"):
        await backend.link.session()
    while await trouble(backend):
        await asyncio.sleep(0)
    assert await backend.link.session() is session
    await backend.link.close()


@pytest.mark.parametrize(
    ("error", "pauses"),
    [(EngineUnavailable("cut off"), [1, 1, 1]), (EngineFailed("may not watch"), [1, 2, 3])],
    ids=["cut off", "refused"],
)
async def test_one_that_refuses_is_asked_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch, error: EngineError, pauses: list[int]
) -> None:
    """Though each session was in sync for a moment."""
    paused: list[int] = []

    class Recording:
        def after(self, failures: int) -> float:
            paused.append(failures)
            return 0.0

    monkeypatch.setattr(link, "RECONNECT", Recording())
    sessions = [Scripted() for _ in pauses]
    backend = Backend(*sessions)
    backend.link.open()
    for session in sessions:
        while not session.in_sync.is_set():
            await asyncio.sleep(0)
        while await trouble(backend):
            await asyncio.sleep(0)
        session.lost.set_exception(error)
    while len(paused) < len(pauses):
        await asyncio.sleep(0)
    await backend.link.close()
    assert paused == pauses
