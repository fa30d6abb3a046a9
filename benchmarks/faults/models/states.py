"""All of a model's, an optimizer's and Python's that a probe must put back, to the last bit."""

from __future__ import annotations

import random
import signal
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.optim import Optimizer

State = dict[str, object]
"""What was where, by a name for a reader: plain values that compare."""


def bits(tensor: Tensor) -> object:
    """Type, shape and all values: −0 is not 0, and NaN is NaN."""
    if isinstance(tensor, (UninitializedParameter, UninitializedBuffer)) or tensor.is_meta:
        return str(tensor.dtype)
    tensor = tensor.detach()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    whole = tensor.resolve_conj().contiguous().reshape(-1)
    return tensor.dtype, tuple(tensor.shape), whole.view(torch.uint8).numpy().tobytes()


def state_of(value: Any, path: str, seen: set[int] | None = None) -> Iterator[tuple[str, object]]:
    """Everything below a value, each with its identity."""
    seen = set() if seen is None else seen
    if isinstance(value, (bool, int, float, complex, str, bytes, type(None), torch.dtype)):
        yield path, repr(value)
        return
    yield path, id(value)
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield from _of_tensor(value, path)
    elif isinstance(value, nn.Module):
        yield from _of_module(value, path, seen)
    elif isinstance(value, Optimizer):
        yield from state_of(vars(value), path, seen)
    elif isinstance(value, dict):
        yield f"{path}.keys", [key if isinstance(key, str) else id(key) for key in value]
        for place, item in enumerate(value.values()):
            yield from state_of(item, f"{path}[{place}]", seen)
    elif isinstance(value, (list, tuple)):
        yield f"{path}.length", len(value)
        for place, item in enumerate(value):
            yield from state_of(item, f"{path}[{place}]", seen)
    elif isinstance(value, np.ndarray):
        yield f"{path}.values", (value.dtype.str, value.shape, value.tobytes())
    elif isinstance(value, torch.Generator):
        yield f"{path}.state", bits(value.get_state())
    elif hasattr(value, "state_dict"):  # schedules, scalers, loaders that tell their position
        yield from state_of(_values(value.state_dict()), f"{path}.state_dict", seen)


def _values(value: Any) -> Any:
    """A state_dict is made anew each time: its values are meant, not its identity."""
    if isinstance(value, dict):
        return repr({key: _values(item) for key, item in value.items()})
    return bits(value) if isinstance(value, Tensor) else value


def _of_tensor(tensor: Tensor, path: str) -> Iterator[tuple[str, object]]:
    yield f"{path}.values", bits(tensor)
    yield f"{path}.requires_grad", tensor.requires_grad
    if tensor.is_leaf:
        grad = tensor.grad
        yield f"{path}.grad", None if grad is None else (id(grad), bits(grad))
        hooks = (tensor._backward_hooks, getattr(tensor, "_post_accumulate_grad_hooks", None))
        yield f"{path}.hooks", [[*map(id, found.values())] if found else [] for found in hooks]


def _of_module(model: nn.Module, path: str, seen: set[int]) -> Iterator[tuple[str, object]]:
    for name, module in model.named_modules(remove_duplicate=False):
        place = f"{path}.{name}"
        yield f"{place}.type", type(module)
        yield f"{place}.training", module.training
        for kind in ("_parameters", "_buffers", "_modules"):
            own = vars(module)[kind]
            yield f"{place}.{kind}", [(key, id(item)) for key, item in own.items()]
            if kind != "_modules":
                for key, item in own.items():
                    yield from state_of(item, f"{place}.{kind}.{key}", seen)
        for kind, hooks in vars(module).items():
            if "hooks" in kind and isinstance(hooks, dict):
                yield f"{place}.{kind}", [(key, id(hook)) for key, hook in hooks.items()]


def state_of_python() -> State:
    """Random states, and what is set for the whole process or thread."""
    hooks = {name: value for name, value in vars(global_hooks).items() if "_hooks" in name}
    return {
        "random state of Python": random.getstate(),
        "random state of NumPy": [
            part.tobytes() if isinstance(part, np.ndarray) else part
            for part in np.random.get_state()
        ],
        "random state of PyTorch": bits(torch.get_rng_state()),
        "gradients recorded": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "fast path of attention": torch.backends.mha.get_fastpath_enabled(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "default type": torch.get_default_dtype(),
        "filters of warnings": list(warnings.filters),
        "handler of interrupts": signal.getsignal(signal.SIGINT),
        "global hooks": [
            (name, [*map(id, found.values())])
            for name, found in hooks.items()
            if isinstance(found, dict)
        ],
    }


def differences(before: State, after: State) -> list[str]:
    """Names of what is not as it was."""
    names = {**before, **after}
    return [name for name in names if before.get(name) != after.get(name)]
