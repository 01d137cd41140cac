"""How the connection to a server is encrypted, and shown to be that server's."""

from dataclasses import dataclass
from pathlib import Path

_File = str | Path | None


@dataclass(frozen=True, slots=True)
class TLS:
    """Settings of TLS. Files are PEM, and read when a connection is opened.

    Raises:
        ValueError: one of `cert_file` and `key_file` is given without the other.
    """

    ca_file: _File = None
    """The authorities that are trusted. Default: those that gRPC brings along."""

    cert_file: _File = None
    """The client's own certificate, followed by its chain, where the server asks for one."""

    key_file: _File = None
    """The private key of the client's certificate, unencrypted."""

    server_name: str = ""
    """The name that the server's certificate is to have. Default: the address's host."""

    def __post_init__(self) -> None:
        """Refuse half a pair."""
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together: give both, or neither")

    def read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """What the files hold now: authorities, key, certificates.

        Raises:
            OSError: one can't be read.
        """
        return _read(self.ca_file), _read(self.key_file), _read(self.cert_file)


def _read(file: _File) -> bytes | None:
    return None if file is None else Path(file).read_bytes()
