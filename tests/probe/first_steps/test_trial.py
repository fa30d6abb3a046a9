from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import recent_prune as rp
from tests.networks import Noisy
from tests.probe.first_steps.training import DATA, flat_of, training_of
from tests.probe.first_steps.trials import (
    DENSE,
    Batch,
    model_state,
    optimizer_values,
    random_states,
    snapshot,
    train,
    values,
)


@pytest.mark.parametrize("resumed", [False, True], ids=["new", "resumed"])
@pytest.mark.parametrize("name", DENSE)
def test_everything_comes_back_bit_for_bit(name: str, resumed: bool) -> None:
    model = Noisy()
    optimizer = DENSE[name](model.parameters())
    if resumed:
        train(model, optimizer, DATA[:2])
    before = model_state(model), snapshot(vars(optimizer)), random_states()
    result = rp.probe(model, DATA, training=training_of(optimizer))
    assert result.steps is not None
    assert result.steps.update > 0
    assert (model_state(model), snapshot(vars(optimizer)), random_states()) == before
    if name == "Adam":
        assert bool(optimizer.state) == resumed


@pytest.mark.parametrize("resumed", [False, True], ids=["new", "resumed"])
@pytest.mark.parametrize("name", DENSE)
def test_a_kept_trial_trains_as_without_the_probe(name: str, resumed: bool) -> None:
    """Dropout and batch norm: weights, running statistics and the optimizer's state are equal."""
    initial = Noisy()

    def run(probed: bool) -> Any:
        torch.manual_seed(3)
        model = copy.deepcopy(initial)
        optimizer = DENSE[name](model.parameters())
        if resumed:
            train(model, optimizer, DATA[:2])
        if probed:
            rp.probe(model, DATA, training=training_of(optimizer))
        train(model, optimizer, DATA[5:])
        return values(model), optimizer_values(optimizer), random_states()

    assert run(probed=True) == run(probed=False)


def test_sparse_adam_comes_back() -> None:
    tokens = torch.randint(0, 50, (400, 6))
    data = list(zip(tokens.split(40), (tokens[:, 0] % 10).split(40), strict=True))
    model = nn.Sequential(nn.EmbeddingBag(50, 8, sparse=True), nn.Linear(8, 10))
    optimizer = torch.optim.SparseAdam(model[0].parameters(), 0.01)
    for _ in range(2):
        before = model_state(model), snapshot(vars(optimizer)), random_states()
        result = rp.probe(model, data, training=training_of(optimizer))
        assert result.steps is not None
        assert result.steps.update > 0
        assert (model_state(model), snapshot(vars(optimizer)), random_states()) == before
        train(model, optimizer, data[:2])
        model.zero_grad(set_to_none=False)


def test_gradients_of_the_user_keep_identity_and_value() -> None:
    model = Noisy()
    cross_entropy(model(DATA[0][0]), DATA[0][1]).backward()
    model.body[1].weight.grad = None
    before = model_state(model)
    rp.probe(model, DATA, training=training_of(torch.optim.Adam(model.parameters())))
    assert model_state(model) == before
    assert model.body[1].weight.grad is None
    assert model.body[7].weight.grad is not None


def test_modes_flags_and_hooks_come_back_and_parts_in_evaluation_mode_stay_there() -> None:
    model = Noisy()
    model.body[1].requires_grad_(False)
    model.body[2].eval()
    seen: list[tuple[bool, bool]] = []
    model.body[2].register_forward_hook(lambda m, *_: seen.append((model.training, m.training)))
    model.body[4].register_forward_pre_hook(lambda *_: None)
    before = model_state(model)
    rp.probe(model, DATA, training=training_of(lambda p: torch.optim.SGD(p, 0.1)))
    assert model_state(model) == before
    assert seen.count((True, False)) >= 6  # the steps
    assert (True, True) not in seen


def test_a_model_in_evaluation_mode_is_trained_and_comes_back_in_it() -> None:
    model = Noisy().eval()
    modes: list[bool] = []
    model.body[4].register_forward_hook(lambda m, *_: modes.append(m.training))
    rp.probe(model, DATA, training=training_of(lambda p: torch.optim.SGD(p, 0.1)))
    assert modes.count(True) >= 6
    assert not any(m.training for m in model.modules())


def test_a_gradient_scaler_comes_back() -> None:
    initial = Noisy()

    def run(probed: bool) -> Any:
        torch.manual_seed(3)
        model = copy.deepcopy(initial)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        scaler = torch.amp.GradScaler("cpu", growth_interval=2)
        for number in range(4):
            if probed:
                before = snapshot(vars(scaler)), snapshot(vars(optimizer)), model_state(model)
                rp.probe(model, DATA, training=training_of(optimizer, scaler=scaler))
                after = snapshot(vars(scaler)), snapshot(vars(optimizer)), model_state(model)
                assert after == before
            optimizer.zero_grad()
            images, labels = DATA[number]
            scaler.scale(cross_entropy(model(images), labels)).backward()
            scaler.step(optimizer)
            scaler.update()
        return values(model), optimizer_values(optimizer), scaler.state_dict()

    assert run(probed=True) == run(probed=False)


def test_a_scaler_changes_nothing_but_rounding() -> None:
    model = Noisy()
    plain, scaled = (
        rp.probe(model, DATA, training=training_of(lambda p: torch.optim.SGD(p, 0.1), **other))
        for other in ({}, {"scaler": torch.amp.GradScaler("cpu")})
    )
    assert plain.steps is not None
    assert scaled.steps is not None
    assert scaled.steps.losses == pytest.approx(plain.steps.losses, rel=1e-4)
    assert scaled.steps.gradient_norms == pytest.approx(plain.steps.gradient_norms, rel=1e-4)
    assert scaled.steps.update == pytest.approx(plain.steps.update, rel=1e-4)


def test_another_seed_drops_other_units() -> None:
    model = Noisy()
    training = training_of(lambda p: torch.optim.Adam(p, 1e-2))
    one, same, other = (rp.probe(model, DATA, training=training, seed=s) for s in (1, 1, 2))
    assert one == same
    assert one.steps is not None
    assert other.steps is not None
    assert one.steps.losses != other.steps.losses


class Learned(nn.Module):
    """A loss with a parameter and a count of its own."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        self.calls += 1
        return cross_entropy(output / self.temperature, target)


@pytest.mark.parametrize("asked", [False, True])
def test_a_loss_that_learns_comes_back(asked: bool) -> None:
    model, loss = Noisy(), Learned()
    if asked:
        loss(model(DATA[0][0]), DATA[0][1]).backward()
    before = model_state(loss)
    found = rp.probe(model, DATA, training=rp.Training(loss, torch.optim.SGD(flat_of(model), 0.1)))
    assert found.steps is not None
    assert model_state(loss) == before


def test_parameters_that_are_frozen_on_the_way_are_as_before() -> None:
    """A loop that freezes and unfreezes, as fine-tuning does."""
    model = Noisy()
    model.body[1].requires_grad_(False)

    def call(model: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(model, Noisy)
        model.body[1].requires_grad_(True)
        model.body[5].requires_grad_(False)
        return model(batch[0])  # type: ignore[no-any-return]

    before = model_state(model)
    optimizer = torch.optim.Adam(model.parameters())
    rp.probe(model, DATA, training=training_of(optimizer, call=call))
    assert model_state(model) == before
    assert not model.body[1].weight.requires_grad
    assert model.body[5].weight.requires_grad
