"""How a policy refuses a job, and how a policy itself is refused."""

from pathlib import Path

from server.errors import InvalidRequest


class LimitExceeded(InvalidRequest):
    """The job asks for more than the policy allows its caller; nothing was done."""


class InvalidPolicy(ValueError):
    """A policy file can't be read, or says something that it can't mean.

    `place` is where in it, for example `subjects[2].grants[0].verbs`; empty for all of it.
    """

    def __init__(self, file: Path, place: str, what: str) -> None:
        super().__init__(": ".join(part for part in (str(file), place, what) if part))
        self.file = file
        self.place = place
