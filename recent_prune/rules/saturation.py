"""The paper's rule: prune networks deeper than the point where the entropy saturates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recent_prune.rules.verdict import Verdict, check_share, nonfinite_verdict

if TYPE_CHECKING:
    from recent_prune.probe import ProbeResult


@dataclass(frozen=True)
class SaturationRule:
    """Condemn a network that is deeper than the cutoff of its relative entropy.

    A profile that stops changing before the last layer says that the deeper layers add nothing
    to what is already lost. A flat profile alone is no proof of loss (a shallow network that
    keeps everything is flat as well), nor is it a good sign (total collapse in layer 1 is flat,
    which the published code calls fully trainable): where the profile is flat, the retained
    share at the last layer decides.

    The violation is the share of layers behind the cutoff, (0, 1], or ≤ 0: minus the retained
    share. NaN or infinite activations: condemned with violation 1, and the layer is named.

    Networks with normalisation layers are kept, and so is
    everything where the inputs cannot be recovered from themselves.

    It sees collapse, not explosion, and misses some networks deep in the chaotic phase, whose
    profile keeps fluctuating; :class:`TrainabilityRule` is the better one to prune with.

    Attributes:
        max_retained: A flat profile counts as loss only where the last layer retains less than
            this share of the input's variance, in (0, 1). Default 0.005, see
            ``benchmarks/prediction``.

    Raises:
        ValueError: If an attribute is out of its range.

    Source: arXiv 2406.12916, section 3 (cutoff); the trap of the constant profile is in the
    authors' code.
    """

    max_retained: float = 0.005

    def __post_init__(self) -> None:
        check_share("max_retained", self.max_retained)

    def __call__(self, result: ProbeResult) -> Verdict:
        """Judge one probe."""
        nonfinite = nonfinite_verdict(result)
        if nonfinite is not None:
            return nonfinite
        depth, cutoff, retained = result.depth, result.cutoff, result.retained[-1]
        saturated = cutoff < depth - 1 or cutoff == 0
        judged = result.inputs_recoverable and not (result.normalized or result.stochastic)
        if saturated and retained < self.max_retained and judged:
            return Verdict(
                trainable=False,
                violation=(depth - cutoff) / depth,
                reason=(
                    f"The relative entropy saturates after {cutoff} of {depth} layers, and only "
                    f"{retained:.2%} of the input is retained at {result.layers[-1]!r}."
                ),
            )
        if saturated:
            kept = f"but {retained:.2%} of the input is retained at {result.layers[-1]!r}"
            reason = f"The relative entropy is flat after {cutoff} of {depth} layers, {kept}."
        else:
            reason = f"The relative entropy still changes at the last of {depth} layers."
        return Verdict(trainable=True, violation=0.0 - retained, reason=reason)
