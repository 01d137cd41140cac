"""Draws lines over time as SVG, each in a panel of its own, from zero to its highest value."""

from collections.abc import Sequence
from typing import NamedTuple

WIDTH, PANEL, MARGIN = 720, 120, 30


class Line(NamedTuple):
    """What it is, with its unit, and its values."""

    name: str
    values: Sequence[float]


def draw(x_name: str, x_values: Sequence[float], lines: Sequence[Line]) -> str:
    """The SVG of some lines over the same x values."""
    height = len(lines) * (PANEL + MARGIN) + MARGIN
    panels = [
        _panel(line, x_values, MARGIN + number * (PANEL + MARGIN))
        for number, line in enumerate(lines)
    ]
    span = f"{x_values[0]:.1f} to {x_values[-1]:.1f} {x_name}"
    axis = f'<text x="{MARGIN}" y="{height - 8}">{span}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12">\n'
        '<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join([*panels, axis])
        + "\n</svg>\n"
    )


def _panel(line: Line, x_values: Sequence[float], top: float) -> str:
    highest = max(*line.values, 1.0)
    span = (x_values[-1] - x_values[0]) or 1.0
    points = " ".join(
        f"{MARGIN + (x - x_values[0]) / span * (WIDTH - 2 * MARGIN):.1f},"
        f"{top + PANEL - y / highest * PANEL:.1f}"
        for x, y in zip(x_values, line.values, strict=True)
    )
    return (
        f'<text x="{MARGIN}" y="{top - 6}">{line.name}: at most {highest:,.1f}</text>\n'
        f'<rect x="{MARGIN}" y="{top}" width="{WIDTH - 2 * MARGIN}" height="{PANEL}" '
        'fill="none" stroke="#ccc"/>\n'
        f'<polyline fill="none" stroke="#06c" stroke-width="1.5" points="{points}"/>'
    )
