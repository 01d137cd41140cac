"""What is decided about jobs, by whichever server is first."""

from engines.base import Status
from engines.docker import record
from engines.docker.api import Api
from engines.docker.record import Labels
from engines.lifecycle.facts import Intent, Stop


class Decisions:
    """Notes decisions durably. Each returns what was decided first, which stands."""

    def __init__(self, api: Api, labels: Labels) -> None:
        self._api = api
        self._labels = labels

    async def stop(self, intent: Intent, stop: Stop) -> Stop:
        """That a job has to end."""
        return await self._decide(intent, record.STOP, stop)

    async def delete(self, intent: Intent, stop: Stop) -> Stop:
        """That a job has to go."""
        return await self._decide(intent, record.DELETE, stop)

    async def _decide(self, intent: Intent, kind: str, stop: Stop) -> Stop:
        name = self._labels.fact_volume(intent, kind)
        said = await self._api.put_volume(name, self._labels.of_stop(intent, kind, stop))
        return record.read_stop(said, stop)

    async def end(self, intent: Intent, status: Status) -> Status:
        """How a job ended."""
        name = self._labels.fact_volume(intent, record.END)
        said = await self._api.put_volume(name, self._labels.of_end(intent, status))
        return record.read_end(said)
