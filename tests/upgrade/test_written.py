"""What is written today is what releases of format 1 wrote, so that they can read it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.docker.record import FORMAT as DOCKER_FORMAT
from engines.kubernetes.record import VERSION as KUBERNETES_VERSION
from engines.local.store import FORMAT as LOCAL_FORMAT
from tests.upgrade import make_golden
from tests.upgrade.golden import golden

ON_PURPOSE = """\
{what} isn't written any more as releases of format 1 write it: they may not be able to read it.
If that is on purpose: raise the version ({version}), keep reading format 1, make golden data
of the new one beside format-1 with make_golden.py, and say so in docs/operations.md, "Upgrade"."""


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """All fields, by path."""
    if not isinstance(value, dict):
        return {path: value}
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found |= flat(inner, f"{path} > {name}" if path else name)
    return found


def check(engine: str, made: dict[str, Any], version: str) -> None:
    then, now = flat(golden(engine)["records"]), flat(made)
    assert len(then) > 5
    for what in sorted(then.keys() | now.keys()):
        message = ON_PURPOSE.format(what=f"{engine}: {what}", version=version)
        assert now.get(what) == then.get(what), message


def test_local(tmp_path: Path) -> None:
    made = make_golden.local_records(tmp_path)
    made["state"].remove("format")  # the one thing that releases before it don't know
    check("local", made, "FORMAT in engines/local/store.py")


@pytest.mark.parametrize(
    ("engine", "make", "version"),
    [
        ("docker", make_golden.docker_records, "FORMAT in engines/docker/record.py"),
        ("kubernetes", make_golden.kubernetes_records, "VERSION in engines/kubernetes/record.py"),
    ],
)
def test_labels_and_annotations(
    engine: str, make: Callable[[], dict[str, Any]], version: str
) -> None:
    check(engine, make(), version)


def test_all_are_of_format_1() -> None:
    assert (LOCAL_FORMAT, DOCKER_FORMAT, KUBERNETES_VERSION) == ("1", "1", 1)


def test_what_differs_is_named() -> None:
    made = golden("docker")["records"]
    made["stop"][1]["jobengine.dev/format"] = "2"
    with pytest.raises(AssertionError, match="docker: stop isn't written any more"):
        check("docker", made, "FORMAT")
