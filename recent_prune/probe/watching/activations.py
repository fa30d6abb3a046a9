"""Watch the activations of any module pass by, in the order of execution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recent_prune.probe.batches.inputs import first_tensor, tensors_of
from recent_prune.probe.batches.view import View
from recent_prune.probe.watching.checks import check_names
from recent_prune.probe.watching.hooks import Observer, Watch
from recent_prune.probe.watching.outputs import forward_once, output_of


class Passed(NamedTuple):
    """What is known of a forward pass beside what the observer was shown.

    Attributes:
        unseen: Names of the weighted modules that were called with nothing that has an axis of
            samples.
        merged: Whether an activation has another axis merged with that of the samples.
        normalizes: Whether the model was seen to normalise by hand, [].
    """

    unseen: tuple[str, ...]
    merged: bool
    normalizes: Tensor


def run_observed(
    model: nn.Module,
    batch: Tensor,
    observer: Observer,
    layers: Sequence[str] | None,
    forward: Callable[[Tensor], object] | None = None,
) -> Passed:
    """Run ``model(batch)`` once and show each probed activation to ``observer``.

    By default these are the **hidden activations**: what arrives at each weighted layer (a
    module that owns a parameter with two or more axes, normalisations aside) after the first
    one. That is each layer's output after its activation function, normalisation and pooling,
    however they are written (modules or functions), and the sum where a skip connection ends;
    the deepest is what arrives at the head. Weights that a function applies, where no module stands
    for a layer, are layers, too. What arrives at the first weighted layer is the input itself and
    is not shown. Of a stack of recurrent layers the outputs of the inner ones are shown, too, as
    ``"NAME.layer1"``, …. If ``batch`` holds integers (tokens), the first floating activation (an
    embedding) stands for the input. Nothing is kept here, so memory is what the forward pass needs.

    An activation is named after the module that made it, or ``"input of NAME"`` where a function
    did; a name that comes again gets ``#2``, ``#3``, …. The batch may be the first axis or, as in
    recurrent networks and transformers by default, the second; other tensors are passed over. A
    model without hidden activations shows its output as ``"output"``.

    Args:
        model: Any module; hooks are removed again, also after an error.
        batch: Shape [n, …], on the model's device.
        observer: Shown activations with the batch as their first axis.
        layers: Names of modules whose outputs are to be shown instead of the default choice,
            ``"input of NAME"`` for what arrives at one, or ``"NAME.steps"`` for the time steps of a
            module that gives sequences, each by itself.
        forward: How ``model`` is run, if not by calling it: with other parameters, say.

    Raises:
        ValueError: If ``layers`` names what the model has not or what gave no activation, or if
            there is nothing to show.
    """
    tokens = not (batch.is_floating_point() or batch.is_complex())
    watch = Watch(View(len(batch)), observer, layers, tokens=tokens)
    return _run(model, lambda: forward_once(model, batch, forward or model), watch)


def run_called(
    model: nn.Module,
    call: Callable[[], object],
    view: View,
    observer: Observer,
    layers: Sequence[str] | None,
    inputs: Sequence[Tensor],
) -> Passed:
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
    watch = Watch(view, observer, layers, tokens=False, called=True)
    for tensor in inputs:
        watch.mark_seen(tensor)
    return _run(model, call, watch)


def _beside(first: Tensor, output: Any, view: View) -> list[Tensor]:
    """What else comes out by sample, such as scores beside anchors."""
    others = (
        other
        for other in tensors_of(output)
        if other is not first and other.layout == torch.strided and other.device == first.device
    )
    given = (view.of(other, other) for other in others)
    return [other for other in given if other is not None]


def _run(model: nn.Module, call: Callable[[], object], watch: Watch) -> Passed:
    layers, view = watch.layers, watch.view
    check_names(model, layers)
    with watch.attached(model):
        output = call()
    tensor = first_tensor(output)
    is_loss = tensor is not None and tensor.is_floating_point() and tensor.dim() == 0
    activation = None if tensor is None else view.of(output, tensor)
    others = [] if tensor is None else _beside(tensor, output, view)
    if activation is not None and (not watch.called or activation.dim() > 1):
        watch.observer.on_output(activation, others)
    elif tensor is not None and tensor.is_floating_point() and tensor.shape == (view.count,):
        watch.observer.on_output(tensor, others)
    elif tensor is not None and is_loss:
        watch.observer.on_loss(tensor)
    if layers is not None:
        silent = [name for name in layers if name not in watch.shown]
        if silent:
            raise ValueError(
                f"`layers` names {silent}, which gave no floating activation of {view.count} "
                "samples (or, for steps, no sequences that all samples have them of)."
            )
    elif not watch.shown:
        passed_over, merged = len(watch.unseen), watch.merged
        given = watch.last if is_loss and watch.last is not None else output
        found = output_of(model, view, given, passed_over=passed_over, merged=merged)
        watch.observer.on_layer("output", found)
    met = watch.normalizing
    unseen = (*watch.unseen, *watch.never_called)
    return Passed(unseen, watch.merged, torch.tensor(False) if met is None else met.found)
