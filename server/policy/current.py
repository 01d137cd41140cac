"""The policy that counts now: read at the start, and again when its file changes."""

import asyncio
from pathlib import Path
from typing import Final

import structlog

from server.files import stamp
from server.identity import Identity
from server.policy.file import read_policy
from server.policy.refusals import InvalidPolicy
from server.policy.rights import Rights
from server.policy.subjects import EVERYTHING, Policy

LOOK_SECONDS: Final = 1.0

_log = structlog.get_logger()


class PolicyFile:
    """Says what callers may do, by a file; without one, everything.

    `version` grows with each change. A file that can't be read any more changes nothing: who had
    rights keeps them, until it can.

    Raises:
        InvalidPolicy: the file is no good to begin with.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp = None if path is None else stamp([path])
        self._policy: Policy = EVERYTHING if path is None else read_policy(path)
        self.version = 0
        self.fine = True

    def rights(self, identity: Identity) -> Rights:
        """What the caller may do."""
        return self._policy.rights(identity)

    async def follow(self) -> None:
        """Keep up with the file until cancelled."""
        if self._path is None:
            return
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = stamp([self._path])
            if now != self._stamp:
                self._stamp = now
                self._read(self._path)

    def _read(self, path: Path) -> None:
        try:
            self._policy = read_policy(path)
        except InvalidPolicy as error:
            self.fine = False
            _log.error("policy_reload_failed", error=str(error))
        else:
            self.fine = True
            self.version += 1
            _log.info("policy_reloaded", file=str(path))
