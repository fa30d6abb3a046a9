"""What the scheduler takes and refuses."""

from __future__ import annotations

import functools
import math
import threading
from typing import Any

import pytest
import torch
from ray.tune.schedulers import (
    ASHAScheduler,
    ResourceChangingScheduler,
)
from torch import nn

from recent_prune.ray import ReconstructionEntropyScheduler

pytestmark = pytest.mark.usefixtures("local_ray")


def build(config: dict[str, Any]) -> nn.Module:
    return nn.Linear(4, 2)


class TestArguments:
    inputs = torch.rand(32, 4)

    def test_a_model_that_cannot_be_pickled(self) -> None:

        lock = threading.Lock()

        def holds_a_lock(config: dict[str, Any]) -> nn.Module:
            with lock:
                return build(config)

        with pytest.raises(TypeError, match=r"`build_model` must be picklable.*holds_a_lock"):
            ReconstructionEntropyScheduler(holds_a_lock, self.inputs)

    def test_given_twice(self) -> None:
        once = ReconstructionEntropyScheduler(build, self.inputs)
        with pytest.raises(TypeError, match="`wrapped` must be another scheduler, but got this"):
            ReconstructionEntropyScheduler(build, self.inputs, wrapped=once)
        with pytest.raises(TypeError, match="`wrapped` must be another scheduler, but got this"):
            ReconstructionEntropyScheduler(
                build, self.inputs, wrapped=ResourceChangingScheduler(once)
            )

    def test_inputs_are_checked_at_once(self) -> None:
        with pytest.raises(ValueError, match="`inputs` must hold at least 16 samples, but got 3"):
            ReconstructionEntropyScheduler(build, torch.rand(3, 4))

    def test_only_as_many_inputs_as_the_probe_needs_are_sent(self) -> None:
        scheduler = ReconstructionEntropyScheduler(build, torch.rand(100_000, 4))
        assert scheduler._settings is not None
        assert len(scheduler._settings) < 10_000

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"wrapped": "asha"}, "`wrapped` must be a Tune scheduler .*, but got 'asha'"),
            ({"wrapped": ASHAScheduler}, "an instance, not a class. or None, but got <class"),
            (
                {"build_model": nn.Linear(4, 2)},
                "`build_model` must be a function .* but got Linear",
            ),
            ({"rule": dict}, "`rule` must be a rule .an instance, not a class., but got <class"),
            ({"inputs": None}, "`build_model` and `inputs` must be given together"),
            ({"build_model": 3}, "`build_model` must be a function .* but got 3"),
            ({"call": 5}, "`call` must be a function of model and batch, but got 5"),
            ({"probe_resources": "CPU"}, "`probe_resources` must be as .* but got 'CPU'"),
            ({"probe_resources": 5}, "`probe_resources` must be as .* or None, but got 5"),
            ({"layers": 5}, "`layers` must be a sequence of names, but got 5"),
            ({"layers": "0"}, "`layers` must be a sequence of names, but got the string '0'"),
            ({"layers": [1]}, "`layers` must hold names, but got a int"),
        ],
    )
    def test_types(self, options: dict[str, Any], message: str) -> None:
        arguments = {"build_model": build, "inputs": self.inputs, **options}
        with pytest.raises(TypeError, match=message):
            ReconstructionEntropyScheduler(**arguments)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"on_fault": "ignore"}, "`on_fault` must be 'run' or 'reject', but got 'ignore'"),
            ({"batch_size": 0}, "`batch_size` must be a whole number of at least 1, but got 0"),
            ({"probe_actors": 1.5}, "`probe_actors` must be a whole number of at least 1, but"),
            ({"timeout_s": 0}, "`timeout_s` must be positive seconds, but got 0"),
            ({"idle_s": float("nan")}, "`idle_s` must be positive seconds, but got nan"),
            ({"timeout_s": "60"}, "`timeout_s` must be positive seconds, but got '60'"),
            ({"start_timeout_s": None}, "`start_timeout_s` must be positive seconds, but got None"),
            ({"probe_resources": {"GPU": -1}}, "`probe_resources` must .* but got 'GPU': -1"),
            ({"probe_resources": {"CPU": "1"}}, "`probe_resources` must .* but got 'CPU': '1'"),
            ({"probe_resources": {"CPU": None}}, "`probe_resources` must .* but got 'CPU': None"),
            ({"probe_resources": {"CPU": math.nan}}, "`probe_resources` must .* got 'CPU': nan"),
            ({"probe_resources": {"CPU": math.inf}}, "`probe_resources` must .* got 'CPU': inf"),
            ({"probe_resources": {1: 1}}, "`probe_resources` must .* but got 1: 1"),
            ({"probe_resources": {"gpu": 0.5}}, "has 'gpu'; Ray calls it 'GPU'"),
            ({"probe_resources": {"num_cpus": 1}}, "has 'num_cpus'; Ray calls it 'CPU'"),
            ({"probe_resources": {"GPU": 1.5}}, "above 1 must be whole numbers, but got GPU=1.5"),
            ({"estimator": "none"}, "`estimator` must be 'ridge', 'cascade'"),
            ({"estimator": 5, "inputs": inputs.clone}, "`estimator` must be .* but got 5"),
            ({"rtol": -1}, "`rtol` must be positive, but got -1"),
            ({"rtol": float("nan")}, "`rtol` must be positive, but got nan"),
            ({"rtol": "x"}, "`rtol` must be positive, but got 'x'"),
            ({"rtol": None}, "`rtol` must be positive, but got None"),
            ({"layers": []}, r"`layers` must name modules of the model, but got \[\]"),
        ],
    )
    def test_ranges(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            ReconstructionEntropyScheduler(
                **{"build_model": build, "inputs": self.inputs, **options}
            )

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"build_model": lambda: None}, r"of configuration, but got .*, which takes \(\)"),
            ({"build_model": nn.Linear}, r"of configuration, but got .*takes \(in_features: int,"),
            ({"training": lambda model: None}, r"of model and configuration, .* takes \(model\)"),
            ({"training": build}, r"of model and configuration, .* takes \(config:"),
            ({"call": lambda model: None}, r"of model and batch, but got .* takes \(model\)"),
            ({"rule": lambda model, config: None}, r"of result, .* takes \(model, config\)"),
        ],
    )
    def test_functions_that_cannot_be_called_so(self, options: Any, message: str) -> None:
        [name] = options
        with pytest.raises(TypeError, match=f"`{name}` must be a function {message}"):
            ReconstructionEntropyScheduler(
                **{"build_model": build, "inputs": self.inputs, **options}
            )

    def test_functions_that_can(self) -> None:
        def adds(function: Any) -> Any:
            @functools.wraps(function)
            def called(config: dict[str, Any]) -> nn.Module:
                return function(config, 3)  # type: ignore[no-any-return]

            return called

        @adds
        def wrapped(config: dict[str, Any], width: int) -> nn.Module:
            return nn.Linear(width, 2)

        class Net(nn.Linear):
            def __init__(self, config: dict[str, Any], width: int = 2) -> None:
                super().__init__(4, width)

        for build_model in (
            wrapped,
            Net,
            dict,
            lambda *given: None,
            functools.partial(Net, width=3),
        ):
            ReconstructionEntropyScheduler(build_model, self.inputs)  # type: ignore[arg-type]

    def test_repr(self) -> None:
        assert repr(ReconstructionEntropyScheduler(build, self.inputs)) == (
            "ReconstructionEntropyScheduler(wrapped=FIFOScheduler)"
        )
