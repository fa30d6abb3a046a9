"""What runs beside a model in training: losses that learn or count, a mean of its weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from recent_prune.probe.restoring.interrupts import putting_back
from recent_prune.probe.restoring.training_state import LARGEST_COPIED, contents_restored


@putting_back
def beside_restored(model: nn.Module, modules: Sequence[nn.Module]) -> Iterator[None]:
    """Put back attributes, buffers, parameters and gradients that were written to.

    Parameters of more than `LARGEST_COPIED` bytes in all, as a teacher has, are not copied.

    Args:
        model: Whose parameters are looked after elsewhere.
        modules: Each by itself, without its parts.
    """
    own = {id(parameter) for parameter in model.parameters()}
    buffers = [t for m in modules for t in m.buffers(recurse=False) if _has_values(t)]
    known = [t for m in modules for t in m.parameters(recurse=False) if id(t) not in own]
    parameters = [parameter for parameter in known if _has_values(parameter)]
    small = sum(p.numel() * p.element_size() for p in parameters) <= LARGEST_COPIED
    tensors = [*buffers, *(parameters if small else ())]
    values = [(tensor, tensor._version, tensor.detach().clone()) for tensor in tensors]
    gradients = [
        (p, p.grad, None if p.grad is None else p.grad.detach().clone())
        for p in (parameters if small else ())
        if p.requires_grad
    ]
    try:
        with contents_restored(modules):
            yield
    finally:
        with torch.no_grad():
            for tensor, version, value in values:
                if tensor._version != version:
                    tensor.copy_(value)
            for parameter, gradient, value in gradients:
                parameter.grad = gradient
                if gradient is not None and value is not None:
                    gradient.copy_(value)


def _has_values(tensor: Tensor) -> bool:
    plain = not (is_lazy(tensor) or tensor.is_meta or tensor.is_inference())
    return plain and tensor.layout == torch.strided
