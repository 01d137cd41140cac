"""Engines are found by name, by entry point and by path, and what is wrong is said."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from engines import config
from engines.adapter import PlainEngine
from engines.config import BuiltIn, InvalidEngine, JobManager, known_engines
from engines.memory import MemoryEngine

PLAIN = """
class Yours:
    def create_job(self, name, spec): ...
    def delete_job(self, name): ...
    def read_job(self, name): ...
    def read_status(self, job): ...

class Half:
    def create_job(self, name, spec): ...

class Failing(Yours):
    def __init__(self):
        raise OSError("no licence")

class _Private: ...

number = 1
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory; what is imported from it is forgotten at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    return tmp_path


def build(name: str, **settings: object) -> InvalidEngine:
    """The error that there must be."""
    with pytest.raises(InvalidEngine) as error:
        JobManager(name, **settings)
    return error.value


def test_each_call_makes_a_new_engine() -> None:
    first, second = JobManager("fake"), JobManager("fake")
    assert type(first) is type(second) is MemoryEngine
    assert first is not second


def test_an_unknown_name_lists_the_known_ones() -> None:
    message = str(build("kuberbetes"))
    assert "'kuberbetes'" in message
    assert "local, docker, kubernetes, slurm, remote, fake" in message
    assert "package.module:Class" in message


def test_settings_reach_the_class() -> None:
    assert "unexpected keyword argument 'state_dir'" in str(build("fake", state_dir="/x"))


def test_a_plain_class_in_the_current_directory(directory: Path) -> None:
    (directory / "mine.py").write_text(PLAIN)
    engine = JobManager("mine:Yours")
    assert isinstance(engine, PlainEngine)
    assert engine.name == "Yours"
    assert "takes no arguments" in str(build("mine:Yours", max_running=3))
    assert "Half is no engine: it has no delete_job, read_job, read_status" in str(
        build("mine:Half")
    )
    assert "can't be made: OSError: no licence" in str(build("mine:Failing"))


def test_a_class_of_the_contract_in_a_package(directory: Path) -> None:
    (directory / "ours").mkdir()
    (directory / "ours" / "engine.py").write_text(
        "from engines.memory import MemoryEngine\nclass Mine(MemoryEngine):\n    name = 'mine'\n"
    )
    assert JobManager("ours.engine:Mine").name == "mine"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("mine:Yuors", "'Yuors' isn't there in {}/mine.py, which has Yours, Half, Failing"),
        ("mine:number", "'number' isn't a class in {}/mine.py"),
        ("mine:", "'' isn't there"),
        ("nowhere:Yours", "there is no module 'nowhere', neither installed nor in {}"),
        ("mine.deeper:Yours", "there is no module 'mine.deeper'"),
    ],
)
def test_a_wrong_path_says_what_there_is(directory: Path, path: str, says: str) -> None:
    (directory / "mine.py").write_text(PLAIN)
    assert says.format(directory) in str(build(path))


@pytest.mark.parametrize(
    ("code", "says", "cause"),
    [
        ("import nosuchsdk", "it needs 'nosuchsdk', which isn't installed", ModuleNotFoundError),
        ("1 / 0", "importing 'broken' failed: ZeroDivisionError: division by zero", Exception),
        ("def (", "importing 'broken' failed: SyntaxError", SyntaxError),
    ],
)
def test_a_broken_module_keeps_its_cause(
    directory: Path, code: str, says: str, cause: type[Exception]
) -> None:
    (directory / "broken.py").write_text(code)
    error = build("broken:Yours")
    assert says in str(error)
    assert isinstance(error.__cause__, cause)


def test_a_missing_sdk_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    needy = BuiltIn("engines.docker:DockerEngine", "containers", "nosuchsdk", "docker")
    monkeypatch.setattr(config, "_BUILT_IN", {"docker": needy})
    message = (
        "the engine 'docker' needs the package 'nosuchsdk', which isn't installed: "
        "pip install 'jobengine-server[docker]'"
    )
    assert str(build("docker")) == message
    assert known_engines()[0].problem == message


def test_entry_points_are_engines_too(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("nomad", "engines.memory:MemoryEngine", config.ENTRY_POINT_GROUP),
        EntryPoint("local", "nowhere:Hijacker", config.ENTRY_POINT_GROUP),
    ]
    monkeypatch.setattr(config, "entry_points", lambda *, group: points)
    assert isinstance(JobManager("nomad"), MemoryEngine)
    known = {each.name: each for each in known_engines()}
    assert list(known) == ["local", "docker", "kubernetes", "slurm", "remote", "fake", "nomad"]
    assert known["nomad"].description == "engines.memory:MemoryEngine, of an installed package"
    assert known["local"].description == "processes of this machine"


def test_only_the_chosen_engine_is_imported() -> None:
    program = (
        "import sys, engines.config as c; c.known_engines(); c.JobManager('fake'); "
        "print([m for m in sys.modules if m.startswith(('engines.local', 'docker', 'kubernetes'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "[]\n"
