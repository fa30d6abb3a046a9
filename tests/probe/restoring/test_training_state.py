from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import recent_prune as rp
from recent_prune.probe.restoring import training_state
from recent_prune.probe.restoring.objects import attributes_restored
from recent_prune.probe.restoring.training_state import (
    model_restored,
    parameters_restored,
)
from tests.networks import mlp
from tests.probe.first_steps.trials import bits, model_state, snapshot
from tests.probe.restoring.overwriting import overwrite


class Odd(nn.Module):
    """Parameters of all kinds, two of them one."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Linear(3, 3)
        self.tied = nn.Linear(3, 3)
        self.tied.weight = self.plain.weight
        self.complex = nn.Parameter(torch.randn(2, 3, dtype=torch.complex64))
        self.low = nn.Parameter(torch.randn(4, dtype=torch.bfloat16))
        self.last = nn.Parameter(torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last))
        self.zero = nn.Parameter(torch.tensor([-0.0, math.nan, math.inf]))
        self.frozen = nn.Parameter(torch.tensor(1.5), requires_grad=False)
        self.sparse = nn.Parameter(torch.eye(3).to_sparse())
        self.parts = nn.ParameterList([torch.ones(2), torch.zeros(2)])


def test_parameters_of_all_kinds_come_back_to_the_last_bit() -> None:
    model = Odd()
    model.low.grad = torch.ones_like(model.low)
    before = model_state(model)
    with parameters_restored(model) as values:
        assert all(parameter.grad is None for parameter in model.parameters())
        assert bits(values[id(model.zero)]) == bits(model.zero)
        overwrite(model)
        assert model_state(model) != before
    assert model_state(model) == before


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, torch.OutOfMemoryError])
def test_they_come_back_after_an_error(kind: type[BaseException]) -> None:
    model = Odd()
    before = model_state(model)

    def fail() -> None:
        overwrite(model)
        raise kind("as told")

    with pytest.raises(kind, match="as told"), parameters_restored(model):
        fail()
    assert model_state(model) == before


def test_parameters_that_were_replaced_added_or_deleted_come_back() -> None:
    model = mlp()
    before = model_state(model)
    with model_restored(model):
        model.head.weight = nn.Parameter(torch.zeros(10, 16))  # type: ignore[union-attr]
        model.register_parameter("extra", nn.Parameter(torch.zeros(2)))
        del model.head.bias  # type: ignore[union-attr]
    assert model_state(model) == before
    assert "extra" not in dict(model.named_parameters())


class Writing(nn.Module):
    """Writes to all of itself as it runs: bounds norms, counts, caches, builds a part, hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(64, 16), nn.Linear(16, 10)
        self.part: nn.Module | None = None
        self.calls, self.seen = 0, [1]
        self.cache: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(self.calls)
        self.cache["x"] = x
        self.part = self.part or nn.Linear(16, 16)
        self.head.register_forward_hook(lambda *_: None)
        self.first.weight.data = torch.renorm(self.first.weight.data, 2, 0, 0.1)
        self.head.weight.data.renorm_(2, 0, 0.1)
        self.head.bias.grad = torch.ones(10)
        self.head.bias.requires_grad_(False)
        return self.head(self.part(torch.tanh(self.first(x.flatten(1)))))  # type: ignore[no-any-return]


@pytest.fixture(params=["copied", "large"])
def _of_either_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large model only what is written to is copied."""
    if request.param == "large":
        monkeypatch.setattr(training_state, "LARGEST_COPIED", 0)


@pytest.mark.usefixtures("_of_either_size")
@pytest.mark.parametrize("many", [1, 3])
def test_what_a_model_writes_to_itself_comes_back(digits: Tensor, many: int) -> None:
    models = [Writing() for _ in range(many)]
    places = [model.first.weight.data_ptr() for model in models]
    before = [(model_state(model), snapshot(vars(model))) for model in models]
    found = rp.probe_many(models, digits) if many > 1 else [rp.probe(models[0], digits)]
    assert all(isinstance(one, rp.ProbeResult) for one in found)
    assert [(model_state(model), snapshot(vars(model))) for model in models] == before
    assert [model.first.weight.data_ptr() for model in models] == places


@pytest.mark.usefixtures("_of_either_size")
def test_parameters_of_all_kinds_come_back_from_what_is_not_training() -> None:
    model = Odd()
    before = model_state(model)
    with parameters_restored(model, trained=False):
        overwrite(model)
        assert model_state(model) != before
    assert model_state(model) == before


@pytest.mark.usefixtures("_of_either_size")
def test_a_graph_that_the_user_holds_survives_a_probe(digits: Tensor) -> None:
    model = mlp()
    loss = model(digits[:32]).square().mean()
    rp.probe(model, digits)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_large_models_of_an_accelerator_wait_in_main_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training_state, "LARGEST_ON_DEVICE", 0)
    model = mlp()
    before = model_state(model)
    with parameters_restored(model) as values:
        first = next(model.parameters())
        assert values[id(first)].data_ptr() != first.data_ptr()
        overwrite(model)
    assert model_state(model) == before


def test_parameters_of_inference_mode_hide_no_error() -> None:
    with torch.inference_mode():
        model = mlp()
    with pytest.raises(ArithmeticError, match="mine"), parameters_restored(model):
        raise ArithmeticError("mine")


class ReadOnly(nn.Module):
    """Holds what nobody may write to: copies of one row, a file that was opened to be read."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        np.save(path, np.eye(64, dtype=np.float32))
        with warnings.catch_warnings(action="ignore"):  # PyTorch warns of what is not written to
            self.table = torch.from_numpy(np.load(path, mmap_mode="r"))
        self.row = torch.ones(1, 10)
        self.mask = self.row.expand(64, 10)
        self.register_buffer("rows", torch.ones(1, 10).expand(64, 10))
        self.scale = nn.Parameter(torch.ones(1).expand(10), requires_grad=False)
        self.head = nn.Linear(64, 10)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.row += 1
        rows = self.rows
        assert isinstance(rows, Tensor)
        return self.head(x.flatten(1) @ self.table) * self.mask[0] * rows[0] * self.scale  # type: ignore[no-any-return]


def test_what_cannot_be_written_to_is_left_alone(tmp_path: Path, digits: Tensor) -> None:
    model = ReadOnly(tmp_path / "table.npy")
    before = snapshot(vars(model))
    training = rp.Training(nn.functional.cross_entropy, lambda p: torch.optim.SGD(p, 0.1))
    with attributes_restored(model):
        rp.probe(model, (digits[:128], torch.arange(128) % 10), training=training)
    assert snapshot(vars(model)) == before
