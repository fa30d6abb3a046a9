"""Where a profile over depth stops changing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real


def saturation_cutoff(profile: Sequence[float], rtol: float = 0.005) -> int:
    """Index of the deepest entry of a profile that still differs from its last one.

    The profile is divided by its last value; the cutoff is the largest (zero-based) index whose
    quotient differs from 1 by more than ``rtol``. If entry 0 belongs to the input itself, as in
    :attr:`ProbeResult.cutoff`, this is the number of layers before the profile saturates, and a
    network deeper than that is predicted untrainable.

    A **constant** profile gives 0: nothing changes after its first entry, so nothing is known to
    arrive at depth. The published code gives the full depth there, "fully trainable", although
    total collapse in the first layer looks just like this.

    Args:
        profile: Relative entropies over depth, nats, shallow to deep; non-empty and finite.
        rtol: Relative tolerance. Default 0.005, the paper's for DNNs; it uses 0.01 for CNNs and
            ResNets.

    Returns:
        An index from 0 to ``len(profile) - 2`` (0 if there is only one entry).

    Raises:
        ValueError: If the profile is empty or not finite, or ``rtol`` is not positive.

    Source: arXiv 2406.12916, section 3 (cutoff), and the authors' code.
    """
    if len(profile) == 0:
        raise ValueError("`profile` must not be empty.")
    for index, value in enumerate(profile):
        if not math.isfinite(value):
            raise ValueError(f"`profile` must be finite, but got {value} at index {index}.")
    check_tolerance(rtol)
    last = profile[-1]
    # |value / last − 1| > rtol, written so that a last value of zero needs no case of its own;
    # 0.99 against 1 is within 0.01 although floating point makes it a little more.
    tolerance = rtol * abs(last) * (1 + 1e-9)
    differing = [i for i, value in enumerate(profile) if abs(value - last) > tolerance]
    return differing[-1] if differing else 0


def check_tolerance(rtol: float) -> None:
    """Refuse a tolerance that is not positive.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(rtol, Real) or not rtol > 0:
        raise ValueError(f"`rtol` must be positive, but got {rtol!r}.")
