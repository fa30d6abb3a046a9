from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import recent_prune as rp
from recent_prune import networks
from tests.networks import Noisy, Tokens, cnn, mlp


def paper_network(features: int, weight_variance: float, depth: int = 50) -> nn.Sequential:
    return networks.mlp(features, 10, depth=depth, width=features, weight_variance=weight_variance)


@pytest.mark.parametrize(
    "rule", [rp.TrainabilityRule(), rp.SaturationRule()], ids=["trainability", "saturation"]
)
@pytest.mark.parametrize("data", ["digits", "mnist"])
def test_critical_initialization_is_kept_and_ordered_one_condemned(
    data: str, rule: Any, request: pytest.FixtureRequest
) -> None:
    """A tanh MLP of depth 50 at σ_b² = 0.05: critical at σ_w² = 1.76 (Poole et al. 2016)."""
    images = request.getfixturevalue(data)
    features = images[0].numel()
    assert rule(rp.probe(paper_network(features, 1.76), images)).trainable
    assert not rule(rp.probe(paper_network(features, 0.5), images)).trainable


def test_chaotic_network_is_condemned(digits: Tensor) -> None:
    result = rp.probe(paper_network(64, 4.5), digits)
    assert not rp.TrainabilityRule()(result).trainable
    assert result.relative_variance[-1] > 0.5  # not collapsed, but scrambled


def test_exploding_network_is_condemned_though_it_can_be_inverted(digits: Tensor) -> None:
    model = mlp(depth=40, width=64, activation="relu", weight_variance=4.5)
    result = rp.probe(model, digits)
    verdict = rp.TrainabilityRule()(result)
    assert result.retained[-1] > 0.01
    assert not verdict.trainable
    assert verdict.cause == "exploded"


def test_retained_information_falls_with_depth(digits: Tensor) -> None:
    result = rp.probe(paper_network(64, 1.0, depth=20), digits)
    rising = [b - a for a, b in zip(result.retained, result.retained[1:], strict=False)]
    assert max(rising) < 0.01
    assert result.retained[0] > result.retained[-1] + 0.3


def test_result_has_all_measures_of_every_layer(digits: Tensor) -> None:
    result = rp.probe(cnn(), digits)
    for name in (
        "relative_entropy",
        "retained",
        "differential_entropy",
        "gram_entropy",
        "activation_rms",
        "relative_variance",
    ):
        values = getattr(result, name)
        assert len(values) == result.depth == 3
        assert all(type(value) is float and value == value for value in values)
    assert all(0 <= value <= 1 for value in result.retained + result.gram_entropy)
    assert result.samples == 160
    assert result.seconds > 0
    assert result.estimator == "ridge"


def test_activation_size_is_measured_on_raw_activations(digits: Tensor) -> None:
    model = mlp(depth=1)
    result = rp.probe(model, digits[:160])
    hidden = model[:3](digits[:160]).detach()  # type: ignore[index]
    assert result.activation_rms[0] == pytest.approx(float(hidden.square().mean().sqrt()), rel=1e-5)
    variance = (hidden - hidden.mean(0)).square().mean() / hidden.square().mean()
    assert result.relative_variance[0] == pytest.approx(float(variance), rel=1e-4)


@given(st.integers(0, 100))
@settings(max_examples=5)
def test_result_does_not_depend_on_dtype(digits: Tensor, seed: int) -> None:
    single = rp.probe(mlp(seed=seed), digits)
    double = rp.probe(mlp(seed=seed).double(), digits.double())
    assert double.retained == pytest.approx(single.retained, abs=1e-3)
    # The darkest pixel of a reconstruction is shifted to 1e-12: its logarithm feels rounding.
    assert double.relative_entropy == pytest.approx(single.relative_entropy, rel=0.03)


def test_half_precision_models_are_probed(digits: Tensor) -> None:
    half = rp.probe(mlp().bfloat16(), digits.bfloat16())
    assert half.retained == pytest.approx(rp.probe(mlp(), digits).retained, abs=0.05)


@given(st.permutations(range(64)))
@settings(max_examples=5)
def test_result_does_not_depend_on_the_order_of_features(
    digits: Tensor, features: list[int]
) -> None:
    model, permuted = mlp(), mlp()
    permuted.hidden1.weight.data = model.hidden1.weight.data[:, features]  # type: ignore[union-attr, index]
    one = rp.probe(model, digits)
    other = rp.probe(permuted, digits.flatten(1)[:, features])
    assert other.retained == pytest.approx(one.retained, abs=1e-5)
    assert other.relative_entropy == pytest.approx(one.relative_entropy, rel=1e-4)


def test_retained_share_does_not_depend_on_the_order_of_samples(digits: Tensor) -> None:
    samples = digits[:160]
    one = rp.probe(mlp(), samples)
    other = rp.probe(mlp(), samples[torch.randperm(160)])
    assert other.retained == pytest.approx(one.retained, abs=1e-4)


@pytest.mark.parametrize(
    "wrap", [torch.compile, nn.DataParallel, lambda m: torch.compile(nn.DataParallel(m))]
)
def test_wrapped_models_are_probed_inside(digits: Tensor, wrap: Any) -> None:
    model = cnn()
    assert rp.probe(wrap(model), digits) == rp.probe(model, digits)


def test_size_of_the_inputs_is_measured(digits: Tensor) -> None:
    result = rp.probe(mlp(), 5 * digits[:160])
    expected = float((5 * digits[:160]).square().mean().sqrt())
    assert result.input_rms == pytest.approx(expected, rel=1e-5)


def test_same_seed_same_result(digits: Tensor) -> None:
    assert rp.probe(Noisy(), digits).layers == rp.probe(Noisy(), digits).layers
    model = Noisy()
    assert rp.probe(model, digits) == rp.probe(model, digits)


def test_reconstructs_chosen_samples(digits: Tensor) -> None:
    chosen = digits[-3:]
    plain = rp.probe(mlp(width=64), digits)
    result = rp.probe(mlp(width=64), digits, reconstruct=chosen)
    assert result == plain  # without batch norm, looking does not change the numbers
    assert result.reconstructions is not None
    assert torch.equal(result.reconstructions.inputs, chosen)
    by_layer = result.reconstructions.by_layer
    assert by_layer.shape == (3, 3, 1, 8, 8)
    assert (by_layer[0] - chosen).square().mean() < 0.4 * (chosen - digits.mean(0)).square().mean()


@pytest.mark.parametrize("chosen", [torch.rand(2, 63), 3])
def test_refuses_samples_of_another_shape(digits: Tensor, chosen: Any) -> None:
    with pytest.raises(ValueError, match=r"`reconstruct` must be a tensor \[k, 1, 8, 8\]"):
        rp.probe(mlp(), digits, reconstruct=chosen)


def test_refuses_samples_that_are_not_finite(digits: Tensor) -> None:
    chosen = digits[:2].clone()
    chosen[1, 0, 3, 3] = float("nan")
    with pytest.raises(ValueError, match="`reconstruct` must be finite"):
        rp.probe(mlp(), digits, reconstruct=chosen)


def test_large_samples_to_look_at_do_not_change_the_numbers(digits: Tensor) -> None:
    model = mlp(activation="relu")
    assert rp.probe(model, digits, reconstruct=1e15 * digits[:2]) == rp.probe(model, digits)


@pytest.mark.parametrize("scale", [1e-25, 1e18, 1e20])
def test_retained_share_does_not_depend_on_the_scale_of_the_inputs(
    digits: Tensor, scale: float
) -> None:
    """As far as a linear network without bias and its first layer are concerned."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64, bias=False), nn.Linear(64, 10))
    result = rp.probe(model, scale * digits, estimator=rp.Ridge((0.0,)))
    plain = rp.probe(model, digits, estimator=rp.Ridge((0.0,)))
    assert result.retained == pytest.approx(plain.retained, abs=1e-3)
    assert result.redundancy == pytest.approx(plain.redundancy, abs=1e-3)


def test_non_finite_activations_name_the_layer(digits: Tensor) -> None:
    model = mlp(depth=5, activation="relu", weight_variance=1e30)
    result = rp.probe(model, digits, reconstruct=digits[:2])
    assert result.nonfinite_layer == "relu3"
    assert result.retained[1] > 0
    assert result.retained[2:] == (0.0, 0.0, 0.0)
    assert result.reconstructions is not None
    assert result.reconstructions.by_layer[2:].isnan().all()
    verdict = rp.TrainabilityRule()(result)
    assert verdict.violation == 1.0
    assert "'relu3'" in verdict.reason


def test_nan_parameters_are_found_in_the_first_layer(digits: Tensor) -> None:
    model = mlp()
    model.hidden1.weight.data[0, 0] = float("nan")  # type: ignore[union-attr, operator]
    result = rp.probe(model, digits)
    assert result.nonfinite_layer == "tanh1"
    assert result.cutoff == 0


def test_dead_layers_retain_nothing(digits: Tensor) -> None:
    model = mlp(depth=3, weight_variance=0.0, bias_variance=0.0)
    result = rp.probe(model, digits)
    assert result.retained == (0.0, 0.0, 0.0)
    assert result.cutoff == 0
    assert not rp.SaturationRule()(result).trainable


def test_repr_is_one_readable_line(digits: Tensor) -> None:
    text = repr(rp.probe(mlp(), digits))
    assert text.startswith("ProbeResult('ridge', 3 layers, retained 0.")
    assert "at 'tanh3', cutoff 2, 160 samples" in text
    assert len(text) < 150


@pytest.mark.parametrize("model", [mlp(), mlp(depth=5, activation="relu", weight_variance=1e30)])
def test_result_survives_json(digits: Tensor, model: nn.Module) -> None:
    result = rp.probe(model, digits)
    text = json.dumps(result.to_dict(), allow_nan=False)
    back = rp.ProbeResult.from_dict(json.loads(text))
    assert back == result
    assert back.seconds == result.seconds


def test_refuses_dictionaries_of_something_else() -> None:
    data = rp.probe(Tokens(), torch.randint(0, 50, (99, 6))).to_dict()
    del data["samples"]
    with pytest.raises(ValueError, match=r"\['samples'\] are missing or unknown"):
        rp.ProbeResult.from_dict(data)


def test_refuses_unknown_estimators(digits: Tensor) -> None:
    with pytest.raises(ValueError, match=r"`estimator` must be 'ridge', .* but got 'lasso'"):
        rp.probe(mlp(), digits, estimator="lasso")  # type: ignore[arg-type]


def test_tolerance_of_the_cutoff_is_passed_on(digits: Tensor) -> None:
    model = mlp(depth=20, width=64, weight_variance=0.8)
    assert rp.probe(model, digits, rtol=0.5).cutoff < rp.probe(model, digits, rtol=0.005).cutoff


class Dropping(nn.Module):
    """Goes on dropping in evaluation mode, as for Monte Carlo dropout."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(4))
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers:
            x = nn.functional.dropout(torch.tanh(layer(x)), self.share)
        return x


def test_models_that_draw_random_numbers_are_known(digits: Tensor) -> None:
    assert rp.probe(Dropping(0.3), digits).stochastic
    assert not rp.probe(mlp(), digits).stochastic
    assert not rp.probe(Noisy(), digits).stochastic
    several = rp.probe_many([Dropping(0.3), Dropping(0.3), mlp()], digits)
    assert [result.stochastic for result in several] == [True, True, False]  # type: ignore[union-attr]
    condemned = [
        not rule(result).trainable  # type: ignore[arg-type]
        for rule in (rp.TrainabilityRule(), rp.SaturationRule())
        for result in several[:2]
    ]
    assert not any(condemned)
