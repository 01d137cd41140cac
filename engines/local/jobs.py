"""A local job that isn't over."""

from typing import ClassVar

from engines.lifecycle.active import ActiveJob
from engines.local.record import Attempt


class LocalJob(ActiveJob[Attempt]):
    """While instances run, their shims see to the deadline by themselves."""

    deadline_margin_seconds: ClassVar[float] = 5.0
