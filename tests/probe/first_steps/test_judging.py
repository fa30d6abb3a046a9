from __future__ import annotations

import math
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

import recent_prune as rp
from recent_prune.probe.first_steps.judging import Judged, judged, output_change, repeatable
from recent_prune.probe.first_steps.objective import Answer, objective
from tests.networks import Noisy, mlp
from tests.probe.first_steps.trials import batches

DATA = batches(4)


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.1)


def judge(model: nn.Module, data: Any, loss: Any, **other: Any) -> Judged:
    return judged(model, data, objective(rp.Training(loss, sgd, **other)), loss, 0)


def test_what_is_said_of_batches_is_that_of_a_plain_evaluation() -> None:
    model = mlp()
    found = judge(model, DATA, cross_entropy)
    with torch.no_grad():
        outputs = torch.cat([model(x) for x, _ in DATA])
    labels = torch.cat([y for _, y in DATA])
    shares = torch.bincount(labels) / len(labels)
    assert found.loss == pytest.approx(float(cross_entropy(outputs, labels)), rel=1e-6)
    assert found.right.accuracy == pytest.approx(
        float((outputs.argmax(1) == labels).double().mean())
    )
    assert found.right.chance == pytest.approx(float(shares.max()))
    assert found.constant == pytest.approx(float(-(shares * shares.log()).sum()), rel=1e-4)
    deviation = outputs - outputs.mean(0)
    assert found.spread == pytest.approx(float(deviation.square().mean().sqrt()), rel=1e-5)
    assert found.outputs is not None
    assert torch.equal(found.outputs, outputs)


def test_dropout_is_off_and_normalisation_sees_the_batch() -> None:
    model = Noisy()
    found = judge(model, DATA[:1], cross_entropy)
    assert model.training
    model.eval()
    model.body[2].train()
    images, labels = DATA[0]
    assert found.loss == pytest.approx(float(cross_entropy(model(images), labels).detach()))


def test_ragged_batches_count_alike() -> None:
    images, labels = DATA[0]
    ragged = [(images[:30], labels[:30]), (images[30:], labels[30:])]
    found = judge(mlp(), ragged, cross_entropy)
    parts = [judge(mlp(), [batch], cross_entropy).loss for batch in ragged]
    assert found.loss == pytest.approx(sum(parts) / 2)
    assert found.outputs is not None
    assert len(found.outputs) == 40


def test_outputs_are_let_go_of_batch_by_batch() -> None:
    """Those of a language model are larger than all else."""
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(64, 40_000)

        def forward(self, x: Tensor) -> Tensor:
            nonlocal most
            most = max(most, sum(ref() is not None for ref in alive))
            output: Tensor = self.body(x.flatten(1))
            alive.append(weakref.ref(output))
            return output

    found = judge(Wide(), DATA, cross_entropy)
    assert found.outputs is not None
    assert found.outputs.shape == (160, 13_334)
    assert most <= 1
    assert found.outputs.untyped_storage().nbytes() == 4 * found.outputs.numel()


class Language(nn.Module):
    """Returns its own loss, of labels moved by one as those of language models are."""

    def __init__(self, moved: bool, factor: float = 1.0) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(20, 8), nn.Linear(8, 20)
        self.moved, self.factor = moved, factor

    def forward(self, input_ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.head(self.words(input_ids))
        told, asked = (logits[:, :-1], labels[:, 1:]) if self.moved else (logits, labels)
        loss = self.factor * cross_entropy(told.flatten(0, 1), asked.flatten())
        return {"loss": loss, "logits": logits}


TEXT = torch.randint(0, 20, (40, 12), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("moved", [False, True])
def test_a_loss_of_the_models_own_is_recognised(moved: bool) -> None:
    labels = TEXT.clone()
    labels[:, :2] = -100
    model = Language(moved)
    found = judge(model, [{"input_ids": TEXT, "labels": labels}], None)
    with torch.no_grad():
        predicted = model(TEXT, labels)["logits"].argmax(-1)
    pairs = (predicted[:, :-1], labels[:, 1:]) if moved else (predicted, labels)
    known = pairs[1] >= 0
    expected = float((pairs[0] == pairs[1])[known].double().mean())
    assert found.right.accuracy == pytest.approx(expected)
    shares = torch.bincount(pairs[1][known], minlength=20) / known.sum()
    assert found.constant == pytest.approx(float(-torch.xlogy(shares, shares).sum()), rel=1e-5)


def test_a_loss_of_the_models_own_that_nobody_recognises_has_no_reference() -> None:
    found = judge(Language(True, 2.0), [{"input_ids": TEXT, "labels": TEXT}], None)
    assert math.isfinite(found.loss)
    assert math.isnan(found.constant)
    assert math.isnan(found.right.accuracy)


def test_without_outputs_only_the_loss_is_known() -> None:
    found = judge(mlp(), DATA, None, call=lambda m, b: mse_loss(m(b[0]), m(b[0]) * 0))
    assert math.isfinite(found.loss)
    assert found.outputs is None
    assert math.isnan(found.spread)
    assert math.isnan(found.constant)
    assert math.isnan(output_change(found, found))


def test_change_of_outputs() -> None:
    one = judge(mlp(), DATA, cross_entropy)
    other = judge(mlp(seed=1), DATA, cross_entropy)
    assert one.outputs is not None
    assert other.outputs is not None
    expected = (one.outputs - other.outputs).square().mean().sqrt()
    assert output_change(one, other) == pytest.approx(float(expected), rel=1e-5)
    assert output_change(one, one) == 0


def test_repeatable_to_the_last_bit_and_nan_is_nan() -> None:
    def says(*values: float) -> bool:
        answers = iter(values)

        def ask(_: nn.Module, __: Any) -> Answer:
            value = torch.tensor(next(answers))
            return Answer(value, value.expand(3, 2), None)

        was = judged(mlp(), [None], ask, None, 0)
        return repeatable(mlp(), None, ask, 0, was)

    assert says(1.0, 1.0)
    assert says(math.nan, math.nan)
    assert not says(1.0, 1.0000001)
    assert not says(1.0, math.nan)


def test_errors_name_the_batch_and_when() -> None:
    bad = [*DATA[:2], (DATA[2][0], DATA[2][1] + 100)]
    with pytest.raises(IndexError, match="is out of bounds") as caught:
        judge(mlp(), bad, cross_entropy)
    first, second = caught.value.__notes__
    assert first == (
        "Raised in `loss`, for a batch of (40, 1, 8, 8) float32, (40,) int64. It got a tensor of "
        "shape (40, 10), torch.float32, and a tensor of shape (40,), torch.int64 as target; where "
        "the batch is meant otherwise: The model is called as Sequential(input): say how with a "
        "batch, call=lambda model, batch: model(…)."
    )
    assert second == "Raised in the probe, in batch 3 of 3 that it is judged by."
