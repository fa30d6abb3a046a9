"""Entropies of activations and reconstructions.

The three measures of Thurn, Jefferson and Erdmenger (arXiv 2406.12916, section 3 and the
authors' later package), as pure functions: they never change their arguments.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

OFFSET = 1e-12
"""Added to every shifted feature so that no logarithm meets a zero (the authors' value)."""


def relative_entropy(inputs: Tensor, reconstructions: Tensor) -> Tensor:
    """Relative entropy of each input with respect to its reconstruction, in nats.

    Both samples are read as distributions over their features: shifted by their own minimum,
    offset by 1e-12 and normalised to sum 1, giving *p* (input) and *q* (reconstruction); the
    result is ``D(p ‖ q) = Σ p ln(p / q)``. Raw values are **not** monotone in lost information
    (a noisy good image can score worse than a smooth average one); only where a profile over
    depth stops changing does it speak, see :func:`saturation_cutoff`.

    Zeros and negative values are allowed, since the shift makes every feature non-negative; a
    constant sample becomes the uniform distribution. NaN or infinity gives NaN for that sample.

    Args:
        inputs: Samples, shape [n, …].
        reconstructions: Their reconstructions, same shape.

    Returns:
        Shape [n], nats, ≥ 0 up to rounding, in the promoted dtype of the arguments.

    Raises:
        ValueError: If the shapes differ or there is no feature axis.

    Source: arXiv 2406.12916, section 3 (relative entropy); offset from the authors' code.
    """
    if inputs.shape != reconstructions.shape:
        raise ValueError(
            "`inputs` and `reconstructions` must have the same shape, but got "
            f"{tuple(inputs.shape)} and {tuple(reconstructions.shape)}."
        )
    return relative_entropies(
        _as_rows(inputs, "inputs"), _as_rows(reconstructions, "reconstructions")
    )


def relative_entropies(inputs: Tensor, reconstructions: Tensor) -> Tensor:
    """:func:`relative_entropy` of the same inputs [m, D] with respect to many reconstructions.

    Args:
        inputs: [m, D].
        reconstructions: […, m, D].

    Returns:
        […, m].
    """
    p = _as_distributions(inputs)
    # In place: fresh memory costs more than the arithmetic.
    return (p / _as_distributions(reconstructions)).log_().mul_(p).sum(dim=-1)


def differential_entropy(samples: Tensor, *, normalize: bool = True) -> Tensor:
    """Gaussian differential entropy per feature, averaged over the features, in nats.

    Each row is divided by its sum, then every feature is taken as a Gaussian over the batch:
    ``mean_j (½ ln(2πe) + ln std_j)``, with Bessel's correction. It falls where all
    reconstructions become the same image (ordered phase).

    A feature that does not vary has no finite entropy; its standard deviation is taken as the
    smallest positive normal number of the dtype, so the result stays finite.

    Args:
        samples: Shape [n, …], n ≥ 2.
        normalize: Divide each row by its sum, as the authors do. It needs rows whose sums are
            not near zero (images in [0, 1]); pass False for signed data.

    Returns:
        A scalar tensor, nats per feature. NaN if a sample is not finite.

    Raises:
        ValueError: If there are fewer than two samples.

    Source: the authors' code of arXiv 2406.12916.
    """
    rows = _as_rows(samples, "samples", minimum=2)
    if normalize:
        rows = rows / rows.sum(dim=1, keepdim=True)
    # Not Tensor.std, which takes four times as long along the first axis.
    deviations = rows - rows.mean(dim=0)
    variance = deviations.square().sum(dim=0) / (len(rows) - 1)
    std = variance.sqrt().clamp_min(torch.finfo(rows.dtype).tiny)
    return 0.5 * math.log(2 * math.pi * math.e) + std.log().mean()


def gram_entropy(samples: Tensor) -> Tensor:
    """Von Neumann entropy of the batch's Gram matrix, divided by ln n.

    Rows are centred by their own mean and scaled to unit norm; with ρ = RRᵀ/n and its
    eigenvalues μ the result is ``−Σ μ ln μ / ln n``: 0 where all samples point the same way
    (total collapse), 1 where all are orthogonal. A row without variance has no direction and
    counts as zeros; if every row is constant the result is 0.

    Args:
        samples: Shape [n, …], n ≥ 2.

    Returns:
        A scalar float64 tensor in [0, 1], without unit. NaN if a sample is not finite.

    Raises:
        ValueError: If there are fewer than two samples.

    Source: the authors' newer package for arXiv 2406.12916.
    """
    directions = row_directions(_as_rows(samples, "samples", minimum=2))
    n, d = directions.shape
    # Both products have the same eigenvalues but for zeros; the smaller one costs less.
    gram = directions.T @ directions if d < n else directions @ directions.T
    if not bool(torch.isfinite(gram).all()):
        return torch.full((), math.nan, dtype=torch.float64, device=gram.device)
    return von_neumann_entropy(gram.double() / n) / math.log(n)


def row_directions(rows: Tensor) -> Tensor:
    """Rows [n, d], each centred by its own mean and scaled to unit norm; zeros if it is constant.

    NaN where a row is not finite. No branch depends on values, so that it runs under ``vmap``.
    """
    # Only directions count; scaled first, large rows do not overflow.
    scaled = rows / rows.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
    centred = scaled - scaled.mean(dim=1, keepdim=True)
    norms = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    return centred / torch.where(norms == 0, 1, norms)


def von_neumann_entropy(density: Tensor) -> Tensor:
    """``−Σ μ ln μ`` over the eigenvalues of symmetric matrices […, n, n] of trace 1, in nats."""
    eigenvalues = torch.linalg.eigvalsh(density)
    # 0 ln 0 = 0; rounding can leave tiny negative eigenvalues and results.
    entropy: Tensor = torch.special.entr(eigenvalues.clamp_min(0)).sum(-1).clamp_min(0)
    return entropy


def _as_rows(samples: Tensor, name: str, minimum: int = 1) -> Tensor:
    if samples.dim() < 2 or len(samples) < minimum:
        raise ValueError(
            f"`{name}` must have shape [n, …] with n ≥ {minimum} and at least one feature axis, "
            f"but got shape {tuple(samples.shape)}."
        )
    return samples.flatten(1)


def _as_distributions(rows: Tensor) -> Tensor:
    shifted = rows - rows.amin(dim=-1, keepdim=True) + OFFSET
    shifted /= shifted.sum(dim=-1, keepdim=True)
    return shifted
