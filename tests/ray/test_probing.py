from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import recent_prune as rp
from recent_prune.data import load_digits
from recent_prune.ray import build_probed_model, trial_seed
from recent_prune.ray.judging.outcome import Candidate, Outcome
from recent_prune.ray.probing import ProbeSettings, pickled, probe_batch
from recent_prune.rules import Verdict


def build(config: dict[str, Any]) -> nn.Module:
    if config.get("raises"):
        raise RuntimeError("no such layer\nand more")
    if config.get("none"):
        return None  # type: ignore[return-value]
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(config["depth"]):
        linear = nn.Linear(64, 64)
        nn.init.normal_(linear.weight, std=config["gain"] / 8)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def settings(**options: Any) -> ProbeSettings:
    known: dict[str, Any] = {
        "build_model": build,
        "inputs": torch.zeros(0),
        "rule": rp.TrainabilityRule(),
        "estimator": "ridge",
        "layers": None,
        "rtol": 0.005,
    }
    return ProbeSettings(**{**known, **options})


CANDIDATES = [
    Candidate("healthy", {"depth": 10, "gain": 1.2}),
    Candidate("doomed", {"depth": 60, "gain": 0.5}),
    Candidate("raises", {"raises": True}),
    Candidate("explodes", {"depth": 3, "gain": float("inf")}),
    Candidate("none", {"none": True}),
    Candidate("healthy too", {"depth": 10, "gain": 1.2}),
]


def test_each_candidate_has_its_own_outcome_in_order(digits: Tensor) -> None:
    outcomes = probe_batch(settings(), digits, CANDIDATES)
    assert [outcome.trial_id for outcome in outcomes] == [c.trial_id for c in CANDIDATES]
    by_id = {outcome.trial_id: outcome for outcome in outcomes}
    assert by_id["healthy"].summary["trainable"] is True
    assert by_id["doomed"].summary["trainable"] is False
    assert by_id["doomed"].violation > 0
    assert by_id["raises"].fault == "build_model failed: RuntimeError: no such layer"
    assert by_id["raises"].violation == 0.0
    assert by_id["explodes"].summary["trainable"] is False
    assert by_id["explodes"].summary["violation"] == 1.0
    assert "`build_model` must return a module, but got NoneType" in str(by_id["none"].fault)
    # Of one architecture and one configuration, but initializations of their own.
    assert by_id["healthy"].summary["retained"] != by_id["healthy too"].summary["retained"]


def test_results_are_those_of_probing_the_built_model(digits: Tensor) -> None:
    [outcome] = probe_batch(settings(), digits, CANDIDATES[:1])
    model = build_probed_model(build, CANDIDATES[0].config, trial_id="healthy")
    result = rp.probe(model, digits)
    assert outcome.summary["retained"] == pytest.approx(result.retained[-1], abs=1e-6)
    assert outcome.summary["cutoff"] == result.cutoff


def test_a_rule_that_raises_or_gives_nan_is_a_fault(digits: Tensor) -> None:
    def raises(result: rp.ProbeResult) -> Verdict:
        raise KeyError("x")

    def gives_nan(result: rp.ProbeResult) -> Verdict:
        return Verdict(trainable=False, violation=float("nan"), reason="")

    [outcome] = probe_batch(settings(rule=raises), digits, CANDIDATES[:1])
    assert outcome.fault == "KeyError: 'x'"
    [outcome] = probe_batch(settings(rule=gives_nan), digits, CANDIDATES[:1])
    assert outcome.fault == "ValueError: `violation` must lie in [-1, 1], but got nan."


def test_what_makes_no_first_steps_cannot_be_ranked(digits: Tensor) -> None:
    ranked = settings(training=lambda *_: None, ranks=True)
    healthy, doomed = probe_batch(ranked, digits, CANDIDATES[:2])
    assert healthy.fault == "ValueError: `training` returned None, but `keep` ranks by first steps."
    assert doomed.condemned


def test_a_build_that_changes_its_configuration_changes_no_other(digits: Tensor) -> None:
    def pops(config: dict[str, Any]) -> nn.Module:
        return build({"depth": config.pop("depth"), "gain": 1.2})

    candidate = Candidate("a", {"depth": 2})
    for _ in range(2):
        [outcome] = probe_batch(settings(build_model=pops), digits, [candidate])
        assert outcome.fault is None


def test_inputs_may_be_loaded_by_a_function(digits: Tensor) -> None:
    for inputs in (digits, lambda: digits, lambda: iter([digits])):
        (batch,) = settings(inputs=inputs).load_inputs()  # type: ignore[misc]
        assert isinstance(batch, Tensor)
        assert len(batch) >= rp.Ridge().samples


def test_outcomes_survive_json() -> None:
    import json

    outcome = Outcome("a", {"trainable": True, "violation": -0.5, "relative_entropy": None}, None)
    assert Outcome.from_dict(json.loads(json.dumps(outcome.to_dict()))) == outcome


def test_what_cannot_be_pickled_is_named() -> None:
    with pytest.raises(TypeError, match=r"`rule` must be picklable, .* but got <generator"):
        pickled(settings(rule=(number for number in range(3))))


class TestInitialization:
    def test_seed_belongs_to_the_trial_and_to_no_machine(self) -> None:
        assert trial_seed("1a2b3_00000") == 1412149544120369533
        assert trial_seed("a") == trial_seed("a") != trial_seed("b")
        assert 0 <= trial_seed("a") < 2**63

    def test_same_trial_same_weights_and_the_random_state_is_left_alone(self) -> None:
        config = {"depth": 2, "gain": 1.0}
        before = torch.random.get_rng_state()
        one = build_probed_model(build, config, trial_id="a").state_dict()
        torch.rand(3)
        torch.random.set_rng_state(before)
        two = build_probed_model(build, config, trial_id="a").state_dict()
        other = build_probed_model(build, config, trial_id="b").state_dict()
        assert torch.equal(torch.random.get_rng_state(), before)
        assert all(torch.equal(one[name], two[name]) for name in one)
        assert not torch.equal(one["1.weight"], other["1.weight"])

    def test_outside_a_trial_it_needs_an_id(self) -> None:
        with pytest.raises(ValueError, match="in a class Trainable give `trial_id"):
            build_probed_model(build, {"depth": 1, "gain": 1.0})


def test_numbers_of_numpy_are_parameters_too() -> None:
    config = {"depth": 3, "gain": np.float64(1.2), "width": np.int64(7), "skip": np.bool_(True)}
    rule = rp.CertifiedRule(better_than=0.5)
    inputs = load_digits().train
    (outcome,) = probe_batch(settings(rule=rule), inputs, [Candidate("a", config)])
    assert outcome.parameters == {"depth": 3, "gain": 1.2, "width": 7, "skip": True}


def test_a_shuffled_loader_gives_every_actor_the_same_samples() -> None:
    x = torch.arange(500.0).reshape(-1, 1).expand(-1, 3)
    known = settings(inputs=lambda: DataLoader(TensorDataset(x), 50, shuffle=True))
    state = torch.get_rng_state()
    torch.rand(1)
    first: Any = known.load_inputs()
    torch.set_rng_state(state)
    again: Any = known.load_inputs()
    assert len(again) == len(first) > 0
    assert all(torch.equal(a[0], b[0]) for a, b in zip(again, first, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
