"""The peak of a training step, and how it grows with the batch."""

from __future__ import annotations

from dataclasses import dataclass

from recent_prune.preflight.counting import Part


@dataclass(frozen=True)
class Peak:
    """Of one training step.

    Attributes:
        memory: Bytes.
        parts: What they are for.
        operations: Floating-point operations.
    """

    memory: int
    parts: dict[Part, int]
    operations: int

    def more(self, part: Part, size: int) -> Peak:
        """With so many bytes more for a part."""
        parts = {**self.parts, part: self.parts[part] + size}
        return Peak(self.memory + size, parts, self.operations)


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
    def per_sample(self) -> float | None:
        """Bytes that one more sample takes; None of a single size."""
        if len(self.peaks) < 2:
            return None
        low, high = sorted(self.peaks)
        return (self.peaks[high].memory - self.peaks[low].memory) / (high - low)

    @property
    def smallest(self) -> tuple[int, int] | None:
        """The smaller size and its bytes; None of a single size."""
        if len(self.peaks) < 2:
            return None
        low = min(self.peaks)
        return low, self.peaks[low].memory

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
        return Peak(line(low.memory, high.memory), parts, line(low.operations, high.operations))
