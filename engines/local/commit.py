"""Makes changes durable, many with one sync, off the event loop."""

import asyncio
import contextlib
import os
import queue
import threading
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

_BATCH: Final = 128
_T = TypeVar("_T")


class _Change(NamedTuple):
    write: Callable[[], list[int]]
    undo: Callable[[], None] | None
    future: asyncio.Future[None]


class Committer:
    """One thread that writes, syncs and reports, a batch at a time.

    While a batch is synced the next one gathers, so that the more there is to do, the less
    each change costs (a sync of one file brings most of the others along).
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="local-engine-commit", daemon=True)
        self._thread.start()

    def submit(
        self, write: Callable[[], list[int]], undo: Callable[[], None] | None = None
    ) -> asyncio.Future[None]:
        """Have `write` called, and the files synced whose descriptors it returns.

        The future ends when that is durable, or with the OSError after `undo` was called. The
        change is carried out even if nobody waits for it.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(_Change(write, undo, future))
        return future

    async def close(self) -> None:
        """Finish what was submitted, then end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        open_ = True
        while open_:
            batch = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < _BATCH:
                    batch.append(self._queue.get_nowait())
            open_ = None not in batch
            changes = [change for change in batch if change is not None]
            results = self._commit(changes)
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is waiting
                self._loop.call_soon_threadsafe(_deliver, changes, results)

    def _commit(self, changes: list[_Change]) -> list[Exception | None]:
        written = [_attempt(change.write) for change in changes]
        results = [files if isinstance(files, Exception) else _sync_all(files) for files in written]
        try:
            self._sync()
        except OSError as exc:
            results = [result or exc for result in results]
        for change, result in zip(changes, results, strict=True):
            if result is not None and change.undo is not None:
                _attempt(change.undo)
        return results


def _attempt(function: Callable[[], _T]) -> _T | Exception:
    try:
        return function()
    except Exception as exc:  # noqa: BLE001  (handed to whoever waits)
        return exc


def _sync_all(files: list[int]) -> Exception | None:
    result: Exception | None = None
    for fd in files:
        try:
            os.fsync(fd)
        except OSError as exc:
            result = exc
        finally:
            os.close(fd)
    return result


def _deliver(changes: list[_Change], results: list[Exception | None]) -> None:
    for change, result in zip(changes, results, strict=True):
        if change.future.cancelled():
            continue
        if result is None:
            change.future.set_result(None)
        else:
            change.future.set_exception(result)
