"""A small client of Kubernetes' API, for tests: what it says is what the server said."""

import importlib
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

ANSWER_SECONDS = 15.0

_KINDS = {"PATCH": "application/merge-patch+json"}
"""What a body is, by method; JSON where nothing else is said."""


class Refused(Exception):
    """The server's answer was an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True)
class Access:
    """Where a cluster is, and who one is there."""

    server: str
    ca_file: str | None
    token: str = ""
    cert_file: str | None = None
    key_file: str | None = None

    @classmethod
    def of(cls, kubeconfig: Path) -> Self:
        """What the current context of a kubeconfig says."""
        try:
            return cls._of_ours(json.loads(kubeconfig.read_text()))
        except ValueError:
            return cls._of_any(kubeconfig)

    @classmethod
    def _of_ours(cls, content: Mapping[str, Any]) -> Self:
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        return cls(cluster["server"], cluster["certificate-authority"], user["token"])

    @classmethod
    def _of_any(cls, kubeconfig: Path) -> Self:
        """One in YAML, with any way to be somebody: this takes Kubernetes' own package."""
        sdk: Any = importlib.import_module("kubernetes")
        found = sdk.client.Configuration()
        sdk.config.load_kube_config(str(kubeconfig), client_configuration=found)
        token = found.get_api_key_with_prefix("authorization") or ""
        return cls(
            found.host,
            found.ssl_ca_cert,
            token.removeprefix("Bearer "),
            found.cert_file,
            found.key_file,
        )


class Api:
    """The API, with one connection a call.

    Raises:
        Refused: the server's answer was an error.
        OSError: there was no answer, or none in time.
    """

    def __init__(self, kubeconfig: Path) -> None:
        self._access = access = Access.of(kubeconfig)
        self._tls = ssl.create_default_context(cafile=access.ca_file)
        if access.cert_file:
            self._tls.load_cert_chain(access.cert_file, access.key_file)

    def get(self, path: str, **query: object) -> Any:
        return self.call("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self.call("POST", path, body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Merge the body into what is there."""
        return self.call("PATCH", path, body)

    def delete(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self.call("DELETE", path, body)

    def exists(self, path: str) -> bool:
        try:
            self.get(path)
        except Refused as error:
            if error.status != 404:
                raise
            return False
        return True

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, object] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Any:
        """What the server answers: what JSON says, or else a text."""
        with self._open(method, path, body, query or {}, seconds) as answer:
            content = answer.read().decode()
            is_json = answer.headers.get_content_type() == "application/json"
            return json.loads(content) if is_json else content

    def watch(
        self, path: str, *, seconds: float = ANSWER_SECONDS, **query: object
    ) -> Iterator[dict[str, Any]]:
        """The events of a watch, until the server ends it."""
        asked: dict[str, object] = {"watch": 1, "timeoutSeconds": int(seconds), **query}
        with self._open("GET", path, None, asked, seconds) as answer:
            for line in answer:
                yield json.loads(line)

    def _open(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, object],
        seconds: float,
    ) -> HTTPResponse:
        asked = Request(
            f"{self._access.server}{path}{'?' if query else ''}{urlencode(query)}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": _KINDS.get(method, "application/json")},
        )
        if self._access.token:
            asked.add_header("Authorization", f"Bearer {self._access.token}")
        try:
            answer: HTTPResponse = urlopen(asked, timeout=seconds, context=self._tls)
        except HTTPError as error:
            with error:
                raise Refused(error.code, error.read().decode()) from None
        except URLError as error:
            if isinstance(error.reason, OSError):
                raise error.reason from None
            raise
        return answer
