from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import recent_prune as rp
from tests.networks import Noisy
from tests.probe.first_steps.trials import (
    DENSE,
    Batch,
    batches,
    model_state,
    optimizer_values,
    random_states,
    snapshot,
    train,
    values,
)

DATA = batches()


def training_of(optimizer: Any, **other: Any) -> rp.Training:
    return rp.Training(cross_entropy, optimizer, **other)


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


def loader(seed: int = 4, **other: Any) -> DataLoader[tuple[Tensor, ...]]:
    data = TensorDataset(torch.cat([x for x, _ in DATA]), torch.cat([y for _, y in DATA]))
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(data, 32, shuffle=True, generator=generator, **other)


@pytest.mark.parametrize(
    "other",
    [{}, {"num_workers": 1, "persistent_workers": True}],
    ids=["no workers", "persistent workers"],
)
@pytest.mark.parametrize("started", [False, True], ids=["new", "started"])
def test_a_data_loader_goes_on_as_without_the_probe(other: Any, started: bool) -> None:
    def epochs(probed: bool) -> list[Tensor]:
        torch.manual_seed(3)
        model, shuffled = Noisy(), loader(**other)
        found = [y for _, y in shuffled] if started else []
        if probed:
            rp.probe(model, shuffled, training=training_of(torch.optim.Adam(model.parameters())))
        return found + [y for _ in range(2) for _, y in shuffled]

    with_probe, without = epochs(probed=True), epochs(probed=False)
    assert len(with_probe) == len(without)
    assert all(map(torch.equal, with_probe, without))


class Stream(IterableDataset[Batch]):
    """Drawn one by one; counts what was drawn."""

    drawn = 0

    def __iter__(self) -> Iterator[Batch]:
        for images, labels in DATA:
            for image, label in zip(images, labels, strict=True):
                self.drawn += 1
                yield image, label


def test_an_iterable_data_set_is_asked_for_no_more_than_needed() -> None:
    stream = Stream()
    whole = DataLoader(stream, batch_size=20)
    training = training_of(lambda p: torch.optim.SGD(p, 0.1), steps=3)
    found = rp.probe(Noisy(), whole, training=training, estimator=rp.Ridge(samples=100))
    assert stream.drawn == (3 + 5) * 20
    assert found.steps is not None
    assert len(found.steps.losses) == 3


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_loader_shorter_than_the_steps_is_gone_through_again(count: int) -> None:
    model = Noisy()
    before = model_state(model)
    found = rp.probe(model, DATA[:count], training=training_of(torch.optim.Adam(flat_of(model))))
    assert model_state(model) == before
    assert found.steps is not None
    assert len(found.steps.losses) == 6
    assert found.steps.loss_after < found.steps.loss_before


def flat_of(model: nn.Module) -> list[dict[str, Any]]:
    return [{"params": list(model.parameters()), "lr": 1e-2}]


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


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 12, batch_first=True), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x[:, 0])[0][:, -1])  # type: ignore[no-any-return]


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Flatten(),
        nn.Linear(216, 10),
    )


MODELS = {
    "mlp": lambda: rp.networks.mlp(64, 10, depth=2, width=16),
    "cnn": convolutional,
    "lstm": Recurrent,
}


def judged_slowly(model: nn.Module, data: list[Batch]) -> tuple[float, float]:
    """Mean loss over the batches and share of right classes, by hand."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        module.train(isinstance(module, nn.BatchNorm2d))
    with torch.no_grad():
        losses = [float(cross_entropy(model(x), y)) for x, y in data]
        hits = [float((model(x).argmax(1) == y).sum()) for x, y in data]
    return float(np.mean(losses)), sum(hits) / sum(len(y) for _, y in data)


def trained_slowly(
    model: nn.Module, optimizer_of: Any, clip_norm: float | None, accumulate: int, seed: int
) -> dict[str, Any]:
    """A textbook loop on a deep copy, which shares nothing with the package."""
    steps = 3
    model = copy.deepcopy(model).train()
    initial = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    optimizer = optimizer_of(model.parameters())
    data, judged = DATA[: steps * accumulate], DATA[steps * accumulate :][:4]
    found: dict[str, Any] = {"losses": [], "gradient_norms": []}
    found["loss_before"], found["accuracy_before"] = judged_slowly(model, judged)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for number in range(steps):
            optimizer.zero_grad()
            losses = []
            for images, labels in data[number * accumulate : (number + 1) * accumulate]:
                loss = cross_entropy(model(images), labels)
                (loss / accumulate).backward()
                losses.append(float(loss.detach()))
            gradient = torch.cat(
                [p.grad.flatten() for p in model.parameters() if p.grad is not None]
            )
            found["losses"].append(np.mean(losses))
            found["gradient_norms"].append(float(gradient.norm()))
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            optimizer.step()
            now = torch.cat([p.detach().flatten() for p in model.parameters()])
            if number == 0:
                found["first_update"] = float((now - initial).norm())
                found["first_order"] = -float(gradient @ (now - initial))
    found["update"], found["weight_norm"] = float((now - initial).norm()), float(initial.norm())
    found["loss_after"], found["accuracy_after"] = judged_slowly(model, judged)
    return found


def two_groups(parameters: Any) -> Optimizer:
    several = list(parameters)
    groups: list[dict[str, Any]] = [
        {"params": several[:2]},
        {"params": several[2:], "lr": 0.3, "weight_decay": 0.1},
    ]
    return torch.optim.SGD(groups, 0.1, momentum=0.9)


@pytest.mark.parametrize(
    ("optimizer_of", "clip_norm", "accumulate"),
    [
        (lambda p: torch.optim.SGD(p, 0.5), None, 1),
        (lambda p: torch.optim.Adam(p, 1e-2), None, 1),
        (lambda p: torch.optim.SGD(p, 0.5), 0.05, 1),
        (lambda p: torch.optim.AdamW(p, 1e-2), None, 2),
        (lambda p: torch.optim.SGD(p, 0.5), 0.05, 2),
        (two_groups, None, 1),
    ],
    ids=["sgd", "adam", "clipped", "accumulated", "both", "groups"],
)
@pytest.mark.parametrize("name", MODELS)
def test_steps_are_those_of_a_plain_loop(
    name: str, optimizer_of: Any, clip_norm: float | None, accumulate: int
) -> None:
    model = MODELS[name]()
    training = training_of(optimizer_of, steps=3, clip_norm=clip_norm, accumulate=accumulate)
    found = rp.probe(model, DATA, training=training, seed=5).steps
    assert found is not None
    expected = trained_slowly(model, optimizer_of, clip_norm, accumulate, seed=5)
    for key, value in expected.items():
        assert getattr(found, key) == pytest.approx(value, rel=1e-4, abs=1e-7), key


def test_the_result_does_not_depend_on_the_random_states_of_the_caller() -> None:
    model = Noisy()
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        training = training_of(lambda p: torch.optim.Adam(p, 1e-2))
        found.append(rp.probe(model, loader(), training=training))
        found.append(rp.probe(model, loader(seed=9), training=training))
    # A generator of the loader's own is the user's choice, and goes on from where it is.
    assert found[0] == found[2]
    assert found[1] == found[3]
    assert found[0] != found[1]


def test_another_seed_drops_other_units() -> None:
    model = Noisy()
    training = training_of(lambda p: torch.optim.Adam(p, 1e-2))
    one, same, other = (rp.probe(model, DATA, training=training, seed=s) for s in (1, 1, 2))
    assert one == same
    assert one.steps is not None
    assert other.steps is not None
    assert one.steps.losses != other.steps.losses


class Fuse:
    """Burns at the n-th call."""

    def __init__(self, number: int, error: type[BaseException]) -> None:
        self.left, self.error = number, error

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.error("the fuse has burnt")


class Fused(Noisy):
    """Burns amid its forward pass, when batch norm has counted already."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.fuse = fuse

    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x)
        torch.rand(3), np.random.rand(), random.random()
        self.fuse()
        return output


class FusedAdam(torch.optim.Adam):
    """Burns when some parameters are changed already."""

    fuse: Fuse

    def step(self, closure: Any = None) -> Any:
        found = super().step(closure)
        self.fuse()
        return found


ERRORS = (RuntimeError, KeyboardInterrupt, torch.OutOfMemoryError)


@settings(max_examples=25, deadline=None)
@given(
    place=st.sampled_from(["forward", "loss", "step"]),
    number=st.integers(1, 6),
    error=st.sampled_from(ERRORS),
    resumed=st.booleans(),
)
def test_an_error_anywhere_leaves_everything_as_it_was(
    place: str, number: int, error: type[BaseException], resumed: bool
) -> None:
    never = Fuse(0, error)
    fuse = Fuse(number, error)
    model = Fused(never)
    optimizer = FusedAdam(model.parameters(), 1e-2)
    optimizer.fuse = never
    if resumed:
        train(model, optimizer, DATA[:2])
    if place == "forward":
        model.fuse = fuse
    elif place == "step":
        optimizer.fuse = fuse

    def loss(output: Tensor, target: Tensor) -> Tensor:
        if place == "loss":
            fuse()
        return cross_entropy(output, target)

    before = model_state(model), snapshot(vars(optimizer)), random_states()
    raised = None
    try:
        rp.probe(model, DATA, training=rp.Training(loss, optimizer))
    except error as burnt:
        raised = str(burnt)
    assert fuse.left <= 0
    # What a loss says of a constant prediction, which is not its model's, is no error.
    forgiven = place == "loss" and error is not KeyboardInterrupt and raised is None
    assert forgiven or raised == "the fuse has burnt"
    assert (model_state(model), snapshot(vars(optimizer)), random_states()) == before


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
