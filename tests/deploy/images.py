"""The image of deploy/docker/Dockerfile, built as its users do, where no registry is reached."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import docker

from tests.deploy import python_base

IMAGE = "jobengine.test/jobengine:1"
BASE = "jobengine.test/python:1"

ROOT = Path(__file__).resolve().parents[2]

_CONTEXT = (
    *(".dockerignore", "LICENSE", "README.md", "pyproject.toml", "scripts/constraints.txt"),
    *("deploy/docker", "engines", "server", "clients/python"),
)
"""What the Dockerfile takes, with the script that gets the packages."""

_FETCH_SECONDS = 180.0
_SILENCE_SECONDS = 240
"""How long a step of a build may say nothing: one installs 50 packages, and compiles them."""


def build(host: str, directory: Path) -> None:
    """Build the image on the daemon of a host; the base is made for it, the packages are fetched.

    The clone stays as it is: the build has a copy, so that nothing is left in deploy/docker/wheels.
    """
    context, base = directory / "context", directory / "base.tar"
    _copy(context)
    subprocess.run(
        [context / "deploy/docker/fetch-wheels"],
        env={**os.environ, "PYTHON": sys.executable},
        check=True,
        timeout=_FETCH_SECONDS,
    )
    python_base.write(base)
    client = docker.DockerClient(base_url=host, timeout=_SILENCE_SECONDS)
    with contextlib.closing(client):
        repository, _, tag = BASE.rpartition(":")
        path = "ENV PATH=/usr/local/bin:/usr/bin:/bin"
        client.api.import_image_from_file(str(base), repository, tag, changes=[path])
        client.images.build(
            path=str(context),
            dockerfile="deploy/docker/Dockerfile",
            buildargs={"BASE_IMAGE": BASE, "REVISION": "tests"},
            tag=IMAGE,
            rm=True,
            forcerm=True,
        )


def _copy(context: Path) -> None:
    for name in _CONTEXT:
        source, target = ROOT / name, context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.whl"))
        else:
            shutil.copy(source, target)
