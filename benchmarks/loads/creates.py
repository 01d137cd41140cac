"""Creates jobs one after another, in turns with making a file durable, and times both."""

import os
import time
from pathlib import Path

import uvloop

from benchmarks.loads import answer, arguments
from jobengine import AsyncClient, JobSpec

TURN = 10
FILE_BYTES = 600


def write_durably(directory: Path, name: str) -> float:
    """The seconds that one durable file takes: write, fsync, rename, fsync of the directory."""
    began = time.perf_counter()
    temporary = directory / f"{name}.new"
    fd = os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600)
    os.write(fd, bytes(FILE_BYTES))
    os.fsync(fd)
    os.close(fd)
    temporary.rename(directory / name)
    parent = os.open(directory, os.O_RDONLY)
    os.fsync(parent)
    os.close(parent)
    return time.perf_counter() - began


async def main(*, address: str, files_in: str, count: int) -> None:
    """Create so many jobs, and as many files in the directory."""
    creates: list[float] = []
    files: list[float] = []
    async with AsyncClient(address) as client:
        await client.read_engine()
        while len(creates) < count:
            for _ in range(TURN):
                began = time.perf_counter()
                job = await client.create_job(JobSpec(command=["true"]))
                creates.append(time.perf_counter() - began)
                await client.wait(job.name)
            for _ in range(TURN):
                files.append(write_durably(Path(files_in), f"{len(files)}"))
    for file in range(len(files)):
        (Path(files_in) / f"{file}").unlink()
    answer(creates=creates, files=files)


if __name__ == "__main__":
    uvloop.run(main(**arguments()))
