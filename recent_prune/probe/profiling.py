"""What of its input arrives at each layer of a model, called as its training loop calls it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from recent_prune.probe.batches.calling import Calling
from recent_prune.probe.batches.samples import count_of
from recent_prune.probe.batches.walk import Walk, one_tensor
from recent_prune.probe.gathering import to_result
from recent_prune.probe.quantities.measures import Measured
from recent_prune.probe.quantities.moves import as_real
from recent_prune.probe.reconstructing.cascade import Cascade
from recent_prune.probe.reconstructing.ridge import Ridge
from recent_prune.probe.restoring.devices import solvable
from recent_prune.probe.restoring.isolation import device_of, run_isolated, set_to_train
from recent_prune.probe.restoring.memory import is_out_of_memory
from recent_prune.probe.result import ProbeResult
from recent_prune.probe.watching.modules import starts_at_zero
from recent_prune.probe.watching.normalizing import has_normalization
from recent_prune.probe.watching.outputs import MergedAxesError
from recent_prune.probe.watching.perturbation import PERTURBED

Found = tuple[Measured, int, float]
"""The measures, the number of samples, and the inputs' root mean square."""


@dataclass
class Profile:
    """Called, it runs the model as it is then, and gives its profile.

    Attributes:
        model: Unwrapped.
        met: Batches to probe.
        estimator: Of the reconstructions.
        calling: How the model is called.
        layers: As in :func:`recent_prune.probe.probe`.
        rtol: Likewise.
        seed: Likewise.
        trained: Whether the model is trained before it is probed.
        reconstruct: As in :func:`recent_prune.probe.probe`.

    Raises:
        TypeError: If a batch fits no convention.
        ValueError: If the samples cannot be probed, or more than one tensor goes in where the
            estimator, or samples to reconstruct, want one.
    """

    model: nn.Module
    met: Walk
    estimator: Ridge | Cascade
    calling: Calling
    layers: Sequence[str] | None
    rtol: float
    seed: int
    trained: bool
    reconstruct: Tensor | None = None

    def __post_init__(self) -> None:
        self._alone = one_tensor(self.model, self.met.probed, self.calling, self.estimator.samples)
        self._shown = torch.zeros(0)
        if self._alone is not None:
            self._shown = shown_samples(self.reconstruct, self._alone)
        elif self.reconstruct is not None:
            raise ValueError(
                "`reconstruct` must be None for a model that is called with more than one tensor."
            )
        elif isinstance(self.estimator, Cascade):
            raise ValueError(
                "`estimator` must be 'ridge' for a model that is called with more than one tensor: "
                "the cascade follows one."
            )

    def __call__(self, start: float) -> ProbeResult:
        """Probe; ``start`` is when that began."""
        try:
            found = self._isolated(self._measured)
        except Exception as error:
            second = None if is_out_of_memory(error) else self._again(error)
            if second is None:
                raise
            found = second
        measured, count, rms = found
        return to_result(
            self.estimator.name,
            measured,
            self._shown.to(device_of(self.model)),
            input_rms=rms,
            normalized=has_normalization(self.model) or measured.normalizes,
            zeroed=starts_at_zero(self.model, silent=measured.constant_output),
            samples=count,
            seconds=time.perf_counter() - start,
            rtol=self.rtol,
        )

    def _isolated(self, run: Callable[[], Found]) -> Found:
        return run_isolated(self.model, self.seed, run)

    def _measured(self) -> Found:
        if self._alone is not None:
            shown, count = len(self._shown), len(self._alone)
            whole = torch.cat([self._alone, self._shown]) if shown else self._alone
            batch = whole.to(device_of(self.model))
            found = self.estimator.measure(self.model, batch, shown, self.layers)
            if found.merged and not shown:
                with suppress(Exception):  # what was seen at first is an answer, too
                    return self._measured_by_batch()
            return found, count, input_rms(batch[:count])
        return self._measured_by_batch()

    def _measured_by_batch(
        self, calling: Calling | None = None, perturbed: int = PERTURBED
    ) -> Found:
        assert isinstance(self.estimator, Ridge)
        how = calling or self.calling
        return self.estimator.measure_called(
            self.model, self.met.probed, how, self.layers, perturbed
        )

    def _measured_in_training(self) -> Found:
        set_to_train(self.model)
        return self._measured()

    def _again(self, error: Exception) -> Found | None:
        """As some models can only be called; None if this is none of them."""
        for measure, how in self._other_ways(error):
            with suppress(Exception):
                measured, count, rms = self._isolated(measure)
                gist = f"{type(error).__name__}: {str(error)[:200]}"
                note = [f"It was probed {how}, since otherwise it raised {gist}"] if how else []
                return replace(measured, notes=(*measured.notes, *note)), count, rms
        return None

    def _other_ways(self, error: Exception) -> Iterator[tuple[Callable[[], Found], str]]:
        """How else, and what a reader is to know of it."""
        if isinstance(self.estimator, Ridge) and not len(self._shown):
            other = None if self.trained else self.calling.other(self.model, self.met.probed[0])
            if other is not None:
                # Encoder-decoders, for one, make what their decoder gets of the target.
                yield partial(self._measured_by_batch, other), ""
            if isinstance(error, MergedAxesError):
                yield self._measured_by_batch, ""
            if self._is_about_size(error):
                yield partial(self._measured_by_batch, perturbed=0), "in batches as they are"
        if self.trained and self.calling.own_loss:
            # Detectors, for one, have a loss in training mode only.
            yield self._measured_in_training, "in training mode"

    def _is_about_size(self, error: Exception) -> bool:
        """Whether it speaks of as many samples as were put together, and no batch has."""
        own = count_of(self.met.probed[0])
        alone = [] if self._alone is None else [len(self._alone)]
        sizes = {most + copies for most in (own, *alone) for copies in (0, PERTURBED)} - {own, 0}
        told = [int(digits) for digits in re.findall(r"\d+", str(error))]
        return any(number > 0 and number % size == 0 for number in told for size in sizes)


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
