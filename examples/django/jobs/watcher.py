"""The watcher: one stream from the service keeps all rows up to date.

It reads from the service into a queue, and writes from there into the database, as much at once as
there is. Beside that it keeps its lease, and sweeps.
"""

import asyncio
import logging
import random
from contextlib import aclosing
from uuid import UUID, uuid4

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, connections

from jobengine import AsyncClient, WatchJobsResponse, errors
from jobs import lease
from jobs.service import SELECTOR
from jobs.sweep import sweep
from jobs.told import Told

MAX_BATCH = 200
"""Messages that are stored in one transaction, at most, and that wait for it."""
PAUSE_SECONDS = 2.0
"""Before all begins again. The client has tried for some seconds, or minutes, by then."""

Queue = asyncio.Queue[WatchJobsResponse]

logger = logging.getLogger(__name__)


async def run() -> None:
    """Watch, as long as this process lives. Ends with an error that trying again won't mend."""
    holder = uuid4()
    try:
        async with AsyncClient(settings.JOBENGINE_ADDRESS) as client:
            while True:
                await _watch(client, holder)
    finally:
        await sync_to_async(lease.release)(holder)


async def _take_lease(holder: UUID) -> None:
    while not await sync_to_async(lease.take)(holder):
        logger.info("another watcher is at it; waiting")
        await _pause(settings.WATCHER_LEASE_SECONDS / 3)
    logger.info("watching %s at %s", SELECTOR, settings.JOBENGINE_ADDRESS)


async def _watch(client: AsyncClient, holder: UUID) -> None:
    """Wait for the lease, and watch until it is lost, or something fails that may mend."""
    queue: Queue = asyncio.Queue(MAX_BATCH)
    try:
        await _take_lease(holder)
        cursor = await sync_to_async(lease.read_cursor)()
        told = await sync_to_async(Told)()
        async with asyncio.TaskGroup() as group:
            group.create_task(_read(client, cursor, queue))
            group.create_task(_write(told, holder, queue))
            group.create_task(_keep_lease(holder))
            group.create_task(_sweep())
    except* (lease.LeaseLost, DatabaseError, errors.Unavailable, errors.EngineFailed) as failures:
        logger.warning("beginning again: %s", failures.exceptions)
        await sync_to_async(connections.close_all)()
        await _pause(PAUSE_SECONDS)


async def _read(client: AsyncClient, cursor: str, queue: Queue) -> None:
    async with aclosing(client.watch_jobs(SELECTOR, cursor=cursor)) as messages:
        async for message in messages:
            await queue.put(message)


async def _write(told: Told, holder: UUID, queue: Queue) -> None:
    while True:
        messages = [await queue.get()]
        while not queue.empty():
            messages.append(queue.get_nowait())
        await sync_to_async(told.record)(holder, messages)


async def _keep_lease(holder: UUID) -> None:
    while True:
        await asyncio.sleep(settings.WATCHER_LEASE_SECONDS / 3)
        await sync_to_async(lease.extend)(holder)


async def _sweep() -> None:
    while True:
        # On a thread of its own: a broker that hangs holds nothing up.
        await sync_to_async(sweep, thread_sensitive=False)()
        await _pause(settings.SWEEP_AFTER_SECONDS / 3)


async def _pause(seconds: float) -> None:
    await asyncio.sleep(random.uniform(seconds / 2, seconds))
