"""Losses that users bring are no obstacle."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    cross_entropy,
    mse_loss,
    normalize,
)

import recent_prune as rp
from tests.networks import mlp
from tests.probe.first_steps.untouched import DATA, IMAGES, learns, steps_of


def test_several_labels() -> None:
    data = [(x, torch.stack([y % 2 == 0, y > 4, y == 3], 1).float()) for x, y in DATA]
    steps = steps_of(rp.networks.mlp(64, 3, depth=2, width=16), data, nn.BCEWithLogitsLoss())
    assert learns(steps)
    assert math.isnan(steps.accuracy_before)
    assert 0 < steps.constant_loss < math.log(2) + 1e-6


def test_segmentation() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))
    data = [(x, (x[:, 0] * 2.99).long()) for x in IMAGES]
    steps = steps_of(model, data)
    assert learns(steps)
    assert steps.chance > 0.3
    assert 0 < steps.accuracy_before < 1
    assert 0 < steps.constant_loss < math.log(3)


def test_regression() -> None:
    model = rp.networks.mlp(64, 1, depth=2, width=16)
    data = [(x, x.mean(dim=(1, 2, 3))[:, None]) for x in IMAGES]
    steps = steps_of(model, data, mse_loss)
    assert learns(steps)
    judged = torch.cat([y for _, y in data[6:]])
    assert steps.constant_loss == pytest.approx(float(judged.var(correction=0)), rel=1e-4)
    assert math.isnan(steps.accuracy_after)
    assert math.isnan(steps.chance)


def test_an_autoencoder_through_call() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 64))
    steps = steps_of(
        model, IMAGES, None, call=lambda model, batch: mse_loss(model(batch), batch.flatten(1))
    )
    assert learns(steps)
    assert math.isnan(steps.constant_loss)
    assert math.isnan(steps.output_change)


def test_a_contrastive_loss_through_call() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8))

    def call(model: nn.Module, batch: Any) -> Tensor:
        images, _ = batch
        one, other = (model(images + 0.1 * torch.randn_like(images)) for _ in range(2))
        similar = normalize(one) @ normalize(other).T / 0.2
        return cross_entropy(similar, torch.arange(len(similar)))

    steps = steps_of(model, DATA, None, call=call)
    assert learns(steps)
    assert math.isnan(steps.accuracy_before)


def test_call_with_a_loss_gives_the_output() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, pixels: Tensor, *, scale: float = 1.0) -> Tensor:
            return self.body(pixels * scale)  # type: ignore[no-any-return]

    model = Named()
    called = steps_of(model, DATA, call=lambda model, batch: model(batch[0], scale=1.0))
    assert called == steps_of(model, DATA)


class OwnLoss(nn.Module):
    """As those of Hugging Face: keywords in, an object with loss and logits out."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.body, self.kind = mlp(), kind

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> Any:
        logits = self.body(pixel_values)
        loss = None if labels is None else cross_entropy(logits, labels)
        if self.kind == "tuple":
            return logits if loss is None else (loss, logits)
        if self.kind == "mapping":
            return {"logits": logits} if loss is None else {"loss": loss, "logits": logits}
        return SimpleNamespace(loss=loss, logits=logits)


@pytest.mark.parametrize("kind", ["object", "mapping", "tuple"])
def test_a_model_that_returns_its_own_loss(kind: str) -> None:
    model = OwnLoss(kind)
    data = [{"pixel_values": x, "labels": y} for x, y in DATA]
    found = steps_of(model, data, None)
    plain = steps_of(model.body, DATA)
    assert found.losses == plain.losses
    assert found.update == plain.update
    assert found.loss_after == plain.loss_after
    assert learns(found)
    assert found.output_change == plain.output_change
    assert found.accuracy_after == plain.accuracy_after
    assert found.constant_loss == pytest.approx(plain.constant_loss, rel=1e-2)


def test_a_mapping_with_a_loss_of_the_user() -> None:
    model = mlp()
    data = [{"image": x, "label": y} for x, y in DATA]
    assert steps_of(model, data) == steps_of(model, DATA)


def test_a_loss_of_one_element_is_a_scalar() -> None:
    model = mlp()
    plain = steps_of(model, DATA)
    assert steps_of(model, DATA, lambda o, t: cross_entropy(o, t)[None]).losses == plain.losses
