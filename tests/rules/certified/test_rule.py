from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recent_prune.rules.certified import CertifiedRule, FittedScore, Judgement, PastTrial
from recent_prune.rules.certified.learned_score import learn_score

Draws = list[tuple[dict[str, float], float]]


def draws(count: int, seed: int = 0) -> Draws:
    """Trials whose value is their score, with some noise; the upper half is good."""
    numbers = np.random.default_rng(seed)
    return [
        ({"score": float(x)}, float(x + 0.1 * numbers.normal())) for x in numbers.normal(size=count)
    ]


def study(rule: CertifiedRule, trials: Draws) -> tuple[list[PastTrial], list[Judgement]]:
    past: list[PastTrial] = []
    told: list[Judgement] = []
    fitted: FittedScore | str = ""
    for number, (features, value) in enumerate(trials):
        if isinstance(fitted, str):
            fitted = rule.fit(past)
        said = rule.judge(number, features, {}, past, fitted)
        told.append(said)
        past.append(
            PastTrial(
                number,
                features,
                {},
                share=said.share,
                ran=said.runs,
                score=said.score,
                value=value if said.runs else None,
            )
        )
    return past, told


RULE = CertifiedRule(better_than=0.0, max_false_prune_rate=0.1)


def fitted(trials: Draws, rule: CertifiedRule = RULE) -> FittedScore:
    found = rule.fit([PastTrial(i, f, {}, value=v) for i, (f, v) in enumerate(trials)])
    assert isinstance(found, FittedScore)
    return found


class TestWatching:
    def test_nothing_is_pruned_and_the_reason_says_how_many_trials_are_missing(self) -> None:
        _, told = study(RULE, draws(20))
        assert all(said.runs and said.share is None for said in told)
        assert all(said.verdict.trainable and said.verdict.violation <= 0 for said in told)
        assert told[0].verdict.reason == (
            "Watching: about 29 more good trials are needed to certify a rate of 10.00% at 95%."
        )

    def test_while_nothing_is_learned_all_trials_calibrate(self) -> None:
        all_good = [({"score": float(i)}, 1.0) for i in range(29)]
        assert fitted(all_good).calibrated_on == 29
        assert fitted(all_good).threshold == fitted(all_good).score({"score": 0.0}, {})

    def test_those_that_teach_the_score_do_not_calibrate_it(self) -> None:
        trials = draws(200)
        found = fitted(trials)
        assert found.calibrated_on == sum(value >= 0 for _, value in trials[1::2])
        assert found.score.trials == 100

    def test_trials_judged_by_a_score_do_not_calibrate_another(self) -> None:
        judged = [PastTrial(i, {"score": 1.0}, {}, score=1.0, value=1.0) for i in range(100)]
        assert isinstance(RULE.fit(judged), str)


class TestJudging:
    def test_condemned_trials_are_pruned_or_audited_and_no_others(self) -> None:
        past, told = study(RULE, draws(400))
        found = fitted([(t.features, t.value) for t in past if t.score is None])  # type: ignore[misc]
        condemned = [s for s in told if s.share is not None]
        pruned = [s for s in condemned if not s.runs]
        assert 0 < len(pruned) < len(condemned)
        for said in told:
            if said.score is not None:
                assert (said.share is not None) == (said.score < found.threshold)
            assert said.verdict.trainable == said.runs
            assert (said.verdict.violation > 0) == (not said.runs)
            assert math.isfinite(said.verdict.violation)
        worst, least = (f(pruned, key=lambda s: s.score or 0.0) for f in (min, max))
        assert worst.verdict.violation > least.verdict.violation
        assert "at most" in pruned[-1].verdict.reason
        audited = next(said for said in condemned if said.runs)
        assert "It runs all the same" in audited.verdict.reason

    def test_the_draw_is_that_of_the_seed_and_the_number(self) -> None:
        trials = draws(300)
        again = [said.runs for said in study(RULE, trials)[1]]
        assert [said.runs for said in study(RULE, trials)[1]] == again
        other = CertifiedRule(better_than=0.0, max_false_prune_rate=0.1, seed=1)
        assert [said.runs for said in study(other, trials)[1]] != again

    def test_a_good_one_among_the_audited_lowers_the_threshold_and_costs_budget(self) -> None:
        found = fitted(draws(400))
        past = [PastTrial(i, f, {}, value=v) for i, (f, v) in enumerate(draws(400))]
        below = {"score": -3.0}
        score = found.score(below, {})
        assert score < found.threshold
        before = RULE.judge(400, below, {}, past, found)
        surprise = PastTrial(400, below, {}, share=0.5, ran=True, score=score, value=1.0)
        after = RULE.judge(401, below, {}, [*past, surprise], found)
        assert before.share is not None
        assert after.share is None  # its own score is the threshold now
        worse = RULE.judge(401, {"score": -9.0}, {}, [*past, surprise], found)
        assert worse.share is not None
        assert worse.share > before.share

    def test_without_budget_all_condemned_trials_run(self) -> None:
        found = fitted(draws(400))
        few = [PastTrial(i, {"score": 0.0}, {}, value=-1.0) for i in range(50)]
        said = RULE.judge(50, {"score": -9.0}, {}, few, found)
        assert said.share == 1.0
        assert said.runs


class TestGood:
    @pytest.mark.parametrize(("direction", "bound"), [("maximize", 8.0), ("minimize", 1.0)])
    def test_best_share(self, direction: str, bound: float) -> None:
        rule = CertifiedRule(best_share=0.2, direction=direction)
        past = [PastTrial(i, {}, {}, value=float(i)) for i in range(10)]
        assert rule.good_bound(past) == bound
        assert sum(rule.is_good(trial, bound) for trial in past) == 2

    def test_trials_without_a_value_are_not_good(self) -> None:
        rule = CertifiedRule(best_share=0.5)
        past: Sequence[PastTrial] = [
            PastTrial(0, {}, {}, value=None),
            PastTrial(1, {}, {}, value=None),
            PastTrial(2, {}, {}, value=1.0),
        ]
        assert [rule.is_good(t, rule.good_bound(past)) for t in past] == [False, False, True]


class TestFile:
    def test_what_is_saved_is_loaded(self, tmp_path: Path) -> None:
        found = fitted(draws(200))
        found.save(tmp_path / "score.json")
        assert FittedScore.load(tmp_path / "score.json") == found
        assert (tmp_path / "score.json").stat().st_size < 4096

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"version": 1}, "has version 1, but only version 2 can be read: fit it again"),
            ({"format": "else"}, "This is no recent_prune.FittedScore: it has"),
            ({"extra": 1}, "This is no recent_prune.FittedScore: it has"),
            ({"score": {}}, "A learned score has the fields"),
            ({"columns": ["probe:taste"]}, r"looks at \['probe:taste'\], which no probe gives"),
        ],
    )
    def test_what_is_something_else_is_refused(
        self, change: dict[str, Any], message: str, tmp_path: Path
    ) -> None:
        data = fitted(draws(200)).to_dict()
        if "columns" in change:
            change = {"score": {**data["score"], **change}}
        (tmp_path / "score.json").write_text(json.dumps({**data, **change}))
        with pytest.raises(ValueError, match=message):
            FittedScore.load(tmp_path / "score.json")

    @pytest.mark.parametrize(("text", "message"), [("{", "is no JSON"), ("[]", "holds a list")])
    def test_what_is_no_json(self, text: str, message: str, tmp_path: Path) -> None:
        (tmp_path / "score.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            FittedScore.load(tmp_path / "score.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Exactly one of `better_than` and `best_share` must be given, but got None and None"),
        ({"better_than": 1.0, "best_share": 0.1}, "but got 1.0 and 0.1"),
        ({"best_share": 1.0}, r"`best_share` must lie in \(0, 1\), but got 1.0"),
        (
            {"better_than": 1, "audit_share": 0.0},
            r"`audit_share` must lie in \(0, 1\], but got 0.0",
        ),
        ({"better_than": 1, "direction": "up"}, "must be 'maximize' or 'minimize', but got 'up'"),
        ({"better_than": 1, "confidence": 2}, r"`confidence` must lie in \(0, 1\), but got 2"),
    ],
)
def test_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CertifiedRule(**options)


def test_a_score_that_was_fitted_for_another_bound_is_refused() -> None:
    known = FittedScore(learn_score([], [], []), 0.0, 0.5, 100, "maximize")
    assert CertifiedRule(better_than=0.5, fitted=known).fitted is known
    with pytest.raises(ValueError, match="bound that `fitted` was calibrated for"):
        CertifiedRule(better_than=0.95, fitted=known)
