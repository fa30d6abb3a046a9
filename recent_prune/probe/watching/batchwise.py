"""Several forward passes, each with a batch as the training loop has it, as one observation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from recent_prune.probe.batches.calling import Calling, way_out
from recent_prune.probe.batches.moving import described, moved
from recent_prune.probe.batches.samples import Given, given_to, rows_of
from recent_prune.probe.batches.view import differ
from recent_prune.probe.quantities.gram import Seen, feature_rows
from recent_prune.probe.restoring.isolation import device_of
from recent_prune.probe.watching.activations import run_called
from recent_prune.probe.watching.observation import (
    Observation,
    Reduction,
    kept_on,
    random_states,
    share_nonfinite,
)
from recent_prune.probe.watching.perturbation import with_perturbed_copies

MOST_FEATURES = 1024
"""Of a layer's activations that are kept until the last batch has passed."""

OTHER_WAY = " (other way)"
"""Behind the name of a layer in whose activations samples may lie in another order."""

NO_MASK = "The batches are padded to lengths of their own, but no mask was found: padding counts."


@dataclass
class Inputs:
    """What is to be reconstructed, by name.

    Attributes:
        rows: Of each input, [n, …].
        perturbation: Mean square of what the perturbed ones were moved by, NaN if there are none.
        notes: What a reader of the result should know.
        floating: Names of those that are known as they are; for the others stands an activation.
    """

    rows: dict[str, Tensor]
    perturbation: float
    notes: tuple[str, ...] = ()
    floating: tuple[str, ...] = ()


def observe_called(
    model: nn.Module,
    batches: Sequence[Any],
    calling: Calling,
    samples: int | None,
    layers: Sequence[str] | None,
    perturbed: int,
) -> tuple[Observation, Inputs, int]:
    """Run a model with each batch and put the activations of all together.

    Of sequences the real positions are summed up, and so is what has another shape in another
    batch; layers that still do not fit together, or are not called in every batch, are left out.

    Args:
        model: In probing mode.
        batches: As the loader yields them.
        calling: How the model is called.
        samples: How many are looked at, at most.
        layers: As in :func:`run_observed`.
        perturbed: How many samples of the first batch run a second time, slightly perturbed.

    Returns:
        The observation, whose perturbed samples lie behind the others; what is to be reconstructed;
        and how many samples there are.

    Raises:
        ValueError: If there is nothing to reconstruct or to probe.
    """
    device = device_of(model)
    there = [moved(batch, device) for batch in batches]
    given = [_given(model, batch, calling) for batch in there]
    count = sum(one.view.count for one in given)
    ragged = _ragged(given)
    pooled = ragged or any(one.integers or one.view.masks for one in given)
    plain = [v for v in given[0].floating.values() if isinstance(v, Tensor)]
    there[0], copies, size = with_perturbed_copies(
        there[0], given[0].view.count, plain, perturbed, given[0].view.masks
    )
    before = random_states(device)
    given_now = [_given(model, there[0], calling), *given[1:]]
    collected = [_Collector(one, pooled=pooled) for one in given_now]
    passes = [
        run_called(
            model,
            partial(_called, model, batch, calling, number),
            one.view,
            collector,
            layers,
            _tensors(one),
        )
        for number, (batch, one, collector) in enumerate(
            zip(there, given_now, collected, strict=True)
        )
    ]
    unseen = [name for passed in passes for name in passed.unseen]
    drawn = not all(map(torch.equal, before, random_states(device)))
    most = count if samples is None else min(samples, count)
    met = [name for c in collected for name in c.layers if not name.endswith(OTHER_WAY)]
    names, reduction = [], Reduction(0, copies, kept_on(device))
    for name, rows in _together([c.layers for c in collected], most, copies):
        names.append(name)
        reduction.add(_seen(rows, most))
    _check_layers(model, layers, names)
    lost = [name for name in met if name not in names]
    observation = Observation(
        names,
        reduction.grams(),
        largest=max(c.largest for c in collected),
        stochastic=drawn,
        constant_output=_constant([c.outputs for c in collected if c.outputs is not None]),
        nonfinite_outputs=_mean([c.nonfinite for c in collected if c.nonfinite is not None]),
        unseen=tuple(dict.fromkeys([*unseen, *lost])),
        normalizes=torch.stack([passed.normalizes for passed in passes]).any(),
    )
    inputs = _inputs(collected, given, most, copies, size)
    if ragged and any(one.integers for one in given) and not given[0].view.masks:
        inputs.notes = (NO_MASK,)
    return observation, inputs, most


@dataclass
class _Collector:
    """Keeps some features of each activation of one batch."""

    given: Given
    pooled: bool
    layers: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)
    inputs: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)
    outputs: Tensor | None = None
    nonfinite: Tensor | None = None
    largest: int = 0
    extremes: dict[str, Tensor | None] = field(default_factory=dict)

    def on_input(self, name: str, activation: Tensor, ids: Tensor | None) -> None:
        if self.given.integers or not self.given.floating:
            place = sum(known.split("#")[0] == name for known in self.inputs)
            named = name if not place else f"{name}#{place + 1}"
            self.inputs[named] = self._rows(activation)
            if ids is not None:
                self.extremes[named] = self.given.view.extremes(ids)

    def on_layer(self, name: str, activation: Tensor, other: Tensor | None = None) -> None:
        self.largest = max(self.largest, activation.numel() * activation.element_size())
        self.layers[name] = self._rows(activation)
        if other is not None:
            self.layers[name + OTHER_WAY] = self._rows(other)

    def on_output(self, output: Tensor, others: Sequence[Tensor] = ()) -> None:
        self.nonfinite = share_nonfinite(output)
        shown = [output[:, None] if output.dim() < 2 else output, *others]
        rows = [feature_rows(each, MOST_FEATURES).float() for each in shown]
        self.outputs = torch.cat(rows, dim=1) if others else rows[0]

    def on_loss(self, loss: Tensor) -> None:
        self.nonfinite = share_nonfinite(loss[None])

    def _rows(self, activation: Tensor) -> tuple[Tensor, ...]:
        """Where features may lie in the last or in the second axis, both ways."""
        ways = [activation]
        if self.pooled and activation.dim() > 2:
            ways = [self.given.view.over_positions(activation)]
            if not self.given.integers:
                ways.append(self.given.view.over_positions(activation.movedim(1, -1)))
                if activation.dim() > 3:
                    ways.reverse()
        # A copy: the model may go on to change its activations in place.
        return tuple(feature_rows(way.detach(), MOST_FEATURES).clone() for way in ways)


def _given(model: nn.Module, batch: Any, calling: Calling) -> Given:
    arguments = calling.arguments(model, batch)
    return given_to(model, batch, arguments, has_target=not calling.own_loss)


def _called(model: nn.Module, batch: Any, calling: Calling, number: int) -> Any:
    try:
        return calling(model, batch)
    except Exception as error:
        # A note keeps the type, so that a caller can still tell an out-of-memory error.
        error.add_note(
            f"Raised in the probe, in the forward pass of `model` ({type(model).__name__}) for "
            f"batch {number + 1} that is probed: {described(batch)}."
            f" {way_out(model)}"
        )
        raise


def _together(
    parts: Sequence[dict[str, tuple[Tensor, ...]]], samples: int, copies: int
) -> Iterator[tuple[str, Tensor]]:
    """Rows of all batches, [samples + copies, d], of what has as many features in each.

    The parts are taken out as they are put together, so that nothing is held twice.
    """
    for name in list(parts[0]):
        every = [part.pop(name, ()) for part in parts]
        if not all(every):
            continue
        for several in zip(*every, strict=False):
            if len({rows.shape[1] for rows in several}) == 1:
                own = len(several[0]) - copies
                whole = torch.cat([several[0][:own], *several[1:]])[:samples]
                yield name, torch.cat([whole, several[0][own:]])
                break


def _seen(rows: Tensor, samples: int) -> Seen:
    extremes = rows[:samples].aminmax()
    return Seen(rows, extremes.min, extremes.max)


def _inputs(
    collected: Sequence[_Collector],
    given: Sequence[Given],
    samples: int,
    copies: int,
    perturbation: float,
) -> Inputs:
    found: dict[str, Tensor] = {}
    for name in given[0].floating:
        values = [one.floating.get(name) for one in given]
        unlike = len({one.shapes.get(name) for one in given}) > 1
        pooled = unlike or bool(given[0].view.masks)
        pairs = zip(values, given, strict=True)
        parts = [rows_of(value, one.view, pooled=pooled) for value, one in pairs]
        known = [part.detach() for part in parts if part is not None]
        if len(known) == len(parts) and len({row.shape[1:] for row in known}) == 1:
            found[name] = torch.cat(known)[:samples]
    floating = tuple(found)
    stand_ins = dict(_together([c.inputs for c in collected], samples, copies))
    for name, rows in stand_ins.items():
        ids = [one.extremes[name] for one in collected if name in one.extremes]
        if not ids or differ(ids):
            found[name] = rows[:samples]
    varied = {k: v for k, v in found.items() if not bool((v == v[:1]).all())}
    if not found and not stand_ins:
        raise ValueError(
            "`inputs` must hold something to reconstruct, a floating tensor with an axis of "
            "samples or tokens that go into a module of their own, but nothing of the kind was "
            f"found among {sorted(given[0].floating) or 'them'}."
        )
    if not varied and (floating or not found):
        raise ValueError(
            "`inputs` must vary, but all samples are equal: there is no information to follow."
        )
    as_given = {k: v for k, v in varied.items() if k in floating}
    for name, given_rows in as_given.items():
        if not bool(torch.isfinite(given_rows).all()):
            raise ValueError(f"`inputs` must be finite, but {name!r} holds NaN or infinity.")
    return Inputs(varied or found, perturbation, floating=tuple(as_given))


def _constant(outputs: Sequence[Tensor]) -> Tensor:
    if not outputs or len({o.shape[1:] for o in outputs}) > 1:
        return torch.tensor(False)
    rows = torch.cat(list(outputs))
    return (rows == rows[:1]).all()


def _mean(shares: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(shares)).mean() if shares else torch.tensor(0.0)


def _ragged(given: Sequence[Given]) -> bool:
    """Whether any input has another shape in another batch."""
    return any(len({one.shapes.get(name) for one in given}) > 1 for name in given[0].shapes)


def _tensors(given: Given) -> list[Tensor]:
    """What goes in and is no activation."""
    values = [v.data if isinstance(v, PackedSequence) else v for v in given.floating.values()]
    return [value for value in values if isinstance(value, Tensor)]


def _check_layers(model: nn.Module, layers: Sequence[str] | None, names: Sequence[str]) -> None:
    if not names:
        raise ValueError(
            f"`model` ({type(model).__name__}) has no activations that fit together over the "
            "batches; name modules whose outputs do, with `layers`."
            if layers is None
            else f"`layers` names {list(layers)}, which do not fit together over the batches."
        )
