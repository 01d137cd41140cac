"""From an engine's name to a new engine: built-in ones, installed ones, or a class by its path."""

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from engines.adapter import PlainEngine
from engines.base import Engine

ENTRY_POINT_GROUP = "jobengine.engines"


class InvalidEngine(ValueError):
    """There is no such engine, or it can't be used here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """An engine that comes with the server.

    `sdk` is the module that it needs beyond the server's own dependencies, and `extra` the
    extra of this distribution that installs it.
    """

    path: str
    description: str
    sdk: str = ""
    extra: str = ""


@dataclass(frozen=True, slots=True)
class KnownEngine:
    """An engine that can be chosen by name; `problem` is empty where it can be used here."""

    name: str
    description: str
    problem: str = ""


_BUILT_IN: Mapping[str, BuiltIn] = {
    "local": BuiltIn("engines.local.engine:LocalEngine", "processes of this machine"),
    "docker": BuiltIn(
        "engines.docker:DockerEngine", "containers of a Docker or Podman daemon", "docker", "docker"
    ),
    "kubernetes": BuiltIn(
        "engines.kubernetes.engine:KubernetesEngine",
        "Jobs of a Kubernetes cluster",
        "kubernetes",
        "kubernetes",
    ),
    "slurm": BuiltIn("engines.slurm.engine:SlurmEngine", "commands on a Slurm cluster"),
    "remote": BuiltIn("engines.remote.engine:RemoteEngine", "jobs of another server of this kind"),
    "fake": BuiltIn("engines.memory:MemoryEngine", "pretends to run jobs, for tests"),
}


def JobManager(engine: str, **settings: object) -> Engine:  # noqa: N802 - the name users know
    """Make a new engine.

    `engine` is a built-in name, the name of an entry point of the group `jobengine.engines`,
    or `package.module:Class`, which is also looked for in the current directory. The class
    is made with `settings`, and adapted if it isn't an `Engine`. A module
    is imported only when it is chosen.

    Raises:
        InvalidEngine: there is no such engine, or it can't be made.
    """
    found = _find_class(engine)
    try:
        made: object = found(**settings)
        return made if isinstance(made, Engine) else PlainEngine(made)
    except Exception as error:
        raise InvalidEngine(
            f"the engine {engine!r} can't be made: {type(error).__name__}: {error}"
        ) from error


def known_engines() -> list[KnownEngine]:
    """The engines that can be chosen by name, whether or not they can be used here."""
    known = [
        KnownEngine(name, built_in.description, _problem(name, built_in))
        for name, built_in in _BUILT_IN.items()
    ]
    for name, point in _installed().items():
        distribution = point.dist.name if point.dist is not None else "an installed package"
        known.append(KnownEngine(name, f"{point.value}, of {distribution}"))
    return known


def look_in_current_directory() -> None:
    """Have modules of the current directory found, after all others."""
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109 - sys.path holds strings
        sys.path.append(here)


def _installed() -> dict[str, EntryPoint]:
    """The entry points by name; a built-in name can't be taken over."""
    points = entry_points(group=ENTRY_POINT_GROUP)
    return {point.name: point for point in points if point.name not in _BUILT_IN}


def _problem(name: str, built_in: BuiltIn) -> str:
    if not built_in.sdk or importlib.util.find_spec(built_in.sdk) is not None:
        return ""
    return (
        f"the engine {name!r} needs the package {built_in.sdk!r}, which isn't installed: "
        f"pip install 'jobengine-server[{built_in.extra}]'"
    )


def _find_class(engine: str) -> type:
    if (built_in := _BUILT_IN.get(engine)) is not None:
        if problem := _problem(engine, built_in):
            raise InvalidEngine(problem)
        return _load(engine, built_in.path)
    if (point := _installed().get(engine)) is not None:
        return _load(engine, point.value)
    if ":" in engine:
        look_in_current_directory()
        return _load(engine, engine)
    known = ", ".join(each.name for each in known_engines())
    raise InvalidEngine(
        f"there is no engine {engine!r}: choose one of {known}, "
        "or name a class of yours as package.module:Class"
    )


def _load(engine: str, path: str) -> type:
    module_name, _, class_name = path.partition(":")
    module = _import(engine, module_name.strip())
    found = getattr(module, class_name.strip(), None)
    if not isinstance(found, type):
        where = getattr(module, "__file__", None) or module.__name__
        classes = ", ".join(_classes(module)) or "no classes"
        what = "isn't a class" if found is not None else "isn't there"
        raise InvalidEngine(
            f"the engine {engine!r}: {class_name!r} {what} in {where}, which has {classes}"
        )
    return found


def _import(engine: str, module_name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module_name}.".startswith(f"{missing}."):
            problem = f"there is no module {missing!r}, neither installed nor in {os.getcwd()}"  # noqa: PTH109
        elif missing:
            problem = (
                f"importing {module_name!r} failed: it needs {missing!r}, which isn't installed"
            )
        else:
            problem = f"importing {module_name!r} failed: {type(error).__name__}: {error}"
        raise InvalidEngine(f"the engine {engine!r}: {problem}") from error


def _classes(module: ModuleType) -> Iterator[str]:
    """The names of the public classes that the module itself defines."""
    for name, value in vars(module).items():
        if inspect.isclass(value) and value.__module__ == module.__name__ and name[0] != "_":
            yield name
