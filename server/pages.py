"""Opaque page tokens: where a listing goes on, and of which listing it is."""

import base64
import binascii
import hashlib
from collections.abc import Iterable

from engines.errors import InvalidToken


def make_token(after: str, filters: Iterable[str]) -> str:
    """A token that goes on after that name in the listing with those filters."""
    return base64.urlsafe_b64encode(f"{_digest(filters)}{after}".encode()).decode()


def read_token(token: str, filters: Iterable[str]) -> str:
    """The name to go on after; empty for the empty token.

    Raises:
        InvalidToken: not a token, or one of a listing with other filters.
    """
    if not token:
        return ""
    try:
        text = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidToken("page_token") from None
    digest = _digest(filters)
    if not text.startswith(digest) or len(text) == len(digest):
        raise InvalidToken("page_token")
    return text.removeprefix(digest)


def _digest(filters: Iterable[str]) -> str:
    return hashlib.blake2b("\0".join(filters).encode(), digest_size=4).hexdigest()
