"""Many initializations at once: `probe_many`."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from recent_prune.probe.activations import check_layers, check_model
from recent_prune.probe.cascade import Cascade
from recent_prune.probe.gradients import Backward
from recent_prune.probe.gram import LayerGram
from recent_prune.probe.inputs import Inputs, Samples
from recent_prune.probe.isolation import device_of, isolated, plain_arithmetic
from recent_prune.probe.measures import LayerMeasures, Measured
from recent_prune.probe.modules import has_normalization, unwrapped
from recent_prune.probe.observation import Observation, observe
from recent_prune.probe.perturbation import PERTURBED, with_perturbed
from recent_prune.probe.probing import (
    Estimator,
    gathered,
    gradients_of,
    input_rms,
    probe_samples,
    resolved,
    warn_of_noise,
)
from recent_prune.probe.result import ProbeResult, to_result
from recent_prune.probe.ridge import Ridge
from recent_prune.probe.stack import architecture, observe_stacked, state_bytes
from recent_prune.probe.targets import Targets

LARGEST_STACK = 64
"""Models in one stack: beyond, the overhead of a call is shared by enough of them."""

LARGEST_ON_CPU = 2 * 2**20
"""Bytes of parameters and buffers: larger models are as fast one after the other on a CPU, where
a call costs little (``benchmarks/probe_cost``)."""

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux tells what memory a container has."""

Outcome = ProbeResult | Exception
_Group = list[tuple[int, nn.Module]]


def probe_many(
    models: Iterable[nn.Module],
    inputs: Inputs,
    *,
    estimator: Estimator = "ridge",
    layers: Sequence[str] | None = None,
    backward: Backward | None = None,
    rtol: float = 0.005,
    seed: int = 0,
    progress: bool | None = None,
) -> list[Outcome]:
    """Probe many initializations on the same inputs.

    Models of one architecture (equal in all but the values of their parameters and buffers) are
    stacked and run together, as many as fit into the free memory; their reconstructions are
    solved together. Results are those of :func:`probe` within rounding: ``retained`` to 1e-3, the
    cutoff where no layer sits on its tolerance. What cannot be stacked is probed one by one, and
    so are all models with the cascade, single ones of an architecture, and on a CPU those of more
    than 2 MiB, which gain nothing there. Backward passes, where asked for, are made one by one.

    A model that cannot be probed does not harm the others: its place holds the exception.

    Args:
        models: On one device or several. None of them is changed. A generator is drawn from as
            needed: at most 64 models wait for others of their architecture.
        inputs: As in :func:`probe`, gathered once.
        estimator: As in :func:`probe`.
        layers: As in :func:`probe`.
        backward: As in :func:`probe`, with the same labels for all models.
        rtol: As in :func:`probe`.
        seed: As in :func:`probe`.
        progress: Whether to show a progress bar (needs ``rich``). Default: if standard error is a
            terminal.

    Returns:
        For each model, in order, its result, or the exception that :func:`probe` would raise.
        ``seconds`` is the model's share of the time of its stack, and its own backward pass.

    Raises:
        TypeError: If ``inputs`` hold no tensors, ``models`` is a model or a mapping, or
            ``backward`` no :class:`Backward`.
        ValueError: If ``inputs`` cannot be probed, labels are missing, or an argument is out of
            its range.

    Example:
        >>> import recent_prune as rp
        >>> from recent_prune.data import load_digits
        >>> models = [rp.networks.mlp(64, 10, depth=20, width=64, seed=s) for s in range(8)]
        >>> results = rp.probe_many(models, load_digits().train)
        >>> all(isinstance(result, rp.ProbeResult) for result in results)
        True
    """
    if isinstance(models, Mapping) or (
        isinstance(models, nn.Module) and not isinstance(models, nn.ModuleList)
    ):
        raise TypeError(f"`models` must be a list of models, but got {type(models).__name__}.")
    check_layers(layers)
    chosen = resolved(estimator)
    samples = gathered(inputs, chosen.samples, backward, seed)
    one_by_one = _OneByOne(samples, chosen, layers, backward, rtol, seed)
    probing = _Stacked(one_by_one, chosen) if isinstance(chosen, Ridge) else one_by_one
    outcomes: dict[int, Outcome] = {}
    with _progress(progress, len(models) if isinstance(models, Sized) else None) as advance:
        for group in _grouped(models, probing.size):
            outcomes.update(probing.outcomes(group))
            advance(len(group))
    found = [o.redundancy for o in outcomes.values() if isinstance(o, ProbeResult)]
    warn_of_noise(min(found, default=1.0))
    return [outcomes[index] for index in range(len(outcomes))]


def _grouped(models: Iterable[nn.Module], size: Callable[[nn.Module], int]) -> Iterator[_Group]:
    """Models of one architecture, each with its place, in groups of a size that suits it.

    Never do more than ``LARGEST_STACK`` models wait for others of their kind.
    """
    waiting: dict[Hashable, _Group] = defaultdict(list)
    for index, model in enumerate(models):
        try:
            check_model(model)
            inner = unwrapped(model)
            key, enough = architecture(inner), size(inner)
        except Exception:
            yield [(index, model)]  # alone it will say what is wrong with it
            continue
        waiting[key].append((index, inner))
        if len(waiting[key]) >= enough:
            yield waiting.pop(key)
        elif sum(map(len, waiting.values())) >= LARGEST_STACK:
            yield waiting.pop(max(waiting, key=lambda k: len(waiting[k])))
    yield from waiting.values()


@dataclass
class _OneByOne:
    """Probes model after model."""

    samples: Samples
    estimator: Ridge | Cascade
    layers: Sequence[str] | None
    backward: Backward | None
    rtol: float
    seed: int

    def size(self, _: nn.Module) -> int:
        return 1

    def outcomes(self, group: _Group) -> dict[int, Outcome]:
        return {index: _light(self._outcome(model)) for index, model in group}

    def _outcome(self, model: nn.Module) -> Outcome:
        try:
            return probe_samples(
                model,
                self.samples,
                self.estimator,
                layers=self.layers,
                backward=self.backward,
                rtol=self.rtol,
                seed=self.seed,
            )
        except Exception as error:
            return error


class _Stacked:
    """Probes groups of models of one architecture together, with the ridge estimator."""

    def __init__(self, one_by_one: _OneByOne, ridge: Ridge) -> None:
        self._one_by_one = one_by_one
        self._ridge = ridge
        self._batches: dict[torch.device, _Batch] = {}

    def size(self, model: nn.Module) -> int:
        """How many models like this one fit together."""
        device, size = device_of(model), state_bytes(model)
        if device.type == "cpu" and size > LARGEST_ON_CPU:
            return 1
        return min(max(_free_memory(device) // 4 // max(size, 1), 1), LARGEST_STACK)

    def outcomes(self, group: _Group) -> dict[int, Outcome]:
        try:
            results = self._results(group)
        except Exception:
            results = None
        # Only now, with the memory of the stacks, and of the traceback, free again.
        if results is None:
            # What cannot be stacked, or cannot be probed: one by one the model at fault is found.
            return self._one_by_one.outcomes(group)
        return {index: _light(self._looked_back(model, results[index])) for index, model in group}

    def _looked_back(self, model: nn.Module, result: ProbeResult) -> Outcome:
        """The result with gradients, where asked for; by itself, so that it harms no other."""
        backward, seed = self._one_by_one.backward, self._one_by_one.seed
        if backward is None:
            return result
        start = time.perf_counter()
        try:
            samples = self._batch(device_of(model)).samples
            gradients = gradients_of(model, samples, backward, seed)
        except Exception as error:
            return error
        seconds = result.seconds + time.perf_counter() - start
        return replace(result, gradients=gradients, seconds=seconds)

    def _results(self, group: _Group) -> dict[int, ProbeResult]:
        """The first alone, which shows what a model needs; the others in stacks that fit."""
        results, memory = self._run(group[:1])
        device = device_of(group[0][1])
        memory += state_bytes(group[0][1])
        rest, size = group[1:], max(_free_memory(device) // 2 // max(memory, 1), 1)
        while rest:
            part, rest = rest[:size], rest[size:]
            try:
                results |= self._run(part)[0]
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
                rest, size = [*part, *rest], len(part) // 2
        return results

    def _run(self, part: _Group) -> tuple[dict[int, ProbeResult], int]:
        """Results of models that are run as one, and the bytes of memory that one of them took."""
        start = time.perf_counter()
        models = [model for _, model in part]
        check_model(models[0])  # one that was refused comes alone
        layers, seed = self._one_by_one.layers, self._one_by_one.seed
        with plain_arithmetic(device_of(models[0])):
            batch = self._batch(device_of(models[0]))
            if len(models) == 1:
                with isolated(models[0], seed):
                    seen = observe(
                        models[0], batch.everything, 0, layers, perturbed=batch.perturbed
                    )
                observed = [seen]
            else:
                observed = observe_stacked(models, batch.everything, layers, seed, batch.perturbed)
            own = [batch.targets or Targets(_known(seen.embedding), 0) for seen in observed]
            measures = self._measures(observed, own)
            floor = self._ridge.relative_floor
            redundancy = {id(known): known.redundancy(floor) for known in own}
        stochastic = observed[0].stochastic
        seconds = (time.perf_counter() - start) / len(part)
        results = {
            index: to_result(
                self._ridge.name,
                Measured(layer_measures, redundancy[id(known)], stochastic),
                batch.samples.inputs[:0],
                input_rms=batch.rms,
                normalized=has_normalization(model),
                samples=len(batch.samples.inputs),
                seconds=seconds,
                rtol=self._one_by_one.rtol,
            )
            for (index, model), layer_measures, known in zip(part, measures, own, strict=True)
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

    def _batch(self, device: torch.device) -> _Batch:
        if device not in self._batches:
            samples = self._one_by_one.samples.to(device)
            inputs = samples.inputs
            everything, perturbed, size = with_perturbed(inputs, PERTURBED)
            targets = Targets(inputs, 0, size) if inputs.is_floating_point() else None
            rms = input_rms(inputs)
            self._batches[device] = _Batch(samples, everything, perturbed, targets, rms)
        return self._batches[device]


@dataclass(frozen=True)
class _Batch:
    """The samples on a device, with perturbed ones behind them, and as targets (but tokens)."""

    samples: Samples
    everything: Tensor
    perturbed: int
    targets: Targets | None
    rms: float


def _light(outcome: Outcome) -> Outcome:
    """An error without what its frames hold: models, activations, the graph of a backward pass.

    Where it was raised stands in a note instead.
    """
    errors: list[object] = [outcome]
    while errors:
        error = errors.pop()
        if isinstance(error, BaseException):
            if error.__traceback__ is not None:
                frames = "".join(traceback.format_tb(error.__traceback__))
                error.add_note(f"It was raised here, in a probe of many:\n{frames}")
            traceback.clear_frames(error.__traceback__)
            error.__traceback__ = None
            errors += [error.__cause__, error.__context__]
    return outcome


def _bytes(grams: Sequence[LayerGram]) -> int:
    return sum(t.numel() * t.element_size() for gram in grams for t in gram)


def _known(embedding: Tensor | None) -> Tensor:
    assert embedding is not None  # token inputs have one, or `observe` has raised
    return embedding


def _free_memory(device: torch.device) -> int:
    """Bytes."""
    if device.type == "cuda":
        # What PyTorch holds without using it is free as well.
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not Linux
        return 2**30
    try:  # a container may have less
        most, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # there is none, or no limit
        return free
    return max(min(free, most - used), 0)


@contextmanager
def _progress(show: bool | None, total: int | None) -> Iterator[Callable[[int], object]]:
    """A progress bar, or nothing."""
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("probing", total=total)
        yield lambda count: bar.advance(task, count)
