"""Decides by which of a call's credentials its caller is known."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol

from server.authentication.certificate import ClientCertificates
from server.authentication.config import AuthenticationConfig
from server.authentication.jwts import Jwts
from server.authentication.token_file import TokenFile, digest
from server.errors import Unauthenticated
from server.identity import ANONYMOUS, Identity

MAX_TOKEN_CHARACTERS: Final = 16 * 1024

Metadata = Iterable[tuple[str, str | bytes]]


class Reread(Protocol):
    """What is read at the start, and again when it changes."""

    @property
    def fine(self) -> bool:
        """Whether it was good when it was last read."""
        ...

    @property
    def read_time(self) -> float:
        """When that was read which counts, in seconds since the epoch."""
        ...


class TokenSource(Reread, Protocol):
    """Tokens of one kind."""

    @property
    def name(self) -> str:
        """What metrics call it."""
        ...

    @property
    def takes(self) -> str:
        """What it takes, for callers that brought nothing good."""
        ...

    @property
    def version(self) -> int:
        """Increases whenever it may judge otherwise than before."""
        ...

    async def identify(self, token: str, digest: bytes) -> Identity | None:
        """Whose token it is; None: not of this kind."""
        ...

    async def follow(self) -> None:
        """Keep up with what changes outside, until cancelled."""
        ...


class Authenticator:
    """Knows callers by their credentials.

    A bearer token counts before all else: where there is one, it alone counts, and a bad one isn't
    made up for by a good certificate. Then comes the client certificate, then nothing, if that is
    allowed.
    """

    def __init__(self, config: AuthenticationConfig) -> None:
        """Read the files; URLs are asked later.

        Raises:
            ValueError: a file can't be used; the message names it.
        """
        self._tokens: tuple[TokenSource, ...] = tuple(_token_sources(config))
        self._certificates = ClientCertificates() if config.client_certificates else None
        self._anonymous = config.anonymous

    @property
    def version(self) -> int:
        """Increases whenever a credential may be judged otherwise than before.

        Whoever was let in by an older version is to be identified again.
        """
        return sum(source.version for source in self._tokens)

    @property
    def files(self) -> "Mapping[str, Reread]":
        """What is read again and again, by the names that metrics have for it."""
        return {source.name: source for source in self._tokens}

    @property
    def reads_auth_context(self) -> bool:
        """Whether `identify` needs gRPC's auth context, which takes it some 4 µs to make."""
        return self._certificates is not None

    async def identify(
        self, metadata: Metadata, auth_context: Mapping[str, Iterable[bytes]]
    ) -> Identity:
        """Who calls, by the call's metadata and gRPC's auth context.

        Raises:
            Unauthenticated: nothing that was brought is good.
        """
        header = None
        for key, value in metadata:
            if key == "authorization":
                if header is not None:
                    raise Unauthenticated(
                        "more than one authorization header: send one", "malformed"
                    )
                header = value
        if header is None:
            return self._without_token(auth_context)
        token = self._token(header)
        token_digest = digest(token)
        for source in self._tokens:
            if (identity := await source.identify(token, token_digest)) is not None:
                return identity
        raise Unauthenticated(f"the token isn't known here: {self._wanted()}", "unknown")

    async def follow(self) -> None:
        """Keep up with changed files and keys, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for source in self._tokens:
                tasks.create_task(source.follow())
            await asyncio.Event().wait()

    def _without_token(self, auth_context: Mapping[str, Iterable[bytes]]) -> Identity:
        if self._certificates is not None:
            identity = self._certificates.identify(auth_context)
            if identity is not None:
                return identity
        if self._anonymous:
            return ANONYMOUS
        raise Unauthenticated(f"the call brings no credential: {self._wanted()}", "missing")

    def _token(self, header: str | bytes) -> str:
        if not isinstance(header, str) or not header.isascii():
            raise Unauthenticated("the authorization header isn't ASCII", "malformed")
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated(
                f"the authorization header isn't `Bearer TOKEN`: {self._wanted()}", "malformed"
            )
        token = token.strip(" ")
        if not token or " " in token:
            raise Unauthenticated(
                "the authorization header isn't `Bearer TOKEN`, with one token", "malformed"
            )
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise Unauthenticated(
                f"the token is longer than {MAX_TOKEN_CHARACTERS} characters", "malformed"
            )
        return token

    def _wanted(self) -> str:
        wanted: list[str] = []
        if self._tokens:
            kinds = ", or ".join(source.takes for source in self._tokens)
            wanted.append(f"send metadata `authorization: Bearer TOKEN` with {kinds}")
        if self._certificates is not None:
            wanted.append(f"call with {self._certificates.takes}, and without a token")
        return "; or ".join(wanted) or "this server takes none: send no authorization header"


def _token_sources(config: AuthenticationConfig) -> Iterator[TokenSource]:
    if config.token_file is not None:
        yield TokenFile(config.token_file)
    if config.jwt_issuers:
        yield Jwts(config.jwt_issuers)
