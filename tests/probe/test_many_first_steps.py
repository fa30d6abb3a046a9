"""First steps of many models, each as if alone."""

from __future__ import annotations

import time
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import recent_prune as rp
from tests.networks import Noisy, mlp
from tests.probe.many_models import BUILDERS, TRAINING, sgd


@pytest.fixture
def labels(digits: Tensor) -> Tensor:
    return torch.arange(len(digits)) % 10


@pytest.mark.parametrize("kind", BUILDERS)
def test_first_steps_are_those_of_one_by_one(digits: Tensor, labels: Tensor, kind: str) -> None:
    models = [BUILDERS[kind](i) for i in range(3)]
    batches = (digits, labels)
    results = rp.probe_many(models, batches, training=TRAINING)
    assert results == [rp.probe(model, batches, training=TRAINING) for model in models]
    assert all(isinstance(r, rp.ProbeResult) and r.steps is not None for r in results)


def test_each_model_has_its_own_training(digits: Tensor, labels: Tensor) -> None:
    models = [mlp(seed=i) for i in range(3)]
    trainings = [
        rp.Training(cross_entropy, torch.optim.SGD(model.parameters(), rate), steps=steps)
        for model, rate, steps in zip(models, (0.1, 1.0, 10.0), (2, 4, 3), strict=True)
    ]
    results = rp.probe_many(models, (digits, labels), training=trainings)
    made = [r.steps.made for r in results if isinstance(r, rp.ProbeResult) and r.steps]
    assert made == [2, 4, 3]
    # The batches are gathered once, for the one that needs most.
    assert results[1] == rp.probe(models[1], (digits, labels), training=trainings[1])


def test_the_cascade_takes_steps_too(digits: Tensor, labels: Tensor) -> None:
    cascade, batches = rp.Cascade(updates=5), (digits, labels)
    (one,) = rp.probe_many([mlp()], batches, estimator=cascade, training=TRAINING)
    assert one == rp.probe(mlp(), batches, estimator=cascade, training=TRAINING)


def test_a_loss_that_raises_for_one_leaves_the_others(digits: Tensor, labels: Tensor) -> None:
    def picky(output: Tensor, labels: Tensor) -> Tensor:
        if output.isnan().any():
            raise ArithmeticError("not a number")
        return cross_entropy(output, labels)

    models = [mlp(seed=i) for i in range(5)]
    models[1].hidden2.weight.data.fill_(float("nan"))  # type: ignore[union-attr, operator]
    models[3].requires_grad_(False)
    training = rp.Training(picky, sgd)
    results = rp.probe_many(models, (digits, labels), training=training)
    assert isinstance(results[1], ArithmeticError)
    assert any("`loss`" in note for note in results[1].__notes__)
    assert isinstance(results[3], ValueError)
    assert "must have a parameter that trains" in str(results[3])
    for i in (0, 2, 4):
        assert results[i] == rp.probe(models[i], (digits, labels), training=training)


def test_errors_hold_no_graphs(digits: Tensor, labels: Tensor) -> None:
    """Else a loss that raises for all of a thousand models would fill the memory."""
    alive: set[int] = set()

    def failing(output: Tensor, labels: Tensor) -> Tensor:
        alive.add(id(output))
        weakref.finalize(output, alive.discard, id(output))
        raise ArithmeticError("no loss")

    for estimator in (rp.Ridge(), rp.Cascade(updates=1)):
        training = rp.Training(failing, sgd)
        (error,) = rp.probe_many([mlp()], (digits, labels), training=training, estimator=estimator)
        assert isinstance(error, ArithmeticError)
        assert alive == set()


def test_seconds_hold_the_steps(digits: Tensor, labels: Tensor) -> None:
    def slow(output: Tensor, labels: Tensor) -> Tensor:
        time.sleep(0.01)
        return cross_entropy(output, labels)

    training = rp.Training(slow, sgd)
    results = rp.probe_many([mlp(), mlp()], (digits, labels), training=training)
    assert all(isinstance(r, rp.ProbeResult) and r.seconds > 0.05 for r in results)


def test_steps_leave_no_trace(digits: Tensor, labels: Tensor) -> None:
    models = [Noisy() for _ in range(3)]
    states = [{k: v.clone() for k, v in m.state_dict().items()} for m in models]
    random = torch.get_rng_state()
    rp.probe_many(models, (digits, labels), training=TRAINING)
    assert torch.equal(torch.get_rng_state(), random)
    for model, state in zip(models, states, strict=True):
        assert model.training
        assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
        assert all(p.grad is None for p in model.parameters())
        assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("training", "error", "message"),
    [
        (cross_entropy, TypeError, "`training` must be a Training, but got function"),
        ([cross_entropy], TypeError, "`training` must hold Trainings, but got a function"),
        ([], ValueError, r"`training` must be one, or as many as `models` \(1\), but got 0"),
    ],
)
def test_refuses_what_is_no_training(
    digits: Tensor, training: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        rp.probe_many([mlp()], (digits, digits), training=training)


def test_autocast_of_the_caller_changes_nothing(digits: Tensor) -> None:
    models = [mlp(depth=10, weight_variance=2.5, seed=seed) for seed in range(3)]
    expected = rp.probe_many(models, digits)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert rp.probe_many(models, digits) == expected


def test_steps_within_inference_mode(digits: Tensor) -> None:
    model = mlp(depth=3)
    with torch.inference_mode():
        batches = (digits[:100].clone(), torch.arange(100) % 10)
        (result,) = rp.probe_many([model], batches, training=TRAINING)
    assert isinstance(result, rp.ProbeResult), result
    assert result.gradients is not None
