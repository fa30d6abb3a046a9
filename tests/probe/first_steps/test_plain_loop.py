"""First steps are those of a loop written down by hand."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

import recent_prune as rp
from tests.probe.first_steps.training import DATA, training_of
from tests.probe.first_steps.trials import (
    Batch,
)


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
