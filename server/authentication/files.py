"""Notices that a file has changed, by looking at it again and again."""

from pathlib import Path
from typing import Final

LOOK_SECONDS: Final = 1.0
"""How often a file is looked at."""

_Stamp = tuple[int, ...] | None


class WatchedFile:
    """A file that is read, and read again once it has changed.

    A link that points elsewhere is a change, which is how Kubernetes exchanges secrets.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._seen: _Stamp = None
        # Unknown after the first reading, too: the first look reads again what may have changed
        # in the very moment of that.
        self._done: _Stamp | int = 0

    def read(self) -> bytes:
        """What it holds.

        Raises:
            OSError: it can't be read.
            ValueError: it is larger than it may be.
        """
        with self.path.open("rb") as file:
            content = file.read(self._max_bytes + 1)
        if len(content) > self._max_bytes:
            raise ValueError(f"has more than {self._max_bytes} bytes")
        return content

    def open_to_others(self) -> bool:
        """Whether others than its owner may read or change it."""
        return bool(self.path.stat().st_mode & 0o077)

    def changed(self) -> bool:
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
            stat = self.path.stat()
        except OSError:
            return None
        return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
