"""What the tests of the first steps share: batches, networks, snapshots and a plain loop."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from recent_prune.data import load_digits

Batch = tuple[Tensor, Tensor]
Factory = Callable[[Iterable[nn.Parameter]], Optimizer]


def batches(count: int = 10, size: int = 40) -> list[Batch]:
    """Digits and their classes."""
    data = load_digits()
    images, labels = data.train[: count * size], data.train_labels[: count * size]
    return list(zip(images.split(size), labels.split(size), strict=True))


def flat(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Those that Muon takes."""
    return [p for p in parameters if p.dim() == 2]


def dense_optimizers() -> dict[str, Factory]:
    """Every optimizer of PyTorch that takes a dense model, and what it can be set to."""
    special: dict[str, Factory] = {
        "Muon": lambda p: torch.optim.Muon(flat(p)),
        "LBFGS": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
        "SGD": lambda p: torch.optim.SGD(p, 0.1),
    }
    classes = {
        name: kind
        for name, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, Optimizer)
    }
    plain = set(classes) - {"Optimizer", "SparseAdam"}
    return {name: special.get(name, classes[name]) for name in sorted(plain)} | {
        "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
        "Adam, foreach": lambda p: torch.optim.Adam(p, 1e-3, foreach=True, amsgrad=True),
        "SGD, foreach": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=True),
        "RMSprop, foreach": lambda p: torch.optim.RMSprop(p, 1e-3, momentum=0.9, foreach=True),
        "Adam, fused": lambda p: torch.optim.Adam(p, 1e-3, fused=True),
        "AdamW, fused": lambda p: torch.optim.AdamW(p, 1e-3, fused=True),
        "SGD, fused": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, fused=True),
        "Adagrad, fused": lambda p: torch.optim.Adagrad(p, 1e-2, fused=True),
        "Adam, capturable rate": lambda p: torch.optim.Adam(p, torch.tensor(1e-3)),
    }


DENSE = dense_optimizers()


def train(model: nn.Module, optimizer: Optimizer, data: Sequence[Batch]) -> None:
    """A loop as everybody writes it."""
    for images, labels in data:

        def closure(images: Tensor = images, labels: Tensor = labels) -> Tensor:
            optimizer.zero_grad()
            loss = cross_entropy(model(images), labels)
            loss.backward()
            return loss

        optimizer.step(closure)  # type: ignore[arg-type]


def bits(tensor: Tensor) -> bytes:
    """All of a tensor's values, to the last bit: −0 is not 0, and NaN is NaN."""
    dense = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
    return bytes(dense.contiguous().flatten().view(torch.uint8).tolist())


def snapshot(value: Any) -> Any:
    """Nested dictionaries, lists and tensors, with the identity of each."""
    if isinstance(value, Tensor):
        return id(value), value.dtype, tuple(value.shape), bits(value)
    if isinstance(value, dict):
        return id(value), [
            (id(k) if isinstance(k, Tensor) else k, snapshot(v)) for k, v in value.items()
        ]
    if isinstance(value, (list, tuple)):
        return id(value), [snapshot(item) for item in value]
    if isinstance(value, (int, float, str, bool, type(None))):
        return value
    return id(value)


def model_state(model: nn.Module) -> Any:
    """All of a model that first steps could change."""
    parameters = [
        (name, snapshot(p), p.requires_grad, snapshot(p.grad))
        for name, p in model.named_parameters(remove_duplicate=False)
    ]
    buffers = [(name, snapshot(b)) for name, b in model.named_buffers()]
    modules = [
        (
            name,
            m.training,
            [(n, id(p)) for n, p in m._parameters.items()],
            [
                [(key, id(hook)) for key, hook in hooks.items()]
                for hooks in (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks)
            ],
        )
        for name, m in model.named_modules()
    ]
    return parameters, buffers, modules


def random_states() -> list[object]:
    """Of Python, NumPy and PyTorch."""
    return [random.getstate(), str(np.random.get_state()), bits(torch.get_rng_state())]


def values(model: nn.Module) -> list[bytes]:
    """Weights and buffers without their identity, to compare two models."""
    return [bits(tensor) for tensor in model.state_dict().values()]


def optimizer_values(optimizer: Optimizer) -> Any:
    """Its state without identities, to compare two optimizers."""

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            return bits(value)
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value

    return plain(optimizer.state_dict())
