"""Asks why jobs have no pods: a quota, a missing service account. Only Kubernetes' events tell."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from engines.errors import EngineError
from engines.kubernetes.api import Api
from engines.kubernetes.tracked import Tracked

LOOK_SECONDS: Final = 3.0
"""How often it is seen which jobs have no pod. Those that had none before are asked about."""

GROWTH: Final = 2.0
MAX_PAUSE_SECONDS: Final = 60.0
"""Where only those wait that were asked about before, they are asked about ever more rarely."""

SHARE: Final = 0.05
"""How much of the time may go into asking: a namespace may have ten thousands of such events."""

_log = structlog.get_logger(__name__)


class Podless:
    """Notes Kubernetes' words in the jobs of `active`, by uid; `tell` is called with such a uid.

    One list of events answers for all jobs. 10,000 jobs that a quota kept waiting took 3,000
    requests a minute when each was asked about by itself.
    """

    def __init__(
        self, api: Api, active: Mapping[str, Tracked], tell: Callable[[str], None]
    ) -> None:
        self._api = api
        self._active = active
        self._tell = tell
        self._waiting: set[str] = set()
        self._asked: set[str] = set()
        self._pause = LOOK_SECONDS
        self._soonest = 0.0  # for jobs that weren't asked about yet
        self._next = 0.0

    async def ask_for_ever(self) -> None:
        """Ask whenever that is due."""
        while True:
            await asyncio.sleep(LOOK_SECONDS * random.uniform(0.9, 1.1))  # noqa: S311
            before, self._waiting = self._waiting, self._without_pods()
            lasting = before & self._waiting
            fresh = not lasting <= self._asked
            if lasting and time.monotonic() >= (self._soonest if fresh else self._next):
                await self._ask(lasting, fresh=fresh)

    def _without_pods(self) -> set[str]:
        return {
            uid
            for uid, tracked in self._active.items()
            if not (
                tracked.pods
                or tracked.suspended
                or tracked.stopping
                or tracked.status.start_time is not None
            )
        }

    async def _ask(self, lasting: set[str], *, fresh: bool) -> None:
        began = time.monotonic()
        self._pause = LOOK_SECONDS if fresh else min(GROWTH * self._pause, MAX_PAUSE_SECONDS)
        try:
            said = await self._api.failed_creates()
        except EngineError as error:
            _log.info("kubernetes_events_not_read", why=str(error))
            said = {}
        now = time.monotonic()
        self._asked = lasting
        self._soonest = now + (now - began) / SHARE
        self._next = max(self._soonest, now + self._pause)
        for uid in lasting & said.keys():
            tracked = self._active.get(uid)
            if tracked is not None and not tracked.pods:
                tracked.words = said[uid]
                self._tell(uid)
