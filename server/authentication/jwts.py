"""Bearer tokens that are JWTs, of all issuers; verified once, and then remembered."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import jwt

from server.authentication.config import JwtIssuer
from server.authentication.issuer import Issuer
from server.errors import Unauthenticated
from server.identity import Identity

MAX_REMEMBERED: Final = 10_000
"""How many verified tokens are remembered; the one least used is forgotten first."""


class _Verified(NamedTuple):
    identity: Identity
    expires: float
    issuer: Issuer
    key_id: bytes


class Jwts:
    """JWTs of the issuers; what was verified is remembered, as that takes 50 times as long.

    Remembered by its digest: tokens are up to 16 KiB, and none should lie about in memory. Good
    ones alone are, so that nobody without one can make the server forget any.
    """

    name = "issuers"

    def __init__(self, issuers: Sequence[JwtIssuer]) -> None:
        self._issuers = {config.issuer: Issuer(config) for config in issuers}
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self.takes = ", or ".join(issuer.takes for issuer in self._issuers.values())

    @property
    def version(self) -> int:
        """Increases whenever an issuer's keys have changed."""
        return sum(issuer.source.version for issuer in self._issuers.values())

    @property
    def fine(self) -> bool:
        """Whether the keys of all issuers could be had when that was last tried."""
        return all(issuer.source.fine for issuer in self._issuers.values())

    @property
    def read_time(self) -> float:
        """When that was, of the issuer for which it is longest ago."""
        return min(issuer.source.read_time for issuer in self._issuers.values())

    async def identify(self, token: str, digest: bytes) -> Identity | None:
        """Whose token it is; None: it is no JWT.

        Raises:
            Unauthenticated: it is a JWT, and isn't good.
        """
        known = self._verified.get(digest)
        # A good token stays good until it expires, unless its issuer withdraws the key.
        if (
            known is not None
            and known.expires > time.time()
            and known.key_id in known.issuer.source.keys.ids
        ):
            self._verified.move_to_end(digest)
            return known.identity
        return await self._verify(token, digest) if token.count(".") == 2 else None

    async def follow(self) -> None:
        """Keep the keys of all issuers fresh."""
        async with asyncio.TaskGroup() as tasks:
            for issuer in self._issuers.values():
                tasks.create_task(issuer.source.follow())

    async def _verify(self, token: str, digest: bytes) -> Identity:
        self._verified.pop(digest, None)
        header, claims = _unverified(token)
        name = claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise Unauthenticated(f"the token isn't of an issuer that is trusted: get {self.takes}")
        key = await issuer.key(header)
        identity = issuer.verify(token, key)
        self._verified[digest] = _Verified(identity, identity.expires or 0.0, issuer, key.id)
        if len(self._verified) > MAX_REMEMBERED:
            self._verified.popitem(last=False)
        return identity


def _unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, to find out who has to vouch for them."""
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        raise Unauthenticated("the token is malformed", "malformed") from None
    return parts["header"], parts["payload"]
