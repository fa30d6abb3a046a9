"""What kind of module is it?"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrize import is_parametrized

_NORMALIZATION_NAME = re.compile("[Nn]orm(?!al(?!i[sz]))")
"""MyNorm2d and Normalize, but neither NormalMLP nor LogNormal."""

SCALED_DOWN = 1e-3
"""Parameters that scale a branch and start all at this or less do so on purpose."""

BEGINNING = 1024
"""Numbers of a parameter that are looked at first."""

_NORMALIZATIONS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside ``torch.compile``, ``DataParallel`` or ``DistributedDataParallel``.

    A probe runs it once and watches its parts: compiling or spreading it would be waste.
    """
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """All modules of a model but those that compute parametrized weights.

    ``torch.nn.utils.parametrize`` keeps them as children (``linear.parametrizations``); what
    passes through them are weights, not activations.
    """
    for name, module in model.named_modules():
        if "parametrizations" not in name.split("."):
            yield name, module


def is_normalization(module: nn.Module) -> bool:
    """Whether a module normalises activations: PyTorch's, and what is named as such.

    A name alone does not make one of a module with weights, such as a block, or a network that is
    free of norms.
    """
    if isinstance(module, _NORMALIZATIONS):
        return True
    named = _NORMALIZATION_NAME.search(type(module).__name__)
    return named is not None and not any(map(_is_matrix, module.parameters()))


def _is_matrix(parameter: nn.Parameter) -> bool:
    """Whether more than one axis is longer than one."""
    return sum(length > 1 for length in parameter.shape) > 1


def is_weighted(module: nn.Module) -> bool:
    """Whether a module owns a parameter with two or more axes and is no normalisation.

    Or a quantized weight, which is no parameter.
    """
    return not is_normalization(module) and (bool(own_weights(module)) or is_quantized(module))


def is_quantized(module: nn.Module) -> bool:
    """Whether a module keeps its weight packed, as those of ``torch.ao`` do after quantization."""
    packed = callable(getattr(module, "weight", None))
    return packed and ".quantized" in type(module).__module__


def is_sharded(module: nn.Module) -> bool:
    """Whether its parameters lie in parts on several processes: ``fully_shard``, FSDP, DTensors.

    FSDP exchanges and frees the parameters of its modules as they run.
    """
    kinds = {kind.__name__ for kind in type(module).__mro__}
    own = module.parameters(recurse=False)
    sharding = bool(kinds & {"FSDPModule", "FullyShardedDataParallel"})
    return sharding or any(hasattr(parameter, "full_tensor") for parameter in own)


def own_weights(module: nn.Module) -> list[nn.Parameter]:
    """The parameters with two or more axes that a module itself owns, parametrized or not."""
    own = list(module.parameters(recurse=False))
    if is_parametrized(module):
        own += list(module.parametrizations.parameters())  # type: ignore[union-attr]
    return [parameter for parameter in own if parameter.dim() >= 2]


def starts_at_zero(model: nn.Module, *, silent: bool = False) -> bool:
    """Whether a layer's weights are all zero, as of one that starts at zero on purpose.

    Behind it nothing arrives before the first step, and training changes that: a head, the end of
    a residual branch or an adapter. But not where all of a deep model is zero: its units are the
    same then, and stay the same. Nor need it be zero to the last bit: a scale of 1e-5 in front of a
    residual branch (LayerScale, arXiv 2103.17239) lets as little through.

    Args:
        model: As it is.
        silent: Whether its output is the same for all inputs: then a closed gate counts, too.
    """
    if _any_scaled_down(model) or (silent and _has_zero_scale(model)):
        return True
    weighted = [own for _, m in named_modules(model) if is_weighted(m) for own in _layers(m)]
    # All at once: on a GPU every answer is waited for.
    found = iter(_nonzero([weight for own in weighted for weight in own]))
    of_layers = [[next(found) for _ in own] for own in weighted]
    if all(map(any, of_layers)):
        return False
    return len(weighted) == 1 or any(_nonzero(list(model.parameters())))


def _layers(module: nn.Module) -> list[list[nn.Parameter]]:
    """Its weights by layer: those of PyTorch's modules are one, of a user's each its own."""
    own = own_weights(module)
    in_pytorch = type(module).__module__.startswith("torch.")
    lists = isinstance(module, (nn.ParameterList, nn.ParameterDict))
    layers = [own] if in_pytorch and not lists else [[weight] for weight in own]
    return [layer for layer in layers if layer]


def _has_zero_scale(model: nn.Module) -> bool:
    """Whether a number, or a vector of numbers, that trains is zero throughout, biases aside.

    A gate or a scale that starts there lets nothing through, and opens with the first steps. Where
    something comes out it says nothing: some scale by one more than the number.
    """
    named = ((name, p) for name, p in model.named_parameters() if p.requires_grad and p.dim() < 2)
    scales = [p for name, p in named if p.numel() and not name.endswith("bias")]
    return not all(_nonzero(scales)) and any(_nonzero(list(model.parameters())))


def _any_scaled_down(model: nn.Module) -> bool:
    """Whether a vector of parameters is one small number throughout."""
    # Biases may be such a number without scaling anything.
    named = model.named_parameters()
    vectors = [p.detach() for n, p in named if _is_vector(p) and not n.endswith("bias")]
    if not vectors:
        return False
    ends = [torch.stack(v.aminmax()).float().to(vectors[0].device) for v in vectors]
    found: list[list[float]] = torch.stack(ends).tolist()
    return any(low == high and 0 < abs(low) <= SCALED_DOWN for low, high in found)


def _is_vector(parameter: nn.Parameter) -> bool:
    return parameter.dim() == 1 and len(parameter) > 1 and parameter.is_floating_point()


def _nonzero(tensors: list[nn.Parameter]) -> list[bool]:
    """Which of them hold anything but zeros."""
    if not tensors:
        return []
    # Most do at their beginning; to read large ones to their end takes a share of a forward pass.
    known = [tensor.detach() for tensor in tensors]
    answers = _any([tensor.flatten()[:BEGINNING] for tensor in known])
    places = [place for place, answer in enumerate(answers) if not answer]
    for place, answer in zip(places, _any([known[place] for place in places]), strict=True):
        answers[place] = answer
    return answers


def _any(tensors: list[Tensor]) -> list[bool]:
    if not tensors:
        return []
    flags = [tensor.any() for tensor in tensors]
    answers: list[bool] = torch.stack([flag.to(flags[0].device) for flag in flags]).tolist()
    return answers
