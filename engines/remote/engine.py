"""The engine whose jobs are those of another server."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from engines.base import (
    Capability,
    Contact,
    Engine,
    Event,
    Job,
    LogChunk,
    LogQuery,
    Status,
    spec_hash,
)
from engines.errors import EngineError, EngineUnavailable, FieldViolation
from engines.features import unsupported_fields
from engines.findings import Finding
from engines.remote.connection import Connection
from engines.remote.examination import Examination
from engines.remote.failures import told_by
from engines.remote.listing import Listing
from engines.remote.messages import capabilities_of, chunk_of, job_of, limits_of, status_of
from engines.remote.owners import spec_to_send
from jobengine import AsyncClient
from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1.job_engine_pb2 import ReadEngineResponse
from jobengine.v1.job_pb2 import JobSpec

ENTER_SECONDS: Final = 2.0
"""How long entering waits for the other server to say what its engine can do."""

LOOK_SECONDS: Final = 5.0
"""How long the other server may take to say how it is, before it counts as away."""


class RemoteEngine(Engine):
    """The jobs of another server, all that it lets this one see.

    A repeated `create_job` with the same request id, name and spec returns the job that the first
    one made, since that is what the other server does; request ids can't be read back from it.
    What its engine can do is known once it has answered, and learned anew whenever contact is
    lost. Until then nothing is refused for it: the other server will.
    """

    name = "remote"
    capabilities = frozenset(Capability)

    def __init__(  # noqa: PLR0913  (each is a setting)
        self,
        address: str = "",
        *,
        tls: bool | None = None,
        ca: Path | None = None,
        cert: Path | None = None,
        key: Path | None = None,
        server_name: str | None = None,
        token_file: Path | None = None,
        timeout_seconds: float = 30.0,
    ) -> None:
        """The arguments are those of `engines.remote.connection.Connection`."""
        self._connection = Connection(
            address=address,
            tls=tls,
            ca=ca,
            cert=cert,
            key=key,
            server_name=server_name,
            token_file=token_file,
            timeout_seconds=timeout_seconds,
        )
        self._edition = self._connection.edition()
        self._client = self._connection.client()
        self._retired: AsyncClient | None = None
        self._about = ReadEngineResponse()

    async def __aenter__(self) -> Self:
        with contextlib.suppress(EngineError):
            await self._learn(ENTER_SECONDS)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for client in filter(None, (self._client, self._retired)):
            await client.close()

    async def _renew(self) -> None:
        """Have new calls use a new connection where files of the present one were exchanged.

        Other calls on the old one are left to it until the next exchange.
        """
        if (edition := self._connection.edition()) == self._edition:
            return
        with told_by(self._connection.address):
            client = self._connection.client()
        retired, self._retired = self._retired, self._client
        self._client, self._edition = client, edition
        if retired is not None:
            await retired.close()

    async def _learn(self, seconds: float) -> None:
        """Ask the other server about its engine, for so long."""
        try:
            with told_by(self._connection.address):
                async with asyncio.timeout(seconds):
                    about = await self._client.read_engine()
        except TimeoutError:
            raise EngineUnavailable(f"no answer from {self._connection.address}") from None
        self._about = about
        self.capabilities = capabilities_of(about)
        self.limits = limits_of(about)

    async def _look(self) -> None:
        """Make sure that the other server is in touch with its engine: its watch goes on anyway."""
        await self._renew()
        await self._learn(LOOK_SECONDS)
        if self._about.health != api.ENGINE_HEALTH_OK:
            raise EngineUnavailable(self._about.message or "the other server isn't ready yet")

    def check_spec(self, spec: JobSpec) -> Sequence[FieldViolation]:
        """As in the contract; what only the other engine knows of, `create_job` refuses."""
        return unsupported_fields(spec, self.capabilities, self._about.name or self.name)

    async def create_job(self, name: str, spec: JobSpec, *, request_id: str = "") -> Job:
        """As in the contract, save that a repeat returns the job that the first call made."""
        sent = spec_to_send(spec)
        with told_by(self._connection.address, name):
            message = await self._client.create_job(sent, name=name, request_id=request_id)
        return replace(job_of(message), request_id=request_id, spec_hash=spec_hash(spec))

    async def delete_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> None:
        """As in the contract."""
        with told_by(self._connection.address, name):
            await self._client.delete_job(name, uid=uid, grace_seconds=grace_seconds)

    async def read_job(self, name: str) -> Job:
        """As in the contract, without the request id."""
        with told_by(self._connection.address, name):
            return job_of(await self._client.read_job(name))

    async def read_status(self, job: Job) -> Status:
        """As in the contract: from the engine of the other server."""
        with told_by(self._connection.address, job.name):
            return status_of(await self._client.read_status(job.name, fresh=True))

    async def cancel_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> Status:
        """As in the contract."""
        with told_by(self._connection.address, name):
            return status_of(
                await self._client.cancel_job(name, uid=uid, grace_seconds=grace_seconds)
            )

    async def read_version(self) -> str:
        """The name and version of the engine at the end of the way, as it was last heard of."""
        about = self._about
        return about.version if about.name == self.name else f"{about.name} {about.version}".strip()

    async def list_jobs(self) -> Sequence[Job]:
        """As in the contract: all jobs that the other server lets this one see."""
        with told_by(self._connection.address):
            async with aclosing(self._client.list_jobs()) as jobs:
                return [job_of(job) async for job in jobs]

    async def watch(self) -> AsyncGenerator[Event]:
        """As in the contract; being in touch takes that the other server is with its engine."""
        await self._look()
        listing = Listing()
        with told_by(self._connection.address):
            async with aclosing(self._client.watch_jobs_once()) as messages:
                async for message in messages:
                    if message.event == api.WATCH_EVENT_HEARTBEAT:
                        await self._look()
                        yield Contact()
                    for event in listing.events(message):
                        yield event
        raise EngineUnavailable(f"{self._connection.address} ended the watch")

    async def read_logs(self, name: str, query: LogQuery) -> AsyncGenerator[LogChunk]:
        """As in the contract; the cursors are the other server's."""
        with told_by(self._connection.address, name):
            chunks = self._client.logs(
                name,
                instance=query.instance,
                stream=int(query.stream),  # type: ignore[arg-type]
                follow=query.follow,
                tail_lines=query.tail_lines,
                cursor=query.cursor,
            )
            async with aclosing(chunks) as messages:
                async for message in messages:
                    yield chunk_of(message)

    async def examine(self) -> AsyncIterator[Finding]:
        """As in the contract."""
        async with self._client:
            async for finding in Examination(self._connection, self._client).findings():
                yield finding
