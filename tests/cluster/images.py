"""The images of a node, in archives that containerd and docker load."""

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

from tests.cluster.components import PAUSE

IMAGE = "jobengine.test/busybox:1"
"""The image that every cluster of the tests has: Debian's static busybox."""

_MAKE = Path(__file__).parents[1] / "docker/image"


def write(directory: Path) -> list[Path]:
    """Write the archives of all images that a node needs into a directory."""
    busybox, pause = directory / "busybox.tar", directory / "pause.tar"
    subprocess.run([_MAKE, busybox, IMAGE], check=True)
    subprocess.run([_MAKE, pause, PAUSE], check=True)
    _let_sleep(pause)
    return [busybox, pause]


def _let_sleep(archive: Path) -> None:
    """Make an archive's image one of which the containers do nothing, for ever.

    A pod's sandbox runs what its image says, and can't be told anything else.
    """
    with tarfile.open(archive) as before:
        files = {
            member.name: file.read()
            for member in before.getmembers()
            if (file := before.extractfile(member)) is not None
        }
    manifest = json.loads(files.pop("manifest.json"))
    config = json.loads(files.pop(manifest[0]["Config"]))
    config["config"] |= {"Entrypoint": ["/bin/sleep", "2147483647"], "Cmd": None}
    content = json.dumps(config).encode()
    manifest[0]["Config"] = f"{hashlib.sha256(content).hexdigest()}.json"
    files |= {"manifest.json": json.dumps(manifest).encode(), manifest[0]["Config"]: content}
    with tarfile.open(archive, "w") as after:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            after.addfile(member, io.BytesIO(data))
