"""The asynchronous client behind the synchronous one's face, so that one test checks both."""

import asyncio
import inspect
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, Self, cast

from jobengine import AsyncClient, Client


class _Blocking:
    def __init__(self, runner: asyncio.Runner, client: AsyncClient) -> None:
        self._runner = runner
        self._client = client

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        return self._blocking(attribute) if callable(attribute) else attribute

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def _blocking(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            if inspect.isasyncgen(result):
                return self._iterate(result)
            return self._runner.run(result) if inspect.iscoroutine(result) else result

        return call

    def _iterate(self, generator: Any) -> Generator[Any]:
        end = object()

        async def advance() -> Any:
            return await anext(generator, end)

        try:
            while (item := self._runner.run(advance())) is not end:
                yield item
        finally:
            self._runner.run(generator.aclose())


def make_client(kind: str, address: str, **settings: Any) -> Client:
    """A client of either kind, to be used as the synchronous one."""
    if kind == "sync":
        return Client(address, **settings)
    return cast("Client", _Blocking(asyncio.Runner(), AsyncClient(address, **settings)))


def first(iterator: Generator[Any]) -> Any:
    """The first of what a stream yields, which is then closed."""
    with closing(iterator):
        return next(iterator)


NewClient = Callable[..., Client]
"""The fixture `new_client`: an address, and the client's settings."""
