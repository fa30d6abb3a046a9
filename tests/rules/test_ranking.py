from __future__ import annotations

import math
from dataclasses import replace

from recent_prune.rules import Ranking, TrainabilityRule
from recent_prune.rules.first_steps_forests import first_steps_model
from recent_prune.rules.step_numbers import step_numbers
from tests.rules.results import result
from tests.rules.steps import DIVERGED, steps

ranking = TrainabilityRule.ranking


def test_its_share_is_the_score_and_its_error_that_of_the_forest() -> None:
    known = result([0.7, 0.6], steps=steps())
    found = ranking(known)
    answer = first_steps_model("rank", profile=False)(step_numbers(steps(), steps().budget))
    assert found == Ranking(answer.mean, answer.error, answer.outside)
    assert TrainabilityRule.score(known) == answer.mean
    assert 0.05 < answer.error < 0.5


def test_is_surer_where_the_trees_agree() -> None:
    certain, unsure = ranking(result([0.7], steps=DIVERGED)), ranking(result([0.7], steps=steps()))
    assert certain is not None
    assert unsure is not None
    assert certain.error < unsure.error


def test_of_what_is_broken_it_is_certain() -> None:
    broken = result([0.7], steps=replace(steps(), nonfinite_step=2))
    assert ranking(broken) == Ranking(-math.inf, 0.0, ())


def test_names_what_it_has_never_seen() -> None:
    strange = ranking(result([0.7], steps=replace(steps(), loss_before=1e9)))
    assert strange is not None
    assert "start" in strange.outside
    fine = ranking(result([0.7], steps=steps()))
    assert fine is not None
    assert "start" not in fine.outside


def test_without_first_steps_there_is_none() -> None:
    assert ranking(result([0.7, 0.6])) is None
