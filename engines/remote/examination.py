"""Looks at another server, and at what it lets this one do."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

from engines.base import Capability
from engines.errors import EngineError, InvalidSpec
from engines.findings import Finding, amiss, fine, look, many
from engines.remote.connection import Connection
from engines.remote.failures import told_by
from engines.remote.messages import capabilities_of
from engines.remote.owners import OWNER_LABEL, spec_to_send
from jobengine import AsyncClient
from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1.job_engine_pb2 import ReadEngineResponse
from jobengine.v1.job_pb2 import JobSpec

LIST_SECONDS: Final = 10.0


class Examination:
    """Of the server that a connection leads to, by a client of that connection."""

    def __init__(self, connection: Connection, client: AsyncClient) -> None:
        self._connection = connection
        self._client = client
        self._about: ReadEngineResponse | None = None

    async def findings(self) -> AsyncIterator[Finding]:
        """What is there, and what is amiss."""
        yield self._way()
        for finding in await look("other server", self._contact()):
            yield finding
        if self._about is None:
            return
        for finding in await look("owners", self._owners(self._about)):
            yield finding
        for finding in await look("jobs", self._jobs(), LIST_SECONDS):
            yield finding

    def _way(self) -> Finding:
        """How it is called. Over a network in the clear is a decision, and no fault by itself."""
        connection = self._connection
        encryption = "with TLS" if connection.encrypted else "without TLS"
        credentials = [
            *(["the token in " + str(connection.token_file)] if connection.token_file else []),
            *(["the certificate in " + str(connection.cert)] if connection.cert else []),
        ]
        who = " and ".join(credentials) or "nothing that says who calls"
        return fine("way there", f"{connection.address} {encryption}, showing {who}")

    async def _contact(self) -> Sequence[Finding]:
        with told_by(self._connection.address):
            about = await self._client.read_engine()
        self._about = about
        engine = f"{about.name} {about.version}".strip()
        words = f"version {about.server_version}, with the engine {engine}"
        if about.health == api.ENGINE_HEALTH_OK:
            return [fine("other server", words)]
        return [
            amiss("other server", f"{words}, which it can't reach: {about.message}; mend it there")
        ]

    async def _owners(self, about: ReadEngineResponse) -> Sequence[Finding]:
        """Whether this server may create jobs there, and say whose they are: asked, not done."""
        spec = JobSpec(labels={OWNER_LABEL: "doctor"})
        if Capability.COMMANDS in capabilities_of(about):
            spec.command.append("true")
        else:
            spec.image = "doctor"
        try:
            with told_by(self._connection.address):
                await self._client.create_job(spec_to_send(spec), validate_only=True)
        except InvalidSpec:
            return []  # of its limits: what jobs have to be like there, can't be known here
        except EngineError as error:
            return [amiss("owners", str(error))]
        return [fine("owners", "this server may create jobs there, and say whose they are")]

    async def _jobs(self) -> Sequence[Finding]:
        count = 0
        with told_by(self._connection.address):
            async with aclosing(self._client.list_jobs()) as jobs:
                async for _ in jobs:
                    count += 1
        return [fine("jobs", f"{many(count, 'job')} there that this server may see")]
