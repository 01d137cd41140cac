"""Reads what an attempt wrote, while it is being written and rotated."""

import contextlib
import os
import re
from typing import Final, NamedTuple

from engines.errors import InvalidToken
from engines.local.log import FRAME, GAP, Frame, segment_name, segment_position

_CURSOR: Final = re.compile(r"(\d{1,9})\.(\d{1,18})")
_BATCH_BYTES: Final = 256 * 1024


class Piece(NamedTuple):
    """Output as it stands in the log. `position` is that after it."""

    data: bytes
    stream: int
    time: float
    position: int
    skipped: int


def parse_cursor(cursor: str) -> tuple[int, int]:
    """Attempt and position of a cursor.

    Raises:
        InvalidToken: it isn't one.
    """
    match = _CURSOR.fullmatch(cursor)
    if match is None or not cursor.isascii():
        raise InvalidToken("cursor")
    return int(match[1]), int(match[2])


def make_cursor(attempt: int, position: int) -> str:
    """The cursor that resumes there."""
    return f"{attempt}.{position}"


class AttemptLog:
    """Reads an attempt's log from a position on. Blocks only on the disk."""

    def __init__(self, directory: int, name: str, position: int = 0) -> None:
        self._directory = directory
        self._name = name
        self._position = position
        self._skipped = 0
        self._fd = -1
        self._segment = -1  # where the open one begins
        self._at = 0  # the position of what is read next
        self._rest = b""

    def close(self) -> None:
        """Close the segment that is open."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self) -> list[Piece]:
        """What comes next; nothing at the end of what there is now."""
        while True:
            # Listed first: if there is a newer segment, this one is complete by now.
            newer = [s for s in self._segments() if s > self._segment]
            if self._fd < 0 and not self._open_first(newer):
                return []
            data = os.read(self._fd, _BATCH_BYTES)
            if data:
                if pieces := self._parse(data):
                    return pieces
            elif newer and newer[0] > self._segment:
                self._open(newer[0])
            else:
                return []

    def rest(self, lost_bytes: int) -> Piece | None:
        """What is missing at the very end, where the disk was full to the last."""
        skipped, self._skipped = self._skipped + lost_bytes, 0
        return Piece(b"", GAP, 0.0, self._position, skipped) if skipped else None

    def _segments(self) -> list[int]:
        prefix = f"{self._name}.log."
        names = os.listdir(self._directory)  # noqa: PTH208
        return sorted(segment_position(name) for name in names if name.startswith(prefix))

    def _open_first(self, segments: list[int]) -> bool:
        if not segments:
            return False
        # With the last segment that doesn't begin after the position; else it is gone.
        return self._open(max((s for s in segments if s <= self._position), default=segments[0]))

    def _open(self, segment: int) -> bool:
        self.close()
        with contextlib.suppress(FileNotFoundError):  # dropped this very moment: try the next
            name = segment_name(self._name, segment)
            self._fd = os.open(name, os.O_RDONLY, dir_fd=self._directory)
        self._segment = self._at = segment
        self._rest = b""
        if segment > self._position:
            self._skipped += segment - self._position
            self._position = segment
        return self._fd >= 0

    def _parse(self, data: bytes) -> list[Piece]:
        data = self._rest + data
        pieces: list[Piece] = []
        offset = 0
        while len(data) - offset >= FRAME.size:
            frame = Frame(*FRAME.unpack_from(data, offset))
            start = offset + FRAME.size
            end = start if frame.stream == GAP else start + frame.length
            if end > len(data):
                break
            self._take(frame, data[start:end], pieces)
            offset = end
        self._rest = data[offset:]
        return pieces

    def _take(self, frame: Frame, data: bytes, pieces: list[Piece]) -> None:
        self._at += frame.length
        fresh = self._at - self._position
        if fresh <= 0:
            return
        self._position = self._at
        if frame.stream == GAP:
            self._skipped += fresh
            return
        pieces.append(Piece(data[-fresh:], frame.stream, frame.time, self._at, self._skipped))
        self._skipped = 0
