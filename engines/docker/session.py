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

import structlog

from engines.docker import record
from engines.docker.api import Api
from engines.docker.daemon import Daemon
from engines.docker.history import History
from engines.docker.intake import Intake
from engines.docker.record import Labels, Owner
from engines.docker.survey import Findings, survey
from engines.errors import EngineError, EngineUnavailable, JobNotFound

PING_INTERVAL_SECONDS: Final = 3.0
LIST_INTERVAL_SECONDS: Final = 30.0
OVERLAP_SECONDS: Final = 2.0
"""How far back the event stream begins: the SDK knows whole seconds only."""

_log = structlog.get_logger(__name__)


class Session:
    """From a connection's beginning until it is lost; see `engines.link.Session`.

    `intake` has its jobs.
    """

    def __init__(
        self, daemon: Daemon, api: Api, labels: Labels, intake: Intake, history: History
    ) -> None:
        self._daemon = daemon
        self._api = api
        self._labels = labels
        self._history = history
        self._events: deque[Mapping[str, Any]] = deque()
        self._news = asyncio.Event()
        self.intake = intake
        self.in_sync = asyncio.Event()
        self._controller = intake.controller

    async def run(self) -> None:
        """Keep up with the daemon.

        Raises:
            EngineError: the daemon is lost.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._collect())
                group.create_task(self._ping_for_ever())
                group.create_task(self._notice_loss())
                if not self._controller.about.podman:  # it keeps its events longer than itself
                    for event in await self._api.past_events(self._controller.now()):
                        self._history.note(event)
                await self._compare()
                self.in_sync.set()
                group.create_task(self._handle())
                group.create_task(self._compare_for_ever())
        except* EngineError as errors:
            raise errors.exceptions[0] from None

    async def close(self, error: EngineError) -> None:
        """Leave the jobs as they are."""
        await self.intake.close(error)

    async def _collect(self) -> None:
        events = self._api.events(self._controller.now() - OVERLAP_SECONDS)
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
                event = self._events.popleft()
                try:
                    await self._take(event)
                except EngineError as error:
                    # About one job only: the next comparison makes up for it.
                    _log.info("docker_event_not_taken", told=event, error=str(error))

    async def _take(self, event: Mapping[str, Any]) -> None:
        action, actor = str(event.get("Action")), event["Actor"]
        said: Mapping[str, str] = actor.get("Attributes") or {}
        if event.get("Type") == "volume":
            if str(actor["ID"]).startswith(self._labels.prefix):
                await self._take_volume(action, str(actor["ID"]))
        elif (run := self._labels.run(said, said.get("name", ""))) is not None:
            owner, key = run
            if action == "die":
                when = float(event.get("timeNano") or 0) / 1e9
                self.intake.container_died(owner.uid, key, str(actor["ID"]), when)
            elif action == "start":
                self.intake.container_started(owner.uid, key, str(actor["ID"]))
            elif action != "create":
                self.intake.container_changed(owner.uid, key, str(actor["ID"]))
            elif not self._controller.ledger.knows(owner.uid, owner.name):
                await self._check_orphan(owner)

    async def _check_orphan(self, owner: Owner) -> None:
        """Something was made for a job that isn't known: maybe the job was removed meanwhile.

        Only the daemon's word about the job's own volume counts: what is swept may run again.
        """
        said = await self._api.volume_labels(self._labels.job_volume(owner.name)) or {}
        if said.get(record.UID) != owner.uid and owner.name not in self._controller.removals.tasks:
            await self._controller.removals.sweep(owner.uid)

    async def _take_volume(self, action: str, name: str) -> None:
        """A job or a decision has come or gone, mostly by our own doing."""
        if self.intake.expects(name, there=action == "create"):
            return
        said = await self._api.volume_labels(name)
        owner = self._labels.owner(said)
        if owner is None:
            job = self._controller.ledger.jobs.get(self._labels.parse_volume(name)[0])
            if job is not None:
                await self.intake.missing(job)
        elif owner.kind == record.JOB:
            await self.intake.take_up(owner, own=False)
        else:
            self.intake.decided(owner.uid, await self._controller.inspector.findings(owner.uid))

    async def _ping_for_ever(self) -> None:
        while True:
            await self._daemon.ping()
            await asyncio.sleep(PING_INTERVAL_SECONDS)

    async def _notice_loss(self) -> None:
        await self._daemon.lost()
        raise EngineUnavailable(f"no daemon is at {self._daemon.address} any more")

    async def _compare_for_ever(self) -> None:
        while True:
            await asyncio.sleep(LIST_INTERVAL_SECONDS * random.uniform(0.9, 1.1))  # noqa: S311
            await self._compare()

    async def _compare(self) -> None:
        """Hold what is known against what there is.

        Containers are listed before volumes: a job's volume is made before its containers, so
        that a container without one belongs to a job that is gone.
        """
        controller = self._controller
        known = dict(controller.ledger.jobs)
        containers = await self._api.containers()
        volumes = await self._api.volumes()
        found = survey(self._labels, containers, volumes, controller.now())
        del containers, volumes  # large, where there are many jobs
        async with asyncio.TaskGroup() as group:
            for uid, findings in found.items():
                if not self.intake.meet_ended(uid, findings):
                    group.create_task(self._meet(uid, findings))
        for job in known.values():
            if job.uid not in found or found[job.uid].kept is None:
                await self.intake.missing(job)

    async def _meet(self, uid: str, findings: Findings) -> None:
        controller = self._controller
        kept = findings.kept
        job = controller.active.get(uid)
        if kept is not None and job is not None:
            self.intake.decided(uid, findings)
            self.intake.compare(job, findings.containers)
        elif kept is not None:
            owner = Owner(record.JOB, kept.intent.name, uid)
            with contextlib.suppress(JobNotFound):  # it was removed since
                await self.intake.take_up(owner, own=True)
        elif not any(job.uid == uid for job in controller.ledger.jobs.values()):
            # Otherwise it was accepted, or is being removed, since the volumes were listed.
            await self._check_orphan(Owner(record.JOB, findings.name, uid))
