"""The one table, on a terminal and as JSON."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Measure, Target

_PLAIN_WIDTH = 170
"""Characters of a line where no terminal says how many there are."""


def machine() -> str:
    """What the figures were measured on."""
    memory = psutil.virtual_memory().total / 1e9
    return (
        f"{os.cpu_count()} processors, {memory:.0f} GB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, "
        f"load {psutil.getloadavg()[0]:.1f}"
    )


def show(figures: Sequence[Figure], failures: Sequence[str]) -> None:
    """Print the table, then what could not be measured."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    table = Table(title=machine(), title_justify="left", caption_justify="left")
    table.caption = "median (lowest - highest round); ratio: median over neighbouring rounds"
    for heading in ("what", "", "measured", "reference", "measured", "ratio", "target", "met"):
        table.add_column(heading, overflow="fold")
    row = ""
    for figure in figures:
        reference = figure.reference
        table.add_row(
            figure.row if figure.row != row else "",
            figure.name,
            _text(figure.measure, figure.unit),
            reference.name if reference else "-",
            _text(reference.measure, figure.unit) if reference else "-",
            f"{figure.ratio:.3g}" if figure.ratio is not None else "-",
            _bound(figure.target, figure.unit) if figure.target else "-",
            {True: "yes", False: "NO", None: "-"}[figure.met],
        )
        row = figure.row
    console.print(table)
    for failure in failures:
        console.print(f"NOT MEASURED: {failure}", markup=False)


def write(path: Path, figures: Sequence[Figure], failures: Sequence[str]) -> None:
    """The same as JSON, with every round."""
    path.write_text(
        json.dumps(
            {
                "machine": machine(),
                "figures": [_values(figure) for figure in figures],
                "failures": list(failures),
            },
            indent=2,
        )
    )


def _values(figure: Figure) -> dict[str, Any]:
    return {**asdict(figure), "ratio": figure.ratio, "met": figure.met}


def _text(measure: Measure, unit: str) -> str:
    if measure.spread is None:
        return f"{_number(measure.value)} {unit}"
    low, high = measure.spread
    return f"{_number(measure.value)} {unit} ({_number(low)} - {_number(high)})"


def _bound(target: Target, unit: str) -> str:
    sign = ">=" if target.at_least else "<="
    return f"{sign} {target.bound:g} {'x' if target.of_ratio else unit}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
