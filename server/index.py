"""Finds jobs by their labels and states without looking at all of them."""

import heapq
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from sortedcontainers import SortedList

from engines.base import Job, State
from server.selector import Selector

_STATE: Final = ""
"""The facet that isn't a label: no label has this key."""

_LAST: Final = chr(0x10FFFF)
"""Comes after every name."""


Wanted = Mapping[str, Collection[str]]


class _Row(NamedTuple):
    """That a job has a label of this value, or is in this state."""

    facet: str
    value: str
    name: str


class Index:
    """Names of jobs, in order, by each of their labels and by their state.

    One sorted list for all, since a label may have as many values as there are jobs.
    """

    def __init__(self) -> None:
        self._rows: SortedList[_Row] = SortedList()

    def add(self, job: Job) -> None:
        """A job is there."""
        self._rows.update(_rows(job))

    def move(self, name: str, before: State, after: State) -> None:
        """A job is in another state."""
        if before is not after:
            self._rows.remove(_Row(_STATE, before.name, name))
            self._rows.add(_Row(_STATE, after.name, name))

    def remove(self, job: Job) -> None:
        """A job is gone."""
        for row in _rows(job):
            self._rows.remove(row)

    def candidates(
        self, selector: Selector | None, states: Collection[State], after: str
    ) -> Iterator[str] | None:
        """Names that come after this one, in order, those of all jobs that match among them.

        Of each way to match, the label that the fewest jobs have decides, or the states. None where
        nothing narrows them down. Not to be held over an await.
        """
        ways: Sequence[Wanted] = ({},) if selector is None else selector.ways()
        wanted = [{**way, **_states(states)} for way in ways]
        if not all(wanted):
            return None
        found = heapq.merge(*(self._narrowest(each, after) for each in wanted))
        return (name for name, _ in itertools.groupby(found))

    def _narrowest(self, wanted: Wanted, after: str) -> Iterator[str]:
        spans = (
            [(_Row(facet, value, after), _Row(facet, value, _LAST)) for value in values]
            for facet, values in wanted.items()
        )
        narrowest = min(spans, key=lambda span: sum(self._count(*each) for each in span))
        return heapq.merge(*(self._names(*each) for each in narrowest))

    def _count(self, first: _Row, last: _Row) -> int:
        return self._rows.bisect_right(last) - self._rows.bisect_right(first)

    def _names(self, first: _Row, last: _Row) -> Iterator[str]:
        for row in self._rows.irange(first, last, inclusive=(False, True)):
            yield row.name


def _states(states: Collection[State]) -> Wanted:
    return {_STATE: [state.name for state in states]} if states else {}


def _rows(job: Job) -> list[_Row]:
    state = _Row(_STATE, job.status.state.name, job.name)
    return [state, *(_Row(key, value, job.name) for key, value in job.labels.items())]
