"""Writes a project to begin an engine with: it works as it is, and its tests pass."""

import importlib.util
import re
from importlib import resources
from pathlib import Path
from string import Template
from typing import Final

from engines.config import known_engines

NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

FILES: Final = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "src/$package/__init__.py": "__init__.py",
    "src/$package/engine.py": "engine.py",
    "tests/conftest.py": "conftest.py",
    "tests/test_engine.py": "test_engine.py",
}
"""By its place in the project: the template of a file."""


class InvalidProject(ValueError):
    """The project can't be made; the message says what to do."""


def create_project(name: str, directory: Path) -> Path:
    """Make the directory `name` within this one, and a project in it; return that.

    Raises:
        InvalidProject: the name can't be used, or there is something of that name.
        OSError: it can't be written.
    """
    if not NAME.fullmatch(name):
        raise InvalidProject(f"{name!r}: use small letters, digits, and '-' between them")
    package = name.replace("-", "_")
    if any(each.name == name for each in known_engines()):
        raise InvalidProject(f"there is an engine {name!r} already: choose another name")
    if importlib.util.find_spec(package) is not None:
        raise InvalidProject(f"there is a Python module {package!r} already: choose another name")
    project = directory / name
    if project.exists():
        raise InvalidProject(f"{project} is there already: remove it, or choose another name")
    words = {
        "name": name,
        "package": package,
        "class_name": "".join(part.capitalize() for part in name.split("-")) + "Engine",
    }
    templates = resources.files("engines.authoring") / "template"
    for place, template in FILES.items():
        path = project / Template(place).substitute(words)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (templates / f"{template}.template").read_text()
        path.write_text(Template(text).substitute(words))
    return project
