"""When a failed call is made again, and when that ends."""

import random
import time
from dataclasses import dataclass

_FIRST_DELAY_SECONDS = 0.1
_MAX_DELAY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a client keeps trying. Times in seconds.

    Delays between attempts double from 0.1 s up to 10 s, are jittered, and are never shorter
    than what the server asks for.
    """

    retry_for_seconds: float = 5.0
    """For how long a call that found the service unavailable is made again."""

    resume_for_seconds: float = 300.0
    """For how long a stream that was interrupted is resumed, without hearing anything."""

    heartbeat_seconds: float = 50.0
    """How often a quiet watch wants to hear from the server. After twice that and a second in
    silence, the watch takes its connection for dead. Held within 1 s and 5 min."""

    @property
    def silence_seconds(self) -> float:
        """How long a watch may be silent before its connection is taken for dead."""
        return 2 * min(max(self.heartbeat_seconds, 1.0), 300.0) + 1


class Backoff:
    """The delays between the attempts at one thing, until the time for it runs out."""

    def __init__(self, budget_seconds: float) -> None:
        self._budget = budget_seconds
        self._failures = 0
        self._failing_since = 0.0

    def succeeded(self, budget_seconds: float) -> None:
        """Begin anew, with this budget for the next series of failures."""
        self._budget = budget_seconds
        self._failures = 0

    def next_delay(self, at_least: float | None = None) -> float | None:
        """How long to wait after the failure just seen; None: it is time to give up."""
        now = time.monotonic()
        if not self._failures:
            self._failing_since = now
        longest = min(_FIRST_DELAY_SECONDS * 2 ** min(self._failures, 20), _MAX_DELAY_SECONDS)
        self._failures += 1
        delay = max(random.uniform(longest / 2, longest), at_least or 0.0)  # noqa: S311
        return delay if now + delay <= self._failing_since + self._budget else None
