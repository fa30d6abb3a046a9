from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from recent_prune.audit import RankedTrial, RankingAudit, audited_ranking
from tests.optuna.ranked_study import ranked_study, study_of, tried


def ranked(number: int, value: float | None, *, best: bool, condemned: bool = False) -> RankedTrial:
    """A training that came to a value; without one, a candidate that was stopped."""
    score = 1.0 if best else 0.0
    explored = value is not None and not best
    order = None if value is None else (math.inf, value)
    return RankedTrial(number, condemned, best, explored, 0.25, score, order, value, 60.0, 0.5)


def values(found: RankingAudit) -> dict[str, object]:
    return dict(zip(found.summary["figure"], found.summary["value"], strict=True))


TRIALS = [
    ranked(0, 0.5, best=False),
    ranked(1, 0.9, best=True),
    ranked(2, None, best=False),
    ranked(3, None, best=False, condemned=True),
    ranked(4, 0.8, best=True),
    ranked(5, 0.7, best=False),
]


def test_counts() -> None:
    known = values(audited_ranking(TRIALS, maximize=True))
    assert known["candidates"] == 6
    assert known["condemned"] == 1
    assert known["stopped by their rank"] == 1
    assert known["trained: ranked first"] == 2
    assert known["trained: at random"] == 2
    assert known["seconds spent on probes"] == "3.0"
    assert known["seconds spent on trainings"] == "240.0"
    assert known["seconds saved"] == "60.0"
    assert known["share that is kept now"] == "0.25"


def test_a_candidate_at_random_is_one_of_either_group() -> None:
    found = audited_ranking(5 * TRIALS, maximize=True)
    # Of five that were not condemned two ranked first, so that a candidate at random comes to
    # 2/5 · 0.85 + 3/5 · 0.6 in the mean.
    assert found.difference == pytest.approx(0.85 - (0.4 * 0.85 + 0.6 * 0.6))
    displaced = [replace(trial, displaced=trial.number == 2) for trial in 5 * TRIALS]
    found = audited_ranking(displaced, maximize=True)  # three of five ranked first
    assert found.difference == pytest.approx(0.85 - (0.6 * 0.85 + 0.4 * 0.6))
    assert found.interval[0] < found.difference < found.interval[1]
    assert found.worth.superiority == 1
    assert list(found.over_time["superiority"])[1:] == [1.0] * 29


def test_the_interval_covers() -> None:
    """Of 300 studies with a true difference of one, about 95 % have it within their interval."""
    rng = np.random.default_rng(0)
    within = 0
    for _ in range(300):
        first = [ranked(i, float(v), best=True) for i, v in enumerate(rng.normal(2, 1, 12))]
        others = [ranked(i, float(v), best=False) for i, v in enumerate(rng.normal(0, 2, 12))]
        low, high = audited_ranking([*first, *others], maximize=True).interval
        within += low <= 1 <= high
    assert 270 <= within <= 298


def test_values_that_do_not_vary() -> None:
    same = [ranked(i, 1.0, best=i < 5) for i in range(10)]
    found = audited_ranking(same, maximize=True)
    assert found.difference == 0
    assert all(map(math.isnan, found.interval))
    assert values(found)["at least"] == "unknown: nothing varies"
    mixed = [*same[:9], ranked(9, 0.5, best=False)]
    found = audited_ranking(mixed, maximize=True)
    assert found.interval[0] < found.difference < found.interval[1]


def test_too_few_to_say() -> None:
    found = audited_ranking(TRIALS[:3], maximize=False)
    assert math.isnan(found.difference)
    assert values(found)["first ranked minus random"] == "unknown: too few have ended"
    assert values(audited_ranking(TRIALS[2:3], maximize=True))["seconds saved"] == "0.0"


def test_trainings_that_failed_are_told() -> None:
    assert "trained, and failed" not in values(audited_ranking(TRIALS, maximize=True))
    failed = [replace(trial, failed=trial.number in (1, 5)) for trial in TRIALS]
    known = values(audited_ranking(failed, maximize=True))
    assert known["trained, and failed"] == "1 that ranked first, 1 at random"


def test_of_a_study() -> None:
    from recent_prune.optuna import audit

    study = ranked_study()
    found = audit(study)
    assert isinstance(found, RankingAudit)
    assert values(found)["candidates"] == 40
    assert values(found)["condemned"] == 5
    assert found.difference < 0  # losses
    assert found.worth.superiority > 0.9
    trained = found.over_time["trained"].sum()
    assert trained == sum(trial.value is not None for trial in study.trials)


def test_a_ranking_that_says_the_opposite() -> None:
    from recent_prune.optuna import audit

    study = study_of(keep=1 / 4, explore=0.5)
    for loss in np.random.default_rng(1).random(60):
        tried(study, loss, 1 - loss)
    found = audit(study)
    assert isinstance(found, RankingAudit)
    assert found.worth.superiority < 0.5
    assert found.over_time["keep"].iloc[-1] > 0.4
