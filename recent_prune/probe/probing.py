"""The one verb: `probe`."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from recent_prune.probe.batches.calling import Call, Calling
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.probe.batches.walk import Walk, untrained, walk
from recent_prune.probe.first_steps.critical_rate import advised
from recent_prune.probe.first_steps.training import Training
from recent_prune.probe.first_steps.trial import after_first_steps, check_training
from recent_prune.probe.profiling import Profile
from recent_prune.probe.quantities.cutoff import check_tolerance
from recent_prune.probe.reconstructing.cascade import Cascade
from recent_prune.probe.reconstructing.ridge import Ridge
from recent_prune.probe.restoring.isolation import (
    accelerators,
    forked_random_states,
    run_eagerly,
)
from recent_prune.probe.restoring.training_state import model_restored
from recent_prune.probe.result import LEAST_REDUNDANCY, ProbeResult
from recent_prune.probe.watching.checks import check_model, check_names
from recent_prune.probe.watching.modules import unwrapped

Estimator = Literal["ridge", "cascade"] | Ridge | Cascade


def probe(
    model: nn.Module,
    inputs: Inputs,
    *,
    estimator: Estimator = "ridge",
    layers: Sequence[str] | None = None,
    reconstruct: Tensor | None = None,
    training: Training | None = None,
    call: Call | None = None,
    rtol: float = 0.005,
    seed: int = 0,
) -> ProbeResult:
    """Judge a trial by its first steps, or an initialization by what of its input arrives.

    Small reconstructions try to get the input back from every layer's activations; where they
    cannot, the information is lost and gradient descent has nothing to work with. With
    ``training`` the trial's own optimizer makes a few steps first: most trials fail by their
    learning rate, of which an initialization tells nothing.

    The model comes back as it was: parameters, gradients, buffers, mode, hooks, optimizer, and the
    random states of Python, NumPy and PyTorch are untouched, also after an error; a network trains
    bit for bit as it would have without the probe. It is probed in evaluation mode, with
    normalisation layers on the statistics of the batch (see :func:`isolated`).

    Args:
        model: Any module with parameters, wrapped by ``torch.compile`` or ``DataParallel`` or not;
            moved nowhere. It is called with each batch as a training loop would call it, see
            :mod:`recent_prune.probe.batches.calling` and ``call``.
        inputs: Samples, a tensor or array [n, …] with n ≥ 16 (an array's floats become PyTorch's
            default type), or an iterable of batches as the training loop gets them (a data
            loader); a few hundred samples are enough. With ``training`` also tensors (inputs,
            targets). They must be independent of each other, so not the nodes of one graph, and
            should be real: where they are so few, or so much like noise, that they cannot be
            reconstructed even from themselves, the probe warns and the rules condemn nothing for
            what it loses. They are moved to the model's device. Integers (tokens, categories) are
            fine: then the first floating activation behind them, summed over positions, is what is
            to be reconstructed. Of several inputs each is reconstructed by itself, see
            ``result.inputs``; masked positions do not count, and batches of unlike shapes (lengths,
            image sizes) are summed over what differs.
        estimator: ``"ridge"`` (default; closed form, any module, one forward pass),
            ``"cascade"`` (the paper's; trained, for stacks of linear and convolutional layers and
            of residual blocks), or a :class:`Ridge` or :class:`Cascade` with settings of your own.
        layers: Names of the modules whose outputs are probed, or ``"input of NAME"``: any of
            those in ``result.layers`` but ``"output"``. Of a module that is called more than once
            its name means all calls, ``"NAME#2"`` the second. ``"NAME.steps"`` means each time
            step of a module that gives sequences, such as an LSTM, or of a layer inside of it
            (``"lstm.layer1.steps"``), ``"NAME.step3"`` the third. Default: what arrives at each
            weighted layer after the first, so the deepest is what arrives at the head; a weight
            that a function applies is a layer, too.
        reconstruct: Samples [k, …] to be reconstructed from every layer, for looking at them.
            They pass through the model with the others, so where it has batch normalisation
            they take part in the statistics and change the numbers a little.
        training: How the trial trains. With it, a few updates are made on the trial's own batches
            before the probe, and undone after it; ``result.steps`` and ``result.gradients`` tell
            what they showed, and the profile is that after them. See :class:`Training`. Default:
            none, the initialization is probed and nothing is known of the learning rate.
        call: ``call(model, batch)``, how the model is called, where the conventions do not fit;
            with ``training`` it is said there. Default: the conventions.
        rtol: Relative tolerance of the cutoff. Default 0.005 (the paper's for DNNs).
        seed: Of everything random in the probe. Same seed, same result.

    Returns:
        The profile over the layers. Activations that are NaN or infinite do not raise; the
        result names the first such layer and its ``retained`` is 0 from there on.

    Raises:
        TypeError: If ``model`` is no module, ``inputs`` hold no tensors, or ``training`` is no
            :class:`Training`.
        ValueError: If an argument is out of its range, ``inputs`` are too few, not finite or all
            equal, targets are missing, the optimizer is not over the model's parameters, the model
            has no parameters or no activations to probe, or the estimator cannot deal with its
            structure.
        Exception: Whatever model, loss or optimizer raise, with a note that names the batch and the
            step.

    Source: arXiv 2406.12916; the ridge estimator is this project's.

    Example:
        >>> import recent_prune as rp
        >>> from recent_prune.data import load_digits
        >>> model = rp.networks.mlp(64, 10, depth=50, width=64, weight_variance=0.5)
        >>> result = rp.probe(model, load_digits().train)
        >>> rp.TrainabilityRule()(result).trainable
        False
    """
    run = ready(
        model,
        inputs,
        estimator=estimator,
        layers=layers,
        reconstruct=reconstruct,
        training=training,
        call=call,
        rtol=rtol,
        seed=seed,
    )
    result = run()
    warn_of_noise(result.redundancy)
    return result


def ready(
    model: nn.Module,
    inputs: Inputs,
    *,
    estimator: Estimator,
    layers: Sequence[str] | None,
    reconstruct: Tensor | None,
    training: Training | None,
    rtol: float,
    seed: int,
    call: Call | None = None,
) -> Callable[[], ProbeResult]:
    """Check all that can be checked before the model runs; arguments as in :func:`probe`.

    So a caller can tell what is wrong with the call from what the trial itself does.

    Returns:
        A function that runs the model and probes it.

    Raises:
        TypeError: As :func:`probe`.
        ValueError: As :func:`probe`.
    """
    start = time.perf_counter()
    chosen = resolved(estimator)
    check_model(model)
    check_tolerance(rtol)
    met = gathered(inputs, chosen.samples, training, seed, accelerators(model))
    inner = unwrapped(model)
    calling, trained = calling_of(training, call), training is not None
    profile = Profile(inner, met, chosen, calling, layers, rtol, seed, trained, reconstruct)
    check_names(inner, layers)
    if training is not None:
        check_training(inner, met, training)
    return partial(_probed, profile, training, start)


def probe_samples(
    model: nn.Module,
    met: Walk,
    estimator: Ridge | Cascade,
    *,
    layers: Sequence[str] | None,
    rtol: float,
    seed: int,
    training: Training | None = None,
    call: Call | None = None,
) -> ProbeResult:
    """Probe with batches that are gathered and checked already; arguments as in :func:`probe`."""
    start = time.perf_counter()
    check_model(model)
    calling, trained = calling_of(training, call), training is not None
    profile = Profile(unwrapped(model), met, estimator, calling, layers, rtol, seed, trained)
    return _probed(profile, training, start)


def _probed(profile: Profile, training: Training | None, start: float) -> ProbeResult:
    with run_eagerly(profile.model):
        return _probed_eagerly(profile, training, start)


def _probed_eagerly(profile: Profile, training: Training | None, start: float) -> ProbeResult:
    model, met, seed = profile.model, profile.met, profile.seed
    if training is None:
        with model_restored(model):
            return profile(start)
    before = None
    if training.before:
        with model_restored(model):
            before = profile(start)
    with after_first_steps(model, met, training, seed) as (steps, gradients):
        after = profile(start)
    steps = advised(model, met, training, seed, steps)
    seconds = time.perf_counter() - start
    return replace(after, steps=steps, gradients=gradients, before=before, seconds=seconds)


def gathered(
    batches: Inputs,
    samples: int | None,
    training: Training | None,
    seed: int,
    devices: Sequence[torch.device] = (),
) -> Walk:
    """Samples to probe, at most so many, and the batches of the first steps, in one walk.

    A data loader shuffles by ``seed``, and on ``devices``, too, random states come back.

    Raises:
        TypeError: If ``training`` is something else, or as :func:`walk`.
        ValueError: As :func:`walk`.
    """
    if training is not None and not isinstance(training, Training):
        raise TypeError(f"`training` must be a Training, but got {type(training).__name__}.")
    with forked_random_states(devices, seed):
        if training is None:
            return untrained(batches, samples)
        count = training.steps * training.accumulate
        return walk(batches, count, samples, training.batch_size, seed)


def calling_of(training: Training | None, call: Call | None) -> Calling:
    """How a model is called: as it is trained, or as ``call`` says.

    Raises:
        TypeError: If ``call`` is no function.
        ValueError: If it is said twice.
    """
    if call is not None and not callable(call):
        raise TypeError(f"`call` must be a function of model and batch, but got {call!r}.")
    if training is None:
        return Calling(call, own_loss=call is not None)
    if call is not None:
        raise ValueError("`call` must be None where `training` is given: Training(…, call=…).")
    return Calling(training.call, own_loss=training.loss is None)


def resolved(estimator: Estimator) -> Ridge | Cascade:
    """The estimator that is meant.

    Raises:
        ValueError: If it is unknown.
    """
    if isinstance(estimator, (Ridge, Cascade)):
        return estimator
    if estimator == "ridge":
        return Ridge()
    if estimator == "cascade":
        return Cascade()
    raise ValueError(
        f"`estimator` must be 'ridge', 'cascade', a Ridge or a Cascade, but got {estimator!r}."
    )


def warn_of_noise(redundancy: float, stacklevel: int = 3) -> None:
    """Say that nothing will be condemned for what it loses, see `LEAST_REDUNDANCY`."""
    if redundancy < LEAST_REDUNDANCY:
        warnings.warn(
            f"Only {redundancy:.0%} of `inputs` can be reconstructed from the inputs themselves "
            f"(at least {LEAST_REDUNDANCY:.0%} needed): they are too few, or too much like noise, "
            "to tell what a network loses, so the rules will not condemn it for that. Give real "
            "samples, a few hundred.",
            stacklevel=stacklevel,
        )
