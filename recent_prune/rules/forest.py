"""A forest of small trees, read from JSON: no other library is needed to ask it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

_LISTS = ("names", "typical", "least", "most", "error")


@dataclass(frozen=True)
class Tree:
    """A binary tree over numbered features; node 0 is the root.

    Attributes:
        feature: Of each node, −1 for a leaf.
        threshold: What is at most this goes to the left.
        left: The nodes on that side.
        right: The nodes on the other.
        value: Of each leaf.
    """

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    value: tuple[float, ...]

    def __call__(self, numbers: Sequence[float]) -> float:
        """The value of the leaf that the numbers lead to."""
        node = 0
        while (feature := self.feature[node]) >= 0:
            low = numbers[feature] <= self.threshold[node]
            node = self.left[node] if low else self.right[node]
        return self.value[node]


@dataclass(frozen=True)
class Answer:
    """What a forest says.

    Attributes:
        mean: Over the trees.
        error: How far from the truth it is expected to be, either way; NaN where nobody knows.
        outside: Names of the numbers that lie outside of what it was fitted to.
    """

    mean: float
    error: float
    outside: tuple[str, ...]


@dataclass(frozen=True)
class Forest:
    """The mean of trees, and where it knows nothing.

    A forest does not extrapolate: beyond what it was fitted to it says what it says at the edge.

    Attributes:
        names: Of the numbers, in the order of the trees' features.
        typical: What stands for a number that is missing (NaN): the median.
        least: Of each number in what it was fitted to.
        most: Likewise.
        trees: At least one.
        error: Mean absolute error where all trees agree, and how much it grows with their standard
            deviation, in groups that were left out of the fit.
    """

    names: tuple[str, ...]
    typical: tuple[float, ...]
    least: tuple[float, ...]
    most: tuple[float, ...]
    trees: tuple[Tree, ...]
    error: tuple[float, float] = (math.nan, math.nan)

    def __call__(self, numbers: Mapping[str, float]) -> Answer:
        """Ask all trees.

        Raises:
            ValueError: If a number is missing by name.
        """
        missing = [name for name in self.names if name not in numbers]
        if missing:
            raise ValueError(f"`numbers` must hold {list(self.names)}, but lack {missing}.")
        given = [numbers[name] for name in self.names]
        known = [
            typical if math.isnan(number) else number
            for number, typical in zip(given, self.typical, strict=True)
        ]
        said = [tree(known) for tree in self.trees]
        mean = math.fsum(said) / len(said)
        variance = math.fsum((value - mean) ** 2 for value in said) / len(said)
        places = zip(self.names, known, self.least, self.most, strict=True)
        outside = tuple(name for name, x, low, high in places if not low <= x <= high)
        agreed, growth = self.error
        return Answer(mean, agreed + growth * math.sqrt(variance), outside)

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "names": list(self.names),
            "typical": list(self.typical),
            "least": list(self.least),
            "most": list(self.most),
            "error": list(self.error),
            "trees": [
                {name: list(getattr(tree, name)) for name in Tree.__dataclass_fields__}
                for tree in self.trees
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The forest that :meth:`to_dict` wrote."""
        trees = tuple(
            Tree(**{name: tuple(part) for name, part in tree.items()}) for tree in data["trees"]
        )
        parts = {name: tuple(data[name]) for name in _LISTS}
        return cls(**parts, trees=trees)
