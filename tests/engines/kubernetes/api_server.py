"""An HTTP server that answers as it is told to, where a real API server can't be made to."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

Json = Mapping[str, Any]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ScriptedServer:
    """Answers each request with the next of `answers`, and notes what was asked, body and all."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[web.Request] = []
        self.bodies: list[Any] = []
        self.token = ""
        self._port = 0
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    def write_kubeconfig(self, path: Path, token: str = "first", namespace: str = "tests") -> Path:
        """A kubeconfig that names this server."""
        where = {"cluster": "c", "user": "u", "namespace": namespace}
        path.write_text(
            json.dumps(
                {
                    "clusters": [
                        {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self._port}"}}
                    ],
                    "users": [{"name": "u", "user": {"token": token}}],
                    "contexts": [{"name": "x", "context": where}],
                    "current-context": "x",
                }
            )
        )
        return path

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.BaseRequest)
        body = await request.read()
        self.bodies.append(json.loads(body) if body else None)
        self.asked.append(request)  # type: ignore[arg-type]
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"message": "Unauthorized", "code": 401}, status=401)
        if not self.answers:
            await asyncio.Event().wait()
        return await self.answers.pop(0)(request)  # type: ignore[arg-type]


def thing(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}}


def page(*objects: Json, version: int, more: str = "") -> Answer:
    """A page of a list."""

    async def answer(request: web.Request) -> web.StreamResponse:
        metadata = {"resourceVersion": str(version), "continue": more}
        return web.json_response({"metadata": metadata, "items": list(objects)})

    return answer


def refusal(status: int, message: str = "no", reason: str = "") -> Answer:
    """An error."""

    async def answer(request: web.Request) -> web.StreamResponse:
        body = {"kind": "Status", "code": status, "message": message, "reason": reason}
        return web.json_response(body, status=status)

    return answer


def event(kind: str, found: Json) -> bytes:
    return json.dumps({"type": kind, "object": found}).encode() + b"\n"


def watch(*data: bytes, then: str = "end") -> Answer:
    """A watch that tells so much and then ends, is `cut`, or falls `silent`."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for each in data:
            await response.write(each)
        if then == "cut":
            assert request.transport is not None
            request.transport.abort()
        elif then == "silent":
            await asyncio.Event().wait()
        return response

    return answer
