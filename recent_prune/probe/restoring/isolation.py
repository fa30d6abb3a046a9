"""Run a model and leave no trace: mode, buffers and random states come back as they were."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.spectral_norm import SpectralNorm

from recent_prune.probe.restoring.devices import (
    has_random_state,
    random_state,
    seed_random_state,
    set_random_state,
)
from recent_prune.probe.restoring.interrupts import interrupts_waiting, putting_back
from recent_prune.probe.restoring.tensors import held, put_back

_NEEDS_AUTOGRAD = (
    "does not require grad and does not have a grad_fn",
    "One of the differentiated Tensors does not require grad",
    "One of the differentiated Tensors appears to not have been used",
)

T = TypeVar("T")

ONE_AT_A_TIME = threading.RLock()
"""Two probes in step would each restore the random state (and of a shared model the mode) that the
other one set."""


_HELD: ContextVar[frozenset[int]] = ContextVar("held", default=frozenset())


@contextmanager
def held_in_evaluation(model: nn.Module) -> Iterator[None]:
    """Inside, a probe leaves parts that are in evaluation mode there: so they are trained, too."""
    token = _HELD.set(frozenset(id(part) for part in model.modules() if not part.training))
    try:
        yield
    finally:
        _HELD.reset(token)


def set_to_train(model: nn.Module) -> None:
    """Training mode, but for what is held in evaluation mode."""
    model.train()
    _hold(model)


def _hold(model: nn.Module) -> None:
    ids = _HELD.get()
    for part in model.modules() if ids else ():
        part.training &= id(part) not in ids


@putting_back
def run_eagerly(model: nn.Module) -> Iterator[None]:
    """Inside, modules that were compiled in place (``model.compile()``) run as they are written.

    A probe runs them once and watches their parts: compiling would take longer than all of it.
    """
    name = "_compiled_call_impl"
    compiled = [(m, vars(m)[name]) for m in model.modules() if vars(m).get(name) is not None]
    try:
        for module, _ in compiled:
            setattr(module, name, None)
        yield
    finally:
        for module, call in compiled:
            setattr(module, name, call)


@putting_back
def isolated(model: nn.Module, seed: int) -> Iterator[None]:
    """Put ``model`` into probing mode and restore everything on leaving, also after an error.

    Probing mode is evaluation mode (no dropout, no stochastic depth), except that batch and
    instance normalisation use the statistics of the batch: at initialization their running
    statistics are placeholders (mean 0, variance 1), with which the network would be probed as
    if it had no normalisation at all; and layers under ``torch.nn.utils.spectral_norm`` estimate
    their norms, as a training step would. None of what is :func:`held_in_evaluation` does. The
    caller's autocast and inference mode are switched off.

    Restored are the training flag of every module, which parameters it has, every buffer (identity,
    and values unless it is sparse), and the random states of Python, NumPy, and PyTorch on the CPU
    and on the model's devices. No gradient is recorded. What ``forward`` writes to attributes and
    to parameters (but for embeddings with ``max_norm``) is for :func:`model_restored`.

    Random states are global, so threads take turns; a thread that trains meanwhile shares them
    with the probe, as threads that train do with each other.

    Args:
        model: The model to be run inside the block.
        seed: Seed of all random states inside the block.
    """
    with (
        forked_random_states(accelerators(model), seed),
        modules_restored(model),
        plain_arithmetic(device_of(model)),
        _plain_attention(),
    ):
        for module in model.modules():
            module.training = isinstance(module, _NormBase) or _is_spectral(module)
        _hold(model)
        yield


def run_isolated(model: nn.Module, seed: int, run: Callable[[], T]) -> T:
    """Run a function in isolation; again with autograd, where a model needs it in its forward pass.

    Energies that are differentiated, physics-informed networks and gradient penalties do.

    Args:
        model: See :func:`isolated`.
        seed: Likewise.
        run: Runs the model.
    """
    try:
        with isolated(model, seed):
            return run()
    except RuntimeError as error:
        if not any(part in str(error) for part in _NEEDS_AUTOGRAD):
            raise
    with isolated(model, seed), torch.enable_grad():
        return run()


@putting_back
def plain_arithmetic(device: torch.device) -> Iterator[None]:
    """Without gradients, and without the caller's autocast and inference mode."""
    # Not inference_mode: a tensor that a model caches on its first forward (positional tables)
    # would then be an inference tensor and break the training that follows.
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        torch.autocast(device.type, enabled=False),
    ):
        yield


@putting_back
def _plain_attention() -> Iterator[None]:
    """Without the fast path of evaluation mode: it leaves padding out, in nested tensors."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's first parameter (or buffer); the CPU if it has neither."""
    for tensor in _tensors(model):
        return tensor.device
    return torch.device("cpu")


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _is_spectral(module: nn.Module) -> bool:
    hooks = module._forward_pre_hooks.values()
    return any(isinstance(hook, SpectralNorm) for hook in hooks)


def accelerators(model: nn.Module) -> list[torch.device]:
    """The model's devices with random states of their own."""
    return sorted({t.device for t in _tensors(model) if has_random_state(t.device)}, key=str)


@putting_back
def modules_restored(model: nn.Module) -> Iterator[None]:
    """Put back modes, which parameters there are, and buffers, dense ones with their values."""
    modes = [(module, module.training) for module in model.modules()]
    owned: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (own, dict(own))
        for module in eager_modules(model)
        for own in (module._parameters, module._buffers)
    ]
    # An embedding with a maximal norm scales its weights down in its forward pass.
    scaled = [p for m in model.modules() if getattr(m, "max_norm", None) for p in m.parameters()]
    everything = (*model.buffers(), *scaled)
    dense = [t for t in everything if t.layout == torch.strided and not t.is_meta]
    values = [held(tensor) for tensor in dense]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for own, named in owned:
            own.clear()
            own.update(named)
        put_back(values)


def eager_modules(model: nn.Module) -> list[nn.Module]:
    """All modules but scripted ones, whose parameters and buffers cannot be exchanged."""
    return [m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule)]


@putting_back
def forked_random_states(devices: Sequence[torch.device], seed: int) -> Iterator[None]:
    """Seed the random states of Python, NumPy and PyTorch and put them back on leaving.

    Threads take turns.

    Args:
        devices: Accelerators whose states are meant, besides that of the CPU.
        seed: Of all of them.
    """
    with interrupts_waiting(), ONE_AT_A_TIME:
        python, numpy = random.getstate(), np.random.get_state()
        cpu = torch.default_generator.get_state()
        states = [(device, random_state(device)) for device in devices]
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            # Not torch.manual_seed: before CUDA is initialised it queues a seed for every GPU,
            # which would change the user's CUDA random state later.
            torch.default_generator.manual_seed(seed)
            for device in devices:
                seed_random_state(device, seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            torch.default_generator.set_state(cpu)
            for device, state in states:
                set_random_state(device, state)
