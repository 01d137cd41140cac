"""A server with tenants, and each of them at its door."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from engines.base import Engine
from engines.memory import MemoryEngine
from jobengine.v1 import job_pb2
from jobengine.v1.job_engine_pb2_grpc import JobEngineStub
from server.app import Server
from server.authentication import make_token
from server.config import Config

if TYPE_CHECKING:
    from jobengine.v1.job_engine_pb2_grpc import JobEngineAsyncStub

ALL = '["create", "read", "logs", "cancel", "delete"]'

POLICY = f"""
[[subjects]]
name = "red"
identities = ["token:red"]
grants = [{{ verbs = {ALL}, own = true }}]
allow = {{ keys = ["fake.jobengine.dev/*"] }}

[[subjects]]
name = "blue"
identities = ["token:blue"]
grants = [{{ verbs = {ALL}, own = true }}]
allow = {{ keys = ["fake.jobengine.dev/*"] }}

[[subjects]]
name = "auditor"
identities = ["token:auditor"]
grants = [{{ verbs = ["read"] }}]
"""

TENANTS = ("red", "blue", "auditor")


def spec(**annotations: str) -> job_pb2.JobSpec:
    named = {f"fake.jobengine.dev/{key.replace('_', '-')}": v for key, v in annotations.items()}
    return job_pb2.JobSpec(command=["true"], annotations=named)


LONG = spec(run_for="600")


class Door:
    """A running server, and its callers."""

    def __init__(self, server: Server, directory: Path, tokens: dict[str, str]) -> None:
        self.server = server
        self.tokens = tokens
        self.policy = directory / "policy.toml"
        self.token_file = directory / "tokens"
        self._stack = AsyncExitStack()

    async def close(self) -> None:
        await self._stack.aclose()

    async def channel(self) -> grpc.aio.Channel:
        return await self._stack.enter_async_context(grpc.aio.insecure_channel(self.server.address))

    async def tenant(self, name: str) -> "JobEngineAsyncStub":
        return await self.caller(self.tokens[name])

    async def caller(self, token: str) -> "JobEngineAsyncStub":
        """Calls with a token."""
        interceptors = [_Bearer(token), _StreamBearer(token)]
        channel = grpc.aio.insecure_channel(self.server.address, interceptors=interceptors)
        await self._stack.enter_async_context(channel)
        return cast("JobEngineAsyncStub", JobEngineStub(channel))

    def write_policy(self, text: str) -> None:
        """Exchange the file, as a careful operator does."""
        _replace(self.policy, text)

    def write_tokens(self, tokens: dict[str, str]) -> None:
        _replace(self.token_file, _lines(tokens))


class _Bearer(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, token: str) -> None:
        self._header = ("authorization", f"Bearer {token}")

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(_with(details, self._header), request)


class _StreamBearer(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, token: str) -> None:
        self._header = ("authorization", f"Bearer {token}")

    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(_with(details, self._header), request)


def _with(details: Any, header: tuple[str, str]) -> Any:
    metadata = grpc.aio.Metadata(*(details.metadata or ()), header)
    return details._replace(metadata=metadata)


def _lines(tokens: dict[str, str]) -> str:
    return "".join(f"{name} {digest_of(token)}\n" for name, token in tokens.items())


def digest_of(token: str) -> str:
    from server.authentication.token_file import digest

    return f"sha256:{digest(token).hex()}"


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.chmod(0o600)
    new.replace(path)


Open = Callable[..., AbstractAsyncContextManager[Door]]


@pytest.fixture
def open_door(tmp_path: Path) -> Open:
    """Starts a server that asks who calls, with settings of Config by name."""

    @asynccontextmanager
    async def opening(
        engine: Engine | None = None, policy: str | None = POLICY, **settings: Any
    ) -> AsyncIterator[Door]:
        tokens = {name: make_token()[0] for name in TENANTS}
        _replace(tmp_path / "tokens", _lines(tokens))
        if policy is not None:
            _replace(tmp_path / "policy.toml", policy)
        config = Config(
            listen="127.0.0.1:0",
            stop_grace_seconds=1.0,
            token_file=tmp_path / "tokens",
            policy=None if policy is None else tmp_path / "policy.toml",
            **settings,
        )
        async with Server(engine or MemoryEngine(), config) as server:
            door = Door(server, tmp_path, tokens)
            try:
                assert await server.in_touch(10)
                yield door
            finally:
                await door.close()

    return opening


@pytest.fixture
async def door(open_door: Open) -> AsyncIterator[Door]:
    async with open_door() as door:
        yield door


def refusal(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str]:
    """The code and the reason of an error."""
    status = rpc_status.from_call(cast("Any", error))
    for packed in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if packed.Unpack(info):
            return error.code(), info.reason
    return error.code(), ""


def retry_seconds(error: grpc.aio.AioRpcError) -> float | None:
    """When to call again, if the error says so."""
    status = rpc_status.from_call(cast("Any", error))
    for packed in status.details if status is not None else ():
        retry = error_details_pb2.RetryInfo()
        if packed.Unpack(retry):
            return float(retry.retry_delay.ToMilliseconds() / 1000)
    return None
