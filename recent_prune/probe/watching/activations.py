"""Watch the activations of any module pass by, in the order of execution."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from recent_prune.probe.batches.inputs import first_tensor
from recent_prune.probe.watching.checks import check_names
from recent_prune.probe.watching.modules import is_weighted, named_modules
from recent_prune.probe.watching.names import input_of, without_number


class Observer(Protocol):
    """Is shown activations as they pass."""

    def on_input(self, activation: Tensor) -> None:
        """Shown, for token inputs only, what stands for the input, [n, …]."""

    def on_layer(self, name: str, activation: Tensor) -> None:
        """Shown each probed activation, [n, …]."""

    def on_output(self, output: Tensor) -> None:
        """Shown the model's output, where it is a floating tensor [n, …]."""


def run_observed(
    model: nn.Module,
    batch: Tensor,
    observer: Observer,
    layers: Sequence[str] | None,
    forward: Callable[[Tensor], object] | None = None,
) -> None:
    """Run ``model(batch)`` once and show each probed activation to ``observer``.

    By default these are the **hidden activations**: what arrives at each weighted layer (a
    module that owns a parameter with two or more axes, normalisations aside) after the first
    one. That is each layer's output after its activation function, normalisation and pooling,
    however they are written (modules or functions), and the sum where a skip connection ends;
    the deepest is what arrives at the head. What arrives at the first weighted layer is the
    input itself and is not shown. If ``batch`` holds integers (tokens), the first floating
    activation (an embedding) stands for the input. Nothing is kept here, so memory is what the
    forward pass needs.

    An activation is named after the module that made it, or ``"input of NAME"`` where a function
    did; a name that comes again gets ``#2``, ``#3``, …. The batch may be the first axis or, as in
    recurrent networks and transformers by default, the second; other tensors are passed over. A
    model without hidden activations shows its output as ``"output"``.

    Args:
        model: Any module; hooks are removed again, also after an error.
        batch: Shape [n, …], on the model's device.
        observer: Shown activations with the batch as their first axis.
        layers: Names of modules whose outputs are to be shown instead of the default choice, or
            ``"input of NAME"`` for what arrives at one.
        forward: How ``model`` is run, if not by calling it: with other parameters, say.

    Raises:
        ValueError: If ``layers`` names what the model has not or what gave no activation, or if
            there is nothing to show.
    """
    check_names(model, layers)
    watch = _Watch(batch, observer, layers)
    with watch.attached(model):
        output = _forward(model, batch, forward or model)
    tensor = first_tensor(output)
    if tensor is not None and tensor.is_floating_point() and tensor.shape[:1] == batch.shape[:1]:
        observer.on_output(tensor)
    if layers is not None:
        silent = [name for name in layers if name not in watch.shown]
        if silent:
            raise ValueError(
                f"`layers` names {silent}, which gave no floating activation of {len(batch)} "
                "samples."
            )
    elif not watch.shown:
        observer.on_layer("output", _output(model, batch, output, watch.passed_over))


class _Watch:
    """Hooks that name tensors by the module that made them and show the probed ones."""

    def __init__(self, batch: Tensor, observer: Observer, layers: Sequence[str] | None) -> None:
        self._n = len(batch)
        self._observer = observer
        self._layers = layers
        self._asked = {without_number(name) for name in layers or ()}
        self._calls: Counter[str] = Counter()
        # Both by id(tensor), with a weak reference that tells whether the id is still the same
        # tensor's: ids of freed tensors are used again.
        self._makers: dict[int, tuple[weakref.ref[Tensor], str]] = {}
        self._seen: dict[int, weakref.ref[Tensor]] = {}
        self._tokens = not batch.is_floating_point()
        self._input_known = False
        self.shown: set[str] = set()
        self.passed_over = 0

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        handles: list[RemovableHandle] = []
        try:
            for name, module in named_modules(model):
                handles.append(module.register_forward_hook(self._after(name, module)))
                before = None
                if self._layers is None and module is not model and is_weighted(module):
                    before = self._before(name)
                elif input_of(name) in self._asked:
                    before = self._entering(name)
                if before is not None:
                    handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _after(self, name: str, module: nn.Module) -> Callable[..., None]:
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
            activation = _batch_first(tensor, self._n)
            if activation is None:
                return
            if self._tokens and not self._input_known:
                self._take_as_input(tensor, activation)
            if name in self._asked:
                self._show(name, activation)

        return hook

    def _before(self, consumer: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            tensor = first_tensor((args, kwargs))
            if tensor is None or not tensor.is_floating_point() or self._was_seen(tensor):
                return
            activation = _batch_first(tensor, self._n)
            if not self._input_known and (activation is not None or not self._tokens):
                self._take_as_input(tensor, activation)
                return
            self._mark_seen(tensor)
            if activation is None:
                self.passed_over += 1
            else:
                self._show(self._maker(tensor, consumer), activation)

        return hook

    def _entering(self, name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            tensor = first_tensor((args, kwargs))
            activation = None if tensor is None else _batch_first(tensor, self._n)
            if activation is not None:
                self._show(input_of(name), activation)

        return hook

    def _take_as_input(self, tensor: Tensor, activation: Tensor | None) -> None:
        """What arrives at the first weighted layer is the input, or stands for it (tokens)."""
        self._input_known = True
        self._mark_seen(tensor)
        if self._tokens and activation is not None:
            self._observer.on_input(activation)

    def _show(self, name: str, activation: Tensor) -> None:
        """Show a call, unless others were asked for: a plain name asks for all of its calls."""
        self._calls[name] += 1
        exact = f"{name}#{self._calls[name]}"
        if self._layers is None or name in self._layers or exact in self._layers:
            self.shown |= {name, exact}
            self._observer.on_layer(name if self._calls[name] == 1 else exact, activation)

    def _maker(self, tensor: Tensor, consumer: str) -> str:
        known = self._makers.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else input_of(consumer)

    def _mark_seen(self, tensor: Tensor) -> None:
        self._seen[id(tensor)] = weakref.ref(tensor)

    def _was_seen(self, tensor: Tensor) -> bool:
        seen = self._seen.get(id(tensor))
        return seen is not None and seen() is tensor


def _forward(model: nn.Module, batch: Tensor, forward: Callable[[Tensor], object]) -> Any:
    try:
        return forward(batch.clone())  # a model may change its input in place
    except Exception as error:
        # A note keeps the type, so that a caller can still tell an out-of-memory error.
        error.add_note(
            f"Raised in the probe, during the forward pass of `model` ({type(model).__name__}) for "
            f"a batch of shape {tuple(batch.shape)}, {batch.dtype}, on {batch.device} (`inputs`, "
            f"and perturbed copies of some); its parameters are {_dtypes(model)}."
        )
        raise


def _dtypes(model: nn.Module) -> str:
    return ", ".join(sorted({str(parameter.dtype) for parameter in model.parameters()}))


def _output(model: nn.Module, batch: Tensor, output: Any, passed_over: int) -> Tensor:
    """The output of a model that has no hidden activations."""
    if passed_over:
        raise ValueError(
            f"`model` ({type(model).__name__}) has {passed_over} hidden activations, but none has "
            f"an axis of {len(batch)} samples in first or second place; name modules whose "
            "outputs have, with `layers`."
        )
    tensor = first_tensor(output)
    activation = None if tensor is None else _batch_first(tensor, len(batch))
    if activation is None:
        raise ValueError(
            f"`model` ({type(model).__name__}) has no activations to probe: no floating "
            f"tensor of {len(batch)} samples arrives at a weighted layer after the first, "
            f"and its output is {_describe(output)}."
        )
    return activation


def _batch_first(tensor: Tensor, n: int) -> Tensor | None:
    """[n, …] as it is, [t, n, …] as [n, t, …]; None for what is no activation of n samples."""
    if not tensor.is_floating_point() or tensor.dim() < 2:
        return None
    if len(tensor) == n:
        return tensor
    return tensor.transpose(0, 1) if tensor.dim() > 2 and tensor.shape[1] == n else None


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a {value.dtype} tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"
