"""How long to wait before trying again."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses in seconds that double from `first` up to `longest`.

    Each is shortened at random by up to half, so that those who failed together don't try again
    together (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """

    first: float
    longest: float

    def after(self, failures: int) -> float:
        """The pause after that many failures in a row, of which there is at least one."""
        doublings = min(failures - 1, 64)  # what a float can hold, however long it has failed
        return min(self.first * 2.0**doublings, self.longest) * random.uniform(0.5, 1.0)  # noqa: S311
