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
from recent_prune.probe.batches.view import View
from recent_prune.probe.watching.checks import check_names
from recent_prune.probe.watching.modules import is_weighted, named_modules
from recent_prune.probe.watching.names import inner_name, input_of, without_number
from recent_prune.probe.watching.outputs import forward_once, is_of_integers, is_plain, output_of
from recent_prune.probe.watching.recurrent import inner_outputs


class Observer(Protocol):
    """Is shown activations as they pass."""

    def on_input(self, name: str, activation: Tensor, ids: Tensor | None) -> None:
        """Shown what stands for an input: of tokens and categories (ids) what is behind them."""

    def on_layer(self, name: str, activation: Tensor, other: Tensor | None = None) -> None:
        """Shown each probed activation, [n, …], and the other way in which it may lie."""

    def on_output(self, output: Tensor) -> None:
        """Shown the model's output, where it is a floating tensor [n, …]."""


def run_observed(
    model: nn.Module,
    batch: Tensor,
    observer: Observer,
    layers: Sequence[str] | None,
    forward: Callable[[Tensor], object] | None = None,
) -> tuple[str, ...]:
    """Run ``model(batch)`` once and show each probed activation to ``observer``.

    By default these are the **hidden activations**: what arrives at each weighted layer (a
    module that owns a parameter with two or more axes, normalisations aside) after the first
    one. That is each layer's output after its activation function, normalisation and pooling,
    however they are written (modules or functions), and the sum where a skip connection ends;
    the deepest is what arrives at the head. What arrives at the first weighted layer is the
    input itself and is not shown. Of a stack of recurrent layers the outputs of the inner ones are
    shown, too, as ``"NAME.layer1"``, …. If ``batch`` holds integers (tokens), the first floating
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

    Returns:
        Names of the weighted modules that were called with nothing that has an axis of samples.

    Raises:
        ValueError: If ``layers`` names what the model has not or what gave no activation, or if
            there is nothing to show.
    """
    tokens = not (batch.is_floating_point() or batch.is_complex())
    watch = _Watch(View(len(batch)), observer, layers, tokens=tokens)
    return _run(model, lambda: forward_once(model, batch, forward or model), watch)


def run_called(
    model: nn.Module,
    call: Callable[[], object],
    view: View,
    observer: Observer,
    layers: Sequence[str] | None,
    inputs: Sequence[Tensor],
) -> tuple[str, ...]:
    """The same of a model that is called with more than one tensor.

    Args:
        model: As in :func:`run_observed`.
        call: Runs it.
        view: Of the samples that it is called with.
        observer: As in :func:`run_observed`. Behind tokens and categories stands for them what the
            module gives that they go into.
        layers: As in :func:`run_observed`.
        inputs: What it is called with, which is no activation.
    """
    watch = _Watch(view, observer, layers, tokens=False, called=True)
    for tensor in inputs:
        watch.mark_seen(tensor)
    return _run(model, call, watch)


def _run(model: nn.Module, call: Callable[[], object], watch: _Watch) -> tuple[str, ...]:
    layers, view = watch.layers, watch.view
    check_names(model, layers)
    with watch.attached(model):
        output = call()
    tensor = first_tensor(output)
    activation = None if tensor is None else view.of(output, tensor)
    if activation is not None and (not watch.called or activation.dim() > 1):
        watch.observer.on_output(activation)
    elif tensor is not None and tensor.is_floating_point() and tensor.shape == (view.count,):
        watch.observer.on_output(tensor)
    if layers is not None:
        silent = [name for name in layers if name not in watch.shown]
        if silent:
            raise ValueError(
                f"`layers` names {silent}, which gave no floating activation of {view.count} "
                "samples."
            )
    elif not watch.shown:
        watch.observer.on_layer("output", output_of(model, view, output, len(watch.unseen)))
    return (*watch.unseen, *watch.never_called)


class _Watch:
    """Hooks that name tensors by the module that made them and show the probed ones."""

    def __init__(
        self,
        view: View,
        observer: Observer,
        layers: Sequence[str] | None,
        *,
        tokens: bool,
        called: bool = False,
    ) -> None:
        self.view = view
        self.observer = observer
        self.layers = layers
        self.called = called
        self._asked = {without_number(name) for name in layers or ()}
        self._calls: Counter[str] = Counter()
        # Both by id(tensor), with a weak reference that tells whether the id is still the same
        # tensor's: ids of freed tensors are used again.
        self._makers: dict[int, tuple[weakref.ref[Tensor], str]] = {}
        self._seen: dict[int, weakref.ref[Tensor]] = {}
        self._tokens = tokens
        self._input_known = False
        self._met: set[str] = set()
        self._weighted: list[str] = []
        self.shown: set[str] = set()
        self.unseen: list[str] = []

    @property
    def never_called(self) -> list[str]:
        """Weighted modules such as those whose weights a function uses."""
        return [name for name in self._weighted if name not in self._met]

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        handles: list[RemovableHandle] = []
        try:
            for name, module in named_modules(model):
                after = self._after(name, module)
                handles.append(module.register_forward_hook(after, with_kwargs=True))
                before = None
                if self.layers is None and module is not model and is_weighted(module):
                    before = self._before(name)
                    self._weighted.append(name)
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

        def hook(_: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is None:
                return
            if isinstance(module, nn.RNNBase) and self._wants_inner(name, module):
                self._show_inner(name, module, args, kwargs)
            known = self._makers.get(id(tensor))
            # A container returns its last leaf's tensor: the leaf's name says more. An in-place
            # activation function returns its argument: the later leaf is meant.
            if is_leaf or known is None or known[0]() is not tensor:
                self._makers[id(tensor)] = (weakref.ref(tensor), name or "model")
            activation = self.view.of(output, tensor)
            if activation is None:
                return
            first = self._tokens and not self._input_known
            ids = first_tensor((args, kwargs))
            behind = self.called and is_leaf and is_of_integers(ids)
            if first or behind:
                self._take_as_input(tensor, name, activation, ids)
            if name in self._asked:
                self._show(name, activation)

        return hook

    def _before(self, consumer: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            tensor = first_tensor((args, kwargs))
            self._met.add(consumer)
            if tensor is None or is_plain(tensor):
                return
            if self._was_seen(tensor):
                self._input_known |= self.called  # what goes in has arrived
                return
            activation, other = self.view.of((args, kwargs), tensor), None
            if activation is None and self.called:
                activation, other = self.view.merged(tensor) or (None, None)
            if not self._input_known and (activation is not None or not self._tokens):
                self._take_as_input(tensor, consumer, activation)
                return
            self.mark_seen(tensor)
            if activation is None:
                self.unseen.append(consumer)
            else:
                self._show(self._maker(tensor, consumer), activation, other)

        return hook

    def _entering(self, name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            tensor = first_tensor((args, kwargs))
            activation = None if tensor is None else self.view.of((args, kwargs), tensor)
            if activation is not None:
                self._show(input_of(name), activation)

        return hook

    def _take_as_input(
        self, tensor: Tensor, name: str, activation: Tensor | None, ids: Tensor | None = None
    ) -> None:
        """What arrives at the first weighted layer is the input, or stands for it (tokens)."""
        self._input_known = True
        self.mark_seen(tensor)
        if (self._tokens or self.called) and activation is not None:
            self.observer.on_input(name or "model", activation, ids)

    def _wants_inner(self, name: str, module: nn.RNNBase) -> bool:
        inner = {inner_name(name, number) for number in range(1, module.num_layers)}
        return self.layers is None or bool(inner & self._asked)

    def _show_inner(
        self, name: str, module: nn.RNNBase, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """What arrives at each layer of a stack of recurrent ones after the first."""
        for number, inner in enumerate(inner_outputs(module, *args, **kwargs), start=1):
            tensor = first_tensor(inner)
            activation = None if tensor is None else self.view.of(inner, tensor)
            if activation is not None:
                self._show(inner_name(name, number), activation)

    def _show(self, name: str, activation: Tensor, other: Tensor | None = None) -> None:
        """Show a call, unless others were asked for: a plain name asks for all of its calls."""
        self._calls[name] += 1
        exact = f"{name}#{self._calls[name]}"
        if self.layers is None or name in self.layers or exact in self.layers:
            self.shown |= {name, exact}
            self.observer.on_layer(name if self._calls[name] == 1 else exact, activation, other)

    def _maker(self, tensor: Tensor, consumer: str) -> str:
        known = self._makers.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else input_of(consumer)

    def mark_seen(self, tensor: Tensor) -> None:
        self._seen[id(tensor)] = weakref.ref(tensor)

    def _was_seen(self, tensor: Tensor) -> bool:
        seen = self._seen.get(id(tensor))
        return seen is not None and seen() is tensor
