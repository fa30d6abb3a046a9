"""Hooks that see activations pass, name them by the module that made them, and show some."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from recent_prune.probe.batches.inputs import first_tensor
from recent_prune.probe.batches.view import View
from recent_prune.probe.restoring.interrupts import putting_back
from recent_prune.probe.watching.applying import Applying, applied_layers
from recent_prune.probe.watching.function_calls import FunctionCalls, Look
from recent_prune.probe.watching.modules import is_weighted, named_modules
from recent_prune.probe.watching.names import (
    all_steps,
    inner_name,
    input_of,
    name_of_steps,
    step_name,
    without_number,
)
from recent_prune.probe.watching.normalizing import Normalizing, has_normalization, may_normalize
from recent_prune.probe.watching.outputs import is_of_integers, is_plain
from recent_prune.probe.watching.recurrent import inner_outputs


class Observer(Protocol):
    """Is shown activations as they pass."""

    def on_input(self, name: str, activation: Tensor, ids: Tensor | None) -> None:
        """Shown what stands for an input: of tokens and categories (ids) what is behind them."""

    def on_layer(self, name: str, activation: Tensor, other: Tensor | None = None) -> None:
        """Shown each probed activation, [n, …], and the other way in which it may lie."""

    def on_output(self, output: Tensor, others: Sequence[Tensor] = ()) -> None:
        """Shown the model's output, where it is a floating tensor [n, …], and what is with it."""

    def on_loss(self, loss: Tensor) -> None:
        """Shown what comes out where it is a single number, []."""


class Watch:
    """Hooks that name tensors by the module that made them and show the probed ones.

    Args:
        view: Of the samples that the model is called with.
        observer: Is shown the probed activations.
        layers: As in :func:`recent_prune.probe.probe`.
        tokens: Whether the one tensor that goes in holds integers.
        called: Whether the model is called with a whole batch.

    Attributes:
        shown: Names under which an activation was shown.
        unseen: Weighted modules that were called with nothing that has an axis of samples.
        merged: Whether an activation has another axis merged with that of the samples.
        last: What the last module gave by sample, while nothing was shown: it stands for the output
            of a model that returns its loss.
        normalizing: Watches the model's own calls where it may normalise by hand, else None.
    """

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
        self._stepwise: set[str] = set()
        self._calls: Counter[str] = Counter()
        # Both by id(tensor), with a weak reference that tells whether the id is still the same
        # tensor's: ids of freed tensors are used again.
        self._makers: dict[int, tuple[weakref.ref[Tensor], str]] = {}
        self._seen: dict[int, weakref.ref[Tensor]] = {}
        self._tokens = tokens
        self._input_known = False
        self._met: set[str] = set()
        self._by_function: set[str] = set()
        self._weighted: list[str] = []
        self.shown: set[str] = set()
        self.unseen: list[str] = []
        self.merged = False
        self.last: Tensor | None = None
        self.normalizing: Normalizing | None = None
        self._calls_seen: FunctionCalls | None = None

    @property
    def never_called(self) -> list[str]:
        """Weighted modules such as those whose weights a function uses."""
        return [name for name in self._weighted if name not in self._met | self._by_function]

    @putting_back
    def attached(self, model: nn.Module) -> Iterator[None]:
        """Watch a model's modules; the hooks are removed on leaving."""
        handles: list[RemovableHandle] = []
        names = {name for name, _ in named_modules(model)}
        # A module may be called like a step.
        asked = map(name_of_steps, self._asked - names)
        self._stepwise = {name for name in asked if name is not None}
        try:
            for name, module in named_modules(model):
                if isinstance(module, torch.jit.ScriptModule):  # which takes no hooks
                    self._weighted += [name] if is_weighted(module) else []
                    continue
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
            looks = list(self._looks(model, handles))
            self._calls_seen = FunctionCalls(looks) if looks else None
            with self._calls_seen or nullcontext():
                yield
        finally:
            for handle in handles:
                handle.remove()

    def resting(self) -> AbstractContextManager[None]:
        """While what was seen is looked at: that is not the model's."""
        return nullcontext() if self._calls_seen is None else self._calls_seen.resting()

    def _looks(self, model: nn.Module, handles: list[RemovableHandle]) -> Iterator[Look]:
        """What wants to see every call of a function, which takes time: most models need none."""
        if may_normalize(model) and not has_normalization(model):
            self.normalizing = Normalizing()
            yield self.normalizing.look
        applied = applied_layers(model)
        if applied and (self.layers is None or self._asked & {input_of(a.name) for a in applied}):
            applying = Applying(model, applied, self._applied, self._met)
            handles.append(model.register_forward_pre_hook(lambda *_: applying.begin()))
            yield applying.look

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
            if is_leaf and not self.shown:
                self.last = activation
            first = self._tokens and not self._input_known
            ids = first_tensor((args, kwargs))
            behind = self.called and is_leaf and is_of_integers(ids)
            if first or behind:
                self._take_as_input(tensor, name, activation, ids)
            if name in self._asked:
                self._show(name, activation)
            self._show_steps(name, output, tensor)

        return hook

    def _before(self, consumer: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            tensor = first_tensor((args, kwargs))
            self._met.add(consumer)
            if tensor is not None and not self._arrived(consumer, tensor, (args, kwargs)):
                self.unseen.append(consumer)

        return hook

    def _applied(self, owner: str, layer: str, tensor: Tensor) -> None:
        self._by_function.add(owner)
        if self.layers is None:
            self._arrived(layer, tensor, tensor)
        elif (activation := self.view.of(tensor, tensor)) is not None:
            self._show(input_of(layer), activation)

    def _arrived(self, consumer: str, tensor: Tensor, value: Any) -> bool:
        """Show what arrives at a weight, in ``value``; whether it is known, or could be shown."""
        if is_plain(tensor):
            return True
        if self._was_seen(tensor):
            self._input_known |= self.called  # what goes in has arrived
            return True
        activation, other = self.view.of(value, tensor), None
        apart = self.view.merged(tensor) if activation is None else None
        if apart is not None and self.called:
            activation, other = apart
        self.merged |= apart is not None
        if not self._input_known and (activation is not None or not self._tokens):
            self._take_as_input(tensor, consumer, activation)
            return True
        self.mark_seen(tensor)
        if activation is not None:
            self._show(self._maker(tensor, consumer), activation, other)
        return activation is not None

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
            with self.resting():
                self.observer.on_input(name or "model", activation, ids)

    def _wants_inner(self, name: str, module: nn.RNNBase) -> bool:
        inner = {inner_name(name, number) for number in range(1, module.num_layers)}
        return self.layers is None or bool(inner & (self._asked | self._stepwise))

    def _show_inner(
        self, name: str, module: nn.RNNBase, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """What arrives at each layer of a stack of recurrent ones after the first."""
        for number, inner in enumerate(inner_outputs(module, *args, **kwargs), start=1):
            tensor = first_tensor(inner)
            activation = None if tensor is None else self.view.of(inner, tensor)
            if tensor is not None and activation is not None:
                self._show(inner_name(name, number), activation)
                self._show_steps(inner_name(name, number), inner, tensor)

    def _show_steps(self, name: str, value: Any, tensor: Tensor) -> None:
        """The time steps of what a module gave, where they were asked for."""
        if name not in self._stepwise:
            return
        for number, activation in self.view.steps(value, tensor).items():
            self._show(step_name(name, number), activation, whole=all_steps(name))

    def _show(
        self, name: str, activation: Tensor, other: Tensor | None = None, whole: str = ""
    ) -> None:
        """Show a call, unless others were asked for: a plain name asks for all of its calls.

        So does ``whole``, a name for many.
        """
        self._calls[name] += 1
        exact = f"{name}#{self._calls[name]}"
        if self.layers is None or {name, exact, whole} & set(self.layers):
            self.shown |= {name, exact, whole}
            self.last = None
            with self.resting():
                self.observer.on_layer(name if self._calls[name] == 1 else exact, activation, other)

    def _maker(self, tensor: Tensor, consumer: str) -> str:
        known = self._makers.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else input_of(consumer)

    def mark_seen(self, tensor: Tensor) -> None:
        """Take a tensor for one that need not be shown (again)."""
        self._seen[id(tensor)] = weakref.ref(tensor)

    def _was_seen(self, tensor: Tensor) -> bool:
        seen = self._seen.get(id(tensor))
        return seen is not None and seen() is tensor
