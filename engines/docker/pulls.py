"""Pulls images: once for however many jobs wait for one, with progress for all of them."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from engines.backoff import Backoff
from engines.docker.api import Api
from engines.docker.daemon import Refused
from engines.errors import EngineTimeout, EngineUnavailable

MAX_PULLS: Final = 4
"""How many images are pulled at once."""

TRIES: Final = 4
TRY_AGAIN: Final = Backoff(first=1.0, longest=4.0)
PROGRESS_SECONDS: Final = 0.5
"""How often those who wait are told of progress, at most."""

_FINAL_STATUSES: Final = frozenset({400, 401, 403, 404})
_FINAL_WORDS: Final = (
    "not found",
    "manifest unknown",
    "denied",
    "unauthorized",
    "authentication required",
    "no basic auth credentials",
    "invalid reference",
    "no matching manifest",
    "repository name must",
)

Tell = Callable[[str], None]


class PullFailed(Exception):
    """The image can't be had; the message has the daemon's words."""


class Pulls:
    """The pulls that are under way."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._places = asyncio.Semaphore(MAX_PULLS)
        self._pulls: dict[tuple[str, str], _Pull] = {}

    async def pull(
        self, image: str, secret: str, auth: Mapping[str, Any] | None, tell: Tell
    ) -> None:
        """Have the image pulled, or join the pull of it with the same secret that is under way.

        `tell` is called with what there is to say of the progress. The pull ends when the last
        one who waits for it gives up.

        Raises:
            PullFailed: the image can't be had.
            EngineUnavailable: the daemon is away.
        """
        key = (image, secret)
        pull = self._pulls.get(key)
        if pull is None:
            pull = self._pulls[key] = _Pull()
            pull.task = asyncio.create_task(self._run(image, auth, pull))
            pull.task.add_done_callback(lambda _: self._drop(key, pull))
        assert pull.task is not None  # noqa: S101  (set above)
        pull.listeners.append(tell)
        tell(pull.progress)
        try:
            await asyncio.shield(pull.task)
        finally:
            pull.listeners.remove(tell)
            if not pull.listeners and not pull.task.done():
                self._drop(key, pull)
                pull.task.cancel()

    def _drop(self, key: tuple[str, str], pull: "_Pull") -> None:
        if self._pulls.get(key) is pull:
            del self._pulls[key]

    async def _run(self, image: str, auth: Mapping[str, Any] | None, pull: "_Pull") -> None:
        pull.tell(f"waiting to pull image {image}")
        async with self._places:
            for failures in range(1, TRIES + 1):
                try:
                    await self._try(image, auth, pull)
                except _TryFailed as failure:
                    if failure.final or failures == TRIES:
                        raise PullFailed(f"image {image} can't be pulled: {failure}") from None
                    pull.tell(f"pulling image {image} failed, trying again: {failure}")
                    await asyncio.sleep(TRY_AGAIN.after(failures))
                else:
                    return

    async def _try(self, image: str, auth: Mapping[str, Any] | None, pull: "_Pull") -> None:
        layers = _Layers(image)
        loop = asyncio.get_running_loop()
        told = -PROGRESS_SECONDS
        pull.tell(str(layers))
        try:
            async with contextlib.aclosing(self._api.pull(image, auth)) as lines:
                async for line in lines:
                    if "error" in line:
                        raise _TryFailed(str(line["error"]))
                    layers.take(line)
                    if loop.time() - told >= PROGRESS_SECONDS:
                        told = loop.time()
                        pull.tell(str(layers))
        except Refused as refusal:
            raise _TryFailed(refusal.words, final=refusal.status in _FINAL_STATUSES) from None
        except EngineTimeout:
            raise _TryFailed("no progress for minutes") from None
        # A daemon that goes away ends the stream like any other end: see what there is.
        if not await self._api.has_image(image):
            raise EngineUnavailable(f"pulling {image} ended without the image")


class _TryFailed(Exception):
    def __init__(self, words: str, *, final: bool = False) -> None:
        super().__init__(words)
        self.final = final or any(known in words.lower() for known in _FINAL_WORDS)


class _Pull:
    """A pull, and who wants to hear of it."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.listeners: list[Tell] = []
        self.progress = ""

    def tell(self, progress: str) -> None:
        self.progress = progress
        for listener in list(self.listeners):
            listener(progress)


class _Layers:
    """How far the layers of an image have come."""

    def __init__(self, image: str) -> None:
        self._image = image
        self._done: dict[str, bool] = {}
        self._bytes: dict[str, tuple[int, int]] = {}

    def take(self, line: Mapping[str, Any]) -> None:
        """Take in a line of the daemon's."""
        layer, status = str(line.get("id") or ""), str(line.get("status") or "")
        if not layer or status.startswith("Pulling from"):
            return
        self._done[layer] = status in {"Pull complete", "Already exists"}
        detail: Mapping[str, Any] = line.get("progressDetail") or {}
        if status == "Downloading" and detail.get("total"):
            self._bytes[layer] = (int(detail.get("current") or 0), int(detail["total"]))
        elif status in {"Download complete", "Pull complete"} and layer in self._bytes:
            total = self._bytes[layer][1]
            self._bytes[layer] = (total, total)

    def __str__(self) -> str:
        text = f"pulling image {self._image}"
        if self._done:
            text += f": {sum(self._done.values())} of {len(self._done)} layers"
        if self._bytes:
            current, total = (sum(column) for column in zip(*self._bytes.values(), strict=True))
            text += f", {current / 1e6:.1f} of {total / 1e6:.1f} MB"
        return text
