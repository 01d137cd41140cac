"""What the daemon told of containers while it happened; what it says afterwards can be a guess."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from engines.docker.container import UNKNOWN_CODE
from engines.docker.record import Claim
from engines.errors import EngineTimeout

MAX_CONTAINERS: Final = 100_000
"""Of how many containers the exits are remembered; in doubt, older ones are LOST."""

_DESTROY_SECONDS: Final = 10.0


class History:
    """Exits and unsent starts stay known. What was claimed and started counts for one connection.

    A daemon that was killed while it started a container finds it `created` when it comes up,
    whether or not the command has run (seen on 20.10, with and without live-restore). Only one that
    has been up since the container was claimed knows better, and that it has been up is shown by
    its telling of the claim: it keeps its events in memory.
    """

    def __init__(self) -> None:
        self.exits: OrderedDict[str, int] = OrderedDict()
        """By container: its exit code."""
        self.unsent: set[Claim] = set()
        """This server's claims on containers whose start it hasn't asked for."""
        self.claimed: set[str] = set()
        """Volumes that were made, claims among them."""
        self.started: set[str] = set()
        self.doubtful: set[str] = set()
        """Containers that exited with 255, says a daemon that has started them itself."""
        self._waiting: dict[str, asyncio.Event] = {}

    def begin(self) -> None:
        """Start anew with a connection."""
        self.claimed.clear()
        self.started.clear()
        self.doubtful.clear()

    def note(self, event: Mapping[str, Any]) -> None:
        """Take in an event of the daemon's; the same one again makes no difference."""
        name = container = str(event["Actor"]["ID"])
        match (event.get("Type"), event.get("Action")):
            case ("volume", "create"):
                self.claimed.add(name)
            case ("volume", _):
                self.claimed.discard(name)
            case (_, "start"):
                self.started.add(container)
            case (_, "die"):
                self._note_exit(container, str(event["Actor"]["Attributes"].get("exitCode", "")))
            case (_, "destroy" | "remove"):
                if (waiting := self._waiting.get(container)) is not None:
                    waiting.set()
            case _:
                pass

    def _note_exit(self, container: str, code: str) -> None:
        # A daemon that finds a container gone as it comes up tells of that as well: as 255.
        if code == str(UNKNOWN_CODE):
            if container in self.started:
                self.doubtful.add(container)
        elif code.isdecimal():
            self.exits[container] = int(code)
            if len(self.exits) > MAX_CONTAINERS:
                self.exits.popitem(last=False)

    @contextlib.asynccontextmanager
    async def destruction(self, container: str) -> AsyncGenerator[asyncio.Event]:
        """Notice when the daemon tells that the container is gone: then the event is set.

        On leaving, that is waited for. What it tells of the container comes before that.

        Raises:
            EngineTimeout: it doesn't tell.
        """
        waiting = self._waiting[container] = asyncio.Event()
        try:
            yield waiting
            async with asyncio.timeout(_DESTROY_SECONDS):
                await waiting.wait()
        except TimeoutError:
            raise EngineTimeout("Docker doesn't tell of a container's removal") from None
        finally:
            del self._waiting[container]
