"""The peak of a training step, and how it grows with the batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from recent_prune.preflight.counting import Part

Line = tuple[float, float]
"""Bytes, and bytes a sample besides."""


@dataclass(frozen=True)
class Peak:
    """Of one training step.

    Attributes:
        memory: Bytes.
        parts: What they are for.
        operations: Floating-point operations.
        moments: Bytes at each moment of the step, on which its memory depends at other sizes.
    """

    memory: int
    parts: dict[Part, int]
    operations: int
    moments: tuple[int, ...] = ()

    def more(self, part: Part, size: int) -> Peak:
        """With so many bytes more for a part, at every moment."""
        parts = {**self.parts, part: self.parts[part] + size}
        moments = tuple(moment + size for moment in self.moments)
        return replace(self, memory=self.memory + size, parts=parts, moments=moments)


@dataclass(frozen=True)
class Counted:
    """Peaks by batch size.

    Attributes:
        peaks: Of one or two sizes.
        notes: What to keep in mind, in sentences.
    """

    peaks: dict[int, Peak]
    notes: tuple[str, ...] = ()

    @property
    def growth(self) -> tuple[Line, ...]:
        """Lines of which the largest is the memory at a batch size; empty of a single size.

        The memory at each moment of a step grows linearly with the batch; which moment is the peak
        depends on its size. Where two sizes have other moments, their peaks tell.
        """
        if len(self.peaks) < 2:
            return ()
        low, high = sorted(self.peaks)
        few, many = self.peaks[low], self.peaks[high]
        pairs: Iterable[tuple[int, int]] = zip(few.moments, many.moments, strict=False)
        if not few.moments or len(few.moments) != len(many.moments):
            pairs = [(few.memory, many.memory)]
        slopes = [(a, (b - a) / (high - low)) for a, b in pairs]
        return envelope([(a - slope * low, slope) for a, slope in slopes])

    def at(self, size: int) -> Peak:
        """Of a batch size, extrapolated where it was not counted."""
        if size in self.peaks:
            return self.peaks[size]
        if len(self.peaks) < 2:
            return next(iter(self.peaks.values()))
        low, high = (self.peaks[key] for key in sorted(self.peaks))
        share = (size - min(self.peaks)) / (max(self.peaks) - min(self.peaks))

        def line(a: int, b: int) -> int:
            return max(round(a + (b - a) * share), 0)

        parts = {name: line(low.parts[name], high.parts[name]) for name in low.parts}
        memory = round(max(start + slope * size for start, slope in self.growth))
        # Where another moment is the peak, it is for what the passes hold.
        parts[Part.ACTIVATIONS] = max(parts[Part.ACTIVATIONS] + memory - sum(parts.values()), 0)
        return Peak(memory, parts, line(low.operations, high.operations))


def envelope(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Those of the lines that are the largest at some size from 0 on, by their slope."""
    found: list[Line] = []
    for start, slope in sorted(set(lines), key=lambda line: (line[1], line[0])):
        while found and found[-1][0] <= start:  # lower at 0 already, and less steep
            found.pop()
        while len(found) > 1 and _meet(found[-2], (start, slope)) <= _meet(found[-2], found[-1]):
            found.pop()
        found.append((start, slope))
    return tuple(found)


def _meet(first: Line, second: Line) -> float:
    """The size at which the second, steeper, is as large as the first."""
    return (first[0] - second[0]) / (second[1] - first[1])
