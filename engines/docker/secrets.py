"""The operator's secrets: a directory with one directory for each, and a file in it for each key.

That is how Kubernetes mounts them and how Docker's own and other tools lay them out. Values are
read when a container is made, and are kept nowhere else by us; the daemon keeps them with the
container.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from engines.errors import FieldViolation, InvalidSpec
from jobengine.v1.job_pb2 import JobSpec

REGISTRY_KEY: Final = ".dockerconfigjson"
"""The key of a registry's credentials: a `config.json` of Docker, as in Kubernetes."""

_NAME: Final = re.compile(r"[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*")
_MAX_BYTES: Final = 1024 * 1024


class Secrets:
    """The secrets under a directory, or none."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def env(self, spec: JobSpec) -> dict[str, str]:
        """The values for `spec.secret_env`.

        Raises:
            InvalidSpec: one isn't there; the message names the field and never a value.
        """
        values: dict[str, str] = {}
        wrong: list[FieldViolation] = []
        for variable, reference in sorted(spec.secret_env.items()):
            value = self._read(reference.name, reference.key)
            if value is None or "\0" in value:
                field = f"spec.secret_env[{variable!r}]"
                what = f"the secret {reference.name!r} has no key {reference.key!r}"
                wrong.append(FieldViolation(field, f"{what}; name one that the server has"))
            else:
                values[variable] = value
        if wrong:
            raise InvalidSpec(wrong)
        return values

    def registry(self, spec: JobSpec) -> Mapping[str, Any] | None:
        """The `config.json` that `spec.image_pull_secret` names; None where it names none.

        Raises:
            InvalidSpec: it isn't there, or no such file.
        """
        name = spec.image_pull_secret
        if not name:
            return None
        text = self._read(name, REGISTRY_KEY)
        try:
            found: object = json.loads(text or "")
        except ValueError:
            found = None
        if not isinstance(found, dict) or "auths" not in found:
            why = f"the server has no secret {name!r} with a key {REGISTRY_KEY}"
            raise InvalidSpec([FieldViolation("spec.image_pull_secret", why)])
        return cast("Mapping[str, Any]", found)

    def _read(self, name: str, key: str) -> str | None:
        if self._directory is None or not all(map(_NAME.fullmatch, (name, key))):
            return None
        try:
            with (self._directory / name / key).open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
                return data.decode() if len(data) <= _MAX_BYTES else None
        except (OSError, UnicodeDecodeError):
            return None
