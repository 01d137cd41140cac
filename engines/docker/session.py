"""One connection to the daemon: takes up what is there, follows events, and checks on both.

Events are hints: a daemon keeps few of them, drops some for slow readers, and tells nothing of what
happened while it was down. The truth is what it lists and what its containers say when inspected.
So everything is listed at the start and again from time to time, and the end of a stream says
nothing but that the connection is gone.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from engines.docker import record
from engines.docker.api import Api
from engines.docker.controller import Controller
from engines.docker.daemon import Daemon
from engines.docker.history import History
from engines.docker.record import Labels, read_key
from engines.docker.survey import Findings, survey, take_labels
from engines.errors import EngineError, EngineUnavailable

PING_INTERVAL_SECONDS: Final = 3.0
LIST_INTERVAL_SECONDS: Final = 60.0
OVERLAP_SECONDS: Final = 2.0
"""How far back the event stream begins: the SDK knows whole seconds only."""

_WATCHED: Final = frozenset({"start", "die", "destroy", "remove"})


class Session:
    """From a connection's beginning until it is lost."""

    def __init__(
        self, daemon: Daemon, api: Api, labels: Labels, controller: Controller, history: History
    ) -> None:
        self._daemon = daemon
        self._api = api
        self._labels = labels
        self._history = history
        self._events: deque[Mapping[str, Any]] = deque()
        self._news = asyncio.Event()
        self.controller = controller

    async def run(self, in_sync: asyncio.Event) -> None:
        """Keep up with the daemon; sets `in_sync` once all jobs are taken up.

        Raises:
            EngineError: the daemon is lost.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._collect())
                group.create_task(self._ping_for_ever())
                if not self.controller.about.podman:  # it keeps its events longer than itself
                    for event in await self._api.past_events(self.controller.now()):
                        self._history.note(event)
                await self._compare()
                in_sync.set()
                group.create_task(self._handle())
                group.create_task(self._compare_for_ever())
        except* EngineError as errors:
            raise errors.exceptions[0] from None

    async def _collect(self) -> None:
        events = self._api.events(self.controller.now() - OVERLAP_SECONDS)
        async with contextlib.aclosing(events):
            async for event in events:
                self._history.note(event)
                self._events.append(event)
                self._news.set()
        raise EngineUnavailable("Docker's event stream has ended")

    async def _handle(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._events:
                await self._take(self._events.popleft())

    async def _take(self, event: Mapping[str, Any]) -> None:
        action, actor = event.get("Action"), event["Actor"]
        said: Mapping[str, str] = actor.get("Attributes") or {}
        if event.get("Type") == "volume":
            if str(actor["ID"]).startswith(self._labels.prefix):
                await self._take_volume(str(action), str(actor["ID"]))
        elif action in _WATCHED and (owner := self._labels.owner(said)) is not None:
            key = read_key(said)
            if key is not None:
                self.controller.container_changed(owner.uid, key, str(actor["ID"]))

    async def _take_volume(self, action: str, name: str) -> None:
        """A job or a decision has come or gone, mostly by our own doing."""
        if self.controller.expects(name, there=action == "create"):
            return
        said = await self._api.volume_labels(name)
        if said is None:
            job = self.controller.jobs.get(self._labels.parse_volume(name)[0])
            if job is not None:
                await self.controller.missing(job)
            return
        owner = self._labels.owner(said)
        if owner is None:
            return
        if owner.kind == record.JOB:
            await self.controller.take_up_volume(said)
        else:
            findings = Findings()
            take_labels(findings, owner.kind, said, self.controller.now())
            self.controller.decided(owner.uid, findings)

    async def _ping_for_ever(self) -> None:
        while True:
            await self._daemon.ping()
            await asyncio.sleep(PING_INTERVAL_SECONDS)

    async def _compare_for_ever(self) -> None:
        while True:
            await asyncio.sleep(LIST_INTERVAL_SECONDS * random.uniform(0.9, 1.1))  # noqa: S311
            await self._compare()

    async def _compare(self) -> None:
        """Hold what is known against what there is.

        Containers are listed before volumes: a job's volume is made before its containers, so
        that a container without one belongs to a job that is gone.
        """
        controller = self.controller
        known = dict(controller.jobs)
        containers = await self._api.containers()
        volumes = await self._api.volumes()
        found = survey(self._labels, containers, volumes, controller.now())
        async with asyncio.TaskGroup() as group:
            for uid, findings in found.items():
                group.create_task(self._meet(uid, findings))
        for job in known.values():
            if job.uid not in found or found[job.uid].kept is None:
                await controller.missing(job)

    async def _meet(self, uid: str, findings: Findings) -> None:
        controller = self.controller
        kept = findings.kept
        if kept is not None:
            job = controller.active.get(uid)
            if job is None:
                await controller.take_up(kept, findings, own=True)
            else:
                controller.decided(uid, findings)
                controller.compare(job, findings.containers)
        elif any(job.uid == uid for job in controller.jobs.values()):
            pass  # it was accepted, or is being removed, since the volumes were listed
        elif findings.delete is None and findings.copy is not None:
            await controller.restore(findings.copy)
        else:
            await controller.sweep(uid, sorted(findings.volumes, key=_last_is_deletion))


def _last_is_deletion(volume: str) -> bool:
    return volume.endswith(f".{record.DELETE}")
