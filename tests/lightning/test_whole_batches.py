"""Modules whose `forward` takes a batch apart itself, as it comes from the loader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, default_collate

from recent_prune.lightning import ReconstructionEntropyCallback
from recent_prune.probe import ProbeResult
from tests.lightning.first_steps import expected, probed
from tests.lightning.modules import QUIET, Classifier, judge, new_trainer
from tests.networks import mlp
from tests.optuna.studies import DIGITS

pytestmark = pytest.mark.filterwarnings(*QUIET)


@dataclass
class Record:
    digits: Tensor
    label: Tensor


def as_record(rows: list[Any]) -> Record:
    return Record(**default_collate(rows))


COLLATES: dict[str, Any] = {
    "mapping": default_collate,
    "dataclass": as_record,
    "tuple": lambda rows: tuple(default_collate(rows).values()),
    "list": lambda rows: list(default_collate(rows).values()),
}


def whole_loader(kind: str) -> DataLoader[Any]:
    pairs = zip(DIGITS.train[:256], DIGITS.train_labels[:256], strict=True)
    rows: Any = [{"digits": x, "label": y} for x, y in pairs]
    return DataLoader(rows, batch_size=64, collate_fn=COLLATES[kind])


def parts(batch: Any) -> tuple[Tensor, Tensor]:
    if isinstance(batch, Record):
        return batch.digits, batch.label
    x, y = batch.values() if isinstance(batch, dict) else batch
    return x, y


class TakesWhole(Classifier):
    def forward(self, batch: Any) -> Tensor:
        return self.network(parts(batch)[0])  # type: ignore[no-any-return]

    def training_step(self, batch: Any, index: int) -> Tensor:
        return cross_entropy(self(batch), parts(batch)[1])

    def validation_step(self, batch: Any, index: int) -> None:
        """Nothing to see."""


class TakesWholeByHand(TakesWhole):
    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__(network)
        self.automatic_optimization = False


@pytest.mark.parametrize("kind", COLLATES)
def test_their_first_steps_are_made(kind: str) -> None:
    result = probed(TakesWhole(mlp()), whole_loader(kind))
    wanted = expected(mlp())
    assert result.steps is not None
    assert result.steps.loss_before == wanted.loss_before
    assert result.steps.loss_after == wanted.loss_after
    assert result.steps.accuracy_after == wanted.accuracy_after


@pytest.mark.parametrize("kind", COLLATES)
def test_their_initialization_is_judged_where_no_steps_can_be_made(kind: str) -> None:
    found: list[ProbeResult] = []

    def stopping(result: ProbeResult) -> Any:
        found.append(result)
        return judge(result)

    bad = mlp(depth=50, width=64, weight_variance=0.1)
    trainer = new_trainer(ReconstructionEntropyCallback(rule=stopping), num_sanity_val_steps=0)
    with pytest.warns(UserWarning, match="its initialization alone: the module optimizes by hand"):
        trainer.fit(TakesWholeByHand(bad), whole_loader(kind))
    assert trainer.global_step == 0
    (result,) = found
    assert len(result.inputs) == 1  # the digits, not the labels
    assert result.retained[-1] < 1e-3
