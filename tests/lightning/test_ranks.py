"""Several processes that train together."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.nn.functional import cross_entropy

from recent_prune.lightning import ReconstructionEntropyCallback
from recent_prune.preflight import Limits
from tests.lightning.modules import BAD, QUIET, Classifier, judge, loader, new_trainer
from tests.networks import mlp
from tests.optuna.studies import DIGITS

pytestmark = pytest.mark.filterwarnings(*QUIET)


class Ranks(Classifier):
    """Checks itself, since processes bring nothing back."""

    def on_fit_end(self) -> None:
        (callback,) = self.trainer.callbacks  # type: ignore[attr-defined]
        verdicts: list[Any] = [None, None]
        torch.distributed.all_gather_object(verdicts, callback.verdict)
        assert verdicts[0] == verdicts[1]
        assert len(self.steps) == (2 if callback.verdict.trainable else 0)


class Gathering(Ranks):
    """Its forward pass waits for the other rank; its steps fail on one of them alone."""

    def __init__(self) -> None:
        super().__init__(mlp())
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        gathered = self.all_gather(x.mean())
        assert isinstance(gathered, Tensor)
        return super().forward(x + 0 * gathered.mean())

    def training_step(self, batch: Any, index: int) -> Tensor:
        self.calls += 1
        if self.global_rank == 1 and self.calls == 2 and self.global_step == 0:
            raise ValueError("only on rank one")
        self.steps.append(batch[1])
        return cross_entropy(self.network(batch[0]), batch[1])


class FailsOnRankZero:
    def __iter__(self) -> Iterator[Tensor]:
        if torch.distributed.get_rank() == 0:
            raise ValueError("only on rank zero")
        yield DIGITS.train


class FailsEverywhere(ReconstructionEntropyCallback):
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with pytest.raises(ValueError, match="only on rank zero"):
            super().on_train_start(trainer, pl_module)


class TestSeveralRanks:
    """Each has its own half of the data.

    They are no forks: after a preflight, by another test, autograd would refuse them.
    """

    @pytest.mark.parametrize(
        ("network", "limits"),
        [
            pytest.param({}, None, id="kept", marks=pytest.mark.slow),
            pytest.param(BAD, None, id="stopped"),
            pytest.param({}, Limits(), id="fits"),
            pytest.param({}, Limits(memory=1e4), id="too large", marks=pytest.mark.slow),
        ],
    )
    def test_all_do_as_rank_zero(self, network: dict[str, Any], limits: Limits | None) -> None:
        callback = ReconstructionEntropyCallback(rule=judge, preflight=limits)
        strategy = DDPStrategy(start_method="forkserver")
        trainer = new_trainer(callback, strategy=strategy, devices=2)
        trainer.fit(Ranks(mlp(**network)), loader(), loader())
        assert trainer.state.finished

    def test_an_error_on_rank_zero_is_raised_by_all(self) -> None:
        callback = FailsEverywhere(inputs=FailsOnRankZero())
        strategy = DDPStrategy(start_method="forkserver")
        trainer = new_trainer(callback, strategy=strategy, devices=2)
        trainer.fit(Classifier(mlp()), loader(), loader())
        assert trainer.state.finished

    def test_steps_that_fail_on_one_rank_are_given_up_by_all(self) -> None:
        callback = ReconstructionEntropyCallback(rule=judge)
        strategy = DDPStrategy(start_method="forkserver", timeout=timedelta(seconds=30))
        trainer = new_trainer(callback, strategy=strategy, devices=2)
        trainer.fit(Gathering(), loader(), loader())
        assert trainer.state.finished
