"""How amounts are written on a command line: 500m of a processor, 256MiB, 1m30s."""

import re

import typer

_BYTES = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def cpu_millis(text: str) -> int:
    """Thousandths of a processor: "500m" is half a one, as is "0.5"."""
    if match := re.fullmatch(r"(\d+)m", text):
        return int(match[1])
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return round(float(text) * 1_000)
    raise typer.BadParameter(f"{text!r} is no number of processors, such as 2, 0.5 or 500m")


def size_bytes(text: str) -> int:
    """Bytes: "256MiB", "1.5G", "4096"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", text.lower())
    if match is None or match[2] not in _BYTES:
        raise typer.BadParameter(f"{text!r} is no size, such as 256MiB, 1.5G or 4096")
    return round(float(match[1]) * _BYTES[match[2]])


def milliseconds(text: str) -> int:
    """A span of time: "10s", "1m30s", "500ms"; a bare number is seconds."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return round(float(text) * 1_000)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise typer.BadParameter(f"{text!r} is no span of time, such as 10s, 1m30s or 500ms")
    return round(sum(float(number) * _MILLISECONDS[unit] for number, unit in parts))


def assignment(text: str) -> str:
    """A pair written as key=value."""
    if "=" not in text:
        raise typer.BadParameter(f"{text!r} isn't of the form key=value")
    return text
