"""What is given for first steps: the function, and what trials are trained with."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from recent_prune.preflight import Limits
from recent_prune.probe import Training
from recent_prune.ray import ReconstructionEntropyScheduler
from recent_prune.ray.in_trial import say_what_is_not_seen
from tests.ray.first_steps import Batches, build, outcomes, settings, training

SIZES: list[int] = []
"""Of a closure nothing would be left."""


class TestInputs:
    def test_of_the_configuration_are_loaded_for_each_trial(self, batches: Batches) -> None:
        asked: list[int] = []
        SIZES.clear()

        def load(config: dict[str, Any]) -> DataLoader[Any]:
            asked.append(config["batch_size"])
            return DataLoader(TensorDataset(*batches), config["batch_size"], shuffle=True)

        def loss(output: Tensor, target: Tensor) -> Tensor:
            SIZES.append(len(target))
            return cross_entropy(output, target)

        known = settings(load)
        assert known.load_inputs() is None
        configs = [{"lr": 0.01, "batch_size": size, "loss": loss} for size in (16, 50)]
        found = outcomes(known, *configs)
        assert asked == [16, 50]
        assert {16, 50} <= set(SIZES)
        losses = [outcome.summary["loss_after"] for outcome in found]
        torch.rand(3)
        assert [o.summary["loss_after"] for o in outcomes(known, *configs)] == losses

    def test_of_the_configuration_without_training(self, batches: Batches) -> None:
        [outcome] = outcomes(settings(lambda config: batches[0], training=None), {})
        assert outcome.summary["reason"] == "No steps."

    def test_that_cannot_be_loaded_for_one_trial_are_its_fault(self, batches: Batches) -> None:
        def load(config: dict[str, Any]) -> Batches:
            return batches if "file" not in config else config["nowhere"]

        good, bad = outcomes(settings(load), {"lr": 0.01}, {"lr": 0.01, "file": "x"})
        assert good.passes
        assert bad.fault == "inputs failed: KeyError: 'nowhere'"

    def test_that_can_be_read_only_once_serve_all_trials(self, batches: Batches) -> None:
        def load() -> Iterator[Batches]:
            yield from zip(batches[0].split(64), batches[1].split(64), strict=True)

        found = outcomes(settings(load), {"lr": 0.01}, {"lr": 0.01})
        assert [outcome.fault for outcome in found] == [None, None]


class TestArguments:
    @pytest.mark.parametrize("given", [3, "adam", nn.Linear(2, 2), dict])
    def test_no_function(self, given: Any, batches: Batches) -> None:
        with pytest.raises(TypeError, match=r"`training` must be a function from .* but got"):
            ReconstructionEntropyScheduler(build, batches, training=given)

    def test_a_training_itself(self, batches: Batches) -> None:
        given: Any = Training(cross_entropy, lambda p: torch.optim.SGD(p, 0.1))
        with pytest.raises(TypeError, match=r"but got Training.*: give lambda model, config: Tr"):
            ReconstructionEntropyScheduler(build, batches, training=given)

    def test_without_a_model(self) -> None:
        with pytest.raises(TypeError, match=r"`training` needs `build_model` and `inputs`.* but"):
            ReconstructionEntropyScheduler(training=training)

    def test_that_cannot_be_pickled(self, batches: Batches) -> None:
        lock = threading.Lock()

        def holds_a_lock(model: nn.Module, config: dict[str, Any]) -> Training | None:
            with lock:
                return training(model, config)

        with pytest.raises(TypeError, match=r"`training` must be picklable.*holds_a_lock"):
            ReconstructionEntropyScheduler(build, batches, training=holds_a_lock)

    def test_inputs_of_a_function_of_too_much(self) -> None:
        inputs: Any = lambda config, split: None  # noqa: E731
        with pytest.raises(TypeError, match="`inputs` must be a function without arguments, or"):
            ReconstructionEntropyScheduler(build, inputs, training=training)

    @pytest.mark.parametrize("limits", [None, Limits()])
    def test_a_call_that_the_training_lacks_is_its_fault(
        self, limits: Limits | None, batches: Batches
    ) -> None:
        def some(model: nn.Module, config: dict[str, Any]) -> Training | None:
            made = training(model, config)
            return made and replace(made, call=config.get("call"))

        def call(model: nn.Module, batch: Any) -> Any:
            return model(batch[0] if isinstance(batch, (tuple, list)) else batch)

        known = settings(batches, training=some, call=call, limits=limits)
        forgotten, own, untrained = outcomes(
            known, {"lr": 0.01}, {"lr": 0.01, "call": call}, {"unjudged": True}
        )
        assert forgotten.fault == (
            "ValueError: `call` must be None where `training` is given: Training(…, call=…)."
        )
        assert own.fault is untrained.fault is None

    def test_inputs_are_checked_at_once(self) -> None:
        few = (torch.rand(3, 64), torch.zeros(3))
        with pytest.raises(ValueError, match="`inputs` must hold at least 16 samples, but got 3"):
            ReconstructionEntropyScheduler(build, few, training=training)

    def test_what_is_not_seen_is_said_once_where_ray_says_things(
        self,
        batches: Batches,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        say_what_is_not_seen.cache_clear()
        with caplog.at_level(logging.INFO, logger="ray"):
            ReconstructionEntropyScheduler()
            ReconstructionEntropyScheduler(build, batches, training=training)
            assert caplog.messages == []
            for _ in range(2):
                ReconstructionEntropyScheduler(build, batches[0])
        [message] = caplog.messages
        assert "not at learning rate and optimizer: give training=" in message
        assert caplog.records[0].name.startswith("ray.")
