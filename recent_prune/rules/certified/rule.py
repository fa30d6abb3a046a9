"""A rule that learns from a study, states its error, and keeps it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Self

import numpy as np

from recent_prune.rules.certified.certificate import (
    Certificate,
    Record,
    Tally,
    calibrated_threshold,
    calibration_trials,
    check_rates,
)
from recent_prune.rules.certified.fitted import FittedScore, PastTrial
from recent_prune.rules.certified.learned_score import (
    Parameters,
    are_enough,
    learn_score,
)
from recent_prune.rules.certified.standing import Settled, Standing
from recent_prune.rules.verdict import MAX_VIOLATION, Verdict


@dataclass(frozen=True)
class Judgement:
    """What a rule says of one trial, with what it rests on.

    Attributes:
        verdict: For the sampler and the log.
        share: The probability with which the trial was to run though condemned, None where it is
            not condemned.
        runs: Whether it runs: not condemned, or drawn for the audit.
        score: None where nothing is fitted yet.
    """

    verdict: Verdict
    share: float | None
    runs: bool
    score: float | None


@dataclass(frozen=True)
class CertifiedRule:
    """Condemn what will hardly be good, and lose no more than a stated share of the good trials.

    It starts by watching: nothing is pruned but networks with non-finite activations. Once enough
    good trials have ended, it learns a score from half of them (:class:`LearnedScore`: the probe's
    numbers and the hyperparameters) and calibrates the threshold on the other half
    (:func:`calibrated_threshold`). From then on a condemned trial is pruned, but with a known
    probability, at least ``audit_share``, it runs all the same. What those audits find bounds the
    rate of good trials lost at all times, whatever the sampler does (:func:`certificate`); the
    budget that the tolerance leaves sets how many of the condemned must run. A good trial among
    them lowers the threshold below its score and costs budget; without budget all condemned trials
    run, which is to say that nothing is pruned, until more good trials have been seen.

    The bound holds at all times. That it stays below the tolerance takes outcomes that are known
    before the next draw: where trials run side by side, audits that turn out good late may lift it
    somewhat above, and then nothing more is pruned until more good trials have been seen.

    The rule itself holds settings only; a study's state is the list of its past trials.

    Attributes:
        better_than: A good trial's value is at least as good as this. Or
        best_share: a good trial is among this share of the best that ran. The guarantee is for a
            fixed bound: with a share the bound is that of the trials seen when the rule was fitted.
        direction: ``"maximize"`` or ``"minimize"``.
        max_false_prune_rate: Tolerated rate of good trials lost, in (0, 1). Default 0.01.
        confidence: Of the guarantee, in (0, 1). Default 0.95.
        audit_share: Least probability with which a condemned trial runs, in (0, 1]. Default 0.05.
        seed: Of the draw.
        fitted: What earlier studies of the same kind were calibrated to
            (:func:`recent_prune.optuna.calibrated`, or :meth:`FittedScore.load`); there is nothing
            to watch then. The threshold's guarantee needs the new trials to be like the old ones;
            that of the audits does not. Default: none.

    Raises:
        ValueError: If an attribute is out of its range, or not exactly one of ``better_than`` and
            ``best_share`` is given.
    """

    better_than: float | None = None
    best_share: float | None = None
    direction: str = "maximize"
    max_false_prune_rate: float = 0.01
    confidence: float = 0.95
    audit_share: float = 0.05
    seed: int = 0
    fitted: FittedScore | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_rates(self.max_false_prune_rate, self.confidence)
        if (self.better_than is None) == (self.best_share is None):
            raise ValueError(
                "Exactly one of `better_than` and `best_share` must be given, but got "
                f"{self.better_than} and {self.best_share}."
            )
        if self.best_share is not None and not 0 < self.best_share < 1:
            raise ValueError(f"`best_share` must lie in (0, 1), but got {self.best_share}.")
        if not 0 < self.audit_share <= 1:
            raise ValueError(f"`audit_share` must lie in (0, 1], but got {self.audit_share}.")
        if self.direction not in ("maximize", "minimize"):
            raise ValueError(
                f"`direction` must be 'maximize' or 'minimize', but got {self.direction!r}."
            )
        bound, fitted = self.better_than, self.fitted
        if bound is None or fitted is None or fitted.direction != self.direction:
            return  # the study's direction is checked when it is known
        if bound != fitted.good_bound:
            raise ValueError(
                "`better_than` must be the bound that `fitted` was calibrated for, "
                f"{fitted.good_bound}, but got {bound}."
            )

    def settings(self) -> dict[str, Any]:
        """All but what was fitted, as JSON takes it."""
        named = {known.name: getattr(self, known.name) for known in fields(self)}
        return {name: value for name, value in named.items() if name != "fitted"}

    def fit(self, past: Sequence[PastTrial]) -> FittedScore | str:
        """Learn a score and calibrate its threshold, if there are enough good trials.

        Only trials that would have run in any case take part: those judged before anything was
        fitted. Of these every other one teaches the score and the rest calibrate it, but while the
        score is that of the probe alone all of them calibrate.

        Returns:
            What was fitted, or a sentence that says how many good trials are missing.
        """
        ended = [trial for trial in past if trial.ended and trial.score is None]
        bound = self.good_bound(ended)
        good = [self.is_good(trial, bound) for trial in ended]
        teaching = range(0, len(ended), 2)
        taught = [good[index] for index in teaching]
        # The score of the probe alone is learned from nobody, so that all may calibrate it.
        judging = range(1, len(ended), 2) if are_enough(taught) else range(len(ended))
        calibrating = [index for index in judging if good[index]]
        needed = calibration_trials(self.max_false_prune_rate, self.confidence)
        if len(calibrating) < needed:
            missing = (needed - len(calibrating)) * (2 if are_enough(taught) else 1)
            return (
                f"about {missing} more good trials are needed to certify a rate of "
                f"{self.max_false_prune_rate:.2%} at {self.confidence:.0%}."
            )
        score = learn_score(
            [ended[index].features for index in teaching],
            [ended[index].parameters for index in teaching],
            taught,
        )
        scores = [score(ended[index].features, ended[index].parameters) for index in calibrating]
        threshold = calibrated_threshold(scores, self.max_false_prune_rate, self.confidence)
        return FittedScore(score, threshold, bound, len(calibrating), self.direction)

    def towards(self, direction: str) -> Self:
        """The rule for a study with another direction.

        Raises:
            ValueError: If earlier studies calibrated it to the opposite.
        """
        if self.fitted is not None and self.fitted.direction != direction:
            raise ValueError(
                f"The rule was calibrated to {self.fitted.direction}, but this study has the "
                f"direction {direction!r}."
            )
        return replace(self, direction=direction)

    def judge(
        self,
        key: object,
        features: Mapping[str, float],
        parameters: Parameters,
        past: Sequence[PastTrial],
        fitted: FittedScore | str,
        settled: Settled | None = None,
    ) -> Judgement:
        """Judge a trial whose activations are finite.

        Args:
            key: By which the trial is known, and no other; with ``seed`` it decides the draw.
            features: Of its probe.
            parameters: Its hyperparameters.
            past: All trials judged before, in order.
            fitted: What :meth:`fit` returned.
            settled: The first of ``past``, known from earlier calls. Default: all are counted anew.
        """
        if isinstance(fitted, str):
            return Judgement(Verdict(True, -0.0, f"Watching: {fitted}"), None, True, None)
        standing = self._standing(past, fitted.good_bound, settled)
        threshold = min(fitted.threshold, standing.lowest)
        score = fitted.score(features, parameters)
        margin = math.tanh(score - threshold)
        if score >= threshold:
            reason = f"Its score of {score:.2f} is above the threshold of {threshold:.2f}."
            return Judgement(Verdict(True, -margin, reason), None, True, score)
        state = standing.tally.certificate()
        share = state.share(self.audit_share)
        runs = random.Random(f"{self.seed}:{key}").random() < share
        reason = (
            f"Its score of {score:.2f} is below the threshold of {threshold:.2f}; at most "
            f"{state.rate:.2%} of good trials are lost (tolerated {self.max_false_prune_rate:.2%})."
        )
        if runs:
            drawn = f"{reason} It runs all the same, as {share:.0%} of such trials do."
            return Judgement(Verdict(True, -0.0, drawn), share, True, score)
        violation = min(max(-margin, 1e-6), MAX_VIOLATION)
        return Judgement(Verdict(False, violation, reason), share, False, score)

    def certify_each(self, past: Sequence[PastTrial], bound: float) -> list[Certificate]:
        """What a study certified after each of its trials, by what is known of them now.

        Good trials are those that are as good as ``bound``.
        """
        tally = Tally(self.max_false_prune_rate, self.confidence)
        found = []
        for trial in past:
            good = self.is_good(trial, bound) if trial.ended else None
            tally.add(Record(trial.share, trial.ran, good))
            found.append(tally.certificate())
        return found

    def good_bound(self, past: Sequence[PastTrial]) -> float:
        """The value from which on a trial is good."""
        if self.better_than is not None:
            return self.better_than
        assert self.best_share is not None
        sign = 1.0 if self.direction == "maximize" else -1.0
        values = [sign * (t.value if t.value is not None else -sign * math.inf) for t in past]
        if not values:
            return sign * math.inf
        return sign * float(np.quantile(values, 1 - self.best_share, method="higher"))

    def is_good(self, trial: PastTrial, bound: float) -> bool:
        """Whether a trial that ended is good; one without a value is not."""
        if trial.value is None or not trial.ran:
            return False
        return trial.value >= bound if self.direction == "maximize" else trial.value <= bound

    def threshold(self, fitted: FittedScore, past: Sequence[PastTrial]) -> float:
        """Scores strictly below it are condemned: those below all good trials found by audits."""
        return min(fitted.threshold, self._standing(past, fitted.good_bound).lowest)

    def _standing(
        self, past: Sequence[PastTrial], bound: float, settled: Settled | None = None
    ) -> Standing:
        rates = self.max_false_prune_rate, self.confidence
        asked = self.direction, bound, rates
        is_good = partial(self.is_good, bound=bound)
        return (settled or Settled()).standing(past, is_good, asked, partial(Tally, *rates))
