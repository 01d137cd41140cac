"""Engines to check, which are wrong in one way each."""

from collections.abc import Sequence

from engines import Capability, Job, Status
from engines.memory import MemoryEngine
from tests.engines.test_conformance import FakeWorkload


class Modest(MemoryEngine):
    """Does what it doesn't declare."""

    capabilities = frozenset({Capability.COMMANDS, Capability.LIST})


class Forgetful(MemoryEngine):
    """Lists nothing."""

    async def list_jobs(self) -> Sequence[Job]:
        return []


class Deaf(MemoryEngine):
    """Says that it cancels, and doesn't."""

    async def cancel_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> Status:
        return (await self.read_job(name)).status


class Pretended(FakeWorkload):
    """What engines that pretend can be made to do."""

    def __init__(self, directory: object) -> None:
        del directory
