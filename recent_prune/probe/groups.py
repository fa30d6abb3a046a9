"""Probe a group of models of one architecture: one by one, or stacked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from recent_prune.probe.batches.calling import Call, Calling
from recent_prune.probe.batches.walk import Walk, one_tensor
from recent_prune.probe.first_steps.training import Training
from recent_prune.probe.gathering import to_result
from recent_prune.probe.probing import probe_samples
from recent_prune.probe.profiling import input_rms
from recent_prune.probe.quantities.gram import LayerGram
from recent_prune.probe.quantities.measures import LayerMeasures
from recent_prune.probe.reconstructing.cascade import Cascade
from recent_prune.probe.reconstructing.ridge import Ridge
from recent_prune.probe.reconstructing.targets import Targets
from recent_prune.probe.restoring.isolation import (
    device_of,
    isolated,
    plain_arithmetic,
    run_eagerly,
)
from recent_prune.probe.restoring.memory import free_memory, is_out_of_memory
from recent_prune.probe.restoring.tracebacks import light
from recent_prune.probe.restoring.training_state import model_restored
from recent_prune.probe.result import ProbeResult
from recent_prune.probe.watching.checks import check_model
from recent_prune.probe.watching.modules import starts_at_zero
from recent_prune.probe.watching.normalizing import has_normalization
from recent_prune.probe.watching.observation import Observation, observe
from recent_prune.probe.watching.outputs import MergedAxesError
from recent_prune.probe.watching.perturbation import PERTURBED, with_perturbed
from recent_prune.probe.watching.stack import observe_stacked, state_bytes

LARGEST_STACK = 64
"""Models in one stack: beyond, the overhead of a call is shared by enough of them."""

LARGEST_ON_CPU = 2 * 2**20
"""Bytes of parameters and buffers: larger models are as fast one after the other on a CPU, where
a call costs little (``benchmarks/probe_cost``)."""

Outcome = ProbeResult | Exception
Group = list[tuple[int, nn.Module]]


@dataclass
class OneByOne:
    """Probes model after model."""

    met: Walk
    estimator: Ridge | Cascade
    layers: Sequence[str] | None
    trainings: Training | Sequence[Training] | None
    rtol: float
    seed: int
    call: Call | None = None

    def size(self, _: nn.Module) -> int:
        """How many models are probed together: one."""
        return 1

    def outcomes(self, group: Group) -> dict[int, Outcome]:
        """What each model of the group gives, by its place."""
        return {index: light(self._outcome(index, model)) for index, model in group}

    def _outcome(self, index: int, model: nn.Module) -> Outcome:
        many = self.trainings
        try:
            training = many[index] if isinstance(many, Sequence) else many
            return probe_samples(
                model,
                self.met,
                self.estimator,
                layers=self.layers,
                training=training,
                call=self.call,
                rtol=self.rtol,
                seed=self.seed,
            )
        except Exception as error:
            return error


class Stacked:
    """Probes groups of models of one architecture together, with the ridge estimator."""

    def __init__(self, one_by_one: OneByOne, ridge: Ridge) -> None:
        self._one_by_one = one_by_one
        self._ridge = ridge
        self._batches: dict[torch.device, _Batch] = {}

    def size(self, model: nn.Module) -> int:
        """How many models like this one fit together."""
        device, size = device_of(model), state_bytes(model)
        if device.type == "cpu" and size > LARGEST_ON_CPU:
            return 1
        return min(max(free_memory(device) // 4 // max(size, 1), 1), LARGEST_STACK)

    def outcomes(self, group: Group) -> dict[int, Outcome]:
        """What each model of the group gives, by its place."""
        try:
            if self._samples(group[0][1]) is None:
                return self._one_by_one.outcomes(group)
            results = self._results(group)
        except Exception:
            results = None
        # Only now, with the memory of the stacks, and of the traceback, free again.
        if results is None:
            # What cannot be stacked, or cannot be probed: one by one the model at fault is found.
            return self._one_by_one.outcomes(group)
        return {index: results[index] for index, _ in group}

    def _results(self, group: Group) -> dict[int, ProbeResult]:
        """The first alone, which shows what a model needs; the others in stacks that fit."""
        results, memory = self._run(group[:1])
        device = device_of(group[0][1])
        memory += state_bytes(group[0][1])
        rest, size = group[1:], max(free_memory(device) // 2 // max(memory, 1), 1)
        while rest:
            part, rest = rest[:size], rest[size:]
            try:
                results |= self._run(part)[0]
            except Exception as error:
                if len(part) == 1 or not is_out_of_memory(error):
                    raise
                rest, size = [*part, *rest], len(part) // 2
        return results

    def _run(self, part: Group) -> tuple[dict[int, ProbeResult], int]:
        """Results of models that are run as one, and the bytes of memory that one of them took."""
        start = time.perf_counter()
        models = [model for _, model in part]
        check_model(models[0])  # one that was refused comes alone
        layers, seed = self._one_by_one.layers, self._one_by_one.seed
        with plain_arithmetic(device_of(models[0])):
            batch = self._batch(models[0])
            if len(models) == 1:
                with model_restored(models[0]), run_eagerly(models[0]), isolated(models[0], seed):
                    seen = observe(
                        models[0], batch.everything, 0, layers, perturbed=batch.perturbed
                    )
                if seen.merged:
                    raise MergedAxesError("Each is to be probed by itself.")
                observed = [seen]
            else:
                observed = observe_stacked(models, batch.everything, layers, seed, batch.perturbed)
            own = [batch.targets or Targets(_known(seen.embedding), 0) for seen in observed]
            measures = self._measures(observed, own)
            floor = self._ridge.relative_floor
            redundancy = {id(known): known.redundancy(floor) for known in own}
        seconds = (time.perf_counter() - start) / len(part)
        results = {
            index: to_result(
                self._ridge.name,
                seen.measured(layer_measures, redundancy[id(known)]),
                batch.samples[:0],
                input_rms=batch.rms,
                normalized=has_normalization(model) or bool(seen.normalizes),
                zeroed=starts_at_zero(model, silent=bool(seen.constant_output)),
                samples=len(batch.samples),
                seconds=seconds,
                rtol=self._one_by_one.rtol,
            )
            for (index, model), layer_measures, known, seen in zip(
                part, measures, own, observed, strict=True
            )
        }
        # At most a few activations at a time, and the Gram matrices of all layers.
        return results, 4 * observed[0].largest + _bytes(observed[0].grams)

    def _measures(
        self, observed: Sequence[Observation], targets: Sequence[Targets]
    ) -> list[list[LayerMeasures]]:
        """Solve the layers of all models that share their targets together."""
        solve = self._ridge.solve
        if targets[0] is not targets[-1]:
            pairs = zip(observed, targets, strict=True)
            return [solve(seen.names, seen.grams, known) for seen, known in pairs]
        names = [name for seen in observed for name in seen.names]
        grams = [gram for seen in observed for gram in seen.grams]
        measures = iter(solve(names, grams, targets[0]))
        return [list(islice(measures, len(seen.names))) for seen in observed]

    def _samples(self, model: nn.Module) -> Tensor | None:
        known = self._one_by_one
        return one_tensor(model, known.met.probed, Calling(known.call), known.estimator.samples)

    def _batch(self, model: nn.Module) -> _Batch:
        device = device_of(model)
        if device not in self._batches:
            samples = self._samples(model)
            assert samples is not None  # or they would be probed one by one
            inputs = samples.to(device)
            everything, perturbed, size = with_perturbed(inputs, PERTURBED)
            targets = Targets(inputs, 0, size) if inputs.is_floating_point() else None
            rms = input_rms(inputs)
            self._batches[device] = _Batch(inputs, everything, perturbed, targets, rms)
        return self._batches[device]


@dataclass(frozen=True)
class _Batch:
    """The samples on a device, with perturbed ones behind them, and as targets (but tokens)."""

    samples: Tensor
    everything: Tensor
    perturbed: int
    targets: Targets | None
    rms: float


def _bytes(grams: Sequence[LayerGram]) -> int:
    return sum(t.numel() * t.element_size() for gram in grams for t in gram)


def _known(embedding: Tensor | None) -> Tensor:
    assert embedding is not None  # token inputs have one, or `observe` has raised
    return embedding
