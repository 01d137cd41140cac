"""Counts jobs: where they are, and what became of them while this server looked."""

import time
from collections import Counter
from collections.abc import Mapping

from engines.base import Reason, State, Status
from server.metrics.catalogue import RUN, START, USUAL
from server.metrics.histogram import Histogram

Place = tuple[State, Reason]


class JobTally:
    """What the mirror tells of jobs, counted. It is written on the event loop alone.

    Jobs that started or ended before this tally was made count as being where they are, and for
    nothing else: a server that starts anew must not count them anew.
    """

    def __init__(self) -> None:
        self._began = time.time()
        self._counts = Counter[Place](dict.fromkeys(USUAL, 0))
        self._ended = Counter[Place]({place: 0 for place in USUAL if place[0].terminal})
        self.start_seconds = Histogram(START.bounds)
        self.run_seconds = Histogram(RUN.bounds)

    def found(self, status: Status) -> None:
        """A job is there that wasn't known."""
        self._counts[_place(status)] += 1
        if status.start_time is not None and status.start_time >= self._began:
            self._note_start(status)
        if status.state.terminal and (status.end_time or 0.0) >= self._began:
            self._note_end(status)

    def moved(self, before: Status, after: Status) -> None:
        """A job that is known has another status."""
        self._counts[_place(before)] -= 1
        self._counts[_place(after)] += 1
        self._note_change(before, after)

    def removed(self, before: Status, last: Status) -> None:
        """A job that was known is gone; its last status may be news."""
        self._counts[_place(before)] -= 1
        self._note_change(before, last)

    def counts(self) -> Mapping[Place, int]:
        """How many jobs are where, those places included that have none. From any thread."""
        return dict(self._counts)

    def ended(self) -> Mapping[Place, int]:
        """How many jobs have ended how. From any thread."""
        return dict(self._ended)

    def _note_change(self, before: Status, after: Status) -> None:
        if before.start_time is None and after.start_time is not None:
            self._note_start(after)
        if after.state.terminal and not before.state.terminal:
            self._note_end(after)

    def _note_start(self, status: Status) -> None:
        if status.start_time is not None and status.create_time is not None:
            # Clocks of two machines may have had a part in it.
            self.start_seconds.observe(max(status.start_time - status.create_time, 0.0))

    def _note_end(self, status: Status) -> None:
        self._ended[_place(status)] += 1
        if status.start_time is not None and status.end_time is not None:
            self.run_seconds.observe(max(status.end_time - status.start_time, 0.0))


def _place(status: Status) -> Place:
    return status.state, status.reason
