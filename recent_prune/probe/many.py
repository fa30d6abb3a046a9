"""Many initializations at once: `probe_many`."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager

from torch import nn

from recent_prune.probe.batches.calling import Call
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.probe.first_steps.training import Training
from recent_prune.probe.groups import Group, OneByOne, Outcome, Stacked
from recent_prune.probe.probing import Estimator, gathered, resolved, warn_of_noise
from recent_prune.probe.reconstructing.ridge import Ridge
from recent_prune.probe.restoring.isolation import device_of
from recent_prune.probe.restoring.memory import free_memory
from recent_prune.probe.result import ProbeResult
from recent_prune.probe.watching.checks import check_layers, check_model
from recent_prune.probe.watching.modules import unwrapped
from recent_prune.probe.watching.stack import architecture, held_bytes


def probe_many(
    models: Iterable[nn.Module],
    inputs: Inputs,
    *,
    estimator: Estimator = "ridge",
    layers: Sequence[str] | None = None,
    training: Training | Sequence[Training] | None = None,
    call: Call | None = None,
    rtol: float = 0.005,
    seed: int = 0,
    waiting: int | None = None,
    progress: bool | None = None,
) -> list[Outcome]:
    """Probe many initializations on the same inputs.

    Models of one architecture (equal in all but the values of their parameters and buffers) are
    stacked and run together, as many as fit into the free memory; their reconstructions are
    solved together. Results are those of :func:`probe` within rounding: ``retained`` to 1e-3, the
    cutoff where no layer sits on its tolerance. What cannot be stacked is probed one by one, and
    so are all models with the cascade, single ones of an architecture, and on a CPU those of more
    than 2 MiB, which gain nothing there. With ``training`` all are probed one by one.

    A model that cannot be probed does not harm the others: its place holds the exception.

    Args:
        models: On one device or several. None of them is changed. A generator is drawn from as
            needed.
        inputs: As in :func:`probe`, gathered once.
        estimator: As in :func:`probe`.
        layers: As in :func:`probe`.
        training: As in :func:`probe`, one for all models or one for each; their optimizers are
            functions, unless each model has one of its own.
        call: As in :func:`probe`.
        rtol: As in :func:`probe`.
        seed: As in :func:`probe`.
        waiting: Bytes of models that wait for others of their architecture, at most, ≥ 0; the
            largest group is probed when they are more. Default: a quarter of what is free on the
            first model's device: to stack them takes as much again, and their run the rest.
        progress: Whether to show a progress bar (needs ``rich``). Default: if standard error is a
            terminal.

    Returns:
        For each model, in order, its result, or the exception that :func:`probe` would raise.
        ``seconds`` is the model's share of the time of its stack.

    Raises:
        TypeError: If ``inputs`` hold no tensors, ``models`` is a model or a mapping, or
            ``training`` is no :class:`Training`.
        ValueError: If ``inputs`` cannot be probed, or an argument is out of its range.

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
    if waiting is not None and (not isinstance(waiting, int) or waiting < 0):
        raise ValueError(f"`waiting` must be a number of bytes, ≥ 0, but got {waiting!r}.")
    chosen = resolved(estimator)
    met = gathered(inputs, chosen.samples, _longest(models, training), seed)
    one_by_one = OneByOne(met, chosen, layers, training, rtol, seed, call)
    probing: OneByOne | Stacked = one_by_one
    if isinstance(chosen, Ridge) and training is None:
        probing = Stacked(one_by_one, chosen)
    outcomes: dict[int, Outcome] = {}
    with _progress(progress, len(models) if isinstance(models, Sized) else None) as advance:
        for group in _grouped(models, probing.size, waiting):
            outcomes.update(probing.outcomes(group))
            advance(len(group))
    found = [o.redundancy for o in outcomes.values() if isinstance(o, ProbeResult)]
    warn_of_noise(min(found, default=1.0))
    return [outcomes[index] for index in range(len(outcomes))]


def _longest(
    models: Iterable[nn.Module], training: Training | Sequence[Training] | None
) -> Training | None:
    """The training that needs most batches; all get theirs from those."""
    if not isinstance(training, Sequence):
        return training
    if isinstance(models, Sized) and len(training) != len(models):
        raise ValueError(
            f"`training` must be one, or as many as `models` ({len(models)}), but got "
            f"{len(training)}."
        )
    for one in training:
        if not isinstance(one, Training):
            raise TypeError(f"`training` must hold Trainings, but got a {type(one).__name__}.")
    sizes = {one.batch_size for one in training}
    if len(sizes) > 1:
        raise ValueError(
            f"`training` must have one `batch_size` for all, but got {sorted(sizes)}: the batches "
            "are gathered once."
        )
    return max(training, key=lambda one: one.steps * one.accumulate, default=None)


def _grouped(
    models: Iterable[nn.Module], size: Callable[[nn.Module], int], most: int | None
) -> Iterator[Group]:
    """Models of one architecture, each with its place, in groups of a size that suits it.

    Those that wait for others of their kind hold ``most`` bytes at most, see `probe_many`.
    """
    waiting: dict[Hashable, Group] = defaultdict(list)
    held: Counter[Hashable] = Counter()
    for index, model in enumerate(models):
        try:
            check_model(model)
            inner = unwrapped(model)
            key, enough, size_of_it = architecture(inner), size(inner), held_bytes(inner)
        except Exception:
            yield [(index, model)]  # alone it will say what is wrong with it
            continue
        if most is None:
            most = free_memory(device_of(inner)) // 4
        waiting[key].append((index, inner))
        held[key] += size_of_it
        if len(waiting[key]) >= enough:
            del held[key]
            yield waiting.pop(key)
        while held.total() > most:
            ((largest, _),) = held.most_common(1)
            del held[largest]
            yield waiting.pop(largest)
    yield from waiting.values()


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
