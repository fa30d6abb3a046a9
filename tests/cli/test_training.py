from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from recent_prune.cli.training import training
from recent_prune.probe import Training
from tests.cli import factories

MODULE = "tests.cli.factories"


def optimizer_of(found: Training) -> torch.optim.Optimizer:
    made = found.optimizer
    assert not isinstance(made, torch.optim.Optimizer)
    return made(nn.Linear(2, 2).parameters())


def test_what_is_not_said_is_the_default() -> None:
    found = training("sgd")
    assert found.loss is functional.cross_entropy
    assert (found.steps, found.budget, found.batch_size) == (6, None, 64)
    assert isinstance(optimizer_of(found), torch.optim.SGD)
    assert training("sgd", budget=3).steps == 3


@pytest.mark.parametrize("name", ["adamw", "AdamW", "ADAMW", "torch.optim:AdamW"])
def test_optimizers_by_name(name: str) -> None:
    found = training(name, learning_rate=0.3, settings=["weight_decay=0.1", "betas=(0.5, 0.9)"])
    optimizer = optimizer_of(found)
    assert isinstance(optimizer, torch.optim.AdamW)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"], group["betas"]) == (0.3, 0.1, (0.5, 0.9))


def test_losses_by_name() -> None:
    assert training("sgd", loss="mse_loss").loss is functional.mse_loss
    assert training("sgd", loss=f"{MODULE}:halved").loss is factories.halved
    assert training("sgd", loss="none").loss is None
    for name in ("torch.nn:CrossEntropyLoss", f"{MODULE}:weighted"):
        assert isinstance(training("sgd", loss=name).loss, nn.CrossEntropyLoss)


def test_a_call_by_name() -> None:
    assert training("sgd", call=f"{MODULE}:halving").call is factories.halving
    assert training("sgd").call is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sdg", "--optimizer must be one of adadelta, .*, sgd, .* or module:name .* got sdg"),
        (f"{MODULE}:nothing", f"--optimizer: {MODULE} has no nothing"),
        (f"{MODULE}:LIMIT", "--optimizer must be one of"),
    ],
)
def test_wrong_optimizers(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        training(name)


@pytest.mark.parametrize("name", ["crossentropy", "_Reduction", f"{MODULE}:LIMIT", "math"])
def test_wrong_losses(name: str) -> None:
    with pytest.raises(ValueError, match=f"--loss must be a function of .* but got {name}"):
        training("sgd", loss=name)


def test_what_an_optimizer_refuses_is_told() -> None:
    with pytest.raises(ValueError, match="--optimizer sgd raised ValueError: Invalid learning"):
        optimizer_of(training("sgd", learning_rate=-1.0))
    with pytest.raises(ValueError, match=r"--optimizer sgd raised TypeError: .*'beta'.*NAME=VALUE"):
        optimizer_of(training("sgd", settings=["beta=1"]))
    with pytest.raises(
        ValueError, match=r"--optimizer must make a .* but .*:made_by_nobody made s"
    ):
        optimizer_of(training(f"{MODULE}:made_by_nobody"))
    with pytest.raises(ValueError, match="--learning-rate and --optimizer-arg lr=… are given"):
        training("sgd", learning_rate=1.0, settings=["lr=1"])


def test_wrong_numbers() -> None:
    with pytest.raises(ValueError, match=r"`steps` must be at most `budget`.* got 5 and 3"):
        training("sgd", steps=5, budget=3)
