"""The one verb: `probe`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from recent_prune.probe.activations import check_model
from recent_prune.probe.cascade import Cascade
from recent_prune.probe.inputs import Inputs, gather
from recent_prune.probe.isolation import device_of, isolated
from recent_prune.probe.measures import activation_size
from recent_prune.probe.modules import has_normalization, unwrapped
from recent_prune.probe.result import ProbeResult, to_result
from recent_prune.probe.ridge import Ridge

Estimator = Literal["ridge", "cascade"] | Ridge | Cascade


def probe(
    model: nn.Module,
    inputs: Inputs,
    *,
    estimator: Estimator = "ridge",
    layers: Sequence[str] | None = None,
    reconstruct: Tensor | None = None,
    rtol: float = 0.005,
    seed: int = 0,
) -> ProbeResult:
    """Measure how much of its input reaches each layer of a model at its initialization.

    Small reconstructions try to get the input back from every layer's activations; where they
    cannot, the information is lost and gradient descent has nothing to work with.

    The model comes back as it was: parameters, gradients, buffers, mode, hooks, and the random
    states of Python, NumPy and PyTorch are untouched, also after an error; a network trains bit
    for bit as it would have without the probe. It is run in evaluation mode, with normalisation
    layers on the statistics of the batch (see :func:`isolated`).

    Args:
        model: Any module with parameters, wrapped by ``torch.compile`` or ``DataParallel`` or
            not; moved nowhere.
        inputs: Samples, [n, …] with n ≥ 16, or an iterable of batches (a data loader), labels
            ignored; a few hundred are enough. They should be real: what cannot be
            reconstructed from as many samples even from itself, such as noise with hundreds of
            features, is refused (by the ridge estimator). Which of them are held out depends on
            their order, not on chance. They are moved to the model's device. Integers (tokens)
            are fine: then the first floating activation is what is to be reconstructed.
        estimator: ``"ridge"`` (default; closed form, any module, one forward pass),
            ``"cascade"`` (the paper's; trained, for stacks of linear and convolutional layers),
            or a :class:`Ridge` or :class:`Cascade` with settings of your own.
        layers: Names of the modules whose outputs are probed. Default: what arrives at each
            weighted layer after the first, so the deepest is what arrives at the head.
        reconstruct: Samples [k, …] to be reconstructed from every layer, for looking at them.
            They pass through the model with the others, so where it has batch normalisation
            they take part in the statistics and change the numbers a little.
        rtol: Relative tolerance of the cutoff. Default 0.005 (the paper's for DNNs).
        seed: Of everything random in the probe. Same seed, same result.

    Returns:
        The profile over the layers. Activations that are NaN or infinite do not raise: the
        result names the first such layer and its ``retained`` is 0 from there on.

    Raises:
        TypeError: If ``model`` is no module or ``inputs`` hold no tensors.
        ValueError: If an argument is out of its range, ``inputs`` are too few, not finite, all
            equal or noise, the model has no parameters or no activations to probe, or the
            estimator cannot deal with its structure.
        Exception: Whatever the model's forward pass raises, with a note that names its inputs.

    Source: arXiv 2406.12916; the ridge estimator is this project's.

    Example:
        >>> import recent_prune as rp
        >>> from recent_prune.data import load_digits
        >>> model = rp.networks.mlp(64, 10, depth=50, width=64, weight_variance=0.5)
        >>> result = rp.probe(model, load_digits().train)
        >>> rp.RetainedInformationRule()(result).trainable
        False
    """
    start = time.perf_counter()
    check_model(model)
    model = unwrapped(model)
    chosen = _resolve(estimator)
    device = device_of(model)
    with isolated(model, seed):
        batch = gather(inputs, chosen.samples, device)
        shown = _shown(reconstruct, batch)
        measures = chosen.measure(model, torch.cat([batch, shown]), len(shown), layers)
    return to_result(
        chosen.name,
        measures,
        shown,
        input_rms=activation_size(batch.flatten(1))[0] if batch.is_floating_point() else 1.0,
        normalized=has_normalization(model),
        samples=len(batch),
        seconds=time.perf_counter() - start,
        rtol=rtol,
    )


def _resolve(estimator: Estimator) -> Ridge | Cascade:
    if isinstance(estimator, (Ridge, Cascade)):
        return estimator
    if estimator == "ridge":
        return Ridge()
    if estimator == "cascade":
        return Cascade()
    raise ValueError(
        f"`estimator` must be 'ridge', 'cascade', a Ridge or a Cascade, but got {estimator!r}."
    )


def _shown(reconstruct: Tensor | None, batch: Tensor) -> Tensor:
    if reconstruct is None:
        return batch[:0]
    if not isinstance(reconstruct, Tensor) or reconstruct.shape[1:] != batch.shape[1:]:
        got = tuple(reconstruct.shape) if isinstance(reconstruct, Tensor) else reconstruct
        raise ValueError(
            f"`reconstruct` must be a tensor [k, {', '.join(map(str, batch.shape[1:]))}] of "
            f"samples like those of `inputs`, but got {got}."
        )
    return reconstruct.detach().to(batch)
