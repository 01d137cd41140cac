"""Follows all objects of one kind: a list, then what changes, for as long as the server is there.

The rules are those of client-go's reflector (KEP-1904, KEP-3157) and of what went wrong elsewhere:

- The list comes in pages, and the watch goes on from the list's version. After a 410 (the version
  is too old: etcd was compacted) it is listed anew, so that what vanished meanwhile is noticed.
- The end of a watch says nothing about objects. It is taken up again from the last version seen,
  which bookmarks keep young.
- The API server ends each watch after a while, and the read timeout is longer than that: a
  connection that is dead without showing it is noticed (kubernetes-client/python#1148).
- Trouble is met with growing, jittered pauses, and reported when it lasts.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog

from engines.backoff import Backoff
from engines.errors import EngineError, EngineUnavailable
from engines.kubernetes.cluster import Cluster, Refused

Json = Mapping[str, Any]

WATCH_SECONDS: Final = (30.0, 45.0)
"""How long the API server lets a watch run: something between the two."""

SILENCE_SECONDS: Final = 60.0
"""How long a watch may say nothing: longer than it may run."""

TRY_AGAIN: Final = Backoff(first=0.1, longest=5.0)
MAX_FAILURES: Final = 5
"""So many failures in a row mean that the server is lost."""

_GONE: Final = 410

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listed:
    """These objects are there, and no others, as of that version."""

    objects: Sequence[Json]
    version: str


@dataclass(frozen=True, slots=True)
class Put:
    """This object is new, or is now like this."""

    object: Json


@dataclass(frozen=True, slots=True)
class Gone:
    """This object is gone; it was like this."""

    object: Json


Event = Listed | Put | Gone


class Reflector:
    """Follows what is at `path` and has the labels of `selector`.

    Of each object only what `trim` makes of it is kept and handed on.
    """

    def __init__(
        self, cluster: Cluster, path: str, selector: str, trim: Callable[[Json], Json]
    ) -> None:
        self._cluster = cluster
        self._path = path
        self._selector = selector
        self._trim = trim
        self._version = ""

    async def follow(self) -> AsyncGenerator[Event]:
        """Yield what is there, and then what changes, for ever.

        Raises:
            EngineError: the API server is lost, or refuses (403 names the verb and the resource).
        """
        failures = 0
        while True:
            try:
                if not self._version:
                    yield Listed(await self._list(), self._version)
                async with contextlib.aclosing(self._watch()) as events:
                    async for event in events:
                        failures = 0
                        yield event
            except EngineError as error:
                if isinstance(error, Refused) and error.status == _GONE:
                    _log.info("kubernetes_listed_anew", path=self._path, why=str(error))
                    self._version = ""
                elif isinstance(error, Refused):
                    raise
                failures += 1
                if failures > MAX_FAILURES:
                    raise
            # Also where the watch has ended well: it may have ended at once.
            await asyncio.sleep(TRY_AGAIN.after(max(failures, 1)))

    async def _list(self) -> list[Json]:
        """All objects, in pages; the version that the watch goes on from is noted."""
        found: list[Json] = []
        version = ""
        query = {"labelSelector": self._selector}
        async with contextlib.aclosing(self._cluster.pages(self._path, query)) as pages:
            async for page in pages:
                found += map(self._trim, page["items"])
                version = str(page["metadata"]["resourceVersion"])
        self._version = version
        return found

    async def _watch(self) -> AsyncGenerator[Event]:
        query = {
            "labelSelector": self._selector,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(int(random.uniform(*WATCH_SECONDS))),  # noqa: S311
        }
        lines = self._cluster.lines(self._path, query=query, silence=SILENCE_SECONDS)
        async with contextlib.aclosing(lines):
            async for line in lines:
                told = _parsed(line)
                found: Json = told["object"]
                if told["type"] == "ERROR":
                    raise Refused(int(found.get("code") or 500), found)
                self._version = str(found["metadata"]["resourceVersion"])
                if told["type"] == "DELETED":
                    yield Gone(self._trim(found))
                elif told["type"] != "BOOKMARK":
                    yield Put(self._trim(found))


def _parsed(line: bytes) -> Json:
    """An event; a line that was cut short is the end of the connection."""
    try:
        return cast("Json", json.loads(line))
    except ValueError:
        raise EngineUnavailable("Kubernetes ended a watch within an event") from None
