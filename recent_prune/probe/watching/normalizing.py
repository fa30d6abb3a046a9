"""Does a model normalise its activations, however that is written?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from recent_prune.probe.watching.code import names_in_code
from recent_prune.probe.watching.modules import is_normalization, named_modules

_NORMALIZING = {"layer_norm", "group_norm", "instance_norm", "batch_norm", "rms_norm", "rsqrt"}
"""PyTorch's functions; of a mean square ``rsqrt`` is what is written by hand."""

_STATISTICS = {"std", "var", "std_mean", "var_mean", "mean", "sum", "amax", "norm", "vector_norm"}
"""From these a scale is made where it is written by hand otherwise."""

_DEVIATIONS = {"std", "var", "std_mean", "var_mean"}
"""What is divided by one has a scale of its own, if not unit: weights are, by their number, too."""

_WEIGHTED = {"linear", "matmul", "__matmul__", "bmm", "einsum", "embedding"}
"""After one of these, or a convolution, what is scaled is no longer the input."""

_DIVIDING = {"div", "true_divide", "divide", "__truediv__", "__itruediv__", "div_", "__div__"}
_MULTIPLYING = {"mul", "multiply", "__mul__", "__rmul__", "__imul__", "mul_"}
_INVERTING = {"rsqrt", "reciprocal", "__rtruediv__", "__rdiv__"}

_LEAST, _MOST = 0.5, 10.0
"""Mean square of what was divided by its own mean or norm. A softmax that is written by hand lies
below, so do embeddings of unit length, and what is not centred lies above 1."""


@dataclass(frozen=True)
class _Scale:
    """A statistic, held so that its id stays its own.

    Attributes:
        value: The tensor.
        count: How many numbers it is of.
        inverse: Whether it is one over a scale.
        deviation: Whether it is made of a standard deviation or variance.
    """

    value: Tensor
    count: int
    inverse: bool
    deviation: bool


def has_normalization(model: nn.Module) -> bool:
    """Whether any module of a model normalises activations, or names a function that does.

    A weight that is standardized so counts as well, as its layer keeps the scale of what comes in.
    """
    modules = [module for _, module in named_modules(model)]
    return any(map(is_normalization, modules)) or bool(_NORMALIZING & names_in_code(modules))


def may_normalize(model: nn.Module) -> bool:
    """Whether the code of a model's own modules names what a scale could be made of.

    To watch every call that a model makes takes a tenth of a probe; most need not be.
    """
    return bool(_STATISTICS & names_in_code([module for _, module in named_modules(model)]))


class Normalizing:
    """Sees a model divide activations by a statistic of their own, so that they have unit scale.

    A statistic is what a reduction gives, and what is computed from such alone. That the result has
    unit scale is looked at. No branch depends on values, so that it works under ``torch.vmap``, and
    on a GPU nothing is waited for.

    Attributes:
        found: Whether that happened, [].
    """

    def __init__(self) -> None:
        self.found = torch.tensor(False)
        self._scales: dict[int, _Scale] = {}
        self._begun = False

    def look(self, name: str, args: Sequence[Any], result: Any) -> None:
        """At a call of one of PyTorch's functions."""
        given = [value for value in args if isinstance(value, Tensor)]
        if name in _WEIGHTED or name.startswith("conv"):
            self._begun = True
        elif name in _STATISTICS:
            for tensor in result if isinstance(result, tuple) else [result]:
                if given and _is_scale(tensor) and tensor.numel() < given[0].numel():
                    known_as = _Scale(tensor, given[0].numel(), False, name in _DEVIATIONS)
                    self._scales[id(tensor)] = known_as
        elif isinstance(result, Tensor) and given:
            *others, last = (self._scales.get(id(tensor)) for tensor in given)
            if last is None:
                return
            if None not in others:
                self._scales[id(result)] = _derived(name, args, result, last)
            elif self._begun and len(given) == 2:
                self._scaled(name, given[0], result, last)

    def _scaled(self, name: str, whole: Tensor, result: Tensor, scale: _Scale) -> None:
        divides = name in (_MULTIPLYING if scale.inverse else _DIVIDING)
        if not divides or whole.numel() != scale.count or result.shape != whole.shape:
            return
        if scale.deviation:
            self.found = torch.ones_like(self.found)
            return
        missing = result.dim() - scale.value.dim()
        lengths = [1] * missing + list(scale.value.shape)
        over = [axis for axis, length in enumerate(lengths) if length < result.shape[axis]]
        square = result.detach().float().square().mean(dim=over)
        units = (square > _LEAST) & (square < _MOST)
        self.found = self.found.to(units.device) | (units.float().mean() > 0.5)


def _derived(name: str, args: Sequence[Any], result: Tensor, scale: _Scale) -> _Scale:
    """What is computed from scales alone."""
    negative = name in ("pow", "__pow__") and len(args) > 1 and _is_negative(args[1])
    number_over = name in _DIVIDING and not isinstance(args[0], Tensor)
    turned = name in _INVERTING or negative or number_over
    return replace(scale, value=result, inverse=scale.inverse != turned)


def _is_scale(tensor: object) -> bool:
    return isinstance(tensor, Tensor) and (tensor.is_floating_point() or tensor.is_complex())


def _is_negative(power: object) -> bool:
    return isinstance(power, (int, float)) and power < 0
