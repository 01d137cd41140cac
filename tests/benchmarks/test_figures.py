"""Figures, ratios and targets say what they should, also where it is bad news."""

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks.figures import (
    Figure,
    Measure,
    Reference,
    Target,
    at_most,
    percentile,
    ratio_at_least,
    ratio_at_most,
)
from benchmarks.rows import ROWS
from benchmarks.scale import Scale


def test_percentiles_are_samples() -> None:
    samples = [5.0, 1.0, 3.0, 2.0, 4.0]
    assert percentile(samples, 0) == 1.0
    assert percentile(samples, 50) == 3.0
    assert percentile(samples, 99) == 5.0
    assert percentile(samples, 100) == 5.0


def test_a_percentile_is_of_all_rounds_and_its_spread_of_each() -> None:
    measure = Measure.percentile([[1.0, 2.0, 9.0], [3.0, 4.0, 5.0]], 50)
    assert measure.value == 4.0
    assert measure.spread == (2.0, 4.0)


def test_a_single_round_has_no_spread() -> None:
    assert Measure.median([3.0]).spread is None


def test_the_ratio_is_the_median_over_neighbouring_rounds() -> None:
    # A noisy last round: the medians alone would say 10 / 20.
    reference = Reference("echo", Measure.median([20.0, 40.0, 2.0]))
    figure = Figure("row", "name", "/s", Measure.median([10.0, 36.0, 1.8]), reference)
    assert figure.ratio == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (ratio_at_least(0.5), True),
        (ratio_at_least(0.51), False),
        (ratio_at_most(0.5), True),
        (ratio_at_most(0.49), False),
        (at_most(10), True),
        (at_most(9.9), False),
        (None, None),
    ],
)
def test_targets(target: Target | None, met: bool | None) -> None:
    reference = Reference("echo", Measure.median([20.0]))
    figure = Figure("row", "name", "/s", Measure.median([10.0]), reference, target)
    assert figure.met is met


def test_a_ratio_without_a_reference_is_not_met() -> None:
    figure = Figure("row", "name", "/s", Measure.median([10.0]), target=ratio_at_least(0.1))
    assert figure.ratio is None
    assert figure.met is False


def test_missed_targets_and_failed_rows_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def slow(directory: Path, scale: Scale) -> list[Figure]:
        return [Figure("slow row", "p50", "ms", Measure.median([11.0]), target=at_most(10))]

    def broken(directory: Path, scale: Scale) -> list[Figure]:
        raise ValueError("no such [thing]")

    monkeypatch.setattr(program, "ROWS", {"start": slow, "jobs": broken})
    file = tmp_path / "figures.json"
    assert program.main(["--json", str(file)]) == 1
    shown = capsys.readouterr().out
    assert "slow row" in shown
    assert " NO " in shown
    assert "NOT MEASURED: jobs: ValueError: no such [thing]" in shown
    written = json.loads(file.read_text())
    assert written["figures"][0]["met"] is False
    assert written["failures"] == ["jobs: ValueError: no such [thing]"]


def test_every_row_has_a_name_for_only() -> None:
    with pytest.raises(SystemExit):
        program.main(["--only", "no-such-row"])
    assert set(ROWS) >= {"read-status", "jobs", "start"}
