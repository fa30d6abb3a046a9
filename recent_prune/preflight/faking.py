"""A trial without values: a model, its loss and its optimizer whose tensors take no memory."""

from __future__ import annotations

import copy
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from recent_prune.probe.batches.raising import raising
from recent_prune.probe.first_steps.training import Training
from recent_prune.probe.restoring.reaching import reached

ModelFactory = Callable[[], nn.Module]
"""Builds a model, such as ``lambda: torchvision.models.resnet50()``."""


_ONE_AT_A_TIME = threading.RLock()


def built(factory: ModelFactory, mode: FakeTensorMode, device: torch.device) -> nn.Module:
    """What a function builds, with nothing allocated: on fake tensors, else on ``meta``.

    A function that asks for values (a schedule over the layers, ``linspace(…).tolist()``) fails on
    fake tensors. It is called again with values, but for what ``torch.empty`` and ``empty_like``
    make: the parameters of PyTorch's layers.

    Raises:
        TypeError: If it builds no module.
        ValueError: If it converts a model that is there already.
        Exception: What the function raises, both times.
    """
    there = [found for found in reached([factory]) if isinstance(found, nn.Module)]
    try:
        with mode, torch.device(device), _swappable(mode, there):
            made = factory()
    except _NotBuiltError as error:
        raise ValueError(str(error)) from None
    except Exception:
        with raising("the function that builds the model"), _EmptyOnMeta():
            made = factory()
    if not isinstance(made, nn.Module):
        raise TypeError(
            f"`model` must be a module or a function that builds one, but built a "
            f"{type(made).__name__}."
        )
    return made


class _NotBuiltError(ValueError):
    """A model that is there would be left without values."""


@contextmanager
def _swappable(mode: FakeTensorMode, there: Sequence[nn.Module]) -> Iterator[None]:
    """Let modules be moved and cast (``.to(torch.bfloat16)``, ``skip_init``) as they are built.

    PyTorch then swaps their parameters, which it refuses where anything refers to them weakly; its
    memo of fake tensors does. What is forgotten is only which real tensors have a fake one. Modules
    that were there before are the user's own, and not to be converted.
    """
    with _ONE_AT_A_TIME:  # or of two threads one would put back what the other had put there
        original: Any = torch.utils.swap_tensors
        convert: Any = nn.Module._apply

        builder, own = threading.get_ident(), set(map(id, there))

        def swap(*tensors: Tensor) -> None:
            if threading.get_ident() == builder:
                mode.fake_tensor_converter.tensor_memo.clear()
            original(*tensors)

        def converted(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() == builder and any(
                id(part) in own and part._parameters for part in module.modules()
            ):
                raise _NotBuiltError(
                    "`model` must be a function that builds a model, but it converts a "
                    f"{type(module).__name__} that is there already: give the model itself, and "
                    "where it will train as `device`."
                )
            return convert(module, *args, **kwargs)

        torch.utils.swap_tensors = swap
        nn.Module._apply = converted  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            torch.utils.swap_tensors = original
            nn.Module._apply = convert  # type: ignore[method-assign]


class _EmptyOnMeta(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Any = (),
        kwargs: Any = None,
    ) -> Any:
        given = kwargs or {}
        if func in (torch.empty, torch.empty_like):
            return func(*args, **{**given, "device": "meta"})
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda) and args[0].is_meta:
            dtypes = [v for v in (*args[1:], *given.values()) if isinstance(v, torch.dtype)]
            return args[0].type(dtypes[0]) if dtypes else args[0]
        return func(*args, **given)


def faked(
    model: nn.Module, training: Training, mode: FakeTensorMode, device: torch.device
) -> tuple[nn.Module, Training]:
    """Copies without values, on a device; what is given stays as it is.

    An optimizer over the model's parameters becomes one of its class and settings over the copies,
    without state. A scheduler and a gradient scaler, which take no memory to speak of, are left
    out.

    Args:
        model: Unwrapped; real, fake or on ``meta``.
        training: How it trains.
        mode: Of the copies.
        device: Of the copies.
    """
    memo: dict[int, Any] = {}
    with mode, FakeCopyMode(mode):
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.layout == torch.strided:
                memo[id(tensor)] = _empty(tensor, device)
        copied = copy.deepcopy(model, memo)
        optimizer, loss = training.optimizer, training.loss
        if isinstance(optimizer, Optimizer):
            memo[id(optimizer.state)] = defaultdict(dict)
            optimizer = copy.deepcopy(optimizer, memo)
        if isinstance(loss, nn.Module):
            loss = copy.deepcopy(loss, memo)
    for parameter in copied.parameters():
        parameter.grad = None
    without = {"scheduler": None, "scaler": None, "learning_rate": None}
    return copied, replace(training, optimizer=optimizer, loss=loss, **without)  # type: ignore[arg-type]


def _empty(tensor: Tensor, device: torch.device) -> Tensor:
    made = torch.empty_strided(
        tensor.size(), tensor.stride(), dtype=tensor.dtype, device=device, requires_grad=False
    )
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(made, requires_grad=tensor.requires_grad)
    return made
