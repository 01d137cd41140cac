"""Figures, what they are compared with, and whether that is good enough."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure that was measured in several rounds; the unit is the figure's."""

    rounds: tuple[float, ...]
    value: float

    @classmethod
    def median(cls, rounds: Sequence[float]) -> "Measure":
        """The median of the rounds."""
        return cls(tuple(rounds), statistics.median(rounds))

    @classmethod
    def percentile(cls, rounds: Sequence[Sequence[float]], percent: float) -> "Measure":
        """That percentile of all samples; the spread is that of the rounds' own percentiles."""
        pooled = percentile([sample for one in rounds for sample in one], percent)
        return cls(tuple(percentile(one, percent) for one in rounds), pooled)

    @property
    def spread(self) -> tuple[float, float] | None:
        """The lowest and the highest round; None where there was only one."""
        return (min(self.rounds), max(self.rounds)) if len(self.rounds) > 1 else None


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that so many percent of all don't exceed."""
    ordered = sorted(samples)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]


@dataclass(frozen=True, slots=True)
class Reference:
    """What a figure is held against, measured in turns with it."""

    name: str
    measure: Measure


@dataclass(frozen=True, slots=True)
class Target:
    """A bound, either on the figure itself or on its ratio to the reference."""

    bound: float
    at_least: bool
    of_ratio: bool

    def met(self, figure: "Figure") -> bool:
        """Whether the figure keeps the bound."""
        value = figure.ratio if self.of_ratio else figure.measure.value
        if value is None:
            return False
        return value >= self.bound if self.at_least else value <= self.bound


def ratio_at_least(bound: float) -> Target:
    """The figure should be at least so many times its reference."""
    return Target(bound, at_least=True, of_ratio=True)


def ratio_at_most(bound: float) -> Target:
    """The figure should be at most so many times its reference."""
    return Target(bound, at_least=False, of_ratio=True)


def at_most(bound: float) -> Target:
    """The figure itself should be at most this, in its unit."""
    return Target(bound, at_least=False, of_ratio=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the table."""

    row: str
    name: str
    unit: str
    measure: Measure
    reference: Reference | None = None
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """How many times the reference: the median over the rounds, each with its neighbour."""
        if self.reference is None:
            return None
        ours, theirs = self.measure, self.reference.measure
        if len(ours.rounds) == len(theirs.rounds) and len(ours.rounds) > 1:
            pairs = zip(ours.rounds, theirs.rounds, strict=True)
            return statistics.median(a / b for a, b in pairs)
        return ours.value / theirs.value

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        return None if self.target is None else self.target.met(self)
