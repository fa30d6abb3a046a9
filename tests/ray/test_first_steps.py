"""Trials that the gate judges by their first steps."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import cloudpickle, tune
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import recent_prune as rp
from recent_prune.probe import Training
from recent_prune.ray import ReconstructionEntropyScheduler, build_probed_model, probed_trials
from recent_prune.ray.gate import Pool
from recent_prune.ray.probing import ProbeSettings, pickled, probe_batch
from recent_prune.rules import SUMMARY
from recent_prune.rules.certified.learned_score import probe_features
from tests.networks import mlp
from tests.ray.first_steps import Batches, build, diverges, outcomes, settings, training
from tests.ray.simulation import SimulatedPool, simulated, tuner


class TestProbing:
    def test_steps_are_those_of_the_trials_own_model_and_configuration(
        self, batches: Batches
    ) -> None:
        seen: list[tuple[nn.Module, dict[str, Any]]] = []

        def noted(model: nn.Module, config: dict[str, Any]) -> Training | None:
            seen.append((model, config))
            return training(model, config)

        configs = [{"lr": 0.01}, {"lr": 0.1}]
        found = outcomes(settings(batches, training=noted), *configs)
        assert [config for _, config in seen] == configs
        for number, config in enumerate(configs):
            model = build_probed_model(build, config, trial_id=str(number))
            probed = seen[number][0].state_dict()
            assert all(torch.equal(probed[n], v) for n, v in model.state_dict().items())
            result = rp.probe(model, batches, training=training(model, config))
            summary = found[number].summary
            assert result.steps is not None
            assert summary["reason"] == f"3 steps at {config['lr']:g}."
            assert summary["loss_after"] == float(f"{result.steps.loss_after:.4g}")
            assert summary["retained"] == result.retained[-1]

    def test_one_that_diverges_is_condemned_with_its_cause(self, batches: Batches) -> None:
        healthy, diverged = outcomes(settings(batches), {"lr": 0.01}, {"lr": 1e6})
        assert healthy.passes
        assert healthy.summary["cause"] is None
        assert not diverged.passes
        assert diverged.violation == 0.75
        assert diverged.summary["cause"] == "diverges"
        assert diverged.summary["advice"] == "Smaller steps."
        assert tuple(diverged.summary) == SUMMARY

    def test_the_default_rule_condemns_it_too(self, batches: Batches) -> None:
        rule = rp.TrainabilityRule()
        [diverged] = outcomes(settings(batches, rule=rule), {"lr": 1e30})
        assert diverged.summary["trainable"] is False
        assert diverged.summary["cause"] in ("diverges", "nonfinite", "exploded")

    def test_none_is_a_probe_of_the_initialization(self, batches: Batches) -> None:
        steps, none = outcomes(settings(batches), {"lr": 0.01}, {"unjudged": True})
        assert steps.summary["loss_after"] is not None
        assert none.summary["reason"] == "No steps."
        assert none.summary["loss_after"] is None
        model = build_probed_model(build, {}, trial_id="1")
        assert none.summary["retained"] == rp.probe(model, batches).retained[-1]

    def test_what_raises_keeps_its_trial_says_why_and_harms_no_other(
        self, batches: Batches
    ) -> None:
        def bad_loss(output: Tensor, target: Tensor) -> Tensor:
            raise FloatingPointError("loss, as told")

        raised, wrong, failed, healthy = outcomes(
            settings(batches),
            {"raises": True},
            {"wrong": True},
            {"lr": 0.01, "loss": bad_loss},
            {"lr": 0.01},
        )
        assert raised.fault == "training failed: RuntimeError: no such optimizer"
        assert wrong.fault == (
            "training failed: TypeError: `training` must return a Training or None, but got SGD."
        )
        assert str(failed.fault).startswith("FloatingPointError: loss, as told (")
        assert "Raised in `loss`, for a batch of (64, 1, 8, 8)" in str(failed.fault)
        for outcome in (raised, wrong, failed):
            assert outcome.summary == {}
            assert outcome.violation == 0.0
        assert healthy.fault is None
        assert healthy.passes

    @pytest.mark.parametrize("with_steps", [True, False])
    def test_a_fault_is_one_line(self, with_steps: bool, batches: Batches) -> None:
        class Broken(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head = nn.Linear(64, 10)

            def forward(self, x: Tensor) -> Tensor:
                raise RuntimeError("no forward, as told\nand more")

        known = settings(
            batches, build_model=lambda _: Broken(), training=training if with_steps else None
        )
        [outcome] = outcomes(known, {"lr": 0.01})
        assert str(outcome.fault).startswith("RuntimeError: no forward, as told (Raised in the ")
        assert len(str(outcome.fault).splitlines()) == 1

    @pytest.mark.parametrize("fails", ["loss", "training", "build_model"])
    def test_models_of_failed_trials_are_let_go_at_once(self, fails: str, batches: Batches) -> None:
        """Where they are on a GPU, the next one needs its memory."""
        live: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        met: list[int] = []

        def bad_loss(output: Tensor, target: Tensor) -> Tensor:
            raise RuntimeError("out of memory, as told")

        def counted(config: dict[str, Any]) -> nn.Module:
            gc.collect()
            met.append(len(live))
            model = build(config)
            live.add(model)
            if fails == "build_model":
                raise RuntimeError("out of memory, as told")
            return model

        config = {"lr": 0.01, "loss": bad_loss, "raises": fails == "training"}
        with_steps = None if fails == "build_model" else training
        known = settings(batches, build_model=counted, training=with_steps)
        found = outcomes(known, config, config, config)
        assert all(outcome.fault for outcome in found)
        assert met == [0, 0, 0]

    def test_a_certified_rule_gets_its_features_after_the_steps(self, batches: Batches) -> None:
        rule = rp.CertifiedRule(better_than=0.5)
        config = {"lr": 0.01}
        [outcome] = outcomes(settings(batches, rule=rule), config)
        model = build_probed_model(build, config, trial_id="0")
        result = rp.probe(model, batches, training=training(model, config))
        expected = probe_features(result)
        assert outcome.features == {name: float(f"{v:.6g}") for name, v in expected.items()}
        assert outcome.parameters == config
        assert result.steps is not None
        assert outcome.summary["loss_after"] == float(f"{result.steps.loss_after:.4g}")
        at_start = probe_features(rp.probe(model, batches[0]))
        assert outcome.features != {name: float(f"{v:.6g}") for name, v in at_start.items()}

    def test_an_optimizer_of_another_model_is_a_fault(self, batches: Batches) -> None:
        def strange(model: nn.Module, config: dict[str, Any]) -> Training:
            return Training(cross_entropy, torch.optim.SGD(mlp().parameters(), 0.1))

        [outcome] = outcomes(settings(batches, training=strange), {})
        assert "`optimizer`" in str(outcome.fault)
        assert not outcome.passes

    def test_a_function_that_changes_its_configuration_changes_no_other(
        self, batches: Batches
    ) -> None:
        def pops(model: nn.Module, config: dict[str, Any]) -> Training | None:
            return training(model, {"lr": config.pop("lr")})

        shared = {"lr": 0.01}
        found = outcomes(settings(batches, training=pops), shared, shared)
        assert [outcome.fault for outcome in found] == [None, None]
        assert shared == {"lr": 0.01}

    def test_what_a_training_draws_is_the_same_in_every_actor(self, batches: Batches) -> None:
        def draws(model: nn.Module, config: dict[str, Any]) -> Training | None:
            return training(model, {"lr": float(torch.rand(()))})

        known = settings(batches, training=draws)
        first = outcomes(known, {})[0].summary["reason"]
        torch.rand(3)
        assert outcomes(known, {})[0].summary["reason"] == first


class Gate(ReconstructionEntropyScheduler):
    """Probes for real, but in this process."""

    def _make_pool(self) -> Pool:
        assert self._settings is not None
        known: ProbeSettings = cloudpickle.loads(self._settings)
        inputs = known.load_inputs()
        return SimulatedPool(judge=lambda candidate: probe_batch(known, inputs, [candidate])[0])


@pytest.mark.usefixtures("local_ray")
def test_a_sweep(tmp_path: Path, batches: Batches) -> None:
    rates = [0.01, 1e6, 0.1]
    space = {
        "quality": 0.5,
        "number": tune.grid_search([0, 1, 2, 3]),
        "lr": tune.sample_from(lambda config: [*rates, 0.01][config["number"]]),
        "raises": tune.sample_from(lambda config: config["number"] == 3),
    }
    scheduler = Gate(build, batches, diverges, training=training)
    with simulated() as log:
        results = tuner(tmp_path, scheduler, space, 1).fit()
    assert results.num_errors == 0
    assert len(log.started) == 3
    table = results.get_dataframe().set_index("config/number")
    assert table["recent_prune/cause"].dropna().to_dict() == {1: "diverges"}
    assert table["training_iteration"].to_dict() == {0: 9, 1: 0, 2: 9, 3: 9}
    [metrics] = [r.metrics["recent_prune"] for r in results if "recent_prune" in r.metrics]  # type: ignore[attr-defined]
    assert metrics["advice"] == "Smaller steps."
    probes = probed_trials(results)
    assert probes["cause"].dropna().tolist() == ["diverges"]
    assert probes["loss_before"].notna().sum() == 3
    assert probes["fault"].dropna().tolist() == ["training failed: RuntimeError: no such optimizer"]
    # What a driver killed now would find.
    [entry, *_] = json.loads(next((tmp_path / "run" / "recent_prune").glob("*.json")).read_text())
    assert set(entry["outcome"]["summary"]) == set(SUMMARY)


def test_settings_that_an_earlier_version_pickled_have_no_training(batches: Batches) -> None:
    old = settings(batches[0], training=None)
    del vars(old)["training"]
    loaded: ProbeSettings = cloudpickle.loads(pickled(old))
    [outcome] = outcomes(loaded, {})
    assert outcome.summary["reason"] == "No steps."
