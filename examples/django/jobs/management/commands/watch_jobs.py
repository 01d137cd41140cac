"""The command that the watcher process runs."""

import asyncio
import signal
from contextlib import suppress

from django.core.management.base import BaseCommand

from jobs import watcher


class Command(BaseCommand):
    """Watches until SIGTERM or Ctrl-C."""

    help = "Keep the jobs in the database up to date. Of several, one works and the others wait."

    def handle(self, *args: object, **options: object) -> None:  # noqa: ARG002
        """Watch."""
        asyncio.run(_until_told_to_stop())


async def _until_told_to_stop() -> None:
    watching = asyncio.ensure_future(watcher.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, watching.cancel)
    with suppress(asyncio.CancelledError):
        await watching
