"""Modules and trainers for Lightning."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from recent_prune.probe import ProbeResult
from recent_prune.rules import Verdict
from tests.optuna.studies import DIGITS

QUIET = (
    # Lightning 2.6 with PyTorch 2.14: of their own making.
    "ignore:.*LeafSpec.*is deprecated:FutureWarning",
    # Advice on speed, which four batches do not need.
    "ignore:.*does not have many workers",
    "ignore:.*GPU available but not used",
    "ignore:You defined a `validation_step` but have no `val_dataloader`",
)
BAD: dict[str, Any] = {"depth": 50, "width": 64, "weight_variance": 0.1}
"""Nothing arrives behind it, by any rule."""


def judge(result: ProbeResult) -> Verdict:
    """Keeps what retains anything, whatever the default rule is."""
    lost = result.retained[-1] < 1e-3
    return Verdict(not lost, 0.5 if lost else -0.5, f"retained {result.retained[-1]:.3f}")


class Classifier(pl.LightningModule):
    """Records the batches it is trained on."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.steps: list[Tensor] = []
        self.sane = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)  # type: ignore[no-any-return]

    def training_step(self, batch: Any, index: int) -> Tensor:
        self.steps.append(batch[1])
        return cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, index: int) -> None:
        self.sane += self.trainer.sanity_checking
        self.log("accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean(), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-2)


def loader(n: int = 256, **arguments: Any) -> DataLoader[Any]:
    data = TensorDataset(DIGITS.train[:n], DIGITS.train_labels[:n])
    return DataLoader(data, batch_size=64, **arguments)


def new_trainer(callback: pl.Callback | None, **arguments: Any) -> pl.Trainer:
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "max_epochs": 1,
    }
    quiet["callbacks"] = [callback] if callback else []
    return pl.Trainer(**{**quiet, **arguments})


def fit(callback: pl.Callback | None, network: nn.Module, **arguments: Any) -> Classifier:
    module = Classifier(network)
    new_trainer(callback, **arguments).fit(module, loader(), loader())
    return module
