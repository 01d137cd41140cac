"""The file format of an attempt's output, and the shim's side of it.

Output is a row of frames: when, which stream, how many bytes, and the bytes. One file for both
streams keeps their common order. Positions count the bytes of output since the attempt's start,
whatever was dropped since; a segment is named for the position that it begins at.
"""

import os
import struct
import time
from typing import Final, NamedTuple

STDOUT: Final = 1
STDERR: Final = 2
GAP: Final = 0
"""A frame that stands for bytes that could not be written; they are counted, not kept."""

FRAME: Final = struct.Struct("<dBQ")
READ_BYTES: Final = 65536
_SEGMENTS: Final = 8
_MIN_SEGMENT_BYTES: Final = 4096


class Frame(NamedTuple):
    """A frame's head; the data of a GAP isn't there."""

    time: float
    stream: int
    length: int


def segment_name(attempt_name: str, position: int) -> str:
    """The name of the segment that begins at a position."""
    return f"{attempt_name}.log.{position:016d}"


def segment_position(name: str) -> int:
    """The position that a segment begins at."""
    return int(name.rpartition(".")[2])


class LogWriter:
    """Appends frames to segments and drops the oldest above the limit.

    It never fails: what a full disk doesn't take is counted, and told in a GAP frame once
    there is room again. Files are made with the first output, so a silent job has none.
    """

    def __init__(self, attempt_name: str, limit_bytes: int) -> None:
        self._name = attempt_name
        self._segment_bytes = max(limit_bytes // _SEGMENTS, _MIN_SEGMENT_BYTES)
        self._keep = max(limit_bytes // self._segment_bytes, 2)
        self._fd = -1
        self._size = 0
        self._position = 0
        self._segments: list[str] = []
        self.lost_bytes = 0

    def write(self, stream: int, data: bytes) -> None:
        """Append what a stream brought."""
        now = time.time()
        most = self._segment_bytes - FRAME.size  # so that no segment outgrows its share
        for start in range(0, len(data), most):
            piece = data[start : start + most]
            try:
                if self.lost_bytes:
                    self._append(FRAME.pack(now, GAP, self.lost_bytes))
                    self._position += self.lost_bytes
                    self.lost_bytes = 0
                self._append(FRAME.pack(now, stream, len(piece)) + piece)
                self._position += len(piece)
            except OSError:
                self.lost_bytes += len(piece)

    def close(self) -> None:
        """Close the segment that is open."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, data: bytes) -> None:
        if self._fd < 0 or self._size + len(data) > self._segment_bytes:
            self._open_segment()
        written = os.write(self._fd, data)
        if written < len(data):
            # A full disk took a part. A torn frame must not stay in the middle of a file.
            os.ftruncate(self._fd, self._size)
            raise OSError("no room for the whole frame")
        self._size += written

    def _open_segment(self) -> None:
        # The old ones go first: on a full disk theirs is the room that the new one needs.
        while len(self._segments) >= self._keep:
            os.unlink(self._segments[0])  # noqa: PTH108  (pathlib is too heavy for the shim)
            del self._segments[0]
        name = segment_name(self._name, self._position)
        fd = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self.close()
        self._fd, self._size = fd, os.fstat(fd).st_size
        if self._segments[-1:] != [name]:
            self._segments.append(name)
