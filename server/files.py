"""Files that are read at the start, and again whenever they have changed."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

import structlog

LOOK_SECONDS: Final = 1.0
"""How often a file is looked at."""

T = TypeVar("T")

_Stamp = tuple[int, ...] | None

_log = structlog.get_logger()


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """What a file holds.

    Raises:
        OSError: it can't be read.
        ValueError: it is larger than it may be.
    """
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"has more than {max_bytes} bytes")
    return content


class ReloadedFile(Generic[T]):
    """What a file says; while it is malformed or gone, what the last good one said.

    `read` makes that of the file, or raises a ValueError whose message names the file and says what
    to do. `name` is what logs call it.
    """

    def __init__(self, name: str, path: Path, read: Callable[[Path], T]) -> None:
        """Read the file.

        Raises:
            ValueError: it is no good to begin with.
        """
        self.path = path
        self._name = name
        self._read = read
        self._changes = Changes(path)
        self.content = read(path)
        self.version = 0
        """Increases whenever the file says something else."""
        self.fine = True
        """Whether it was good when it last changed."""
        self.read_time = time.time()
        """When that was read which counts, in seconds since the epoch."""

    async def follow(self) -> None:
        """Keep up with the file until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._changes.there():
                self._reload()

    def _reload(self) -> None:
        try:
            content = self._read(self.path)
        except ValueError as error:
            self.fine = False
            _log.error(f"{self._name}_refused", error=str(error))
            return
        self.fine, self.read_time = True, time.time()
        if content != self.content:
            self.content = content
            self.version += 1
            _log.info(f"{self._name}_reloaded", path=str(self.path))


class Changes:
    """Notices that a file has changed, by looking at it again and again.

    A link that points elsewhere is a change, which is how Kubernetes exchanges secrets.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: _Stamp = None
        # Unknown at first: the first look finds what may have changed in the very moment of the
        # first reading.
        self._done: _Stamp | int = 0

    def there(self) -> bool:
        """Whether to read it: it has changed since that was last said, and not since the last look.

        What is still being written is thus left alone: half a file of tokens is one without the
        other half's.
        """
        stamp = self._stamp()
        settled = stamp == self._seen
        self._seen = stamp
        if not settled or stamp == self._done:
            return False
        self._done = stamp
        return True

    def _stamp(self) -> _Stamp:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
