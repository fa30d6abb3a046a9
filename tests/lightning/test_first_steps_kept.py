"""First steps leave no trace in module, trainer and logs."""

from __future__ import annotations

import copy
import csv
import math
from collections import deque
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import torchmetrics
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR

from recent_prune.lightning import ReconstructionEntropyCallback
from tests.lightning.modules import QUIET, Classifier, judge, loader, new_trainer
from tests.networks import Noisy, mlp

pytestmark = pytest.mark.filterwarnings(*QUIET)


class Thorough(Classifier):
    """Does in its training step all that leaves a trace, and has a schedule with warm-up."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.right = torchmetrics.Accuracy("multiclass", num_classes=10)
        self.outputs: list[Tensor] = []
        self.seen = {"batches": 0}
        self.count = 0

    def training_step(self, batch: Any, index: int) -> Any:
        logits = self(batch[0])
        loss = cross_entropy(logits, batch[1])
        self.steps.append(batch[1])
        self.outputs.append(loss.detach())
        self.seen["batches"] += 1
        self.count += 1
        self.right(logits, batch[1])
        self.log("right", self.right, on_step=True, on_epoch=True)
        self.log_dict({"loss": loss, "twice": 2 * loss}, on_step=True, prog_bar=True)
        if self.logger is not None:
            self.logger.log_metrics({"by hand": float(loss.detach())}, step=self.global_step)
        return {"loss": loss, "logits": logits.detach()}

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), 1e-2, weight_decay=1e-4)
        warm_up = LambdaLR(optimizer, lambda step: min((step + 1) / 3, 1.0))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": warm_up, "interval": "step"},
        }


def test_a_kept_module_trains_bit_for_bit_as_without(tmp_path: Path) -> None:
    """Adam, dropout, batch statistics, warm-up, clipping, metrics and logs."""
    trained, told = [], []
    for callback in (None, ReconstructionEntropyCallback(rule=judge)):
        pl.seed_everything(0, verbose=False)
        module = Thorough(Noisy())
        logger = CSVLogger(tmp_path, version=str(callback is None))
        trainer = new_trainer(
            callback, max_epochs=2, logger=logger, log_every_n_steps=1, gradient_clip_val=0.5
        )
        trainer.fit(module, loader(shuffle=True), loader())
        assert len(module.steps) == len(module.outputs) == module.count == 8
        assert module.seen == {"batches": 8}
        assert "log" not in vars(module)
        trained.append((module, trainer))
        lines = [
            {k: v for k, v in row.items() if "/" not in k} for row in logger.experiment.metrics
        ]
        told.append([line for line in lines if set(line) != {"step"}])
    (plain, before), (judged, after) = trained
    assert callback is not None
    assert callback.result is not None
    assert callback.result.steps is not None
    for name, value in plain.state_dict().items():
        assert torch.equal(value, judged.state_dict()[name]), name
    assert torch.equal(torch.stack(plain.outputs), torch.stack(judged.outputs))
    assert before.callback_metrics == after.callback_metrics
    assert told[0] == told[1]


def test_nothing_stays_after_an_error() -> None:
    class Failing(Thorough):
        def training_step(self, batch: Any, index: int) -> Any:
            if self.count == 9:  # in the second update
                raise RuntimeError("in the ninth batch")
            return super().training_step(batch, index)

    module = Failing(mlp())
    before = {name: value.clone() for name, value in module.state_dict().items()}

    class Look(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            assert isinstance(pl_module, Failing)
            assert (pl_module.count, pl_module.seen, pl_module.steps) == (0, {"batches": 0}, [])
            assert "log" not in vars(pl_module)
            assert not trainer.optimizers[0].state
            assert trainer.callback_metrics == {}
            for name, value in pl_module.state_dict().items():
                assert torch.equal(value, before[name])
            trainer.should_stop = True

    callback = ReconstructionEntropyCallback(rule=judge)
    trainer = new_trainer(
        None, callbacks=[callback, Look()], min_epochs=0, enable_progress_bar=False
    )
    with pytest.warns(UserWarning, match="not judged, but its initialization alone: RuntimeError"):
        trainer.fit(module, loader())
    assert callback.result is not None
    assert callback.result.steps is None


class Stopping(Classifier):
    """Ends the training, and leaves word with the trainer, where its loss is low."""

    def training_step(self, batch: Any, index: int) -> Tensor:
        loss = super().training_step(batch, index)
        trainer: Any = self.trainer
        trainer.lowest = min(loss.item(), getattr(trainer, "lowest", math.inf))
        trainer.should_stop = len(self.steps) >= 6
        return loss


def test_what_a_module_tells_its_trainer_is_forgotten() -> None:
    callback = ReconstructionEntropyCallback(rule=judge)
    trainer = new_trainer(callback, max_epochs=3, min_epochs=0)
    module = Stopping(mlp())
    steps = module.steps
    trainer.fit(module, loader())
    assert callback.result is not None
    assert callback.result.steps is not None
    assert len(steps) == trainer.global_step == 6


class Curriculum(pl.LightningDataModule):
    """Its hook counts batches."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def train_dataloader(self) -> Any:
        return loader()

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        self.count += 1
        return batch


def test_hooks_of_a_data_module_leave_no_trace() -> None:
    data = Curriculum()
    callback = ReconstructionEntropyCallback(rule=judge)
    new_trainer(callback).fit(Classifier(mlp()), datamodule=data)
    assert callback.result is not None
    assert callback.result.steps is not None
    assert data.count == 4


class Saving(Classifier):
    """Names files after its logger."""

    def training_step(self, batch: Any, index: int) -> Tensor:
        logger: Any = self.logger
        told = (self.trainer.log_dir, logger.log_dir, logger.root_dir, logger.save_dir)
        assert isinstance(logger, CSVLogger)
        assert [*told, logger.name, logger.version] == self.trainer.expected  # type: ignore[attr-defined]
        logger.log_metrics({"loss": 0.0})
        return super().training_step(batch, index)


def test_a_silent_logger_says_where_the_real_one_is(tmp_path: Path) -> None:
    callback = ReconstructionEntropyCallback(rule=judge)
    real = CSVLogger(tmp_path, name="mine", version="first")
    trainer: Any = new_trainer(callback, logger=real, max_steps=1, log_every_n_steps=1)
    trainer.expected = [real.log_dir, real.log_dir, real.root_dir, real.save_dir, "mine", "first"]
    trainer.fit(Saving(mlp()), loader())
    assert callback.result is not None
    assert callback.result.steps is not None
    lines = (Path(real.log_dir) / "metrics.csv").read_text().splitlines()
    rows = list(csv.DictReader(lines))
    assert [row["loss"] for row in rows if row.get("loss")] == ["0.0"]


class Mean:
    """Of weights, as an object of the user's own keeps it."""

    def __init__(self, network: nn.Module) -> None:
        self.values = [parameter.detach().clone() for parameter in network.parameters()]
        self.updates = 0

    def update(self, network: nn.Module) -> None:
        self.updates += 1
        for value, parameter in zip(self.values, network.parameters(), strict=True):
            value.lerp_(parameter.detach(), 0.1)


class Hiding(Classifier):
    """Keeps what it learns where no module is looked for."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.teacher = [copy.deepcopy(network)]
        self.mean = Mean(network)
        self.metrics = {"right": torchmetrics.Accuracy("multiclass", num_classes=10)}
        self.recent: deque[float] = deque(maxlen=3)
        self.known: set[int] = set()
        self.sums = np.zeros(2)

    def training_step(self, batch: Any, index: int) -> Tensor:
        (teacher,) = self.teacher
        with torch.no_grad():
            for own, parameter in zip(teacher.parameters(), self.parameters(), strict=True):
                own.lerp_(parameter, 0.5)
        logits, told = self(batch[0]), teacher(batch[0])
        self.mean.update(self.network)
        self.metrics["right"].update(logits, batch[1])
        loss: Tensor = cross_entropy(logits, batch[1]) + (logits - told).square().mean()
        self.recent.append(float(loss.detach()))
        self.known.add(len(self.known))
        self.sums += self.recent[-1]
        return loss

    def state(self) -> dict[str, Any]:
        return {
            "teacher": [*self.teacher[0].parameters()],
            "gradients": [p.grad for p in self.teacher[0].parameters()],
            "mean": (self.mean.values, self.mean.updates),
            "right": self.metrics["right"].metric_state,
            "rest": (self.recent, self.known, self.sums),
        }


def test_what_a_module_hides_comes_back() -> None:
    states = []
    for callback in (None, ReconstructionEntropyCallback(rule=judge)):
        pl.seed_everything(0, verbose=False)
        module = Hiding(mlp())
        new_trainer(callback).fit(module, loader())
        states.append({name: str(value) for name, value in module.state().items()})
    assert callback is not None
    assert callback.result is not None
    assert callback.result.steps is not None
    for name, value in states[0].items():
        assert value == states[1][name], name


class Cycle:
    """Goes through another loader again and again, and counts."""

    def __init__(self, batches: list[Tensor]) -> None:
        self.batches, self.left = batches, iter(batches)
        self.taken = 0

    def next(self) -> Tensor:
        if self.taken == len(self.batches):
            self.left, self.taken = iter(self.batches), 0
        self.taken += 1
        return next(self.left)


class Unlabelled(Classifier):
    """Trains on unlabelled batches as well."""

    def __init__(self, network: nn.Module, batches: list[Tensor]) -> None:
        super().__init__(network)
        self.others = Cycle(batches)

    def training_step(self, batch: Any, index: int) -> Tensor:
        loss = cross_entropy(self(batch[0]), batch[1])
        loss += self(self.others.next()).square().mean()
        return loss


def test_what_a_module_draws_from_leaves_its_training_as_long_as_it_is() -> None:
    others = [torch.rand(8, 64) for _ in range(5)]
    module = Unlabelled(mlp(depth=2, width=16), others)
    trainer = new_trainer(ReconstructionEntropyCallback(rule=judge), max_epochs=2)
    batches = loader()
    trainer.fit(module, batches)
    assert trainer.global_step == 2 * len(batches)
