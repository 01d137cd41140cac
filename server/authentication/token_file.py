"""Bearer tokens of a file: lines of a name and the digest of its token.

```
# NAME   sha256:HEX
ci       sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
```

A name may have several lines, so that its token can be exchanged for another: add the new one's,
hand it out, take the old one's away.

A plain SHA-256 is right here, without salt or a slow hash: those are for secrets that can be
guessed. The tokens that `make_token` makes are random, of 256 bits; tokens of your own need at
least 128. The file is thus of no use to who reads it, but whoever can write it can let anybody in.
"""

import binascii
import hashlib
import re
import secrets
from pathlib import Path
from typing import Final

import structlog

from server.files import ReloadedFile, read_bytes
from server.identity import Identity

MAX_BYTES: Final = 16 * 1024 * 1024

_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DIGEST = re.compile(r"sha256:([0-9A-Fa-f]{64})")

_log = structlog.get_logger()


class BadTokenFile(ValueError):
    """The token file can't be used; the message names it and the line, and quotes nothing of it."""


def make_token() -> tuple[str, str]:
    """A new random token, and what stands for it in the file."""
    # What it begins with is how those who look for leaked secrets know it.
    token = f"jobengine_{secrets.token_urlsafe(32)}"
    return token, f"sha256:{digest(token).hex()}"


def digest(token: str) -> bytes:
    """What a token is looked up by.

    Looking it up in a dict takes longer or shorter depending on the digest, not on the token:
    who measures that learns nothing from which a token could be made.
    """
    return hashlib.sha256(token.encode()).digest()


class TokenFile(ReloadedFile[dict[bytes, Identity]]):
    """Tokens that the operator has handed out; while the file is malformed, the last good ones."""

    name = "tokens"
    takes = "a token that this server's operator has handed out"

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            BadTokenFile: it can't be used.
        """
        super().__init__("token_file", path, _read)

    async def identify(self, token: str, digest: bytes) -> Identity | None:
        """Whose token it is; None: nobody's."""
        del token
        return self.content.get(digest)


def _read(path: Path) -> dict[bytes, Identity]:
    try:
        identities = _parse(read_bytes(path, MAX_BYTES).decode())
        # Kubernetes gives files of a Secret to the pod's group.
        if path.stat().st_mode & 0o027:
            _log.warning("token_file_open_to_others", path=str(path), remedy="chmod 600")
    except OSError as error:
        raise BadTokenFile(
            f"{path}: {error.strerror or error}: name a file with lines of NAME sha256:HEX"
        ) from error
    except UnicodeDecodeError as error:
        # Not the error's own words, which quote what is there.
        raise BadTokenFile(f"{path}: isn't text (byte {error.start}): use UTF-8") from None
    except ValueError as error:
        raise BadTokenFile(f"{path}: {error}") from None
    return identities


def _parse(text: str) -> dict[bytes, Identity]:
    identities: dict[bytes, Identity] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not (value := _DIGEST.fullmatch(words[1])):
            raise ValueError(f"line {number} isn't NAME sha256:HEX, as `jobengine token` makes it")
        if not _NAME.fullmatch(words[0]):
            raise ValueError(
                f"line {number}: the name isn't 1 to 63 of A-Z a-z 0-9 - _ ., ending in letters "
                "or digits"
            )
        identity = Identity((f"token:{words[0]}",))
        known = identities.setdefault(binascii.unhexlify(value[1]), identity)
        if known != identity:
            raise ValueError(f"line {number} has the token of another name: make one for each")
    return identities
