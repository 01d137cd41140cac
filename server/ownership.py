"""Whose a job is: a label that the server sets, and how much each owner has unfinished."""

from collections import Counter
from typing import Final

from engines.base import Job

OWNER_LABEL: Final = "jobengine.dev/owner"
"""Who created a job, where the server asks who calls. Callers can't set it."""


class Unfinished:
    """How many jobs of each owner haven't ended, without looking at all of them."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def of(self, owner: str) -> int:
        """How many the owner has."""
        return self._counts[owner]

    def count(self, job: Job, number: int) -> None:
        """The job is there (1), or it isn't any more (-1)."""
        if job.status.state.terminal:
            return
        owner = job.labels.get(OWNER_LABEL, "")
        self._counts[owner] += number
        if not self._counts[owner]:
            del self._counts[owner]
