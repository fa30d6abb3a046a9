"""Run models of one architecture as one: parameters stacked, `torch.vmap` over the stack."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor, nn

from recent_prune.probe.quantities.gram import LayerGram
from recent_prune.probe.restoring.isolation import isolated
from recent_prune.probe.watching.observation import Observation, observe

OF_A_MODULE = 2**13
"""Bytes, about, that Python holds for a module and its parameters, whatever their size."""

_PLAIN = (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device, type)
_FRAMEWORK = set(vars(nn.Module()))


def architecture(model: nn.Module) -> Hashable:
    """A key that is the same for two models only if they differ in nothing but their values.

    Compared are, module by module, the type, the shapes, types and devices of parameters and
    buffers, which of them are shared, and all other attributes: numbers, strings and such by
    value, all else (functions, tensors, objects) by being the same. Hooks make a model unlike all
    others.
    """
    tensors: dict[int, int] = {}
    parts: list[Hashable] = []
    for name, module in model.named_modules(remove_duplicate=False):
        own = [*module._parameters.items(), *module._buffers.items()]
        described = tuple(
            (key, None)
            if tensor is None
            else (key, tuple(tensor.shape), tensor.dtype, tensor.device, _number(tensors, tensor))
            for key, tensor in own
        )
        attributes = tuple(
            (key, _comparable(value))
            for key, value in sorted(vars(module).items())
            if key not in _FRAMEWORK
        )
        hooks = [value for key, value in vars(module).items() if key.endswith("_hooks") and value]
        parts.append((name, type(module), described, attributes, id(module) if hooks else 0))
    return tuple(parts)


def observe_stacked(
    models: Sequence[nn.Module],
    batch: Tensor,
    layers: Sequence[str] | None,
    seed: int,
    perturbed: int = 0,
) -> list[Observation]:
    """What :func:`observe` gives for each model, from one run of all of them.

    Args:
        models: Of one :func:`architecture`; none of them is changed.
        batch: [n + perturbed, …], on their device.
        layers: As in :func:`run_observed`.
        seed: Of everything random.
        perturbed: As in :func:`observe`.

    Raises:
        Exception: Whatever stands in the way of a stacked run, such as control flow that depends
            on values.
    """
    states = [dict(_state(model)) for model in models]
    stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    # A copy: what a forward pass leaves in attributes must not outlive the stack.
    template = copy.deepcopy(models[0])
    names: list[str] = []
    stochastic = False
    unseen: tuple[str, ...] = ()

    def run(state: dict[str, Tensor]) -> tuple[list[LayerGram], list[Tensor], list[Tensor]]:
        def forward(x: Tensor) -> object:
            return torch.func.functional_call(template, state, (x,))

        seen = observe(template, batch, 0, layers, forward, perturbed, len(models))
        nonlocal stochastic, unseen
        names[:], stochastic, unseen = seen.names, seen.stochastic, seen.unseen
        embedding = [] if seen.embedding is None else [seen.embedding]
        return (
            seen.grams,
            embedding,
            [
                seen.constant_output,
                seen.nonfinite_outputs,
                seen.normalizes,
            ],
        )

    with isolated(template, seed), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        grams, embeddings, (constant, nonfinite, normalizes) = torch.vmap(run, randomness="same")(
            stacked
        )
    return [
        Observation(
            list(names),
            [LayerGram(*(tensor[i] for tensor in gram)) for gram in grams],
            embeddings[0][i] if embeddings else None,
            stochastic=stochastic,
            constant_output=constant[i],
            nonfinite_outputs=nonfinite[i],
            normalizes=normalizes[i],
            unseen=unseen,
        )
        for i in range(len(models))
    ]


def state_bytes(model: nn.Module) -> int:
    """Memory of a model's parameters and buffers."""
    return sum(tensor.numel() * tensor.element_size() for _, tensor in _state(model))


def held_bytes(model: nn.Module) -> int:
    """Memory of all of it, in main memory or on its device."""
    return state_bytes(model) + OF_A_MODULE * sum(1 for _ in model.modules())


def _state(model: nn.Module) -> list[tuple[str, Tensor]]:
    # Each shared tensor once: `functional_call` ties them again.
    return [(k, v.detach()) for k, v in (*model.named_parameters(), *model.named_buffers())]


def _number(seen: dict[int, int], tensor: Tensor) -> int:
    """In which order a tensor was first seen: equal numbers are one shared tensor."""
    return seen.setdefault(id(tensor), len(seen))


def _comparable(value: object) -> Hashable:
    if isinstance(value, _PLAIN):
        return (type(value), value)
    if isinstance(value, (tuple, list, torch.Size)):
        return (type(value), tuple(_comparable(item) for item in value))
    if isinstance(value, dict):
        return tuple((_comparable(k), _comparable(v)) for k, v in value.items())
    # The very same object only; held by the key, so that its id is not used again.
    return _Identity(value)


class _Identity:
    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other._value is self._value

    def __hash__(self) -> int:
        return id(self._value)
