"""The operator's directory of secrets."""

import json
from pathlib import Path

import pytest

from engines.docker.secrets import REGISTRY_KEY, Secrets
from engines.errors import InvalidSpec
from jobengine.v1.job_pb2 import JobSpec, SecretReference

CANARY = "canary-1b9d6bcd"
CONFIG = {"auths": {"registry.example": {"auth": "dTpw"}}}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A secret, and beside its directory what nobody may read."""
    secrets = tmp_path / "secrets"
    (secrets / "db").mkdir(parents=True)
    (secrets / "db/password").write_text(CANARY)
    (secrets / "top").write_text(CANARY)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/key").write_text(CANARY)
    return secrets


def wants(name: str, key: str) -> JobSpec:
    return JobSpec(secret_env={"PASSWORD": SecretReference(name=name, key=key)})


def refused(secrets: Secrets, spec: JobSpec) -> list[str]:
    """The fields that are refused for the secrets in the environment."""
    with pytest.raises(InvalidSpec) as caught:
        secrets.env(spec)
    assert CANARY not in str(caught.value)
    return [violation.field for violation in caught.value.violations]


def test_a_value(directory: Path) -> None:
    assert Secrets(directory).env(wants("db", "password")) == {"PASSWORD": CANARY}


def test_no_secrets_wanted() -> None:
    assert Secrets(None).env(JobSpec()) == {}
    assert Secrets(None).registry(JobSpec()) is None


@pytest.mark.parametrize("value", ["", "a\n", " a ", "ä€", "x=y"])
def test_values_are_taken_as_they_are(directory: Path, value: str) -> None:
    (directory / "db/key").write_bytes(value.encode())
    assert Secrets(directory).env(wants("db", "key")) == {"PASSWORD": value}


def test_values_are_read_anew_each_time(directory: Path) -> None:
    secrets = Secrets(directory)
    secrets.env(wants("db", "password"))
    (directory / "db/password").write_text("changed")
    assert secrets.env(wants("db", "password")) == {"PASSWORD": "changed"}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("db", "missing"),
        ("missing", "password"),
        ("", "password"),
        ("db", ""),
        (".", "top"),
        ("db", "."),
        ("db", ".."),
        ("..", "outside"),
        ("../outside", "key"),
        ("db", "../top"),
        ("db/../..", "outside"),
        ("db", "../../outside/key"),
        ("db/", "password"),
        ("/etc", "hostname"),
        ("db", "/etc/hostname"),
        ("db\0", "password"),
        ("db", "password\0"),
        ("db", "password\n"),
        ("top", "password"),  # a file where a directory should be
        ("db", "nested"),  # a directory where a file should be
        ("db", "binary"),
        ("db", "nul"),
        ("db", "dangling"),
    ],
)
def test_what_is_no_secret(directory: Path, name: str, key: str) -> None:
    (directory / "db/nested").mkdir()
    (directory / "db/binary").write_bytes(b"\xff\xfe")
    (directory / "db/nul").write_text(f"{CANARY}\0")
    (directory / "db/dangling").symlink_to("nowhere")
    assert refused(Secrets(directory), wants(name, key)) == ["spec.secret_env['PASSWORD']"]


def test_links_as_kubernetes_lays_them(directory: Path) -> None:
    """A volume of a secret has its files as links through `..data`, which changes at once."""
    (directory / "k8s/..2026_01_01").mkdir(parents=True)
    (directory / "k8s/..2026_01_01/key").write_text(CANARY)
    (directory / "k8s/..data").symlink_to("..2026_01_01")
    (directory / "k8s/key").symlink_to("..data/key")
    assert Secrets(directory).env(wants("k8s", "key")) == {"PASSWORD": CANARY}


def test_all_that_is_missing_is_told(directory: Path) -> None:
    spec = JobSpec(
        secret_env={
            "B": SecretReference(name="b", key="k"),
            "A": SecretReference(name="a", key="k"),
            "OK": SecretReference(name="db", key="password"),
        }
    )
    assert refused(Secrets(directory), spec) == ["spec.secret_env['A']", "spec.secret_env['B']"]


def test_a_value_that_is_too_large_is_refused_and_not_cut(directory: Path) -> None:
    (directory / "db/large").write_text("x" * (1024 * 1024 + 1))
    assert refused(Secrets(directory), wants("db", "large")) == ["spec.secret_env['PASSWORD']"]


def test_without_a_directory() -> None:
    assert refused(Secrets(None), wants("db", "password")) == ["spec.secret_env['PASSWORD']"]


def test_registry(directory: Path) -> None:
    (directory / "registry").mkdir()
    (directory / "registry" / REGISTRY_KEY).write_text(json.dumps(CONFIG))
    assert Secrets(directory).registry(JobSpec(image_pull_secret="registry")) == CONFIG


@pytest.mark.parametrize(
    "text",
    [None, "", "{", f'"{CANARY}"', f'["{CANARY}"]', f'{{"auth": "{CANARY}"}}', "null", "3"],
)
def test_what_is_no_registry_secret(directory: Path, text: str | None) -> None:
    (directory / "registry").mkdir()
    if text is not None:
        (directory / "registry" / REGISTRY_KEY).write_text(text)
    with pytest.raises(InvalidSpec) as caught:
        Secrets(directory).registry(JobSpec(image_pull_secret="registry"))
    assert CANARY not in str(caught.value)
    assert [each.field for each in caught.value.violations] == ["spec.image_pull_secret"]


@pytest.mark.parametrize("name", ["../secrets/registry", "registry/", "..", "registry\0", "/"])
def test_names_of_registry_secrets_are_no_paths(directory: Path, name: str) -> None:
    (directory / "registry").mkdir()
    (directory / "registry" / REGISTRY_KEY).write_text(json.dumps(CONFIG))
    with pytest.raises(InvalidSpec):
        Secrets(directory).registry(JobSpec(image_pull_secret=name))
