"""The trainer's batches, for a pass of their own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch import Trainer
from torch.utils.data import DataLoader


class TrainingBatches:
    """The training batches as a training step gets them."""

    def __init__(self, trainer: Trainer) -> None:
        loader = trainer.train_dataloader
        if isinstance(loader, (Mapping, list, tuple)):
            raise TypeError(
                "`inputs` must be given where there are several train dataloaders, but got None "
                f"with a {type(loader).__name__} of {len(loader)}."
            )
        self._loader = without_workers(loader)
        self._trainer = trainer

    def __iter__(self) -> Iterator[Any]:
        trainer = self._trainer
        for batch in self._loader:
            converted = trainer.precision_plugin.convert_input(batch)
            hooked = trainer.lightning_module._on_before_batch_transfer(converted)
            yield trainer.strategy.batch_to_device(hooked)

    def __getattr__(self, name: str) -> Any:
        """The loader's: the probe puts back the random generators it finds there."""
        return getattr(self._loader, name)


def without_workers(loader: Any) -> Any:
    """The same loader, with workers of its own where they are persistent.

    The trainer has begun its pass, which one more over the same workers would reset, so that the
    first batches were never trained on.
    """
    if isinstance(loader, DataLoader):
        loader = copy.copy(loader)
        loader._iterator = None
    return loader
