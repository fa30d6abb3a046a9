"""A rule of one's own: at the last layer a share of the input must still arrive."""

from dataclasses import dataclass

from recent_prune import ProbeResult, Verdict
from recent_prune.rules import Cause


@dataclass(frozen=True)
class Arrives:
    """Condemn a network that loses its input on the way.

    Attributes:
        share: Of the input's variance, that must be retained at the last layer, in (0, 1).
    """

    share: float = 0.1

    def __call__(self, result: ProbeResult) -> Verdict:
        if not result.inputs_recoverable or result.stochastic:
            return Verdict(True, 0.0, "What is noise cannot be told from what is lost.")
        arrives = result.retained[-1]  # 0 where activations are not finite
        reason = f"{arrives:.1%} of the input arrives at {result.layers[-1]!r}."
        if arrives >= self.share:
            return Verdict(True, self.share - arrives, reason)
        return Verdict(False, 1 - arrives / self.share, reason, Cause.LOST)

    @staticmethod
    def score(result: ProbeResult) -> float:
        """Higher is better."""
        return result.retained[-1]
