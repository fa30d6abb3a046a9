from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

from recent_prune.rules.certified.learned_score import FEATURES, learn_score, probe_features
from recent_prune.rules.profile_numbers import log_odds, profile_numbers
from recent_prune.rules.trainability import TrainabilityRule
from tests.rules.results import result
from tests.rules.steps import steps

Trials = tuple[list[dict[str, float]], list[dict[str, Any]], list[bool]]


def trials(count: int, seed: int = 0) -> Trials:
    """Good where the probe says so and the learning rate lies in the middle; SGD is worse."""
    numbers = np.random.default_rng(seed)
    features, parameters, good = [], [], []
    for _ in range(count):
        retained = numbers.uniform(-9, 0)
        rate = 10 ** numbers.uniform(-5, 0)
        optimizer = str(numbers.choice(["adam", "sgd"]))
        odds = 6 + 1.5 * retained - 2 * (math.log10(rate) + 2.5) ** 2 + (optimizer == "adam")
        features.append({"score": retained / 10, "retained": retained, "depth": numbers.normal()})
        parameters.append(
            {"lr": rate, "optimizer": optimizer, "nesterov": bool(numbers.integers(2))}
        )
        good.append(bool(numbers.random() < 1 / (1 + math.exp(-odds))))
    return features, parameters, good


def auroc(scores: list[float], good: list[bool]) -> float:
    ranks, labels = rankdata(scores), np.array(good)
    positive = labels.sum()
    return float(
        (ranks[labels].sum() - positive * (positive + 1) / 2)
        / (positive * (len(labels) - positive))
    )


def quality(count: int) -> tuple[float, float]:
    """AUROC on fresh trials, learned and by the probe alone."""
    score = learn_score(*trials(count))
    features, parameters, good = trials(2000, seed=1)
    learned = [score(*known) for known in zip(features, parameters, strict=True)]
    return auroc(learned, good), auroc([known["score"] for known in features], good)


def test_hyperparameters_are_learned() -> None:
    learned, alone = quality(300)
    assert learned > alone + 0.1


@pytest.mark.parametrize("count", [20, 40, 60])
def test_few_trials_do_no_harm(count: int) -> None:
    learned, alone = quality(count)
    assert learned > alone - 0.03


def test_with_fewer_than_ten_of_a_kind_the_probe_alone_ranks() -> None:
    features, parameters, good = trials(200)
    few = [index for index, one in enumerate(good) if one][:9]
    rest = [index for index, one in enumerate(good) if not one]
    chosen = few + rest
    score = learn_score(
        [features[i] for i in chosen], [parameters[i] for i in chosen], [good[i] for i in chosen]
    )
    assert score.columns == ("probe:score",)
    low, high = (score({"score": value}, {"lr": 1.0}) for value in (0.1, 0.2))
    assert low < high
    assert score({"score": 0.1}, {"lr": 1e-3}) == low


def test_no_trials_at_all() -> None:
    score = learn_score([], [], [])
    assert score({"score": 0.3}, {}) > score({"score": 0.2}, {})


@pytest.mark.parametrize("seed", range(5))
def test_never_falls_with_retained_information_even_if_the_trials_say_so(seed: int) -> None:
    features, parameters, good = trials(100, seed)
    score = learn_score(features, parameters, [not one for one in good])
    for known, chosen in zip(features, parameters, strict=True):
        more = {**known, "retained": known["retained"] + 1, "score": known["score"] + 0.1}
        assert score(more, chosen) >= score(known, chosen)


def test_a_parameter_over_decades_is_taken_by_its_logarithm() -> None:
    score = learn_score(*trials(100))
    assert score.logarithms == ("lr",)
    assert set(score.squared) == {"lr"}
    assert {"optimizer=adam", "optimizer=sgd", "nesterov=True"} <= set(score.columns)


def test_what_is_missing_or_unheard_of_counts_as_average() -> None:
    features, parameters, good = trials(100)
    score = learn_score(features, parameters, good)
    assert math.isfinite(score(features[0], {}))
    assert math.isfinite(score({}, {"lr": 1e30, "optimizer": "lion", "new": 3}))
    assert math.isfinite(score(features[0], {"lr": 0.0}))


def test_a_conditional_parameter_and_a_constant_one() -> None:
    features, parameters, good = trials(100)
    for index, chosen in enumerate(parameters):
        chosen["constant"] = 3
        if index % 2:
            chosen["momentum"] = 0.9
    score = learn_score(features, parameters, good)
    assert math.isfinite(score(features[0], parameters[0]))


def test_matches_a_plain_penalized_logistic_regression_where_no_bound_binds() -> None:
    from sklearn.linear_model import LogisticRegression

    numbers = np.random.default_rng(0)
    x = numbers.normal(size=(200, 2))
    good = list(x[:, 0] - 0.5 * x[:, 1] + numbers.normal(size=200) > 0)
    features = [{"a": float(a), "b": float(b)} for a, b in x]
    score = learn_score(features, [{}] * 200, good)
    standardized = (x - x.mean(0)) / x.std(0)
    twin = LogisticRegression(C=1.0, tol=1e-8).fit(standardized, good)
    assert score.weights == pytest.approx(twin.coef_[0], abs=1e-3)
    assert score.intercept == pytest.approx(twin.intercept_[0], abs=1e-3)


class TestFeatures:
    def test_the_score_is_that_of_the_verdict_or_of_the_first_steps(self) -> None:
        plain, stepped = result((0.5, 0.3)), result((0.5, 0.3), steps=steps())
        by_verdict = log_odds(profile_numbers(plain))
        assert probe_features(plain)["score"] == by_verdict != TrainabilityRule.score(plain)
        assert probe_features(stepped)["score"] == TrainabilityRule.score(stepped)

    def test_names_are_those_that_are_stated(self) -> None:
        assert set(probe_features(result((0.5, 0.3)))) == set(FEATURES) - {"gradient_growth"}

    def test_are_finite_whatever_the_probe_says(self) -> None:
        for known in (
            result((0.5, 0.0)),
            result((0.5, 0.3), jacobian_norm=(math.nan, math.nan)),
            result((0.5, 0.0), activation_rms=(1.0, math.inf), nonfinite_layer="tanh2"),
            result((0.5, 0.3), activation_rms=(0.0, 0.0)),
        ):
            assert all(math.isfinite(value) for value in probe_features(known).values())

    def test_more_retained_is_more(self) -> None:
        low, high = (probe_features(result((0.9, r))) for r in (0.01, 0.3))
        assert low["retained"] < high["retained"]
        assert low["least_retained"] < high["least_retained"]
        assert low["score"] < high["score"]
