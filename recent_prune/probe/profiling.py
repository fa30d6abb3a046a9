"""What of its input arrives at each layer of a model, called as its training loop calls it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from recent_prune.probe.batches.calling import Calling
from recent_prune.probe.batches.walk import Walk, one_tensor
from recent_prune.probe.quantities.measures import Measured
from recent_prune.probe.quantities.moves import as_real
from recent_prune.probe.reconstructing.cascade import Cascade
from recent_prune.probe.reconstructing.ridge import Ridge
from recent_prune.probe.restoring.devices import solvable
from recent_prune.probe.restoring.isolation import device_of, run_isolated
from recent_prune.probe.result import ProbeResult, to_result
from recent_prune.probe.watching.modules import has_normalization, starts_at_zero

Found = tuple[Measured, int, float]
"""The measures, the number of samples, and the inputs' root mean square."""


class Profile:
    """Called, it runs the model as it is then, and gives its profile.

    Args:
        model: Unwrapped.
        met: Batches to probe.
        estimator: Of the reconstructions.
        calling: How the model is called.
        layers: As in :func:`recent_prune.probe.probe`.
        rtol: Likewise.
        seed: Likewise.
        trained: Whether the model is trained before it is probed.
    """

    def __init__(
        self,
        model: nn.Module,
        met: Walk,
        estimator: Ridge | Cascade,
        calling: Calling,
        layers: Sequence[str] | None,
        rtol: float,
        seed: int,
        trained: bool,
    ) -> None:
        self._model = model
        self._met = met
        self._estimator = estimator
        self._calling = calling
        self._layers = layers
        self._rtol = rtol
        self._seed = seed
        self._trained = trained
        alone = one_tensor(model, met.probed, calling, estimator.samples)
        self._batch = None if alone is None else alone.to(device_of(model))
        self._shown = torch.zeros(0)

    def show(self, reconstruct: Tensor | None) -> None:
        """Reconstruct these samples, too."""
        if self._batch is not None:
            self._shown = shown_samples(reconstruct, self._batch)

    def __call__(self, start: float) -> ProbeResult:
        """Probe; ``start`` is when that began."""
        try:
            found = self._isolated(self._measured)
        except torch.OutOfMemoryError:
            raise
        except Exception:
            second = self._again()
            if second is None:
                raise
            found = second
        measured, count, rms = found
        return to_result(
            self._estimator.name,
            measured,
            self._shown,
            input_rms=rms,
            normalized=has_normalization(self._model),
            zeroed=starts_at_zero(self._model),
            samples=count,
            seconds=time.perf_counter() - start,
            rtol=self._rtol,
        )

    def _isolated(self, run: Callable[[], Found]) -> Found:
        return run_isolated(self._model, self._seed, run)

    def _measured(self) -> Found:
        estimator, batch, shown = self._estimator, self._batch, self._shown
        if batch is not None:
            everything = torch.cat([batch, shown]) if len(shown) else batch
            found = estimator.measure(self._model, everything, len(shown), self._layers)
            return found, len(batch), input_rms(batch)
        assert isinstance(estimator, Ridge)
        return estimator.measure_called(self._model, self._met.probed, self._calling, self._layers)

    def _measured_in_training(self) -> Found:
        self._model.train()
        return self._measured()

    def _again(self) -> Found | None:
        """As some models can only be called; None if this is none of them."""
        calling = replace(self._calling, own_loss=True)
        try:
            if not self._trained and calling.more(self._model, self._met.probed[0]):
                # Encoder-decoders, for one, make what their decoder gets of the target.
                self._calling, self._batch = calling, None
                return self._isolated(self._measured)
            if self._trained and self._calling.own_loss:
                # Detectors, for one, have a loss in training mode only.
                return self._isolated(self._measured_in_training)
        except Exception:
            return None
        return None


def shown_samples(reconstruct: Tensor | None, batch: Tensor) -> Tensor:
    """Samples that are to be reconstructed, none by default.

    Raises:
        ValueError: If they are unlike those of the batch, or not finite.
    """
    if reconstruct is None:
        return batch[:0]
    if not isinstance(reconstruct, Tensor) or reconstruct.shape[1:] != batch.shape[1:]:
        got = tuple(reconstruct.shape) if isinstance(reconstruct, Tensor) else reconstruct
        raise ValueError(
            f"`reconstruct` must be a tensor [k, {', '.join(map(str, batch.shape[1:]))}] of "
            f"samples like those of `inputs`, but got {got}."
        )
    if not bool(torch.isfinite(reconstruct).all()):
        raise ValueError("`reconstruct` must be finite, but holds NaN or infinity.")
    return reconstruct.detach().to(batch)


def input_rms(batch: Tensor) -> float:
    """Root mean square of the inputs, 1 for tokens."""
    if not (batch.is_floating_point() or batch.is_complex()):
        return 1.0
    batch = as_real(batch)
    norm = torch.linalg.vector_norm(solvable(batch).double())
    return float(norm / math.sqrt(batch.numel()))
