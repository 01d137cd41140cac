"""The policy that counts now."""

from pathlib import Path

from server.files import ReloadedFile
from server.identity import Identity
from server.policy.file import read_policy
from server.policy.rights import Rights
from server.policy.subjects import EVERYTHING, Policy


class PolicyFile:
    """Says what callers may do, by a file; without one, everything.

    A file that can't be read any more changes nothing: who had rights keeps them, until it can.

    Raises:
        InvalidPolicy: the file is no good to begin with.
    """

    def __init__(self, path: Path | None) -> None:
        self.file: ReloadedFile[Policy] | None = (
            None if path is None else ReloadedFile("policy", path, read_policy)
        )

    @property
    def version(self) -> int:
        """Increases with each change."""
        return 0 if self.file is None else self.file.version

    def rights(self, identity: Identity) -> Rights:
        """What the caller may do."""
        policy = EVERYTHING if self.file is None else self.file.content
        return policy.rights(identity)

    async def follow(self) -> None:
        """Keep up with the file until cancelled."""
        if self.file is not None:
            await self.file.follow()
