"""How much callers may ask for: requests in a second, calls and streams at once."""

import time
from types import TracebackType
from typing import Final

from server.errors import ServerLimit
from server.policy import Limits

SECONDS_OF_BURST: Final = 2.0
"""How long a subject may have saved up, where its burst isn't given."""


class TokenBucket:
    """Lets through `per_second` requests, and at once as many as were saved up to `burst`."""

    def __init__(self, per_second: float, burst: float | None = None) -> None:
        self._per_second = per_second
        self._burst = max(per_second * SECONDS_OF_BURST if burst is None else burst, 1.0)
        self._tokens = self._burst
        self._filled = time.monotonic()

    def take(self) -> float:
        """Take a request's token; 0, or the seconds until there will be one if there is none."""
        now = time.monotonic()
        saved = self._tokens + (now - self._filled) * self._per_second
        self._tokens, self._filled = min(saved, self._burst), now
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / self._per_second
        self._tokens -= 1.0
        return 0.0


class Places:
    """So many may be inside at once, by `with`; the next is refused rather than kept waiting.

    It is its own context manager, since ten thousand may be inside.
    """

    def __init__(self, limit: str, size: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self.size = size
        self.taken = 0

    def __enter__(self) -> None:
        """Go in.

        Raises:
            ServerLimit: all places are taken.
        """
        if self.taken >= self.size:
            raise ServerLimit(self._limit, f"the limit of {self.size} {self._what}")
        self.taken += 1

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave."""
        self.taken -= 1


class Account:
    """What a subject has under way, and what is left of what it may."""

    def __init__(self, max_streams: int) -> None:
        self._max_streams = max_streams
        self._limits = Limits()
        self._bucket: TokenBucket | None = None
        self.creating = 0
        self.streams = Places(
            "subject.streams",
            max_streams,
            "streams that you may have open at once is reached: "
            "end some, or watch many jobs through one WatchJobs",
        )

    def allow(self, limits: Limits) -> None:
        """Go by these limits from now on; what is under way stays counted."""
        if limits == self._limits:
            return
        self._limits = limits
        self.streams.size = self._max_streams if limits.streams is None else limits.streams
        rate = limits.requests_per_second
        self._bucket = None if rate is None else TokenBucket(rate, limits.burst)

    def take_request(self) -> None:
        """Count a request.

        Raises:
            ServerLimit: there were too many lately.
        """
        if self._bucket is not None and (wait := self._bucket.take()):
            raise ServerLimit(
                "subject.requests_per_second",
                f"the limit of {self._limits.requests_per_second:g} requests a second that you "
                "may make is reached: make fewer, or watch instead of asking again",
                wait,
            )
