"""How the other server is reached: the client, made of an operator's settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engines.errors import EngineFailed
from jobengine import TLS, AsyncClient, RetryPolicy

HEARTBEAT_SECONDS: Final = 4.0
"""How often a quiet watch is to be heard of; it is taken for dead after 9 s. The contract wants a
sign of life every 10 s."""

_ONCE: Final = RetryPolicy(
    # Callers repeat calls by themselves: who does it for them makes them wait the longer.
    retry_for_seconds=0.0,
    resume_for_seconds=0.0,
    heartbeat_seconds=HEARTBEAT_SECONDS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Settings of the way to another server. Files are PEM.

    `tls` is whether to encrypt, None: if anything is given that is for it. The token in
    `token_file` is read for each call, so that it may be exchanged.
    """

    address: str
    tls: bool | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None
    token_file: Path | None = None
    timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Refuse no address: the client's default would often be the server itself."""
        if not self.address:
            raise ValueError("say where the other server is: --remote-address HOST:PORT")

    @property
    def encrypted(self) -> bool:
        """Whether the connection is."""
        given = any((self.ca, self.cert, self.key, self.server_name))
        return given if self.tls is None else self.tls

    def edition(self) -> tuple[tuple[int, int] | None, ...]:
        """Differs once a file of TLS has been exchanged: a client keeps what it has read."""
        return tuple(map(_edition, filter(None, (self.ca, self.cert, self.key))))

    def client(self) -> AsyncClient:
        """A client that tries each thing once.

        Raises:
            ValueError: the settings don't fit together.
            OSError: a file can't be read.
        """
        tls = TLS(
            ca_file=self.ca,
            cert_file=self.cert,
            key_file=self.key,
            server_name=self.server_name or "",
        )
        return AsyncClient(
            self.address,
            timeout_seconds=self.timeout_seconds,
            retry=_ONCE,
            token=None if self.token_file is None else self._token,
            tls=self.encrypted and tls,
        )

    def _token(self) -> str:
        """The token that is in the file now.

        Raises:
            EngineFailed: there is none.
        """
        try:
            token = self.token_file.read_text().strip() if self.token_file is not None else ""
        except (OSError, ValueError) as error:
            raise EngineFailed(f"--remote-token-file: {error}") from None
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            # Not a word of what is in it.
            raise EngineFailed(
                f"--remote-token-file: {self.token_file} has to hold one token and nothing else"
            )
        return token


def _edition(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino
