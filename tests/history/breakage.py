"""What breaks during a run: connections, over proxies, and the server."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

from tests.clients.proxy import Proxy
from tests.faults.server import FaultyServer

CONNECTIONS = ("cut", "stutter", "slow", "silent")
SERVERS = ("kill", "terminate")


class Breakage:
    """Some proxies to a server; `strike` does one harm after another until it is cancelled."""

    def __init__(self, server: FaultyServer, roll: random.Random, restarts: int) -> None:
        self._server = server
        self._roll = random.Random(roll.random())
        self._restarts = restarts
        self._stack = contextlib.ExitStack()
        self._proxies: Sequence[Proxy] = ()
        self.faults: Counter[str] = Counter()
        self.starts = 1

    def open(self, proxies: int) -> list[str]:
        """Start so many proxies to the running server; return their addresses."""
        address = self._server.address
        self._proxies = [self._stack.enter_context(Proxy(address)) for _ in range(proxies)]
        return [proxy.address for proxy in self._proxies]

    def close(self) -> None:
        """End the proxies."""
        self._stack.close()

    async def strike(self, enough: asyncio.Event) -> None:
        """Break something now and then; all works again once this returns."""
        plan = list(SERVERS) * self._restarts
        while not enough.is_set():
            await asyncio.sleep(self._roll.uniform(0, 0.6))
            fault = self._roll.choice(CONNECTIONS)
            if plan and self._roll.random() < 0.5:
                fault = plan.pop(self._roll.randrange(len(plan)))
            self.faults[fault] += 1
            await self._break(fault)

    async def _break(self, fault: str) -> None:
        proxy = self._roll.choice(self._proxies)
        match fault:
            case "cut":
                await asyncio.to_thread(proxy.cut)
            case "stutter":
                for _ in range(self._roll.randint(2, 6)):
                    await asyncio.to_thread(proxy.cut)
                    await asyncio.sleep(self._roll.uniform(0, 0.25))
            case "silent":
                await asyncio.to_thread(proxy.fall_silent)
            case "slow":
                proxy.slow_down(self._roll.uniform(0.01, 0.3))
                try:
                    await asyncio.sleep(self._roll.uniform(0.2, 1.5))
                finally:
                    proxy.slow_down(0)
            case _:
                await _to_its_end(self._restart(fault))

    async def _restart(self, fault: str) -> None:
        await asyncio.to_thread(getattr(self._server, fault))
        await asyncio.sleep(self._roll.choice((0, 0.3)))
        self.starts += 1
        await asyncio.to_thread(self._server.start)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do it wholly even if this is cancelled, so that whoever cleans up knows what there is."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
