"""The commands and programs of README.md, run as they stand (but for the port)."""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.fixtures import Reachable as HasKubeconfig
from tests.cluster.images import IMAGE
from tests.docker.fixtures import Reachable

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
README = (ROOT / "README.md").read_text()
DEADLINE_SECONDS = 40


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    state = tmp_path_factory.mktemp("state")
    arguments = ("--listen", "127.0.0.1:0", "--state-dir", str(state))
    with (state / "log").open("w") as log:
        server = subprocess.Popen(
            [BIN / "jobengine", "serve", *arguments], stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["address"]
    finally:
        server.terminate()
        assert server.wait(DEADLINE_SECONDS) == 0
        server.communicate()


def shell(script: str, address: str) -> subprocess.CompletedProcess[str]:
    script = script.replace("127.0.0.1:50051", address).replace(".venv/bin/", f"{BIN}/")
    return subprocess.run(
        ["bash", "-c", f"export JOBENGINE_ADDRESS={address}\n{script}"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
        cwd=ROOT,
    )


def test_the_first_program(address: str, tmp_path: Path) -> None:
    programs = [block for block in blocks("python") if "Client(" in block]
    assert len(programs) == 1
    program = tmp_path / "first.py"
    program.write_text(programs[0].replace("127.0.0.1:50051", address))
    done = subprocess.run(
        [sys.executable, program],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "hello from a job"
    assert "SUCCEEDED" in done.stdout


def test_the_first_commands(address: str) -> None:
    (script,) = (block for block in blocks("sh") if "jobengine run -- sh" in block)
    done = shell(script, address)
    assert "hello\nexit code 3\n" in done.stdout
    assert "NON_ZERO_EXIT" in done.stdout


def test_calls_by_hand(address: str) -> None:
    buf = ROOT / ".venv-proto" / "bin" / "buf"
    if not buf.exists():
        assert "CI" not in os.environ, "CI has to have buf"
        pytest.skip("buf isn't here: `make check` installs it")
    (script,) = (block for block in blocks("sh") if "buf curl" in block)
    create = script.split("\n\n")[0]
    done = shell(create, address)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["job"]["name"] == "hello"


@pytest.mark.engine("docker")
def test_containers(dockerd: Reachable) -> None:
    """The image is the tests' own by another name, as no registry is there."""
    import docker

    with contextlib.closing(docker.APIClient(dockerd.host, version="auto")) as client:
        client.tag("jobengine.test/busybox:1", "busybox", "1")
    run_a_container(
        serve_of("docker"),
        commands_of_containers(),
        DOCKER_HOST=dockerd.host,
        JOBENGINE_NAMESPACE=f"readme-{uuid4().hex[:8]}",
    )


@pytest.mark.engine("kubernetes")
def test_a_cluster(cluster: HasKubeconfig, kubernetes_namespace: str) -> None:
    """With the tests' own image, as no registry is there, and a namespace of the test."""
    run_a_container(
        serve_of("kubernetes"),
        commands_of_containers().replace("busybox:1", IMAGE),
        KUBECONFIG=str(cluster.kubeconfig),
        JOBENGINE_NAMESPACE=kubernetes_namespace,
    )


def serve_of(engine: str) -> str:
    (script,) = (block for block in blocks("sh") if f"--engine {engine}" in block)
    return script


def commands_of_containers() -> str:
    (script,) = (block for block in blocks("sh") if "--image" in block)
    return script


def run_a_container(serve: str, commands: str, **environment: str) -> None:
    server = subprocess.Popen(
        [*serve.replace(".venv/bin/", f"{BIN}/").split(), "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())["address"]
        done = shell(commands, address)
        assert "hello from a container\nexit code 3\n" in done.stdout, done.stderr
        assert "NON_ZERO_EXIT" in done.stdout
        name = next(line.split()[0] for line in done.stdout.splitlines() if "NON_ZERO" in line)
        removed = shell(f".venv/bin/jobengine rm --wait {name}", address)
        assert removed.returncode == 0, removed.stderr
    finally:
        server.terminate()
        assert server.wait(DEADLINE_SECONDS) == 0
        server.communicate()


def test_an_engine_of_your_own(tmp_path: Path) -> None:
    (module,) = (block for block in blocks("python") if "YourEngine" in block)
    (tmp_path / "mymodule.py").write_text(module)
    (script,) = (block for block in blocks("sh") if "mymodule:YourEngine" in block)
    command = script.replace(".venv/bin/", f"{BIN}/").strip()
    server = subprocess.Popen(
        [*command.split(), "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
    )
    try:
        assert server.stdout is not None
        assert json.loads(server.stdout.readline())["engine"] == "YourEngine"
    finally:
        server.terminate()
        assert server.wait(DEADLINE_SECONDS) == 0
        server.communicate()


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
