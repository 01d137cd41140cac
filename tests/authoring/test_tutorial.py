"""docs/engines.md, followed from a clean environment: commands pasted, code put in place."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from engines.authoring.skeleton import create_project
from tests.authoring.tutorial import ROOT, Block, Module, steps

STEPS = steps()
EXAMPLE = ROOT / "examples" / "engine"

pytestmark = pytest.mark.timeout(300)


def engine_of(project: Path) -> Path:
    """Where a project has its engine."""
    return project / "src" / "processes" / "engine.py"


class Reader:
    """A shell in a directory of its own, with nothing but what the page installs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.module: Module | None = None
        clean = ("PYTHONPATH", "VIRTUAL_ENV", "JOBENGINE_ADDRESS")
        self._env = {key: value for key, value in os.environ.items() if key not in clean}
        self._where = ROOT

    def follow(self, block: Block) -> str:
        """Do what a block says; return what its commands print."""
        if block.language == "sh":
            return self._run(block.text)
        if block.place.endswith(".py"):
            self._where.joinpath(block.place).write_text(block.text)
            return ""
        path = engine_of(self._where)
        self.module = self.module or Module(path.read_text())
        self.module.change(block)
        path.write_text(self.module.text)
        return ""

    def expect_what_it_declares(self, *, one_stream: bool) -> None:
        """Put the engine's capabilities into its tests; say that its logs don't tell streams."""
        assert self.module is not None
        declared = " ".join(self.module.members["capabilities"].split())
        path = self._where / "tests" / "test_engine.py"
        text = re.sub(r"capabilities = .*", declared, path.read_text())
        if one_stream:
            text = text.replace("    @pytest", "    tells_streams = False\n\n    @pytest", 1)
        path.write_text(text)

    def _run(self, script: str) -> str:
        """Run commands where the last ones left off, as in one terminal."""
        script = script.replace("/tmp/my-engine", str(self.directory))
        ending = f"\nset +e; {{ pwd; env -0 | tr '\\n\\0' ' \\n'; }} >{self.directory}/shell"
        done = subprocess.run(
            ["bash", "-ec", script + ending],
            cwd=self._where,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        place, *env = (self.directory / "shell").read_text().splitlines()
        self._where = Path(place)
        self._env = dict(line.split("=", 1) for line in env if "=" in line)
        return done.stdout


ABILITIES = ("3. Watch", "4. Cancel", "5. Logs", "6. Retries", "7. Resources")


def test_the_page_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    """The suite passes at each step; a failure shows which."""
    reader = Reader(tmp_path)
    for block in STEPS["begin"]:
        reader.follow(block)
    for block in STEPS["1. Four methods"]:
        printed = reader.follow(block)
        assert "check" not in block.text or passes(printed), printed
    project, found = (reader.follow(block) for block in STEPS["2. A list, and exit codes"])
    assert re.search(r"^\d+ passed", project, re.MULTILINE), project
    assert re.search(r"^processes +processes.engine:ProcessesEngine", found, re.MULTILINE), found
    assert re.search(r"^LIST +yes +1 passed", found, re.MULTILINE), found
    for title in ABILITIES:
        for block in STEPS[title]:
            if block.place:
                reader.follow(block)
        reader.expect_what_it_declares(one_stream=title == "5. Logs")
        printed = reader.follow(Block("sh", "", "pytest -q"))
        assert re.search(r"^\d+ passed", printed, re.MULTILINE), (title, printed)
    (commands,) = (block for block in STEPS["7. Resources"] if block.language == "sh")
    printed = reader.follow(commands)
    for ability in ("always", "LIST", "CANCEL", "LOGS", "RETRIES", "MEMORY_LIMIT"):
        line = rf"^{ability} +(yes +)?\d+ passed *$"
        assert re.search(line, printed, re.MULTILINE), printed
    assert passes(printed)
    assert "hello from an engine of mine" in printed


def passes(printed: str) -> bool:
    """Whether a check has passed."""
    return re.search(r"^\d+ passed, 0 failed", printed, re.MULTILINE) is not None


def test_the_example_is_what_the_page_makes(tmp_path: Path) -> None:
    made = Module(engine_of(create_project("processes", tmp_path)).read_text())
    for title in ABILITIES:
        for block in STEPS[title]:
            if block.place:
                made.change(block)
    assert Module(engine_of(EXAMPLE).read_text()).meaning() == made.meaning()


def test_the_example_is_found_and_conforms(tmp_path: Path) -> None:
    """Installed by pip from outside the tree's import path, in the environment of no one else."""
    script = f"""
    python3 -m venv {tmp_path}/venv
    . {tmp_path}/venv/bin/activate
    pip install --quiet {ROOT}/clients/python '{ROOT}[testing]' {EXAMPLE}
    cd {tmp_path}
    jobengine engines
    pytest -q --rootdir={EXAMPLE} -c {EXAMPLE}/pyproject.toml -p no:cacheprovider {EXAMPLE}/tests
    """
    reader = Reader(tmp_path)
    printed = reader.follow(Block("sh", "", script))
    assert re.search(
        r"^processes +processes.engine:ProcessesEngine, of processes-engine", printed, re.MULTILINE
    )
    assert re.search(r"^\d+ passed", printed, re.MULTILINE), printed
