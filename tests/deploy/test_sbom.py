"""scripts/sbom: what is installed, in the words of CycloneDX."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.deploy.tools import ROOT


@pytest.mark.timeout(240)  # the first one on a machine installs what makes it
def test_bill_of_materials(tmp_path: Path) -> None:
    """Of the environment that runs the tests, which is more than a server needs."""
    out = tmp_path / "sbom.json"
    done = subprocess.run(
        [ROOT / "scripts/sbom", out, sys.executable], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["bomFormat"] == "CycloneDX"
    assert found["metadata"]["component"]["name"] == "jobengine-server"
    versions = {each["name"]: each["version"] for each in found["components"]}
    for name in ("grpcio", "protobuf", "cryptography"):
        assert versions[name] == version(name)
        (each,) = (each for each in found["components"] if each["name"] == name)
        assert each["purl"] == f"pkg:pypi/{name}@{version(name)}"
