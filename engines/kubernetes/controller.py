"""Follows every job to its end, and does what Kubernetes doesn't do by itself.

Kubernetes' job controller runs the pods, counts retries and enforces the deadline. What is left:
to stop a job that never starts, to set the deadline once its first pod has started, to carry out
what callers decide, and to note that a job started, and how it ended, while that can still be told.
"""

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Final

import structlog

from engines.backoff import Backoff
from engines.base import Changed, Job, Reason, Removed, State, Status
from engines.errors import EngineError, JobNotFound
from engines.feed import Feed
from engines.kubernetes import record
from engines.kubernetes.api import CONFLICT, Api
from engines.kubernetes.cluster import Refused
from engines.kubernetes.pods import hopeless
from engines.kubernetes.reflector import Event, Gone, Listed, Put
from engines.kubernetes.status import under_way
from engines.kubernetes.tracked import (
    Tracked,
    has_ended,
    is_newer,
    is_newer_version,
    owner_of,
    trim_job,
    trim_pod,
)
from engines.lifecycle import facts
from engines.lifecycle.active import make_job
from engines.lifecycle.facts import Intent, Stop
from engines.lifecycle.timers import Timer, Timers

TRY_AGAIN: Final = Backoff(first=0.2, longest=30.0)
MAX_CONFLICTS: Final = 20
"""How often a Job may be changed by others while this server wants to change it."""

NOTE_START_SECONDS: Final = 5.0
"""A start is noted so long after it is seen: jobs that end before that need no note."""

_START_TIMEOUT, _STARTED, _TTL = "start-timeout", "started", "ttl"

_log = structlog.get_logger(__name__)

Json = Mapping[str, Any]


class Controller:
    """The jobs of one connection, on one event loop; `jobs` has them by name, as callers see them.

    `active` has those that aren't over, by uid.
    """

    def __init__(self, api: Api) -> None:
        self.jobs: dict[str, Job] = {}
        self.active: dict[str, Tracked] = {}
        self.feed = Feed()
        self.closed = False
        self.in_sync = asyncio.Event()
        self._api = api
        self._early_pods: dict[str, dict[str, Json]] = {}
        self._versions: dict[str, str] = {}  # by uid, of every Job
        self._listed: set[str] = set()
        self._timers = Timers(self._due)
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self, error: EngineError) -> None:
        """Leave the jobs as they are; watches end with the error."""
        self.closed = True
        self._timers.close()
        self.feed.fail(error)
        for tracked in self.active.values():
            tracked.tell()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- what is told of Jobs and pods --------------------------------------------------------

    def take_job(self, event: Event) -> None:
        """Take in what is told of Jobs."""
        match event:
            case Listed(objects=found, version=version):
                there = {str(job["metadata"]["uid"]) for job in found}
                for job in [job for job in self.jobs.values() if job.uid not in there]:
                    # One that was made while the list was on its way isn't in it.
                    if is_newer_version(version, self._versions[job.uid]):
                        self._forget(job.uid, job.name)
                for each in found:
                    self.put(each)
                self._note_listed("jobs")
            case Put(object=job):
                self.put(job)
            case Gone(object=job):
                self.put(job)  # it may have ended since it was last seen
                self._forget(job["metadata"]["uid"], job["metadata"]["name"])

    def take_pod(self, event: Event) -> None:
        """Take in what is told of pods."""
        match event:
            case Listed(objects=found):
                self._early_pods.clear()
                for tracked in self.active.values():
                    tracked.replace_pods(())
                for pod in found:
                    self._pods_of(owner_of(pod))[pod["metadata"]["uid"]] = pod
                self._note_listed("pods")
            case Put(object=pod):
                self._pods_of(owner_of(pod))[pod["metadata"]["uid"]] = pod
                self.evaluate(owner_of(pod))
            case Gone(object=pod):
                pods = self._pods_of(owner_of(pod))
                if has_ended(pod) and owner_of(pod) in self.active:
                    pods[pod["metadata"]["uid"]] = pod  # it tells how its job ended
                else:
                    pods.pop(pod["metadata"]["uid"], None)
                self.evaluate(owner_of(pod))

    def _pods_of(self, uid: str) -> dict[str, Json]:
        if (tracked := self.active.get(uid)) is not None:
            return tracked.pods
        return self._early_pods.setdefault(uid, {})

    def _note_listed(self, what: str) -> None:
        self._listed.add(what)
        if len(self._listed) == 2:
            self.in_sync.set()
            for tracked in list(self.active.values()):
                self._evaluate(tracked)

    def put(self, job: Json) -> None:
        """A Job is new, or is now like this. What isn't ours, or is older, changes nothing."""
        intent = record.read_intent(job)
        if intent is None:
            return
        known = self.jobs.get(intent.name)
        self._versions[intent.uid] = str(job["metadata"]["resourceVersion"])
        if known is not None and known.uid != intent.uid:
            self._forget(known.uid, known.name)
        elif known is not None and known.status.state.terminal and intent.uid not in self.active:
            return
        if (tracked := self.active.get(intent.uid)) is None:
            tracked = Tracked(intent, trim_job(job), self._early_pods.pop(intent.uid, {}))
            self.active[intent.uid] = tracked
            self._show(intent, tracked.status)
            self._arm(tracked)
        elif is_newer(job, tracked.job):
            tracked.job = trim_job(job)
        self._evaluate(tracked)

    def _forget(self, uid: str, name: str) -> None:
        """A job is gone."""
        self._early_pods.pop(uid, None)
        self._versions.pop(uid, None)
        if (tracked := self.active.pop(uid, None)) is not None:
            tracked.tell()
        job = self.jobs.get(name)
        if job is None or job.uid != uid:
            return
        if tracked is not None and tracked.deleted and not job.status.state.terminal:
            self._show(tracked.intent, _deleted(job.status))
            job = self.jobs[name]
        del self.jobs[name]
        self.feed.publish(Removed(name, uid, job.status))

    # -- what follows from it -----------------------------------------------------------------

    def evaluate(self, uid: str) -> None:
        """See how a job is doing, and act on it; nothing if it is over."""
        if (tracked := self.active.get(uid)) is not None:
            self._evaluate(tracked)

    def _evaluate(self, tracked: Tracked) -> None:
        uid = tracked.intent.uid
        if not self.in_sync.is_set() or self.active.get(uid) is not tracked:
            return
        status = tracked.judge()
        tracked.tell()
        if not status.state.terminal:
            self._show(tracked.intent, status)
            self._carry_on(tracked, status)
        elif record.read_end(tracked.job) is not None:
            self._over(tracked, status)
        else:
            self._show_that_it_ran(tracked, status)
            self._end(tracked, status)

    def _end(self, tracked: Tracked, status: Status) -> None:
        """See to it that an end is noted, before anybody is told."""
        if tracked.deleted:
            # The Job's controller may not have seen it yet, and make a pod. It goes after its pods:
            # unless it has ended by itself, it is over when it is gone.
            if tracked.kubernetes_ends_it:
                self._show(tracked.intent, status)
        elif not tracked.ending:
            tracked.ending = True
            self._spawn(tracked, lambda: self._finish(tracked))

    def _show_that_it_ran(self, tracked: Tracked, status: Status) -> None:
        """Of a job whose end isn't noted yet: a server that begins knows nothing better of it."""
        known = self.jobs[tracked.intent.name].status
        if status.start_time is not None and known.start_time is None:
            self._show(tracked.intent, under_way(status))

    def _carry_on(self, tracked: Tracked, status: Status) -> None:
        if tracked.start_goes:
            self._note_start_soon(tracked)
        elif status.start_time is not None and not tracked.start_seen:
            tracked.start_seen = True
            due = time.time() + NOTE_START_SECONDS
            self._timers.add(Timer(due, _STARTED, tracked.intent.name, tracked.intent.uid))
        if tracked.stopping or tracked.deleted:
            return
        intent = tracked.intent
        if status.start_time is None and (reason := hopeless(tracked.pods.values())):
            self._stop_soon(tracked, reason, status.message)
        elif status.start_time is not None and intent.timeout is not None:
            deadline = _deadline_seconds(tracked.job, status.start_time + intent.timeout)
            if deadline is not None and not tracked.deadline_set:
                tracked.deadline_set = True
                self._spawn(tracked, lambda: self._set_deadline(tracked, deadline))

    def _note_start_soon(self, tracked: Tracked) -> None:
        """Pods that tell it may be taken away, also while no server looks."""
        if not tracked.start_noted:
            tracked.start_noted = True
            self._spawn(tracked, lambda: self.note_start(tracked))

    def _stop_soon(self, tracked: Tracked, reason: str, message: str) -> None:
        tracked.stopping = True
        self._spawn(tracked, lambda: self.stop(tracked, reason, None, message=message))

    async def _set_deadline(self, tracked: Tracked, seconds: int) -> None:
        """Have Kubernetes end the job in time, also while no server is there."""
        patch = {"spec": {"activeDeadlineSeconds": seconds}}
        self._check(tracked, await self._api.patch_job(tracked.intent.name, patch))

    async def note_start(self, tracked: Tracked) -> None:
        """Have a server that comes later know that a job has started, whatever pods it finds."""
        for _ in range(MAX_CONFLICTS):
            noted = record.start_annotation(tracked.status.start_time)
            if not noted or record.read_start(tracked.job) is not None:
                return
            if await self._patched(tracked, noted):
                return

    async def stop(
        self, tracked: Tracked, reason: str, grace: float | None, *, message: str = ""
    ) -> None:
        """Decide durably that a job has to end, and end its pods.

        The first decision stands. With no pods wanted, and a deadline that has passed, Kubernetes'
        controller ends the pods and calls the Job failed; one that is suspended stays as it is.
        `grace` shortens the time that the pods have, in seconds.
        """
        tracked.stopping = True
        stop = Stop(reason, time.time(), 0.0 if grace is None else grace, message)
        spec = {"parallelism": 0, "activeDeadlineSeconds": 1}
        for _ in range(MAX_CONFLICTS):
            if record.read_stop(tracked.job) is not None or tracked.judge().state.terminal:
                break
            noted = record.start_annotation(tracked.status.start_time)
            if await self._patched(tracked, noted | record.stop_annotation(stop), spec):
                break
        if grace is not None:
            await self.end_pods(tracked, grace)

    async def end_pods(self, tracked: Tracked, grace: float) -> None:
        """See to it that pods end within `grace` seconds; they may have less anyhow."""
        seconds = max(1, math.ceil(grace))  # 0 would only make Kubernetes forget a pod that runs
        for pod in list(tracked.pods.values()):
            name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
            usual = int(pod["spec"].get("terminationGracePeriodSeconds") or 0)
            if pod["status"].get("phase") in {"Pending", "Running"} and seconds < usual:
                await self._api.delete_pod(name, uid, seconds)

    async def _finish(self, tracked: Tracked) -> None:
        """Note how a job ended, before anybody is told."""
        intent = tracked.intent
        for _ in range(MAX_CONFLICTS):
            if not (tracked.accounted_for and tracked.kubernetes_ends_it):
                await self._read_pods(tracked)
            status = tracked.judge()
            if record.read_end(tracked.job) is not None or not status.state.terminal:
                break
            ttl = intent.ttl
            spec = None if ttl is None else {"ttlSecondsAfterFinished": math.ceil(ttl)}
            if await self._patched(tracked, record.end_annotation(status), spec):
                break
        tracked.ending = False
        self._evaluate(tracked)

    async def refresh(self, uid: str) -> None:
        """Ask Kubernetes itself how a job is doing."""
        if (tracked := self.active.get(uid)) is None:
            return
        self._check(tracked, await self._api.read_job(tracked.intent.name))
        await self._read_pods(tracked)
        self._evaluate(tracked)
        while tracked.ending and self.active.get(uid) is tracked:
            if tracked.trouble is not None:
                raise tracked.trouble
            await tracked.changed.wait()

    async def _read_pods(self, tracked: Tracked) -> None:
        found = await self._api.pods_of(tracked.intent.uid)
        tracked.replace_pods(map(trim_pod, found))

    def _over(self, tracked: Tracked, status: Status) -> None:
        """A job has ended, and that is noted."""
        intent = tracked.intent
        del self.active[intent.uid]
        tracked.tell()
        self._show(intent, status)
        if intent.ttl is not None and not tracked.kubernetes_ends_it:
            due = (status.end_time or time.time()) + intent.ttl
            self._timers.add(Timer(due, _TTL, intent.name, intent.uid))

    # -- writing ------------------------------------------------------------------------------

    async def _patched(
        self, tracked: Tracked, annotations: Mapping[str, str], spec: Json | None = None
    ) -> bool:
        """Change a Job as it was last seen; False where it was changed since, and is read anew."""
        version = tracked.job["metadata"]["resourceVersion"]
        metadata = {"resourceVersion": version, "annotations": annotations}
        patch: dict[str, Json] = {"metadata": metadata}
        if spec is not None:
            patch["spec"] = spec
        try:
            found = await self._api.patch_job(tracked.intent.name, patch)
        except Refused as refusal:
            if refusal.status != CONFLICT:
                raise
            self._check(tracked, await self._api.read_job(tracked.intent.name))
            return False
        self._check(tracked, found)
        return True

    def _check(self, tracked: Tracked, found: Json | None) -> None:
        if found is None or found["metadata"]["uid"] != tracked.intent.uid:
            raise JobNotFound(tracked.intent.name)
        if is_newer(found, tracked.job):
            tracked.job = trim_job(found)

    def _spawn(self, tracked: Tracked, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something about a job, however often it fails; nothing if the job is gone."""
        task = asyncio.create_task(self._insist(tracked, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _insist(
        self, tracked: Tracked, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        for failures in itertools.count(1):
            try:
                await work()
            except JobNotFound:
                return  # the reflector tells
            except EngineError as error:
                tracked.trouble = error
                tracked.tell()
                _log.info("kubernetes_job_not_changed", job=tracked.intent.name, why=str(error))
            except Exception:  # noqa: BLE001  (the job is looked after all the same)
                _log.exception("kubernetes_job_failed", job=tracked.intent.name)
            else:
                tracked.trouble = None
                return
            await asyncio.sleep(TRY_AGAIN.after(failures))

    # -- showing, and time --------------------------------------------------------------------

    def _show(self, intent: Intent, status: Status) -> None:
        job = make_job(intent, status)
        known = self.jobs.get(intent.name)
        if job != known and not (known and known.uid == intent.uid and known.status.state.terminal):
            self.jobs[intent.name] = job
            self.feed.publish(Changed(job))

    def _arm(self, tracked: Tracked) -> None:
        intent = tracked.intent
        if intent.start_timeout is not None:
            due = intent.create_time + intent.start_timeout
            self._timers.add(Timer(due, _START_TIMEOUT, intent.name, intent.uid))

    def _due(self, timer: Timer) -> None:
        tracked = self.active.get(timer.uid)
        if timer.kind == _TTL:
            self._spawn_removal(timer)
        elif tracked is not None and timer.kind == _STARTED:
            self._note_start_soon(tracked)
        elif tracked is not None:
            self._start_overdue(tracked)

    def _start_overdue(self, tracked: Tracked) -> None:
        if tracked.status.start_time is not None or tracked.stopping:
            return
        reason = facts.PULL_FAILED if tracked.pull_fails else facts.START_TIMEOUT
        waited = f"it didn't start within {tracked.intent.start_timeout:g} s"
        message = f"{waited}: {tracked.status.message}" if tracked.status.message else waited
        self._stop_soon(tracked, reason, message)

    def _spawn_removal(self, timer: Timer) -> None:
        job = self.jobs.get(timer.name)
        if job is not None and job.uid == timer.uid:
            task = asyncio.create_task(self._remove(timer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _remove(self, timer: Timer) -> None:
        for failures in itertools.count(1):
            try:
                await self._api.delete_job(timer.name, timer.uid)
            except EngineError as error:
                _log.info("kubernetes_job_not_removed", job=timer.name, why=str(error))
                await asyncio.sleep(TRY_AGAIN.after(failures))
            else:
                return


def _deleted(status: Status) -> Status:
    """The end of a job that was deleted while it ran."""
    return replace(
        status,
        active=None,
        state=State.CANCELLED,
        reason=Reason.DELETED,
        message="deleted while it was running",
        end_time=max(time.time(), status.start_time or 0.0, status.create_time or 0.0),
    )


def _deadline_seconds(job: Json, due: float) -> int | None:
    """What activeDeadlineSeconds has to be for a job to end then; None where it is that."""
    accepted = record.read_time(job["status"].get("startTime"))
    if accepted is None:
        return None
    seconds = max(1, math.ceil(due - accepted))
    return None if job["spec"].get("activeDeadlineSeconds") == seconds else seconds
