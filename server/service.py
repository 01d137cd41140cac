"""The ten RPCs: each validates, asks the mirror or the engine, and answers."""

import asyncio
import contextlib
import dataclasses
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Generator, Sequence

import structlog

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
)
from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1 import job_pb2
from server import validation, watching
from server.config import Config
from server.entry import Entry
from server.errors import InvalidRequest, ServerStopping, TooManyStreams
from server.messages import duration, job_message, log_message, status_message, timestamp
from server.mirror import Mirror
from server.pages import make_token, read_token

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000

STALE_SECONDS = 30.0
"""Past this age of the mirror, ReadStatus asks the engine first."""

STALE_READ_SECONDS = 2.0
"""How long it may take for that, before the mirror answers after all."""

MIN_HEARTBEAT_SECONDS = 1.0
MAX_HEARTBEAT_SECONDS = 300.0

MAX_DELETE_WAIT_SECONDS = 3600.0

CREATE_TRIES = 5

_log = structlog.get_logger()


class Service:
    """The methods of jobengine.v1.JobEngine, by their names in snake case.

    They raise errors of `engines.errors` and `server.errors`; `server.rpc` binds them to gRPC.
    Answers that were serialised before are given as bytes.
    """

    def __init__(self, engine: Engine, mirror: Mirror, config: Config) -> None:
        self._engine = engine
        self._mirror = mirror
        self._config = config
        self._open_streams = 0

    # -- unary calls --------------------------------------------------------------------------

    async def create_job(self, request: api.CreateJobRequest) -> api.CreateJobResponse:
        """Start a job, or find the one that this request started before."""
        self._check_create(request)
        name = request.name or _make_name(request.request_id)
        if request.validate_only:
            spec = request.spec
            return api.CreateJobResponse(job=job_pb2.Job(name=name, spec=spec, labels=spec.labels))
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
            _log.info("job_create_repeated", job=name, uid=job.uid, request_id=request.request_id)
        else:
            _log.info("job_created", job=name, uid=job.uid, request_id=request.request_id)
        return job

    async def delete_job(self, request: api.DeleteJobRequest) -> api.DeleteJobResponse:
        """End and remove a job."""
        _refuse(validation.check_stop(request))
        try:
            entry = await self._find(request.name)
            async with self._engine_deadline("delete the job"):
                await self._engine.delete_job(
                    request.name, uid=request.uid, grace_seconds=_grace(request)
                )
        except JobNotFound:
            if request.allow_missing:
                return api.DeleteJobResponse()
            raise
        entry.deleting = True
        _log.info("job_deleted", job=request.name, uid=entry.job.uid)
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

    async def cancel_job(self, request: api.CancelJobRequest) -> api.CancelJobResponse:
        """Stop a job, keep its record."""
        _refuse(validation.check_stop(request))
        async with self._engine_deadline("cancel the job"):
            status = await self._engine.cancel_job(
                request.name, uid=request.uid, grace_seconds=_grace(request)
            )
        _log.info("job_cancelled", job=request.name)
        return api.CancelJobResponse(status=status_message(status))

    async def read_job(self, request: api.ReadJobRequest) -> api.ReadJobResponse:
        """Read a job with its spec."""
        _refuse(validation.check_name(request.name))
        async with self._engine_deadline("read the job"):
            job = await self._engine.read_job(request.name)
        # The mirror may have heard of a later status meanwhile.
        job = dataclasses.replace(job, status=self._known(job).job.status)
        return api.ReadJobResponse(job=job_message(job, with_spec=True))

    async def read_status(self, request: api.ReadStatusRequest) -> api.ReadStatusResponse | bytes:
        """Read a job's status."""
        entry = self._mirror.get(request.name)
        if entry is not None and not request.fresh and self._mirror.in_touch.is_set():
            return entry.read_response
        _refuse(validation.check_name(request.name))
        if request.fresh:
            return await self._fresh_status(request.name)
        if entry is None:
            return (await self._find(request.name)).read_response
        age = self._mirror.age_seconds or 0.0
        if age > STALE_SECONDS:
            with contextlib.suppress(EngineUnavailable, EngineTimeout, TimeoutError):
                async with asyncio.timeout(STALE_READ_SECONDS):
                    return await self._fresh_status(request.name)
        response = api.ReadStatusResponse.FromString(entry.read_response)
        response.age.FromMilliseconds(round(age * 1000))
        return response

    async def _fresh_status(self, name: str) -> bytes:
        entry = await self._find(name)
        async with self._engine_deadline("read the status"):
            status = await self._engine.read_status(entry.job)
        return self._known(dataclasses.replace(entry.job, status=status)).read_response

    async def list_jobs(self, request: api.ListJobsRequest) -> api.ListJobsResponse:
        """List a page of jobs."""
        selector, violations = validation.read_selector(request.label_selector)
        _refuse([*validation.check_list(request), *violations])
        self._require_contact()
        states = {State(state) for state in request.states}
        filters = (request.label_selector, *(str(int(state)) for state in sorted(states)))
        size = min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        after = read_token(request.page_token, filters)
        page: list[Job] = []
        async with contextlib.aclosing(self._mirror.find(selector, states, after=after)) as found:
            async for entry in found:
                page.append(entry.job)
                if len(page) > size:
                    break
        more = len(page) > size
        del page[size:]
        return api.ListJobsResponse(
            jobs=[job_message(job, with_spec=False) for job in page],
            next_page_token=make_token(page[-1].name, filters) if more else "",
        )

    async def read_engine(self, request: api.ReadEngineRequest) -> api.ReadEngineResponse:
        """Tell about the engine."""
        del request
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

    async def watch_status(self, request: api.WatchStatusRequest) -> AsyncGenerator[bytes]:
        """Stream a job's status until its end."""
        _refuse([*validation.check_name(request.name), *validation.check_watch(request)])
        with self._stream():
            entry = await self._find(request.name)
            heartbeat_seconds = self._heartbeat(request)
            async for message in watching.watch_entry(
                entry, self._mirror, request.cursor, heartbeat_seconds
            ):
                yield message

    async def watch_jobs(self, request: api.WatchJobsRequest) -> AsyncGenerator[bytes]:
        """Stream all jobs that match until the caller ends it."""
        selector, violations = validation.read_selector(request.label_selector)
        _refuse([*validation.check_watch(request), *violations])
        self._require_contact()
        with self._stream():
            heartbeat_seconds = self._heartbeat(request)
            async for message in watching.watch_all(
                self._mirror, selector, request.cursor, heartbeat_seconds
            ):
                yield message

    async def read_logs(self, request: api.ReadLogsRequest) -> AsyncGenerator[api.ReadLogsResponse]:
        """Stream what an instance wrote."""
        _refuse(validation.check_logs(request))
        if Capability.LOGS not in self._engine.capabilities:
            raise CapabilityMissing(self._engine.name, "logs")
        query = LogQuery(
            instance=request.instance,
            stream=LogStream(request.stream),
            follow=request.follow,
            tail_lines=request.tail_lines if request.HasField("tail_lines") else None,
            cursor=request.cursor,
        )
        with self._stream():
            chunks = self._engine.read_logs(request.name, query)
            async for chunk in watching.until_closed(chunks, self._mirror):
                yield log_message(chunk)

    # -- shared by the calls ------------------------------------------------------------------

    async def _find(self, name: str) -> Entry:
        """The job's entry in the mirror; one that the mirror misses is asked for."""
        if (entry := self._mirror.get(name)) is not None:
            return entry
        async with self._engine_deadline("read the job"):
            job = await self._engine.read_job(name)
        return self._known(job)

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

    @contextlib.contextmanager
    def _stream(self) -> Generator[None]:
        if self._open_streams >= self._config.max_streams:
            raise TooManyStreams(self._config.max_streams)
        self._open_streams += 1
        try:
            yield
        finally:
            self._open_streams -= 1

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


def _make_name(request_id: str) -> str:
    """A name for a job without one; the same for the same request id, so that repeats meet."""
    if not request_id:
        return f"job-{secrets.token_hex(8)}"
    return f"job-{hashlib.blake2b(request_id.encode(), digest_size=8).hexdigest()}"


def _grace(request: api.DeleteJobRequest | api.CancelJobRequest) -> float | None:
    if not request.HasField("grace_period"):
        return None
    return request.grace_period.ToMilliseconds() / 1000
