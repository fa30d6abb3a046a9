"""The closed-form estimator: a ridge regression from each layer's activations to the input.

A linear reconstruction needs no training, and neither does judging it on samples that it was not
fitted on, see :mod:`recent_prune.probe.reconstructing.leave_one_out`: one Cholesky factor a layer
gives a held-out reconstruction of every sample, whatever the architecture. The share of the
inputs' variance that is *retained* is read off the inputs' leading principal components.

The **noise floor** decides everything. It is absolute, on raw activations: variance below it
counts as lost, since a network that is trained by gradients cannot use it, although exact
arithmetic could. (Relative to each layer's own variance alone, a layer that has collapsed to one
point would still look fine.) How much a network can do without depends on its optimizer and its
time: Adam trains networks whose signal is far below any one floor. So the retained share is the
mean over noise floors from 1e-2 to 1e-14: it falls by one step for every six decades that the
signal loses, and in the chaotic phase, where no floor helps, it falls to zero at once. The lowest
floor is the square of float32's rounding error: what is weaker does not survive next to activations
of order one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from recent_prune.probe.batches.calling import Calling
from recent_prune.probe.quantities.gram import LayerGram
from recent_prune.probe.quantities.measures import LayerMeasures, Measured, measure, not_finite
from recent_prune.probe.reconstructing.leave_one_out import LeaveOneOut
from recent_prune.probe.reconstructing.targets import Targets
from recent_prune.probe.restoring.devices import all_solvable, solvable
from recent_prune.probe.watching.batchwise import OTHER_WAY, observe_called
from recent_prune.probe.watching.observation import observe
from recent_prune.probe.watching.perturbation import PERTURBED, with_perturbed

LEAST_FLOOR = 1e-30
"""A layer of equal activations has no variance and still needs a factor, within float32."""

LEAST_RELATIVE_FLOOR = 1e-6
"""Below it float32 gives other results than float64."""

WORKSPACE = {"cpu": 2**24, "cuda": 2**29}
"""Bytes, about, that solving takes at a time beyond the Gram matrices."""


@dataclass(frozen=True)
class Ridge:
    """Closed-form estimator for any module, with defaults chosen by measurement.

    Memory beyond the forward pass: ``samples × MAX_FEATURES`` numbers while a layer is seen, twice
    the activations that wait to be reduced together (4 MiB, on a GPU 64 MiB at most), ``samples²``
    a layer until the forward pass is over, and the ``WORKSPACE`` then.

    With the samples run slightly perturbed copies of 16 of them, for the Jacobian norms; where a
    model has batch normalisation, they take part in the statistics.

    All defaults come from ``benchmarks/prediction``, whose README has the alternatives.

    Attributes:
        noise_floors: Variances per activation feature below which a signal counts as lost, ≥ 0,
            in squared units of the activations. The retained share is the mean over them; the
            reconstruction is the one at the floor that recovers most. Default 1e-2, 1e-8 and
            1e-14. A single floor of 1e-2 ranks networks as well, but leaves next to nothing to a
            third of those that Adam trains to the best accuracy.
        relative_floor: Least noise floor relative to a layer's own variance, ≥ 1e-6. It keeps the
            regression from fitting the noise of the few samples, as every ridge does, and stays
            far above the rounding errors of float32. Smaller ones reconstruct finer details, and
            are less sure of weak signals. Default 0.03.
        samples: How many samples are probed, at most; each is judged by a fit on all others.
            Default 160.

    Raises:
        ValueError: If an attribute is out of its range.
    """

    noise_floors: tuple[float, ...] = (1e-2, 1e-8, 1e-14)
    relative_floor: float = 0.03
    samples: int = 160

    name = "ridge"

    def __post_init__(self) -> None:
        if not self.noise_floors or not all(floor >= 0 for floor in self.noise_floors):
            raise ValueError(
                f"`noise_floors` must hold numbers ≥ 0, at least one, but got {self.noise_floors}."
            )
        if not self.relative_floor >= LEAST_RELATIVE_FLOOR:
            raise ValueError(
                f"`relative_floor` must be at least {LEAST_RELATIVE_FLOOR}, above the rounding "
                f"errors of float32, but got {self.relative_floor}."
            )
        if self.samples < 16:
            raise ValueError(f"`samples` must be at least 16, but got {self.samples}.")

    def measure(
        self, model: nn.Module, batch: Tensor, shown: int, layers: Sequence[str] | None
    ) -> Measured:
        """Measure every layer in one forward pass, and the inputs' redundancy.

        Args:
            model: In probing mode.
            batch: Samples to probe, then ``shown`` samples to reconstruct, [n + shown, …].
            shown: How many samples at the end are only reconstructed.
            layers: Names of modules, or None for the hidden activations.
        """
        everything, perturbed, size = with_perturbed(batch, PERTURBED)
        seen = observe(model, everything, shown, layers, perturbed=perturbed)
        targets = Targets(batch if seen.embedding is None else seen.embedding, shown, size)
        measures = self.solve(seen.names, seen.grams, targets)
        redundancy = targets.redundancy(self.relative_floor)
        return seen.measured(measures, redundancy)

    def measure_called(
        self,
        model: nn.Module,
        batches: Sequence[Any],
        calling: Calling,
        layers: Sequence[str] | None,
        perturbed: int = PERTURBED,
    ) -> tuple[Measured, int, float]:
        """The same of a model that is called with whole batches, in a forward pass for each.

        Each input is reconstructed by itself. What a layer is measured by is the input that arrives
        best: a tower of a model that compares two inputs need not know of the other one.

        Args:
            model: In probing mode.
            batches: As the loader yields them.
            calling: How the model is called.
            layers: As above.
            perturbed: How many samples of the first batch run a second time, slightly perturbed.

        Returns:
            The measures, how many samples there were, and the inputs' root mean square.
        """
        seen, inputs, count = observe_called(
            model, batches, calling, self.samples, layers, perturbed
        )
        found: list[list[LayerMeasures]] = []
        redundancies = []
        for rows in inputs.rows.values():
            targets = Targets(rows, 0, inputs.perturbation)
            found.append(self.solve(seen.names, seen.grams, targets))
            redundancies.append(targets.redundancy(self.relative_floor))
        best = [max(ways, key=lambda m: m.retained) for ways in zip(*found, strict=True)]
        if len(inputs.floating) < len(inputs.rows):
            # A layer that sees tokens alone does not answer to what else was perturbed.
            best = [replace(layer, jacobian_norm=math.nan) for layer in best]
        best, found = _one_way(best, found)
        measured = seen.measured(
            best,
            max(redundancies),
            inputs=tuple(inputs.rows),
            retained_by_input=tuple(tuple(m.retained for m in way) for way in found),
            notes=inputs.notes,
        )
        sizes = [solvable(inputs.rows[name].abs()) for name in inputs.floating]
        squares = [size.double().square().mean() for size in sizes]
        rms = math.sqrt(sum(map(float, squares)) / len(squares)) if squares else 1.0
        return measured, count, rms

    def solve(
        self, names: Sequence[str], grams: Sequence[LayerGram], targets: Targets
    ) -> list[LayerMeasures]:
        """Reconstruct the inputs from every layer and measure.

        Args:
            names: Of the layers.
            grams: Of their activations, of any model with the same inputs.
            targets: The inputs.
        """
        measures = [not_finite(name) for name in names]
        if not targets.finite:
            return measures
        numbers, count = all_solvable([t for gram in grams for t in gram]), len(LayerGram._fields)
        grams = [LayerGram(*numbers[i : i + count]) for i in range(0, len(numbers), count)]
        finite = torch.isfinite(torch.stack([g.scale for g in grams])).tolist()
        index = [i for i, ok in enumerate(finite) if ok]
        for part in self._parts(index, grams, targets.judged_rows.numel()):
            some = [grams[i] for i in part]
            solution = LeaveOneOut(some, targets, self._floors(some))
            found = measure(
                [names[i] for i in part],
                some,
                targets.judged_rows,
                solution.reconstructions(),
                solution.retained.mean(dim=1),
                solution.shown(),
                targets.perturbation,
                solution.retained,
            )
            for i, layer in zip(part, found, strict=True):
                measures[i] = layer
        return measures

    def _floors(self, grams: Sequence[LayerGram]) -> Tensor:
        """Noise floors in units of each layer's scale, [b, f]."""
        scale = torch.stack([g.scale for g in grams]).double()
        variance = torch.stack([g.variance for g in grams]).double()[:, None]
        floors = torch.tensor(self.noise_floors, dtype=torch.float64, device=scale.device)
        floors = floors / scale.clamp_min(torch.finfo(torch.float32).tiny)[:, None] ** 2
        return torch.maximum(floors, (self.relative_floor * variance).clamp_min(LEAST_FLOOR))

    def _parts(
        self, index: Sequence[int], grams: Sequence[LayerGram], reconstructed: int
    ) -> Iterator[Sequence[int]]:
        """Layers with kernels of one shape, as many as fit into the workspace."""
        shapes: dict[torch.Size, list[int]] = {}
        for i in index:
            shapes.setdefault(grams[i].kernel.shape, []).append(i)
        for shape, same in shapes.items():
            kernel = grams[same[0]].kernel
            workspace = WORKSPACE.get(kernel.device.type, WORKSPACE["cpu"])
            # Three matrices a floor (the system, its factor and the inverse of that), and about
            # four of the size of the reconstructions for their entropies.
            numbers = 3 * len(self.noise_floors) * shape.numel() + 4 * reconstructed
            size = max(workspace // (numbers * kernel.itemsize), 1)
            for start in range(0, len(same), size):
                yield same[start : start + size]


def _one_way(
    best: list[LayerMeasures], found: list[list[LayerMeasures]]
) -> tuple[list[LayerMeasures], list[list[LayerMeasures]]]:
    """Of layers in whose activations samples may lie in two orders, that which retains more."""
    places = {layer.name: place for place, layer in enumerate(best)}
    kept = []
    for place, layer in enumerate(best):
        if layer.name.endswith(OTHER_WAY):
            continue
        other = places.get(layer.name + OTHER_WAY)
        better = other is not None and best[other].retained > layer.retained
        kept.append(other if better and other is not None else place)
    names = [best[place].name.removesuffix(OTHER_WAY) for place in kept]
    chosen = [replace(best[p], name=name) for p, name in zip(kept, names, strict=True)]
    return chosen, [[way[place] for place in kept] for way in found]
