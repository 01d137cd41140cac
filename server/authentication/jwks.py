"""Where an issuer's keys come from, a file or a URL, and how they are kept fresh."""

import asyncio
import functools
import random
import time
from pathlib import Path
from typing import Final, Protocol

import structlog

from server.authentication import keys
from server.authentication.config import JwtIssuer
from server.authentication.download import download
from server.authentication.keys import Keys
from server.broadcast import Broadcast
from server.files import ReloadedFile, read_bytes

AT_MOST_EVERY_SECONDS: Final = 10.0
"""How often a URL is asked at most, however many tokens name keys that aren't known."""

REFRESH_SECONDS: Final = 300.0
"""How often a URL is asked, give or take a tenth, so that servers don't ask in step."""

KEEP_SECONDS: Final = 24 * 3600.0
"""How long keys are good after the URL has last answered."""

WAIT_SECONDS: Final = 6.0
"""How long a call waits for a URL's answer."""

_log = structlog.get_logger()


class KeySource(Protocol):
    """The keys of one issuer."""

    @property
    def keys(self) -> Keys:
        """Those known now; none before the first could be had."""
        ...

    @property
    def version(self) -> int:
        """Increases whenever the keys have changed."""
        ...

    @property
    def fine(self) -> bool:
        """Whether they could be had when that was last tried."""
        ...

    @property
    def read_time(self) -> float:
        """When that was, in seconds since the epoch; 0: never."""
        ...

    async def refresh(self) -> None:
        """Look for new keys, unless that was done just now; never raises."""
        ...

    async def follow(self) -> None:
        """Keep the keys fresh."""
        ...


def key_source(issuer: JwtIssuer) -> KeySource:
    """What gets an issuer's keys.

    Raises:
        ValueError: they are in a file, which can't be used.
    """
    return KeyUrl(issuer) if issuer.is_url else KeyFile(issuer)


class KeyFile(ReloadedFile[Keys]):
    """Keys in a file; while it is malformed, the last good ones."""

    def __init__(self, issuer: JwtIssuer) -> None:
        super().__init__("jwks", Path(issuer.jwks), functools.partial(_read, issuer))

    @property
    def keys(self) -> Keys:
        """Those known now."""
        return self.content

    async def refresh(self) -> None:
        """Nothing: the file is looked at often enough."""


def _read(issuer: JwtIssuer, path: Path) -> Keys:
    try:
        return keys.parse(read_bytes(path, keys.MAX_BYTES), issuer.algorithms)
    except OSError as error:
        raise ValueError(
            f"{path}: {error.strerror or error}: name a file with the keys of "
            f"{issuer.issuer}, or an https URL"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


class KeyUrl:
    """Keys at a URL: asked for every few minutes, and when a token names one that isn't known.

    While it doesn't answer, or not with keys, the last ones stay good for a day.
    """

    def __init__(self, issuer: JwtIssuer) -> None:
        self._issuer = issuer
        self.keys = keys.NO_KEYS
        self.version = 0
        self._asking: asyncio.Task[None] | None = None
        self._answers = Broadcast()
        self._next = 0.0
        self._answered = time.monotonic()
        self._failures = 0
        self.read_time = 0.0

    @property
    def fine(self) -> bool:
        """Whether the URL gave keys when it was last asked."""
        return not self._failures

    async def refresh(self) -> None:
        """Ask, if that wasn't done just now; all who come meanwhile wait for the same answer."""
        if self._asking is None:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + AT_MOST_EVERY_SECONDS
            self._asking = asyncio.create_task(self._ask())
        await self._answers.wait(WAIT_SECONDS)

    async def follow(self) -> None:
        """Ask again and again: less often while it fails, as often as otherwise at last."""
        try:
            while True:
                await self.refresh()
                await asyncio.sleep(self._pause_seconds())
        finally:
            if self._asking is not None:
                self._asking.cancel()

    def _pause_seconds(self) -> float:
        spread = random.uniform(0.9, 1.1)  # noqa: S311
        if not self._failures:
            return REFRESH_SECONDS * spread
        longer: float = AT_MOST_EVERY_SECONDS * 1.2 * 2 ** min(self._failures - 1, 10)
        return min(longer, REFRESH_SECONDS) * spread

    async def _ask(self) -> None:
        issuer = self._issuer
        try:
            raw = await asyncio.to_thread(
                download,
                issuer.jwks,
                max_bytes=keys.MAX_BYTES,
                ca=issuer.jwks_ca,
                token=issuer.jwks_token,
            )
            new = keys.parse(raw, issuer.algorithms)
        except (OSError, ValueError) as error:
            self._failed(error)
        else:
            self._take(new)
        finally:
            self._asking = None
            self._answers.wake_all()

    def _take(self, new: Keys) -> None:
        if self._failures:
            _log.info("jwks_fetched_again", issuer=self._issuer.issuer, failures=self._failures)
        self._answered, self._failures = time.monotonic(), 0
        self.read_time = time.time()
        if new.ids != self.keys.ids:
            self.keys = new
            self.version += 1
            _tell_loaded(self._issuer, new)

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        names = {"issuer": self._issuer.issuer, "url": self._issuer.jwks}
        if self._failures == 1:
            _log.error("jwks_fetch_failed", **names, error=str(error))
        if self.keys.ids and time.monotonic() - self._answered > KEEP_SECONDS:
            self.keys = keys.NO_KEYS
            self.version += 1
            _log.error("jwks_dropped", **names, error=f"no answer for {KEEP_SECONDS / 3600:g} h")


def _tell_loaded(issuer: JwtIssuer, new: Keys) -> None:
    _log.info("jwks_loaded", issuer=issuer.issuer, keys=new.kids, ignored=new.ignored)
