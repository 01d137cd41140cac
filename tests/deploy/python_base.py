"""An image to build on where no registry is reached: this machine's Python, and busybox.

It stands in for python:3.13-slim. pip is the one of the environment that runs the tests.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable
from pathlib import Path

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"

_PROGRAM = Path(sys.base_prefix, "bin", PYTHON)

_LEFT_OUT = frozenset({
    *("test", "tests", "idlelib", "tkinter", "lib2to3", "turtledemo", "ensurepip", "pydoc_data"),
    *("site-packages", "dist-packages", "__pycache__"),
})  # fmt: skip
"""What a server never imports of the standard library."""

_BESIDES = (
    *("libstdc++.so.6", "libgcc_s.so.1"),
    *("librt.so.1", "libpthread.so.0", "libdl.so.2", "libutil.so.1"),
)
"""What wheels expect of every Linux."""

_PASSWD = "root:x:0:0:root:/root:/bin/sh\n"
_GROUP = "root:x:0:\n"


def write(archive: Path) -> None:
    """Write it as the one layer of an image, as `docker import` takes it."""
    with tarfile.open(archive, "w") as tar:
        for name, mode in (("tmp", 0o1777), ("root", 0o700), ("proc", 0o755), ("etc", 0o755)):
            _add_directory(tar, name, mode)
        _add_text(tar, "etc/passwd", _PASSWD)
        _add_text(tar, "etc/group", _GROUP)
        _add_busybox(tar)
        _add_python(tar)
        _add_libraries(tar)


def _add_busybox(tar: tarfile.TarFile) -> None:
    program = shutil.which("busybox")
    assert program, "no busybox: run tests/docker/install"
    tar.add(program, "bin/busybox")
    listed = subprocess.run([program, "--list"], check=True, capture_output=True, text=True)
    for applet in set(listed.stdout.split()) - {"busybox"}:
        _add_link(tar, f"bin/{applet}", "busybox")


def _add_python(tar: tarfile.TarFile) -> None:
    library = Path(sysconfig.get_path("stdlib"))
    tar.add(_PROGRAM.resolve(), f"usr/local/bin/{PYTHON}")
    for name in ("python", "python3"):
        _add_link(tar, f"usr/local/bin/{name}", PYTHON)
    tar.add(library, f"usr/local/lib/{PYTHON}", filter=_wanted)
    site = next(Path(path) for path in sys.path if (Path(path) / "pip/__main__.py").exists())
    for path in (site / "pip", *site.glob("pip-*.dist-info")):
        tar.add(path, f"usr/local/lib/{PYTHON}/site-packages/{path.name}", filter=_wanted_of_pip)


def _wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = Path(member.name).name
    if name in _LEFT_OUT or name.startswith(("config-", "_tkinter.")):
        return None
    return _of_root(member)


def _wanted_of_pip(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.name.endswith("__pycache__") else _of_root(member)


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode &= 0o755
    return member


def _add_libraries(tar: tarfile.TarFile) -> None:
    """What Python and its extension modules are linked to, all where the loader looks by itself."""
    modules = Path(sysconfig.get_path("stdlib"), "lib-dynload").glob("*.so")
    programs = [module for module in modules if not module.name.startswith("_tkinter.")]
    linked = {path.name: path for path in _linked([_PROGRAM, *programs])}
    directory = linked["libc.so.6"].parent
    for path in (*linked.values(), *(directory / name for name in _BESIDES)):
        tar.add(path.resolve(), f"{directory}/{path.name}".lstrip("/"))
    loader = _loader()
    tar.add(loader.resolve(), str(loader).lstrip("/"))


def _linked(programs: Iterable[Path]) -> list[Path]:
    """The paths in what ldd says, as in `libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x…)`."""
    said = _ldd(*map(str, programs))
    return [Path(path) for path in re.findall(r"=> (/\S+)", said)]


def _loader() -> Path:
    """The program that starts programs: it stands in them by its path."""
    said = _ldd(str(_PROGRAM))
    (loader,) = re.findall(r"^\s*(/\S*/ld-\S+)", said, re.MULTILINE)
    return Path(loader)


def _ldd(*programs: str) -> str:
    done = subprocess.run(
        ["ldd", *programs],
        check=False,  # a static one among them is no failure
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    return done.stdout


def _add_directory(tar: tarfile.TarFile, name: str, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, mode
    tar.addfile(member)


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode()
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _add_link(tar: tarfile.TarFile, name: str, target: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    tar.addfile(member)
