"""One issuer of JWTs: what has to be true of a token of its."""

from collections.abc import Mapping
from typing import Any, Final, cast

import jwt

from server.authentication.config import JwtIssuer
from server.authentication.jwks import key_source
from server.authentication.keys import Key
from server.errors import IssuerUnavailable, Unauthenticated
from server.identity import Identity

LEEWAY_SECONDS: Final = 30.0
"""How far the issuer's clock may differ from ours."""

MAX_NAME_CHARACTERS: Final = 512

_REQUIRED: Final = ("exp", "iss", "aud", "sub")
_NO_END: Final = 2**53


class Issuer:
    """Verifies the tokens of one issuer."""

    def __init__(self, config: JwtIssuer) -> None:
        self._config = config
        self.source = key_source(config)
        audience = " or ".join(config.audiences)
        self.takes = f"a JWT of {config.issuer} for the audience {audience}"

    async def key(self, header: Mapping[str, Any]) -> Key:
        """The key that a token with this header has to be signed with.

        Raises:
            Unauthenticated: there is none.
        """
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._config.algorithms:
            taken = ", ".join(self._config.algorithms)
            raise Unauthenticated(f"the token isn't signed in a way that is taken: use {taken}")
        if not self.source.keys.ids or not self.source.keys.knows(kid):
            await self.source.refresh()
        if not self.source.keys.ids:
            raise IssuerUnavailable
        if (key := self.source.keys.find(kid, algorithm)) is None:
            raise Unauthenticated("the token isn't signed with a key that its issuer has published")
        return key

    def verify(self, token: str, key: Key) -> Identity:
        """Whose token it is.

        Raises:
            Unauthenticated: it isn't good, or not for this server.
        """
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.public,
                algorithms=[key.algorithm],
                audience=self._config.audiences,
                issuer=self._config.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": list(_REQUIRED)},
            )
        except jwt.PyJWTError as error:
            # Without its cause: that has the token in its frames.
            expired = isinstance(error, jwt.ExpiredSignatureError)
            raise Unauthenticated(
                self._problem(error), "expired" if expired else "invalid"
            ) from None
        return Identity(self._names(claims), self._expires(claims))

    def _problem(self, error: jwt.PyJWTError) -> str:
        """Why a token is refused, without repeating anything that is in it."""
        match error:
            case jwt.ExpiredSignatureError():
                return "the token has expired: get a new one"
            case jwt.ImmatureSignatureError():
                return "the token isn't valid yet: its issuer's clock is ahead, or it is for later"
            case jwt.InvalidAudienceError():
                return f"the token is for somebody else: get {self.takes}"
            case jwt.MissingRequiredClaimError():
                return f"the token lacks one of the claims {', '.join(_REQUIRED)}"
            case jwt.InvalidSignatureError():
                return "the token's signature is wrong"
            case _:
                return "the token is malformed"

    def _expires(self, claims: Mapping[str, Any]) -> float:
        # With the leeway, as a token is taken until then: streams that ended earlier would be
        # opened again with it, and ended at once.
        return float(min(int(claims["exp"]), _NO_END)) + LEEWAY_SECONDS

    def _names(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        label = f"{self._config.label}:" if self._config.label else ""
        groups: object = claims.get(self._config.groups_claim)
        if groups is None:
            groups = []
        elif isinstance(groups, str):
            groups = [groups]
        if not isinstance(groups, list):
            raise Unauthenticated("the token's groups aren't a list of strings")
        return (
            f"jwt:{label}{_name(claims['sub'])}",
            *(f"jwt-group:{label}{_name(group)}" for group in cast("list[object]", groups)),
        )


def _name(value: object) -> str:
    """A name as it may stand in logs and policies."""
    if isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARACTERS and value.isprintable():
        return value
    raise Unauthenticated(
        f"the token's sub and groups have to be 1 to {MAX_NAME_CHARACTERS} printable characters"
    )
