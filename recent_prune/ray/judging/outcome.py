"""What goes to a probe actor, and what is known of a trial after it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from recent_prune.ray.initialization import Config
from recent_prune.rules import Scalar
from recent_prune.rules.rung_zero import Place, constraint, is_stopped, reason

RANKED = ("rank_score", "rank_error", "stopped")
"""What is shown of a trial beside its summary, where candidates are ranked."""


@dataclass(frozen=True)
class Candidate:
    """A trial that waits for its verdict."""

    trial_id: str
    config: Config = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """What the gate knows of a trial.

    Attributes:
        trial_id: Of the trial.
        summary: The probe's numbers and the verdict, see :func:`recent_prune.rules.summary`; empty
            where the trial could not be probed.
        fault: Why it could not be probed, or None.
        features: What a certified rule looks at, see
            :func:`recent_prune.rules.certified.learned_score.probe_features`;
            empty under another rule, and for a network that is not finite.
        parameters: Likewise: numbers, texts and truth values of the configuration.
        score: That a certified rule gave it, None while it watches; or by which it is ranked.
        error: By how much the latter is expected to be wrong; None where the rule does not say.
        share: The probability with which it was to run though condemned; None where it was not.
        rung: Where it stood at rung zero, None where nothing is ranked.
        memory: Bytes that a training step is estimated to take and that there are, see
            :attr:`recent_prune.rules.fit.Fit.memory`; empty where that was not asked.
    """

    trial_id: str
    summary: dict[str, Scalar] = field(default_factory=dict)
    fault: str | None = None
    features: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, Scalar] = field(default_factory=dict)
    score: float | None = None
    error: float | None = None
    share: float | None = None
    rung: Place | None = None
    memory: dict[str, float | None] = field(default_factory=dict)

    @property
    def condemned(self) -> bool:
        """Whether it was found untrainable."""
        return self.summary.get("trainable") is False

    @property
    def stopped(self) -> bool:
        """Whether it stood too low at rung zero."""
        return self.rung is not None and is_stopped(self.rung)

    @property
    def passes(self) -> bool:
        """Whether the verdict is that the trial runs."""
        return bool(self.summary.get("trainable")) and not self.stopped

    @property
    def violation(self) -> float:
        """The graded violation, ≤ 0 where trainable, 0 where nothing is known."""
        return float(self.summary.get("violation") or 0.0)

    @property
    def constraint(self) -> float:
        """What a sampler is told; see :func:`recent_prune.rules.rung_zero.constraint`."""
        if self.rung is None:
            return self.violation
        return constraint(self.violation, self.score, stopped=self.stopped)

    @property
    def metrics(self) -> dict[str, Scalar]:
        """What is shown of it: the summary, and where it stood at rung zero."""
        if self.rung is None:
            return self.summary
        told = str(self.summary.get("reason", ""))
        return {
            **self.summary,
            "reason": told if self.condemned else f"{reason(self.rung)} {told}",
            "rank_score": self.score,
            "rank_error": self.error,
            "stopped": self.stopped and not self.condemned,
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, known: dict[str, Any]) -> Self:
        """The reverse of :meth:`to_dict`."""
        return cls(**known)
