from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from torch import Tensor, nn

import recent_prune as rp
from recent_prune.rules import TrainabilityRule
from recent_prune.rules.profile_numbers import log_odds, profile_numbers, trainability_model
from recent_prune.rules.trainability import NORMALIZED
from tests.rules.results import result

rule = TrainabilityRule()
shares = st.floats(0, 1)


def test_numbers_of_a_profile() -> None:
    numbers = profile_numbers(
        result(
            [0.9, 0.3],
            activation_rms=(1.0, 2.0),
            jacobian_norm=(0.5, 2.0),
            relative_variance=(0.5, 1e-3),
        )
    )
    assert numbers == pytest.approx(
        {
            "retained": 0.3,
            "mean_retained": 0.6,
            "size": math.log(2),
            "response": math.log(2),
            "variance": math.log(1e-3),
        }
    )


@pytest.mark.parametrize(
    ("size", "moved"), [(0.0, 0.0), (1.0, 1e-12)], ids=["no activation", "all the same"]
)
def test_condemns_what_is_dead_from_the_first_layer_on(size: float, moved: float) -> None:
    """No network that it was fitted to was."""
    dead = result(
        [0.0, 0.0],
        activation_rms=(size, size),
        jacobian_norm=(moved, moved),
        relative_variance=(moved, moved),
    )
    assert all(math.isfinite(number) for number in profile_numbers(dead).values())
    assert rule.probability(dead) < 0.05
    assert not rule(dead).trainable


def test_tokens_are_judged_without_a_response() -> None:
    nan = (math.nan, math.nan)
    assert "response" not in profile_numbers(result([0.9, 0.3], jacobian_norm=nan))
    small = {"activation_rms": (0.3, 0.3), "relative_variance": (0.3, 0.3)}
    healthy = result([0.5, 0.3], jacobian_norm=nan, **small)
    lost = result([0.01, 0.0], jacobian_norm=nan, **small)
    assert rule.probability(healthy) > 0.9
    assert rule.probability(lost) < rule.probability(healthy) - 0.05
    same = result([0.0, 0.0], jacobian_norm=nan, relative_variance=(0.1, 1e-14))
    assert rule.probability(same) == 0
    assert "how little the deepest activations differ" in rule(same).reason


def test_large_inputs_do_not_explode() -> None:
    large = result([0.9], activation_rms=(300.0,), input_rms=100.0)
    assert profile_numbers(large)["size"] == pytest.approx(math.log(3))


@given(shares, shares, shares)
def test_more_retained_never_counts_against_a_network(first: float, a: float, b: float) -> None:
    less, more = (TrainabilityRule.score(result([first, last])) for last in sorted((a, b)))
    assert less <= more + 1e-12


@given(st.lists(shares, min_size=1, max_size=9), st.floats(1e-35, 1e35), st.floats(1e-35, 1e35))
def test_verdicts_are_those_of_the_probability(
    retained: list[float], size: float, response: float
) -> None:
    depth = len(retained)
    known = result(
        retained,
        activation_rms=(size,) * depth,
        jacobian_norm=(1.0,) * (depth - 1) + (response,),
    )
    probability = rule.probability(known)
    assert 0 <= probability <= 1
    assert probability == pytest.approx(expit(log_odds(profile_numbers(known))))
    assert rule(known).trainable == (
        probability >= rule.min_probability or "rounded" in rule(known).reason
    )
    # A stricter rule never keeps what a lenient one condemns.
    assert rule(known).trainable or not TrainabilityRule(0.7)(known).trainable


def test_the_score_asks_for_what_sgd_trains_as_well() -> None:
    """Small activations are no obstacle to Adam."""
    as_large, small = (
        result([0.9, 0.4], activation_rms=(1.0, rms), jacobian_norm=(1.0, rms**2))
        for rms in (1.0, 1e-3)
    )
    lost = {
        question: log_odds(profile_numbers(as_large), question=question)
        - log_odds(profile_numbers(small), question=question)
        for question in ("judge", "rank")
    }
    assert lost["rank"] > lost["judge"] + 1
    assert rule.score(small) == log_odds(profile_numbers(small), question="rank")


def test_violation_grows_from_the_bound_on() -> None:
    known = result([0.9, 0.01], jacobian_norm=(1.0, 1e-9))
    probability = rule.probability(known)
    assert 0.001 < probability < 0.999  # or the test would say nothing
    assert TrainabilityRule(probability)(known).violation == 0.0
    stricter = TrainabilityRule((1 + probability) / 2)(known)
    assert stricter.violation == pytest.approx(1 - probability / ((1 + probability) / 2))
    lenient = TrainabilityRule(probability / 2)(known)
    assert lenient.violation == pytest.approx(-(probability / 2) / (1 - probability / 2))


def test_not_finite_ranks_last_and_is_condemned() -> None:
    broken = result([0.9, 0.0], nonfinite_layer="tanh2", activation_rms=(1.0, math.inf))
    assert rule.score(broken) == -math.inf
    assert rule.probability(broken) == 0
    assert rule(broken).violation == 1.0
    assert rule(broken).reason == "The activations of 'tanh2' are not finite."


def test_of_noise_only_what_is_certain_is_judged() -> None:
    noise = {"redundancy": 0.1}
    verdict = rule(result([0.001, 0.0], **noise))
    assert verdict.trainable
    assert verdict.reason.startswith("The inputs cannot be recovered from themselves")
    assert not rule(result([0.5, 0.5], jacobian_norm=(1.0, 0.0), **noise)).trainable
    assert not rule(result([0.5, 0.5], activation_rms=(1.0, 1e7), **noise)).trainable


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_explosion_bounds_the_odds_of_shallow_networks(depth: int) -> None:
    """No shallow network that it was fitted to had exploded."""
    known = [result([0.7] * depth, activation_rms=(size,) * depth) for size in (1e5, 1e7, 1e9)]
    chances = [rule.probability(one) for one in known]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > 0.5 > chances[1] > 10 * chances[2]
    assert "the size of the deepest activations (root mean square 1e+07)" in rule(known[1]).reason


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, math.nan])
def test_refuses_what_is_no_probability(value: float) -> None:
    with pytest.raises(
        ValueError, match=rf"`min_probability` must lie in \(0, 1\), but got {value}"
    ):
        TrainabilityRule(value)


def test_curves_of_what_is_retained_rise() -> None:
    for question in ("judge", "rank"):
        for name in ("retained", "mean_retained"):
            heights = trainability_model(question).curves[name].heights
            assert list(heights) == sorted(heights)
            assert heights[-1] > heights[0] + 1


@pytest.mark.parametrize(
    ("depth", "weight_variance", "activation", "trains", "against"),
    [
        (3, 1.76, "tanh", True, ""),
        (20, 1.76, "tanh", True, ""),
        (
            50,
            0.5,
            "tanh",
            False,
            "how a small perturbation of the inputs grows or fades",
        ),
        (60, 5.0, "relu", False, "the size of the deepest activations (root mean square "),
    ],
)
def test_real_networks(
    digits: Tensor, depth: int, weight_variance: float, activation: str, trains: bool, against: str
) -> None:
    model = rp.networks.mlp(
        64, 10, depth=depth, width=64, weight_variance=weight_variance, activation=activation
    )
    verdict = rule(rp.probe(model, digits))
    assert verdict.trainable == trains
    assert verdict.reason.startswith("It trains with a probability of ")
    assert against in verdict.reason


def test_keeps_what_it_was_not_fitted_to(digits: Tensor) -> None:
    """A recurrent network, as PyTorch initializes it."""

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.GRU(8, 32, batch_first=True)
            self.head = nn.Linear(32, 10)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(self.body(x.flatten(1, 2))[0][:, -1])
            return out

    assert rule.probability(rp.probe(Recurrent(), digits)) > 0.9


def test_a_network_with_normalisation_is_condemned_only_where_hardly_any_would_train() -> None:
    unlikely = result([0.5, 0.0], jacobian_norm=(1.0, 1e5), activation_rms=(1.0, 30.0))
    probability = TrainabilityRule().probability(unlikely)
    assert NORMALIZED < probability < 0.3
    assert not TrainabilityRule()(unlikely).trainable
    assert TrainabilityRule()(replace(unlikely, normalized=True)).trainable


def test_a_model_without_hidden_layers_is_not_condemned_by_its_profile() -> None:
    lost = result([0.0], jacobian_norm=(1e-20,))
    assert not TrainabilityRule()(lost).trainable
    verdict = TrainabilityRule()(replace(lost, layers=("output",)))
    assert verdict.trainable
    assert verdict.reason == "No hidden layer is seen, of which a profile could tell anything."
