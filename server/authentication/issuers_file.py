"""Reads the file that says which issuers' JWTs are taken.

```
[[issuers]]
issuer = "https://login.example.com"
audiences = ["jobengine"]
jwks = "https://login.example.com/keys"
```

Its keys are the fields of JwtIssuer.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from server.authentication.config import JwtIssuer

_TEXTS: Final = frozenset({"issuer", "jwks", "label", "groups_claim"})
_LISTS: Final = frozenset({"audiences", "algorithms"})
_PATHS: Final = frozenset({"jwks_ca", "jwks_token"})
_KNOWN: Final = _TEXTS | _LISTS | _PATHS
_REQUIRED: Final = ("issuer", "audiences", "jwks")


def read_issuers(path: Path) -> tuple[JwtIssuer, ...]:
    """Read the file.

    Raises:
        ValueError: it can't be read, or something in it is wrong; the message says where, and what
            to do.
    """
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    tables = content.get("issuers")
    if not isinstance(tables, list) or not tables or set(content) != {"issuers"}:
        raise ValueError(f"{path}: has to be [[issuers]], one or more, and nothing else")
    return tuple(
        _issuer(f"{path}: issuers[{number}]", table)
        for number, table in enumerate(cast("list[object]", tables))
    )


def _issuer(place: str, table: object) -> JwtIssuer:
    if not isinstance(table, dict):
        raise ValueError(f"{place} isn't a table")  # noqa: TRY004  (it's the file that is wrong)
    given = cast("Mapping[str, object]", table)
    if unknown := sorted(given.keys() - _KNOWN):
        raise ValueError(f"{place}: no such key: {unknown[0]}; use {', '.join(sorted(_KNOWN))}")
    if missing := [key for key in _REQUIRED if key not in given]:
        raise ValueError(f"{place}: {missing[0]} is required")
    settings: dict[str, Any] = {key: _value(place, key, value) for key, value in given.items()}
    try:
        return JwtIssuer(**settings)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _value(place: str, key: str, value: object) -> str | Path | tuple[str, ...]:
    if key in _LISTS:
        items = cast("list[object]", value) if isinstance(value, list) else [None]
        if all(isinstance(item, str) for item in items):
            return tuple(cast("list[str]", items))
        raise ValueError(f"{place}: {key} isn't a list of strings")
    if not isinstance(value, str):
        raise ValueError(f"{place}: {key} isn't a string")  # noqa: TRY004
    return Path(value) if key in _PATHS else value
