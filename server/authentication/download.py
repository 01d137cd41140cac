"""Fetches a small file over HTTPS."""

import http.client
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from pathlib import Path
from typing import IO, Final

from server.authentication.config import is_loopback

TIMEOUT_SECONDS: Final = 5.0
"""How long the other side may be silent, and how long its answer may take in all."""

_CHUNK_BYTES: Final = 64 * 1024


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects are errors: one to http, or elsewhere, would undo what https and the CA are for."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage | Message,
        newurl: str,
    ) -> None:
        """None: not followed."""


def download(url: str, *, max_bytes: int, ca: Path | None, token: Path | None) -> bytes:
    """What is at the URL; blocks.

    Both files are read each time, for they are exchanged while the server runs. The proxies of
    the environment are used, other than for this machine.

    Raises:
        OSError: it can't be had.
        ValueError: it is larger than `max_bytes`.
    """
    request = urllib.request.Request(url, headers={"Accept": "application/json, */*;q=0.5"})  # noqa: S310
    if token is not None:
        request.add_unredirected_header("Authorization", f"Bearer {_secret(token)}")
    ends = time.monotonic() + TIMEOUT_SECONDS
    try:
        with _opener(url, ca).open(request, timeout=TIMEOUT_SECONDS) as response:
            return _read(response, max_bytes, ends)
    except urllib.error.HTTPError as error:
        error.close()
        raise OSError(f"HTTP status {error.code}") from None
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer ({type(error).__name__})") from None


def _secret(path: Path) -> str:
    secret = path.read_text(errors="replace").strip()
    if not secret.isascii() or not secret.isprintable():
        # http.client's own error would quote it.
        raise OSError(f"{path} holds no bearer token: it has to be one line of ASCII")
    return secret


def _opener(url: str, ca: Path | None) -> urllib.request.OpenerDirector:
    host = urllib.parse.urlsplit(url).hostname or ""
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
    if url.startswith("https:"):
        handlers.append(urllib.request.HTTPSHandler(context=_tls(ca)))
    if is_loopback(host):
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _tls(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        # Without this, it doesn't say which file.
        raise OSError(f"{ca}: {error.strerror or error}: name a PEM file of authorities") from None


def _read(response: http.client.HTTPResponse, max_bytes: int, ends: float) -> bytes:
    content = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        content += chunk
        if len(content) > max_bytes:
            raise ValueError(f"has more than {max_bytes} bytes")
        if time.monotonic() > ends:
            raise TimeoutError(f"the answer took longer than {TIMEOUT_SECONDS:g} s")
    return bytes(content)
