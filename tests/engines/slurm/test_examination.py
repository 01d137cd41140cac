"""What `jobengine doctor` says of a cluster and a directory, of which it changes nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engines.config import JobManager
from engines.findings import Finding
from engines.slurm.store import Store

if TYPE_CHECKING:  # it can't be started everywhere
    from tests.slurm.cluster import SlurmCluster

pytestmark = pytest.mark.engine("slurm")


async def examined(directory: Path, **settings: Any) -> dict[str, Finding]:
    engine = JobManager("slurm", state_dir=directory, **settings)
    return {finding.what: finding async for finding in engine.examine()}


async def test_a_cluster_that_is_well(slurm: "SlurmCluster", tmp_path: Path) -> None:
    found = await examined(tmp_path / "state", conf=slurm.conf)
    assert all(finding.fine for finding in found.values()), found
    assert "sbatch" in found["commands"].words
    assert "slurmdbd" in found["accounting"].words
    assert "can be asked for" in found["GPUs"].words
    assert f"{len(slurm.nodes)} of {len(slurm.nodes)} node" in found["partition"].words
    assert not (tmp_path / "state").exists()


async def test_accounting(slurm_accounting: "SlurmCluster", tmp_path: Path) -> None:
    found = await examined(tmp_path / "state", conf=slurm_accounting.conf)
    assert "there" in found["accounting"].words


async def test_a_partition_that_is_not_there(slurm: "SlurmCluster", tmp_path: Path) -> None:
    found = await examined(tmp_path / "state", conf=slurm.conf, partition="nowhere")
    assert not found["partition"].fine
    assert "--slurm-partition" in found["partition"].words


@pytest.mark.timeout(120)
async def test_nodes_that_are_down(
    make_slurm: "Callable[..., SlurmCluster]", tmp_path: Path
) -> None:
    with make_slurm(nodes=1) as cluster:
        cluster.run("scontrol", "update", f"nodename={cluster.nodes[0]}", "state=drain", "reason=x")
        found = await examined(tmp_path / "state", conf=cluster.conf)
        assert "0 of 1 node can run jobs" in found["partition"].words
        assert not found["partition"].fine
        cluster.terminate("slurmctld")
        found = await examined(tmp_path / "state", conf=cluster.conf)
        assert not found["Slurm"].fine
        assert "is DOWN" in found["Slurm"].words
        assert "partition" not in found


async def test_a_configuration_that_is_missing(tmp_path: Path) -> None:
    found = await examined(tmp_path / "state", conf=tmp_path / "none")
    assert "no such file" in found["Slurm"].words


async def test_jobs_are_counted(slurm: "SlurmCluster", tmp_path: Path) -> None:
    Store(tmp_path).open()
    (tmp_path / "jobs" / "one").mkdir()
    found = await examined(tmp_path, conf=slurm.conf)
    assert found["jobs"].words == "1 job"


async def test_a_directory_that_cannot_be(slurm: "SlurmCluster", tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = await examined(tmp_path / "file", conf=slurm.conf)
    assert not found["state directory"].fine
