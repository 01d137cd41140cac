"""The ten RPCs: each validates, asks the mirror or the engine, and answers."""

import asyncio
import contextlib
import dataclasses
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Generator, Sequence

import server
from engines.base import Capability, Engine, Job, LogQuery, LogStream, State, spec_hash
from engines.errors import (
    CapabilityMissing,
    EngineTimeout,
    EngineUnavailable,
    FieldViolation,
    InvalidSpec,
    JobAlreadyExists,
    JobNotFound,
    UidMismatch,
)
from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1 import job_pb2
from server import validation, watching
from server.config import Config
from server.entry import Entry
from server.errors import InvalidRequest, PermissionDenied, ServerLimit, ServerStopping
from server.gate import Caller
from server.messages import (
    duration,
    job_message,
    log_message,
    planned_message,
    status_message,
    timestamp,
)
from server.metrics import Metrics
from server.mirror import Mirror
from server.ownership import OWNER_LABEL
from server.pages import make_token, read_token
from server.policy import Rights, Verb

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
MAX_PAGE_BYTES = 2 * 1024 * 1024
"""Where a page ends, however few its jobs: clients take 4 MiB, unless they say otherwise."""

STALE_SECONDS = 30.0
"""Past this age of the mirror, ReadStatus asks the engine first."""

STALE_READ_SECONDS = 2.0
"""How long it may take for that, before the mirror answers after all."""

MIN_HEARTBEAT_SECONDS = 1.0
MAX_HEARTBEAT_SECONDS = 300.0

MAX_DELETE_WAIT_SECONDS = 3600.0

CREATE_TRIES = 5


class Service:
    """The methods of jobengine.v1.JobEngine, by their names in snake case.

    They raise errors of `engines.errors` and `server.errors`; `server.rpc` binds them to gRPC.
    Answers that were serialised before are given as bytes.
    """

    def __init__(self, engine: Engine, mirror: Mirror, config: Config, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._mirror = mirror
        self._config = config

    # -- unary calls --------------------------------------------------------------------------

    async def create_job(
        self, request: api.CreateJobRequest, caller: Caller
    ) -> api.CreateJobResponse:
        """Start a job, or find the one that this request started before."""
        self._check_create(request)
        rights = caller.rights
        name = request.name or _make_name(request.request_id, rights)
        if rights.subject:
            request.spec.labels[OWNER_LABEL] = rights.subject
        rights.check_create(name, request.spec)
        if request.validate_only:
            return api.CreateJobResponse(job=planned_message(name, request.spec))
        with self._room(name, request.request_id, caller):
            async with self._engine_deadline("create the job"):
                job = await self._create(name, request)
            self._mirror.wrote(job)
        return api.CreateJobResponse(job=job_message(job, with_spec=True))

    def _check_create(self, request: api.CreateJobRequest) -> None:
        """Refuse a request with all its wrong fields at once, the engine's view included."""
        limit = self._config.max_spec_bytes
        wrong = validation.check_create(request, max_spec_bytes=limit)
        named = {violation.field for violation in wrong}
        unsupported = [v for v in self._engine.check_spec(request.spec) if v.field not in named]
        if wrong:
            raise InvalidRequest([*wrong, *unsupported])
        if unsupported:
            raise InvalidSpec(unsupported)

    @contextlib.contextmanager
    def _room(self, name: str, request_id: str, caller: Caller) -> Generator[None]:
        """Count a creation among what its caller may have unfinished, unless it is a repeat."""
        limit, account = caller.rights.limits.jobs, caller.account
        entry = self._mirror.get(name)
        repeated = entry is not None and request_id and entry.job.request_id == request_id
        if limit is not None and not repeated:
            there = self._mirror.unfinished.of(caller.rights.subject)
            if there + account.creating >= limit:
                raise ServerLimit(
                    "subject.jobs",
                    f"the limit of {limit} unfinished jobs that you may have is reached: "
                    "wait for one to end, or cancel one",
                )
        account.creating += 1
        try:
            yield
        finally:
            account.creating -= 1

    async def _create(self, name: str, request: api.CreateJobRequest) -> Job:
        """Create the job, or find it where this request is the repeat of an earlier one."""
        for _ in range(CREATE_TRIES):
            try:
                return await self._create_or_find(name, request)
            except JobNotFound:
                continue  # it was removed between being in the way and being looked at
        raise EngineUnavailable(f"jobs {name!r} come and go; try again")

    async def _create_or_find(self, name: str, request: api.CreateJobRequest) -> Job:
        try:
            job = await self._engine.create_job(name, request.spec, request_id=request.request_id)
        except JobAlreadyExists:
            job = await self._engine.read_job(name)
            same = job.request_id == request.request_id and job.spec_hash == spec_hash(request.spec)
            if not request.request_id or not same:
                raise
        else:
            self._metrics.jobs_created += 1
        return job

    async def delete_job(
        self, request: api.DeleteJobRequest, caller: Caller
    ) -> api.DeleteJobResponse:
        """End and remove a job."""
        _refuse(validation.check_stop(request))
        try:
            entry = await self._find(request.name, caller)
            uid = _allowed(caller, "delete", entry.job, request.uid)
            async with self._engine_deadline("delete the job"):
                await self._engine.delete_job(request.name, uid=uid, grace_seconds=_grace(request))
        except JobNotFound:
            if request.allow_missing:
                return api.DeleteJobResponse()
            raise
        entry.deleting = True
        if request.wait:
            await self._gone(entry)
        return api.DeleteJobResponse()

    async def _gone(self, entry: Entry) -> None:
        deadline = time.monotonic() + MAX_DELETE_WAIT_SECONDS
        while not entry.deleted:
            if self._mirror.closed:
                raise ServerStopping
            if not await entry.wait(deadline - time.monotonic()):
                raise EngineTimeout(f"job {entry.job.name!r} isn't gone yet; the deletion goes on")

    async def cancel_job(
        self, request: api.CancelJobRequest, caller: Caller
    ) -> api.CancelJobResponse:
        """Stop a job, keep its record."""
        _refuse(validation.check_stop(request))
        entry = await self._find(request.name, caller)
        uid = _allowed(caller, "cancel", entry.job, request.uid)
        async with self._engine_deadline("cancel the job"):
            status = await self._engine.cancel_job(
                request.name, uid=uid, grace_seconds=_grace(request)
            )
        return api.CancelJobResponse(status=status_message(status))

    async def read_job(self, request: api.ReadJobRequest, caller: Caller) -> api.ReadJobResponse:
        """Read a job with its spec."""
        _refuse(validation.check_name(request.name))
        job = await self._ask(request.name, caller)
        # The mirror may have heard of a later status meanwhile.
        job = dataclasses.replace(job, status=self._known(job).job.status)
        return api.ReadJobResponse(job=job_message(job, with_spec=True))

    async def read_status(
        self, request: api.ReadStatusRequest, caller: Caller
    ) -> api.ReadStatusResponse | bytes:
        """Read a job's status."""
        entry = self._mirror.get(request.name)
        if entry is None:
            _refuse(validation.check_name(request.name))
        if entry is None or not caller.rights.may_read(entry.job):
            entry = await self._find(request.name, caller)
        if request.fresh:
            return await self._fresh_status(entry)
        if self._mirror.in_touch.is_set():
            return entry.read_response
        age = self._mirror.age_seconds or 0.0
        if age > STALE_SECONDS:
            with contextlib.suppress(EngineUnavailable, EngineTimeout, TimeoutError):
                async with asyncio.timeout(STALE_READ_SECONDS):
                    return await self._fresh_status(entry)
        response = api.ReadStatusResponse.FromString(entry.read_response)
        response.age.FromMilliseconds(round(age * 1000))
        return response

    async def _fresh_status(self, entry: Entry) -> bytes:
        async with self._engine_deadline("read the status"):
            status = await self._engine.read_status(entry.job)
        return self._known(dataclasses.replace(entry.job, status=status)).read_response

    async def list_jobs(self, request: api.ListJobsRequest, caller: Caller) -> api.ListJobsResponse:
        """List a page of jobs."""
        selector, violations = validation.read_selector(request.label_selector)
        _refuse([*validation.check_list(request), *violations])
        self._require_contact()
        selector = caller.rights.narrow(selector)
        states = {State(state) for state in request.states}
        # A token is good for the listing that it continues, and for whom it was given to.
        filters = (
            caller.rights.subject,
            request.label_selector,
            *(str(int(state)) for state in sorted(states)),
        )
        size = min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        after = read_token(request.page_token, filters)
        page: list[job_pb2.Job] = []
        room = MAX_PAGE_BYTES
        async with contextlib.aclosing(self._mirror.find(selector, states, after=after)) as found:
            async for entry in found:
                if len(page) == size or room < 0:
                    token = make_token(page[-1].name, filters)
                    return api.ListJobsResponse(jobs=page, next_page_token=token)
                page.append(job_message(entry.job, with_spec=False))
                room -= page[-1].ByteSize()
        return api.ListJobsResponse(jobs=page)

    async def read_engine(
        self, request: api.ReadEngineRequest, caller: Caller
    ) -> api.ReadEngineResponse:
        """Tell about the engine."""
        del request, caller
        engine, limits = self._engine, self._engine.limits
        in_touch = self._mirror.in_touch.is_set()
        version = ""
        with contextlib.suppress(EngineUnavailable, EngineTimeout, TimeoutError):
            async with asyncio.timeout(STALE_READ_SECONDS):
                version = await engine.read_version()
        return api.ReadEngineResponse(
            name=engine.name,
            version=version,
            server_version=server.__version__,
            health=api.ENGINE_HEALTH_OK if in_touch else api.ENGINE_HEALTH_UNREACHABLE,
            message=self._mirror.trouble,
            capabilities=[int(capability) for capability in sorted(engine.capabilities)],  # type: ignore[misc]
            limits=api.EngineLimits(
                max_spec_bytes=self._config.max_spec_bytes,
                max_running_instances=limits.max_running_instances or 0,
                default_start_timeout=duration(limits.default_start_timeout),
                default_heartbeat_interval=duration(self._config.heartbeat_seconds),
            ),
            contact_time=timestamp(self._mirror.contact_time),
        )

    # -- streams ------------------------------------------------------------------------------

    async def watch_status(
        self, request: api.WatchStatusRequest, caller: Caller
    ) -> AsyncGenerator[bytes]:
        """Stream a job's status until its end."""
        _refuse([*validation.check_name(request.name), *validation.check_watch(request)])
        entry = await self._find(request.name, caller)
        heartbeat_seconds = self._heartbeat(request)
        async for message in watching.watch_entry(
            entry, self._mirror, request.cursor, heartbeat_seconds
        ):
            yield message

    async def watch_jobs(
        self, request: api.WatchJobsRequest, caller: Caller
    ) -> AsyncGenerator[bytes]:
        """Stream all jobs that match until the caller ends it."""
        selector, violations = validation.read_selector(request.label_selector)
        _refuse([*validation.check_watch(request), *violations])
        self._require_contact()
        heartbeat_seconds = self._heartbeat(request)
        async for message in watching.watch_all(
            self._mirror, caller.rights.narrow(selector), request.cursor, heartbeat_seconds
        ):
            yield message

    async def read_logs(
        self, request: api.ReadLogsRequest, caller: Caller
    ) -> AsyncGenerator[api.ReadLogsResponse]:
        """Stream what an instance wrote."""
        _refuse(validation.check_logs(request))
        if not caller.rights.everything:
            # The mirror may not have heard yet that somebody else's job has the name now.
            _allowed(caller, "logs", await self._ask(request.name, caller))
        if Capability.LOGS not in self._engine.capabilities:
            raise CapabilityMissing(self._engine.name, "logs")
        query = LogQuery(
            instance=request.instance,
            stream=LogStream(request.stream),
            follow=request.follow,
            tail_lines=request.tail_lines if request.HasField("tail_lines") else None,
            cursor=request.cursor,
        )
        chunks = self._engine.read_logs(request.name, query)
        async for chunk in watching.until_closed(chunks, self._mirror):
            yield log_message(chunk)

    # -- shared by the calls ------------------------------------------------------------------

    async def _find(self, name: str, caller: Caller) -> Entry:
        """The job's entry in the mirror; one that the mirror misses is asked for.

        Raises:
            JobNotFound: there is none, or none that the caller may see.
        """
        if (entry := self._mirror.get(name)) is None:
            return self._known(await self._ask(name, caller))
        if not caller.rights.may_read(entry.job):
            raise JobNotFound(name)
        return entry

    async def _ask(self, name: str, caller: Caller) -> Job:
        """The job as the engine has it, if the caller may see it."""
        async with self._engine_deadline("read the job"):
            job = await self._engine.read_job(name)
        if not caller.rights.may_read(job):
            raise JobNotFound(name)
        return job

    def _known(self, job: Job) -> Entry:
        """The mirror's entry of a job that was just read."""
        entry = self._mirror.wrote(job)
        if entry is None:
            raise JobNotFound(job.name)
        return entry

    def _require_contact(self) -> None:
        """Lists are complete or refused: before the first contact there is nothing to list."""
        if self._mirror.contact_time is None:
            raise EngineUnavailable(
                f"engine {self._engine.name!r} hasn't answered yet: {self._mirror.trouble}"
            )

    def _heartbeat(self, request: api.WatchStatusRequest | api.WatchJobsRequest) -> float:
        if not request.HasField("heartbeat_interval"):
            return self._config.heartbeat_seconds
        seconds = request.heartbeat_interval.ToMilliseconds() / 1000
        return min(max(seconds, MIN_HEARTBEAT_SECONDS), MAX_HEARTBEAT_SECONDS)

    @contextlib.asynccontextmanager
    async def _engine_deadline(self, what: str) -> AsyncGenerator[None]:
        seconds = self._config.engine_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise EngineTimeout(
                f"engine {self._engine.name!r} didn't {what} within {seconds:g} s; "
                "it may still happen"
            ) from None


def _refuse(violations: Sequence[FieldViolation]) -> None:
    if violations:
        raise InvalidRequest(violations)


def _make_name(request_id: str, rights: Rights) -> str:
    """A name for a job without one; for a caller's request id always the same: repeats meet."""
    prefix = rights.name_prefix or "job-"
    if not request_id:
        return f"{prefix}{secrets.token_hex(8)}"
    key = rights.subject.encode()
    return f"{prefix}{hashlib.blake2b(request_id.encode(), digest_size=8, key=key).hexdigest()}"


def _allowed(caller: Caller, verb: Verb, job: Job, uid: str = "") -> str:
    """The uid to demand of what is changed, so that it can't be another job that has the name now.

    Raises:
        PermissionDenied: the caller may see the job, and not do this to it.
        UidMismatch: the caller means another job.
    """
    rights = caller.rights
    if rights.everything:
        return uid
    if not rights.may(verb, job.name, job.labels):
        raise PermissionDenied(verb, f"you may see job {job.name!r}, but not {verb} it")
    if uid and uid != job.uid:
        raise UidMismatch(job.name, uid, job.uid)
    return job.uid


def _grace(request: api.DeleteJobRequest | api.CancelJobRequest) -> float | None:
    if not request.HasField("grace_period"):
        return None
    return request.grace_period.ToMilliseconds() / 1000
