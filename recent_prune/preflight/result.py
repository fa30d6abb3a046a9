"""What a preflight returns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Real
from statistics import median
from typing import Any, Self

from recent_prune.notebook import preflight_html
from recent_prune.probe.result import ProbeResult

ROUNDING = 1e-9
"""Of a number of samples."""

TIME_ABOVE, TIME_BELOW = 0.1, 0.25
"""By how much a training may be slower, or quicker, than its first steps (``benchmarks/preflight``:
the first steps of a process are slower than later ones by up to a third, where they take
milliseconds)."""


@dataclass(frozen=True)
class Estimate:
    """A number, and between what it lies.

    Attributes:
        value: The likeliest.
        low: It is hardly less.
        high: It is hardly more.
    """

    value: float
    low: float
    high: float

    @classmethod
    def within(cls, value: float, below: float, above: float) -> Self:
        """From relative errors: the truth is at most so much below it, or above."""
        return cls(value, value * (1 - below), value * (1 + above))

    def times(self, factor: float) -> Estimate:
        """So many of it."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class PreflightResult:
    """What one training step takes.

    Attributes:
        device: Type of the device that it is estimated for, such as ``"cuda"``.
        method: ``"traced"`` on fake tensors, at this batch size; or ``"measured"`` in real steps of
            smaller batches, from which this one is extrapolated.
        batch_size: Samples of a batch.
        memory: Peak of one training step, bytes: what all tensors of model, batch, gradients and
            optimizer hold at once.
        parts: What the memory is for at its peak, bytes by :class:`Part`.
        growth: How the memory grows: pairs of bytes, and bytes a sample besides, of which the
            largest is the memory of a batch. Empty where the batch has no other size.
        operations: Floating-point operations of a training step, forward and backward: of matrix
            products, convolutions and attention, a multiplication and an addition being two.
        above: Relative, by which the memory may be more; the rest of ``memory.high`` may be more
            whatever the batch.
        budget: Steps of the full training; None where unknown.
        step_seconds: Of a training step, the loader's time included; None until real steps have
            been made, see :meth:`refined`.
        notes: What is not counted, and what to keep in mind, in sentences.
        seconds: Wall-clock time of the estimate.
    """

    device: str
    method: str
    batch_size: int
    memory: Estimate
    parts: dict[str, int]
    growth: tuple[tuple[float, float], ...]
    operations: int
    above: float = 0.0
    budget: int | None = None
    step_seconds: Estimate | None = None
    notes: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    _repr_html_ = preflight_html

    @property
    def training_seconds(self) -> Estimate | None:
        """Of the full training; None without ``budget``, or before real steps."""
        if self.budget is None or self.step_seconds is None:
            return None
        return self.step_seconds.times(self.budget)

    def fits(self, limit: float) -> bool:
        """Whether it surely fits into so many bytes: the upper end of the estimate does.

        That it does not is only sure where ``memory.low`` is above the limit.

        Raises:
            TypeError: If ``limit`` is no number.
            ValueError: If ``limit`` is not positive.
        """
        return self.memory.high <= _checked(limit)

    @property
    def per_sample(self) -> float | None:
        """Bytes that one more sample than a batch takes; None where the batch has no other size."""
        lines = [(start + slope * self.batch_size, slope) for start, slope in self.growth]
        return max(lines)[1] if lines else None

    def largest_batch(self, limit: float) -> int | None:
        """The most samples with which it surely fits into so many bytes.

        At each moment of a step the memory grows linearly with the batch; which moment is the peak
        depends on its size, and is known of every size.

        Returns:
            0 where not even one does; None where the batch has no other size.

        Raises:
            TypeError: If ``limit`` is no number.
            ValueError: If ``limit`` is not positive.
        """
        _checked(limit)
        if not self.growth:
            return None
        more = max(self.memory.high - self.memory.value * (1 + self.above), 0.0)
        allowed = (limit - more) / (1 + self.above)
        if any(start + slope > allowed for start, slope in self.growth):
            return 0
        most = [(allowed - start) / slope for start, slope in self.growth if slope > 0]
        return math.floor(min(most) + ROUNDING) if most else self.batch_size

    def refined(self, result: ProbeResult) -> PreflightResult:
        """With the seconds that the first steps of a probe took, those after the first one.

        The loader's time counts in full towards ``high`` and ``value``, and not at all towards
        ``low``, since workers may load while the model trains.

        Raises:
            ValueError: If the probe made fewer than two steps, or its result is of a version that
                did not measure them.
        """
        steps = result.steps
        if steps is None or not steps.step_seconds:
            raise ValueError(
                "`result` must be of a probe that made at least two first steps, but has no "
                "seconds of steps: give probe(…, training=Training(…, steps=…))."
            )
        times = steps.step_seconds
        loading = 0.0 if math.isnan(steps.loading_seconds) else steps.loading_seconds
        seconds = Estimate(
            median(times) + loading,
            min(times) * (1 - TIME_BELOW),
            max(times) * (1 + TIME_ABOVE) + loading,
        )
        return replace(self, step_seconds=seconds, budget=self.budget or steps.budget)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types only."""
        known = asdict(self)
        return {**known, "growth": list(map(list, self.growth)), "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The result that :meth:`to_dict` wrote.

        Raises:
            ValueError: If a field is missing or unknown.
        """
        names = {f.name for f in fields(cls)}
        if set(data) != names:
            raise ValueError(
                f"`data` must have the keys {sorted(names)}, but {sorted(names ^ set(data))} are "
                "missing or unknown."
            )
        known = dict(data)
        for name in ("memory", "step_seconds"):
            known[name] = None if known[name] is None else Estimate(**known[name])
        growth = tuple((start, slope) for start, slope in known["growth"])
        return cls(**{**known, "growth": growth, "notes": tuple(known["notes"])})


def _checked(limit: float) -> float:
    if not isinstance(limit, Real):
        raise TypeError(f"`limit` must be a number of bytes such as 24 * 2**30, but got {limit!r}.")
    if not limit > 0:
        raise ValueError(f"`limit` must be a positive number of bytes, but got {limit!r}.")
    return limit
