"""The verdict before anything is allocated: what is surely too large, or too slow, is condemned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recent_prune.rules.verdict import Cause, Verdict

if TYPE_CHECKING:
    from recent_prune.preflight import Estimate, Limits, PreflightResult, Room

LARGEST_CORRECTION = 2.0
"""Where a trial that was estimated at less than half of what there was runs out of memory, it is
not the estimate that is wrong: nothing is learnt from it."""

STRICTLY = 1e-6
"""What ran out of memory needed more than there was."""


@dataclass(frozen=True)
class PreflightRule:
    """Condemn a trial that surely does not fit, or surely does not end in time.

    Sure is what the lower end of the estimate says. The violation is the share of what is needed
    that is missing, 1 − limit / estimate: it grows with what is missing, and stays below 1. A trial
    that does not fit into what is free now, but would if nobody else were there, is kept, and the
    reason says so.

    Attributes:
        room: Memory for the trial; None for any. Where workers are unlike, that of the largest.
        seconds: For the full training; None for any. Nothing is too slow before real steps have
            been timed, or without a known budget.
        margin: Share by which an estimate may be too high, instead of the estimate's own interval.
        kinds: Bytes of each kind of worker, where they are unlike: of a kept trial the advice says
            for which it is surely too large.
    """

    room: Room | None = None
    seconds: float | None = None
    margin: float | None = None
    kinds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def within(cls, limits: Limits, room: Room | None) -> PreflightRule:
        """The rule for these limits, from now on; ``room`` is what :meth:`Limits.room` gives."""
        return cls(room, limits.time(), limits.margin, limits.kinds)

    def __call__(self, result: PreflightResult) -> Verdict:
        """Judge one preflight."""
        time, room = result.training_seconds, self.room
        if room is not None and self._low(result.memory) > room.capacity:
            return Verdict(
                False,
                1 - room.capacity / result.memory.value,
                f"A training step takes about {size(result.memory.value)} at batch "
                f"{result.batch_size}, and there are {size(room.capacity)}.",
                Cause.TOO_LARGE,
                _advice(result, room.capacity),
            )
        if self.seconds is not None and time is not None and self._low(time) > self.seconds:
            return Verdict(
                False,
                1 - self.seconds / time.value,
                f"The full training takes about {time.value:.3g} s, and there are "
                f"{self.seconds:.3g} s.",
                Cause.TOO_SLOW,
                f"{self.seconds / time.value:.0%} of its {result.budget} steps end in time.",
            )
        return Verdict(
            True, self._violation(result), _why_kept(result, room), advice=self._placement(result)
        )

    def _placement(self, result: PreflightResult) -> str | None:
        """For which kind of worker the trial is not too large, where it is for another."""
        small = [kind for kind, most in self.kinds.items() if self._low(result.memory) > most]
        rest = [kind for kind in self.kinds if kind not in small]
        if not small:
            return None
        sizes = {kind: size(most) for kind, most in self.kinds.items()}
        told = ", ".join(k if sizes[k] in k else f"{k} ({sizes[k]})" for k in small)
        return f"Place it on {' or '.join(rest)}: it is too large for {told}."

    def _low(self, estimate: Estimate) -> float:
        return estimate.low if self.margin is None else estimate.value * (1 - self.margin)

    def _violation(self, result: PreflightResult) -> float:
        """Minus the share of the scarcer limit that is left; 0 where it is unsure."""
        used = []
        if self.room is not None:
            used.append(result.memory.value / self.room.capacity)
        if self.seconds and result.training_seconds is not None:
            used.append(result.training_seconds.value / self.seconds)
        return min(max(used, default=1.0) - 1, 0.0)


def _why_kept(result: PreflightResult, room: Room | None) -> str:
    told = f"A training step takes about {size(result.memory.value)}"
    if room is None:
        return f"{told}; no limit is known."
    if result.fits(room.free):
        return f"{told} of {size(room.free)}: it fits."
    if result.memory.value > room.free and room.free < room.capacity:
        return (
            f"{told}, and {size(room.free)} are free now, but {size(room.capacity)} are there: "
            "others hold the rest."
        )
    return f"{told} of {size(room.free)}: whether it fits is unsure."


def _advice(result: PreflightResult, limit: float) -> str | None:
    """What would fit, so far as it is known."""
    largest = result.largest_batch(limit)
    rest = result.memory.high - result.parts.get("activations", 0)
    told = []
    if largest:
        told.append(f"It fits at batch {largest} instead of {result.batch_size}")
        if largest < result.batch_size:
            times = -(-result.batch_size // largest)
            told[-1] += f" (accumulate={times} for the same samples a step)"
    elif largest == 0:
        told.append("It fits at no batch size")
    if rest < limit:
        share = result.parts.get("activations", 0) / result.memory.value
        told.append(f"{share:.0%} are activations, of which gradient checkpointing holds fewer")
    return "; ".join(told) + "." if told else None


def correction(ran_out: Iterable[tuple[float | None, float | None]]) -> float | None:
    """How many times its estimate a trial needs at least; None where no trial told.

    Args:
        ran_out: Of trials that ran out of memory all the same, the estimate and what there was,
            bytes; None where unknown.
    """
    factors = [free / memory * (1 + STRICTLY) for memory, free in ran_out if memory and free]
    return max((factor for factor in factors if factor <= LARGEST_CORRECTION), default=None)


def size(count: float) -> str:
    """Bytes for a person, in binary units: 201 MiB, 5.37 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"
