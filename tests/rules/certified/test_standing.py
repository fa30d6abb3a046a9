from __future__ import annotations

import math
from functools import partial

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recent_prune.rules.certified import CertifiedRule, PastTrial
from recent_prune.rules.certified.certificate import Certificate, Tally
from recent_prune.rules.certified.standing import Settled, Standing

RULE = CertifiedRule(better_than=0.5, max_false_prune_rate=0.1)


def drawn(seed: int, count: int) -> list[PastTrial]:
    draw = np.random.default_rng(seed)
    trials = []
    for number in range(count):
        condemned, ran = draw.random() < 0.6, draw.random() < 0.3
        trials.append(
            PastTrial(
                number=number,
                features={},
                parameters={},
                share=0.2 if condemned else None,
                ran=ran or not condemned,
                score=float(draw.normal()),
                ended=bool(draw.random() < 0.9),
                value=float(draw.random()),
            )
        )
    return trials


def standing(past: list[PastTrial], settled: Settled) -> Standing:
    rates = RULE.max_false_prune_rate, RULE.confidence
    return settled.standing(past, partial(RULE.is_good, bound=0.5), rates, partial(Tally, *rates))


def certified(past: list[PastTrial], bound: float) -> Certificate:
    """What all of them certify, counted anew."""
    before = Tally(RULE.max_false_prune_rate, RULE.confidence).certificate()
    return [before, *RULE.certify_each(past, bound)][-1]


@given(seed=st.integers(0, 10**6))
def test_what_is_counted_once_is_what_is_counted_anew(seed: int) -> None:
    trials, settled = drawn(seed, 120), Settled()
    draw = np.random.default_rng(seed)
    for count in sorted(draw.integers(0, 121, size=12)):
        past = trials[:count]
        settled.count = max(settled.count, int(draw.integers(0, count + 1)))
        now = standing(past, settled)
        assert now.tally.certificate() == certified(past, 0.5)
        found = [
            trial.score
            for trial in past
            if trial.share is not None and trial.score is not None and RULE.is_good(trial, 0.5)
        ]
        assert now.lowest == min(found, default=math.inf)
        assert now.count == count


def test_each_settled_trial_is_asked_about_once() -> None:
    trials, settled, asked = drawn(0, 50), Settled(), []

    def is_good(trial: PastTrial) -> bool:
        asked.append(trial.number)
        return RULE.is_good(trial, 0.5)

    for count in range(1, 51):
        settled.count = count - 1
        settled.standing(trials[:count], is_good, "rule", partial(Tally, 0.1, 0.95))
    assert len(asked) <= 2 * 50


def test_rules_that_ask_otherwise_are_told_apart() -> None:
    trials, settled = drawn(1, 60), Settled()
    settled.count = 60
    answers = [
        settled.standing(
            trials, partial(RULE.is_good, bound=bound), bound, partial(Tally, 0.1, 0.95)
        )
        for bound in (0.2, 0.8)
    ]
    for bound, answer in zip((0.2, 0.8), answers, strict=True):
        assert answer.tally.certificate() == certified(trials, bound)
