"""Watch the activations of any module pass by, in the order of execution."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import UninitializedParameter
from torch.utils.hooks import RemovableHandle

from recent_prune.probe.inputs import first_tensor

Observer = Callable[[str, Tensor], None]
"""Called with the name and the value [n, …] of each probed activation as it passes."""


def run_observed(
    model: nn.Module, batch: Tensor, observe: Observer, layers: Sequence[str] | None
) -> None:
    """Run ``model(batch)`` once and show each probed activation to ``observe``.

    By default these are the **hidden activations**: what arrives at each weighted layer (a
    module that owns a parameter with two or more axes, normalisations aside) after the first
    one. That is each layer's output after its activation function, normalisation and pooling,
    however they are written (modules or functions), and the sum where a skip connection ends;
    the deepest is what arrives at the head. The first floating tensor that arrives at a weighted
    layer is the (embedded) input itself and is not among them. Nothing is kept here, so memory
    is what the forward pass needs.

    An activation is named after the module that made it, or ``"input of NAME"`` where a function
    did; a name that comes again gets ``#2``, ``#3``, …. Tensors whose first axis is not the
    batch are passed over. A model without hidden activations shows its output as ``"output"``.

    Args:
        model: Any module; hooks are removed again, also after an error.
        batch: Shape [n, …], on the model's device.
        observe: Receives ``(name, activation [n, …])``.
        layers: Names of modules whose outputs are to be shown instead of the default choice.

    Raises:
        ValueError: If ``layers`` names what the model has not, or what did not run.
    """
    if layers is not None:
        _run_named(model, batch, observe, layers)
        return
    watch = _HiddenActivations(batch, observe)
    with watch.attached(model):
        output = _forward(model, batch)
    if not watch.shown:
        tensor = first_tensor(output)
        if tensor is None or not _is_activation(tensor, len(batch)):
            raise ValueError(
                f"`model` ({type(model).__name__}) has no activations to probe: no floating "
                f"tensor of {len(batch)} samples arrives at a weighted layer after the first, "
                f"and its output is {_describe(output)}."
            )
        observe("output", tensor)


def check_model(model: nn.Module) -> None:
    """Refuse what cannot be probed at all.

    Raises:
        TypeError: If ``model`` is not a module.
        ValueError: If it has no parameters, or parameters that are not initialized yet.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"`model` must be a torch.nn.Module, but got {type(model).__name__}.")
    parameters = dict(model.named_parameters())
    if not parameters:
        raise ValueError(
            f"`model` ({type(model).__name__}) has no parameters, so there is no "
            "initialization to probe."
        )
    for name, parameter in parameters.items():
        if isinstance(parameter, UninitializedParameter):
            raise ValueError(
                f"`model` has the uninitialized parameter {name!r}: run one forward pass of "
                "lazy modules before the probe."
            )


class _HiddenActivations:
    """Hooks that name tensors by the module that made them and show what weighted layers get."""

    def __init__(self, batch: Tensor, observe: Observer) -> None:
        self._n = len(batch)
        self._observe = observe
        self._counts: Counter[str] = Counter()
        # Both by id(tensor), with a weak reference that tells whether the id is still the same
        # tensor's: ids of freed tensors are used again.
        self._makers: dict[int, tuple[weakref.ref[Tensor], str]] = {}
        self._seen: dict[int, weakref.ref[Tensor]] = {}
        # Of token inputs, the first floating activation stands for the input and is shown too.
        self._skip_first = batch.is_floating_point()
        self.shown = 0

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        handles: list[RemovableHandle] = []
        try:
            for name, module in model.named_modules():
                handles.append(module.register_forward_hook(self._name_output(name, module)))
                if _is_weighted(module) and module is not model:
                    handles.append(
                        module.register_forward_pre_hook(self._show_input(name), with_kwargs=True)
                    )
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _name_output(self, name: str, module: nn.Module) -> Callable[..., None]:
        is_leaf = next(module.children(), None) is None

        def hook(_: nn.Module, __: Any, output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is None:
                return
            known = self._makers.get(id(tensor))
            # A container returns its last leaf's tensor: the leaf's name says more. An in-place
            # activation function returns its argument: the later leaf is meant.
            if is_leaf or known is None or known[0]() is not tensor:
                self._makers[id(tensor)] = (weakref.ref(tensor), name or "model")

        return hook

    def _show_input(self, consumer: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            tensor = first_tensor((args, kwargs))
            if tensor is None or not _is_activation(tensor, self._n):
                return
            seen = self._seen.get(id(tensor))
            if seen is not None and seen() is tensor:
                return
            self._seen[id(tensor)] = weakref.ref(tensor)
            if self._skip_first:
                self._skip_first = False
                return
            self.shown += 1
            self._observe(self._unique(self._maker(tensor, consumer)), tensor)

        return hook

    def _maker(self, tensor: Tensor, consumer: str) -> str:
        known = self._makers.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else f"input of {consumer}"

    def _unique(self, name: str) -> str:
        self._counts[name] += 1
        return name if self._counts[name] == 1 else f"{name}#{self._counts[name]}"


def _run_named(model: nn.Module, batch: Tensor, observe: Observer, layers: Sequence[str]) -> None:
    modules = dict(model.named_modules())
    unknown = [name for name in layers if name not in modules or name == ""]
    if not layers or unknown:
        raise ValueError(
            f"`layers` must name modules of the model, but got {unknown or list(layers)}; "
            f"there are {[name for name in modules if name]}."
        )
    counts: Counter[str] = Counter()

    def hook_for(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is not None and _is_activation(tensor, len(batch)):
                counts[name] += 1
                observe(name if counts[name] == 1 else f"{name}#{counts[name]}", tensor)

        return hook

    handles = [modules[name].register_forward_hook(hook_for(name)) for name in layers]
    try:
        _forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    silent = [name for name in layers if not counts[name]]
    if silent:
        raise ValueError(
            f"`layers` names {silent}, which gave no floating activation of {len(batch)} samples."
        )


def _forward(model: nn.Module, batch: Tensor) -> Any:
    try:
        return model(batch)
    except Exception as error:
        # A note keeps the type, so that a caller can still tell an out-of-memory error.
        error.add_note(
            f"Raised in the probe, during the forward pass of `model` ({type(model).__name__}) for "
            f"`inputs` of shape {tuple(batch.shape)}, {batch.dtype}, on {batch.device}."
        )
        raise


def _is_weighted(module: nn.Module) -> bool:
    norm = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
    own = module.parameters(recurse=False)
    return not isinstance(module, norm) and any(p.dim() >= 2 for p in own)


def _is_activation(tensor: Tensor, n: int) -> bool:
    return tensor.is_floating_point() and tensor.dim() >= 2 and len(tensor) == n


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a {value.dtype} tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"
