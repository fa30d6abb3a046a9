"""A generalized additive model: log-odds as a sum of one curve a number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Curve:
    """A piecewise linear function of one number, constant beyond its ends.

    Attributes:
        knots: Strictly increasing, two at least.
        heights: At the knots, in log-odds (nats).

    Raises:
        ValueError: If there are too few knots, they do not increase, or heights are missing.
    """

    knots: tuple[float, ...]
    heights: tuple[float, ...]

    def __post_init__(self) -> None:
        pairs = zip(self.knots, self.knots[1:], strict=False)
        if len(self.knots) < 2 or not all(low < high for low, high in pairs):
            raise ValueError(f"`knots` must increase, two at least, but got {self.knots}.")
        if len(self.heights) != len(self.knots):
            raise ValueError(
                f"`heights` must hold a number for each of {len(self.knots)} knots, but got "
                f"{len(self.heights)}."
            )

    def __call__(self, x: float) -> float:
        """The height at ``x``."""
        if x <= self.knots[0]:
            return self.heights[0]
        if x >= self.knots[-1]:
            return self.heights[-1]
        i = bisect_right(self.knots, x)
        low, high = self.knots[i - 1], self.knots[i]
        share = (x - low) / (high - low)
        return (1 - share) * self.heights[i - 1] + share * self.heights[i]


@dataclass(frozen=True)
class AdditiveModel:
    """Log-odds that are the sum of a constant and of a curve for each of a few numbers.

    What lies beyond all that the curves were fitted to counts as at their ends.

    Attributes:
        intercept: Log-odds where every curve is 0.
        curves: By the name of the number.

    Source: Hastie and Tibshirani 1986, generalized additive models.
    """

    intercept: float
    curves: Mapping[str, Curve]

    def contributions(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """What each number adds to the log-odds, nats."""
        return {name: curve(numbers[name]) for name, curve in self.curves.items()}

    def __call__(self, numbers: Mapping[str, float]) -> float:
        """The log-odds, nats."""
        return self.intercept + sum(self.contributions(numbers).values())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        curves = {
            name: {"knots": list(curve.knots), "heights": list(curve.heights)}
            for name, curve in self.curves.items()
        }
        return {"intercept": self.intercept, "curves": curves}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The model that :meth:`to_dict` wrote."""
        curves = {
            name: Curve(tuple(curve["knots"]), tuple(curve["heights"]))
            for name, curve in data["curves"].items()
        }
        return cls(data["intercept"], curves)
