"""The trainer's batches, for a pass of their own."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from recent_prune.probe.batches.calling import moved
from recent_prune.probe.batches.inputs import Inputs, first_tensor, inputs_of, is_one_batch


class TrainingBatches:
    """The training batches as a training step gets them."""

    def __init__(self, trainer: Trainer) -> None:
        loader = trainer.train_dataloader
        if isinstance(loader, (Mapping, list, tuple)):
            raise TypeError(
                "`inputs` must be given where there are several train dataloaders, but got None "
                f"with a {type(loader).__name__} of {len(loader)}."
            )
        self._loader = _without_workers(loader)
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


class Whole:
    """A batch that only ``training_step`` looks into."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch


class Wrapped:
    """Batches as tuples: the samples to probe, the `Whole`, and no target.

    Nothing but ``training_step`` knows where a target is, or how a batch of one's own is moved.
    """

    def __init__(self, batches: TrainingBatches | Inputs, device: torch.device) -> None:
        ready = isinstance(batches, TrainingBatches)
        self._batches: Any = batches if ready else _without_workers(_batched(batches))
        self._device = None if ready else device

    def __iter__(self) -> Iterator[tuple[Tensor, Whole, tuple[()]]]:
        for batch in self._batches:
            whole = batch if self._device is None else moved(batch, self._device)
            yield _samples(whole), Whole(whole), ()

    def __getattr__(self, name: str) -> Any:
        """The loader's, as above."""
        return getattr(self._batches, name)


def _samples(batch: Any) -> Tensor:
    try:
        found = inputs_of(batch)
    except ValueError:  # which of a mapping's tensors is meant matters to the probe alone
        found = first_tensor(batch)
    if found is None:
        raise TypeError(f"A batch must hold a tensor, but got {type(batch).__name__}.")
    return found


def _batched(inputs: Inputs) -> Iterable[Any]:
    """Batches of what may be tensors that lie side by side."""
    if isinstance(inputs, (Tensor, np.ndarray)):
        inputs = (torch.as_tensor(inputs),)
    elif not is_one_batch(inputs):
        return inputs
    generator = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(*inputs), 64, shuffle=True, generator=generator)


def _without_workers(loader: Any) -> Any:
    """The trainer has begun its pass, which one more over the same persistent workers would reset.

    The first batches were never trained on then.
    """
    if isinstance(loader, DataLoader):
        loader = copy.copy(loader)
        loader._iterator = None
    return loader
