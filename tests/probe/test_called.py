"""Whatever a training loop can call, a probe can call, with the loop's own batches."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import recent_prune as rp
from tests.networks import Bert, Compared
from tests.probe.called import (
    CASES,
    SAME,
    SIZE,
    X,
    Y,
    loader,
    nested,
    pairs,
    records,
    sentences,
)
from tests.probe.called_models import Complex, Energy, SeveralLosses
from tests.probe.first_steps.trials import model_state, optimizer_values, random_states, snapshot

rule = rp.TrainabilityRule()
NAMES = pytest.mark.parametrize("name", CASES)
TRAINED = pytest.mark.parametrize("trained", [False, True], ids=["forward", "trained"])


def training(loss: Any = F.cross_entropy, **other: Any) -> rp.Training:
    settings = {"steps": 2, "budget": 300, **other}
    return rp.Training(loss, lambda p: torch.optim.Adam(p, 1e-3), **settings)


def probed(name: str, trained: bool) -> rp.ProbeResult:
    torch.manual_seed(0)
    case = CASES[name]
    steps = training(case.loss) if trained else None
    return rp.probe(case.build(), case.batches(), training=steps)


@NAMES
@TRAINED
def test_models_are_answered_as_they_are_called(name: str, trained: bool) -> None:
    result, case = probed(name, trained), CASES[name]
    assert result.depth == case.depth
    assert result.inputs == case.inputs
    assert len(result.retained_by_input) == len(result.inputs)
    assert result.samples == 160
    assert (result.notes, result.nonfinite_layer) == ((), None)
    # Attention uses the weights of this one without a call.
    assert all(unseen.endswith("attn.out_proj") for unseen in result.unseen)
    assert result.retained[0] > 0.3
    if result.inputs:  # the profile is that of the input that arrives best
        assert result.retained == tuple(map(max, zip(*result.retained_by_input, strict=True)))
    assert rule(result).trainable
    assert (result.steps is not None) == trained
    if result.steps is not None:
        assert all(map(math.isfinite, result.steps.losses))
        assert result.steps.repeatable
        assert result.steps.unreached < 0.01  # what is taken off twice


@NAMES
@TRAINED
def test_the_same_comes_out_twice_and_as_json(name: str, trained: bool) -> None:
    result = probed(name, trained)
    assert probed(name, trained) == result
    again = rp.ProbeResult.from_dict(json.loads(json.dumps(result.to_dict())))
    assert again == result
    assert (again.inputs, again.retained_by_input) == (result.inputs, result.retained_by_input)


def test_names_and_notes_are_kept_as_json() -> None:
    class Sometimes(Bert):
        """With a layer that long sentences alone go through."""

        def __init__(self) -> None:
            super().__init__(layers=1)
            self.extra = nn.Linear(16, 16)

        def forward(self, input_ids: Tensor, *_: Any, **other: Any) -> dict[str, Tensor]:
            if input_ids.shape[1] > 8:
                self.extra(self.words(input_ids) + 1)
            return super().forward(input_ids)

    def batch(length: int) -> dict[str, Tensor]:
        return {"input_ids": torch.randint(1, 50, (40, length)), "labels": torch.arange(40) % 2}

    result = rp.probe(Sometimes(), [batch(12), batch(6)])
    assert result.inputs == ("words",)
    assert "extra" in {name.removeprefix("input of ") for name in result.unseen}
    (note,) = result.notes
    assert "no mask was found" in note
    again = rp.ProbeResult.from_dict(json.loads(json.dumps(result.to_dict())))
    assert again == result
    assert (again.unseen, again.notes) == (result.unseen, result.notes)


class Failing(Compared):
    """Raises at a call, and has all that a probe could disturb."""

    def __init__(self, at: int = -1) -> None:
        super().__init__()
        self.norm, self.drop, self.left = nn.BatchNorm1d(64), nn.Dropout(0.5), at

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        a.mul_(2)  # in place
        self.left -= 1
        if self.left == 0:
            raise ArithmeticError("at the wrong moment")
        return super().forward(self.drop(self.norm(a)), b + torch.rand(1))


def everything(batches: list[Any], *states: Any) -> Any:
    return [
        snapshot(batch if isinstance(batch, tuple) else vars(batch)) for batch in batches
    ], *states


@pytest.mark.parametrize("make", [nested, pairs, records])
@pytest.mark.parametrize(
    ("trained", "at"),  # without steps three batches are looked at
    [(False, -1), (False, 1), (False, 3), (True, -1), (True, 1), (True, 4), (True, 6), (True, 9)],
)
def test_all_comes_back_also_after_an_error(
    make: Callable[[], list[Any]], trained: bool, at: int
) -> None:
    model, batches = Failing().train(), make()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    F.cross_entropy(model(X.clone(), X), SAME).backward()
    optimizer.step()
    model.left = at
    settings = {"training": rp.Training(F.cross_entropy, optimizer, steps=2)} if trained else {}
    torch.rand(3)

    def state() -> Any:
        return everything(batches, model_state(model), random_states(), optimizer_values(optimizer))

    was = state()
    if at > 0:
        with pytest.raises(ArithmeticError, match="at the wrong moment") as caught:
            rp.probe(model, batches, **settings)  # type: ignore[arg-type]
        assert any("64) float32" in note for note in caught.value.__notes__)
    else:
        rp.probe(model, batches, **settings)  # type: ignore[arg-type]
    assert state() == was


class Bare:
    """A graph that can do nothing."""

    def __init__(self, graph: Any) -> None:
        vars(self).update(vars(graph))


@pytest.mark.parametrize("kind", [lambda graph: graph, Bare], ids=["library", "own"])
@TRAINED
def test_a_graph_that_a_model_writes_into_stays(kind: Callable[[Any], Any], trained: bool) -> None:
    case = CASES["graphs"]
    batches = [kind(graph) for graph in case.batches()]
    was = [snapshot(vars(graph)) for graph in batches]
    rp.probe(case.build(), batches, training=training() if trained else None)
    assert [snapshot(vars(graph)) for graph in batches] == was


def test_it_trains_bit_for_bit_as_without_a_probe() -> None:
    def trained(with_probe: bool) -> list[Tensor]:
        torch.manual_seed(3)
        model = Bert()
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        if with_probe:
            rp.probe(model, sentences(), training=rp.Training(None, optimizer, steps=2))
        for batch in sentences():
            optimizer.zero_grad()
            model(**batch)["loss"].backward()
            optimizer.step()
        return [parameter.detach() for parameter in model.parameters()]

    for one, other in zip(trained(True), trained(False), strict=True):
        assert torch.equal(one, other)


def swapped(model: nn.Module, batch: Any) -> Any:
    a, b, _ = batch
    return model(b, a)


@TRAINED
def test_a_function_of_the_users_calls_the_model(trained: bool) -> None:
    """Against the same model, called with what the function swaps."""
    model = Compared()
    batches = [(b, a, same) for a, b, same in pairs()]
    if trained:
        found = rp.probe(model, batches, training=training(call=swapped))
        expected = rp.probe(model, pairs(), training=training())
        assert found.steps is not None
        assert expected.steps is not None
        assert found.steps.losses == expected.steps.losses
    else:
        found, expected = rp.probe(model, batches, call=swapped), rp.probe(model, pairs())
    assert found.inputs == ("0", "1")  # there are no names
    assert found.layers == expected.layers
    # Its first perturbation goes to the other one.
    assert found.retained == pytest.approx(expected.retained, abs=1e-3)


def test_a_function_of_the_users_may_give_the_loss() -> None:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        a, b, same = batch
        return F.cross_entropy(model(a, b), same)

    model = Compared()
    found = rp.probe(model, pairs(), training=training(None, call=loss))
    expected = rp.probe(model, pairs(), training=training())
    assert found.steps is not None
    assert expected.steps is not None
    assert found.steps.losses == expected.steps.losses
    assert found.retained == pytest.approx(expected.retained, abs=1e-3)


class Regression(Compared):
    """Its target is floating, and is given to it."""

    def forward(self, a: Tensor, b: Tensor, y: Tensor | None = None) -> Any:
        out = super().forward(a, b)
        return out if y is None else F.mse_loss(out, y)


GOAL = torch.randn(64, 2)


@pytest.mark.parametrize(
    "batch",
    [
        (X[:64], X[64:128], GOAL),
        {"a": X[:64], "b": X[64:128], "y": GOAL},
        {"y": GOAL, "b": X[64:128], "a": X[:64]},
    ],
)
@pytest.mark.parametrize("loss", [F.mse_loss, None])
def test_what_is_asked_for_is_no_input(batch: Any, loss: Any) -> None:
    steps = training(None) if loss is None else training(loss)
    for settings in ({}, {"training": steps}):
        found = rp.probe(Regression(), [batch], **settings)  # type: ignore[arg-type]
        assert sorted(found.inputs) == ["a", "b"]


def test_a_loader_is_asked_for_no_more_than_needed() -> None:
    drawn = []

    def collate(some: list[Any]) -> Any:
        drawn.append(len(some))
        return torch.utils.data.default_collate(some)

    items = list(zip(X, X.roll(1, 0), SAME, strict=True))
    rp.probe(Compared(), loader(items, collate))
    assert drawn == [64, 64, 64]


@pytest.mark.parametrize("trained", [False, True])
def test_more_arguments_than_one_of_a_kind(trained: bool) -> None:
    """Complex and differentiated, with a second input."""
    second: dict[Any, tuple[Tensor, Tensor]] = {
        Complex: (torch.fft.fft(X), X),
        Energy: (X, X.roll(1, 0)),
    }
    for build, (first, other) in second.items():
        batches = list(zip(first.split(SIZE), other.split(SIZE), Y.split(SIZE), strict=True))
        result = rp.probe(build(), batches, training=training() if trained else None)
        assert result.depth == 3
        assert len(result.inputs) == 2
        assert result.retained[0] > 0.3
        assert result.jacobian_norm[0] > 0


def test_losses_in_training_mode_alone_are_the_trainings() -> None:
    model = SeveralLosses()
    result = rp.probe(model.eval(), pairs(), training=training(None))
    assert not model.training
    assert result.steps is not None
    a, b, same = pairs()[0]
    expected = sum(model.train()(a, b, same).values()).item()
    assert result.steps.losses[0] == pytest.approx(expected, rel=1e-5)


class TakesApart(nn.Module):
    """Takes batches apart itself, as modules of Lightning do; with its own loss, if it is asked."""

    def __init__(self, own_loss: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
        self.own_loss = own_loss

    def forward(self, batch: Any) -> Tensor:
        x, y = batch
        output: Tensor = self.body(x)
        return F.cross_entropy(output, y) if self.own_loss else output


@pytest.mark.parametrize("kind", [tuple, list])
def test_a_whole_pair_may_be_the_one_argument(kind: Any) -> None:
    batches = [kind(pair) for pair in zip(X.split(SIZE), Y.split(SIZE), strict=True)]
    model = TakesApart()
    result = rp.probe(model, batches)
    assert result.inputs == ("batch.0",)  # the labels are none
    assert result.retained == pytest.approx(rp.probe(model.body, X[:160]).retained, abs=0.02)
    own = rp.probe(TakesApart(own_loss=True), batches, training=training(None))
    assert own.steps is not None
    assert own.steps.loss_before == pytest.approx(math.log(10), abs=0.2)


def test_an_error_of_the_model_is_not_hidden_by_the_other_way_to_call_it() -> None:
    class Broken(TakesApart):
        def forward(self, batch: Any) -> Tensor:
            raise RuntimeError(f"broken by a {type(batch).__name__}")

    with pytest.raises(RuntimeError, match="broken by a Tensor"):
        rp.probe(Broken(), list(zip(X.split(SIZE), Y.split(SIZE), strict=True)))
