"""The chart in deploy/helm: rendered, and installed."""

import importlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.deploy.tools import ROOT, helm

CHART = ROOT / "deploy/helm/jobengine"
VALUES = sorted(CHART.glob("ci/*-values.yaml"))

_VERSION = "1.34.0"
"""Of Kubernetes: a helm that Go has built takes itself for a very old one's."""

_SECONDS = 120.0

Object = dict[str, Any]


def run(*arguments: str | Path, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run helm."""
    done = subprocess.run(
        [helm(), *arguments], capture_output=True, text=True, check=False, timeout=_SECONDS
    )
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done


def render(
    *files: Path, values: Mapping[str, Any] | None = None, namespace: str = "default"
) -> list[Object]:
    """The objects of a release called `jobs`."""
    done = run(
        "template", "jobs", CHART, "--namespace", namespace, *_arguments(files, values or {})
    )
    return objects(done.stdout)


def refusal(values: Mapping[str, Any]) -> str:
    """Why no objects are rendered with these values."""
    done = run("template", "jobs", CHART, *_arguments((), values), check=False)
    assert done.returncode != 0, done.stdout
    return done.stderr


def objects(text: str) -> list[Object]:
    """What YAML says, but for what is empty."""
    yaml: Any = importlib.import_module("yaml")  # it has no types
    return [each for each in yaml.safe_load_all(text) if each]


def of_kind(kind: str, found: list[Object]) -> Object:
    """The only object of a kind."""
    (only,) = (each for each in found if each["kind"] == kind)
    return only


def _arguments(files: tuple[Path, ...], values: Mapping[str, Any]) -> list[str]:
    given = [f"--values={file}" for file in files]
    given += [f"--set-json={key}={json.dumps(value)}" for key, value in values.items()]
    return ["--kube-version", _VERSION, *given]
