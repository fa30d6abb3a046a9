"""The measures of all layers, put together into what a probe returns."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from recent_prune.probe.quantities.cutoff import saturation_cutoff
from recent_prune.probe.quantities.measures import LayerMeasures, Measured
from recent_prune.probe.result import ProbeResult, Reconstructions


def to_result(
    estimator: str,
    measured: Measured,
    shown: Tensor,
    input_rms: float,
    normalized: bool,
    zeroed: bool,
    samples: int,
    seconds: float,
    rtol: float,
) -> ProbeResult:
    """Put the measures of all layers together.

    Args:
        estimator: Its name.
        measured: Of all layers.
        shown: Samples whose reconstructions were asked for, [k, …].
        input_rms: Root mean square of the inputs.
        normalized: Whether the model has normalisation layers.
        zeroed: Whether a layer starts at zero.
        samples: Number of samples probed.
        seconds: Wall-clock time.
        rtol: Relative tolerance of the cutoff.
    """
    measures = measured.layers
    finite: list[float] = []
    for layer in measures:
        if not layer.finite:
            break
        finite.append(layer.median_relative_entropy)
    nonfinite = measures[len(finite)].name if len(finite) < len(measures) else None
    return ProbeResult(
        estimator=estimator,
        layers=tuple(m.name for m in measures),
        relative_entropy=tuple(m.relative_entropy for m in measures),
        retained=tuple(m.retained if i < len(finite) else 0.0 for i, m in enumerate(measures)),
        differential_entropy=tuple(m.differential_entropy for m in measures),
        gram_entropy=tuple(m.gram_entropy for m in measures),
        activation_rms=tuple(m.activation_rms for m in measures),
        relative_variance=tuple(m.relative_variance for m in measures),
        jacobian_norm=tuple(m.jacobian_norm for m in measures),
        # With the input itself as entry 0 (it reconstructs itself: 0 nats), the index is a
        # number of layers, and a profile that is constant from layer 1 on gives 0.
        cutoff=saturation_cutoff([0.0, *finite], rtol),
        input_rms=input_rms,
        redundancy=measured.redundancy,
        normalized=normalized,
        zeroed=zeroed,
        constant_output=measured.constant_output,
        nonfinite_outputs=measured.nonfinite_outputs,
        samples=samples,
        seconds=seconds,
        nonfinite_layer=nonfinite,
        reconstructions=_reconstructions(measures, shown) if len(shown) else None,
        stochastic=measured.stochastic,
        retained_by_floor=_by_floor(measures, len(finite)),
        unseen=measured.unseen,
        inputs=measured.inputs,
        retained_by_input=measured.retained_by_input,
        notes=measured.notes,
    )


def _reconstructions(measures: Sequence[LayerMeasures], shown: Tensor) -> Reconstructions | None:
    known = [m.reconstructions for m in measures if m.reconstructions is not None]
    if not known:
        return None
    missing = torch.full_like(known[0], math.nan)
    stacked = torch.stack(
        [missing if m.reconstructions is None else m.reconstructions for m in measures]
    )
    if shown.is_floating_point():
        stacked = stacked.reshape(len(measures), *shown.shape)
    return Reconstructions(inputs=shown, by_layer=stacked.to(shown.device))


def _by_floor(measures: Sequence[LayerMeasures], finite: int) -> tuple[tuple[float, ...], ...]:
    shares = [m.retained_by_floor for m in measures]
    floors = max(map(len, shares))
    if not floors:
        return ()
    nothing = (0.0,) * floors
    return tuple(s if i < finite else nothing for i, s in enumerate(shares))
