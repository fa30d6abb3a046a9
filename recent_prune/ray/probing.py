"""What a probe actor does: a batch of configurations in, what is known of each out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ray import cloudpickle
from torch import nn

from recent_prune.preflight import Limits
from recent_prune.probe import ProbeResult, Training, probe, probe_many
from recent_prune.probe.batches.calling import Call
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.probe.batches.walk import untrained
from recent_prune.probe.probing import Estimator, calling_of, resolved
from recent_prune.probe.restoring.isolation import forked_random_states
from recent_prune.probe.restoring.tracebacks import light
from recent_prune.ray.batches import LoadInputs, repeatable, sendable, takes_configuration
from recent_prune.ray.initialization import (
    BuildModel,
    Config,
    MakeTraining,
    build_probed_model,
    trial_seed,
)
from recent_prune.ray.judging.outcome import Candidate, Outcome
from recent_prune.ray.preflight import fit
from recent_prune.rules import Rule, Scalar, TrainabilityRule, Verdict, summary
from recent_prune.rules.certified import CertifiedRule
from recent_prune.rules.certified.learned_score import probe_features
from recent_prune.rules.fit import Fit
from recent_prune.rules.rung_zero import error_of, score_of, stored_score
from recent_prune.rules.verdict import nonfinite_verdict, verdict_of

LARGEST = 1e100
"""Of a hyperparameter that a certified rule looks at."""


@dataclass(frozen=True)
class ProbeSettings:
    """How candidates are probed, judged, and scored where they are ranked (``ranks``)."""

    build_model: BuildModel
    inputs: Inputs | LoadInputs
    rule: Rule | CertifiedRule
    estimator: Estimator
    layers: Sequence[str] | None
    rtol: float
    training: MakeTraining | None = None
    call: Call | None = None
    ranks: bool = False
    limits: Limits | None = None

    def load_inputs(self) -> Inputs | None:
        """What all trials are probed with, loaded where this is called if a function loads it.

        Without ``training`` these are the samples, with it batches to train on; None where each
        trial has its own.
        """
        if takes_configuration(self.inputs):
            return None
        samples = resolved(self.estimator).samples
        with forked_random_states([], 0):  # each actor the same, if a data loader shuffles
            inputs: Any = self.inputs() if callable(self.inputs) else self.inputs  # type: ignore[call-arg]
            if self.training is None:
                return untrained(inputs, samples).probed
            return repeatable(inputs, samples)


def settings_of(
    build_model: BuildModel,
    inputs: Inputs | LoadInputs,
    rule: Rule | CertifiedRule | None,
    estimator: Estimator,
    layers: Sequence[str] | None,
    rtol: float,
    training: MakeTraining | None,
    call: Call | None,
    ranks: bool,
    limits: Limits | None,
) -> ProbeSettings:
    """Of what a user gave, with inputs that can be sent; without a rule, of the default one."""
    if not callable(inputs):
        inputs = sendable(inputs, resolved(estimator).samples, trained=training is not None)
    rule = rule or TrainabilityRule()
    return ProbeSettings(
        build_model, inputs, rule, estimator, layers, rtol, training, call, ranks, limits
    )


def pickled(settings: ProbeSettings) -> bytes:
    """Settings as they are sent to an actor.

    Raises:
        TypeError: If one of them cannot be pickled.
    """
    for name in ("build_model", "inputs", "rule", "estimator", "training", "call"):
        try:
            cloudpickle.dumps(getattr(settings, name))
        except Exception as error:
            raise TypeError(
                f"`{name}` must be picklable, to be sent to a probe actor, but got "
                f"{getattr(settings, name)!r}: {described(error)}"
            ) from error
    return bytes(cloudpickle.dumps(settings))


def probe_batch(
    settings: ProbeSettings,
    inputs: Inputs | None,
    candidates: Sequence[Candidate],
    device: str = "cpu",
) -> list[Outcome]:
    """Build, probe and judge candidates, in order; what goes wrong with one harms no other.

    Args:
        settings: How.
        inputs: What :meth:`ProbeSettings.load_inputs` gave.
        candidates: Trials.
        device: On which.
    """
    if settings.training is None and inputs is not None:
        together = _probed_together(settings, inputs, candidates, device)
        return [_judged(settings, c, together[c.trial_id]) for c in candidates]
    return [_probed_alone(settings, inputs, c, device) for c in candidates]


def _probed_together(
    settings: ProbeSettings, inputs: Inputs, candidates: Sequence[Candidate], device: str
) -> dict[str, ProbeResult | Exception]:
    """Results at their initializations, or why there are none, by trial."""
    built: list[str] = []
    found: dict[str, ProbeResult | Exception] = {}

    def models() -> Iterator[nn.Module]:
        for candidate in candidates:
            try:
                model = _built(settings.build_model, candidate, device)
            except _UsersError as error:
                found[candidate.trial_id] = light(error)
            else:
                built.append(candidate.trial_id)
                yield model

    results = probe_many(
        models(),
        inputs,
        estimator=settings.estimator,
        layers=settings.layers,
        call=settings.call,
        rtol=settings.rtol,
        progress=False,
    )
    return {**found, **dict(zip(built, results, strict=True))}


def _probed_alone(
    settings: ProbeSettings, inputs: Inputs | None, candidate: Candidate, device: str
) -> Outcome:
    """After the trial's first steps, where its training is known; before them, if it cannot fit."""
    fits = None
    try:
        model = _built(settings.build_model, candidate, device)
        training = _training(settings.training, model, candidate)
        # For trials without a training, unless it was forgotten in this one's.
        call = settings.call if training is None or training.call is None else None
        calling_of(training, call)
        batches = _loaded(settings.inputs, candidate) if inputs is None else inputs
        if settings.limits is not None and training is not None:
            fits = fit(model, batches, training, settings.limits)
        if fits is not None and not fits.verdict.trainable:
            return Outcome(
                candidate.trial_id, summary=summary(None, fits.verdict), memory=fits.memory
            )
        result = probe(
            model,
            batches,
            estimator=settings.estimator,
            layers=settings.layers,
            training=training,
            call=call,
            rtol=settings.rtol,
        )
    except Exception as error:  # light, or its model would be held until the batch is done
        return _judged(settings, candidate, light(error))
    return _judged(settings, candidate, result, fits)


class _UsersError(Exception):
    """What a function of the user's raised."""

    def __init__(self, name: str, error: Exception) -> None:
        super().__init__(f"{name} failed: {described(error)}")


def _called(name: str, candidate: Candidate, call: Callable[[Config], Any]) -> Any:
    """Call what is the user's with a configuration of its own, as it would be in the trial."""
    try:
        return call(copy.deepcopy(candidate.config))
    except Exception as error:
        raise _UsersError(name, error) from error


def _built(build_model: BuildModel, candidate: Candidate, device: str) -> nn.Module:
    def build(config: Config) -> nn.Module:
        model = build_probed_model(build_model, config, trial_id=candidate.trial_id)
        if not isinstance(model, nn.Module):
            raise TypeError(f"`build_model` must return a module, but got {type(model).__name__}.")
        return model.to(device)

    model: nn.Module = _called("build_model", candidate, build)
    return model


def _loaded(load: Any, candidate: Candidate) -> Inputs:
    """What a function of the configuration loads, in the same order in every actor."""
    with forked_random_states([], 0):
        inputs: Inputs = _called("inputs", candidate, load)
        return inputs


def _training(make: MakeTraining | None, model: nn.Module, candidate: Candidate) -> Training | None:
    if make is None:
        return None

    def made(config: Config) -> Training | None:
        with forked_random_states([], trial_seed(candidate.trial_id)):
            training = make(model, config)
        if training is not None and not isinstance(training, Training):
            raise TypeError(
                f"`training` must return a Training or None, but got {type(training).__name__}."
            )
        return training

    training: Training | None = _called("training", candidate, made)
    return training


def _judged(
    settings: ProbeSettings,
    candidate: Candidate,
    result: ProbeResult | Exception,
    fits: Fit | None = None,
) -> Outcome:
    if isinstance(result, Exception):
        fault = str(result) if isinstance(result, _UsersError) else described(result)
        return Outcome(candidate.trial_id, fault=fault)
    rule = settings.rule
    try:
        if isinstance(rule, CertifiedRule):
            return _prepared(candidate, result)
        score = stored_score(score_of(rule, result)) if settings.ranks else None
        unsure = error_of(rule, result) if settings.ranks else None
        verdict = verdict_of(rule, result)
        if fits is not None:
            verdict = fits.verdict_after(result, verdict)
        if settings.ranks and result.steps is None and verdict.trainable:
            raise ValueError("`training` returned None, but `keep` ranks by first steps.")
        known = summary(result, verdict)
        memory = {} if fits is None else fits.memory
        return Outcome(candidate.trial_id, summary=known, score=score, error=unsure, memory=memory)
    except Exception as error:
        return Outcome(candidate.trial_id, fault=described(error))


def _prepared(candidate: Candidate, result: ProbeResult) -> Outcome:
    """What a certified rule needs: it judges in the driver, which sees the other trials."""
    nonfinite = nonfinite_verdict(result)
    if nonfinite is not None:  # never good, and not worth a record
        return Outcome(candidate.trial_id, summary=summary(result, nonfinite))
    from ray.tune.utils import flatten_dict  # the other actors are not to wait for Tune

    features = {name: float(f"{v:.6g}") for name, v in probe_features(result).items()}
    drawn = flatten_dict(candidate.config).items()
    plain: dict[str, Scalar] = {
        name: value
        # What NumPy draws are scalars of its own.
        for name, value in ((n, v.item() if getattr(v, "ndim", 1) == 0 else v) for n, v in drawn)
        if isinstance(value, str)
        or (isinstance(value, (bool, int, float)) and abs(value) < LARGEST)
    }
    undecided = summary(result, Verdict(True, -0.0, "Not judged yet."))
    return Outcome(candidate.trial_id, undecided, features=features, parameters=plain)


def described(error: BaseException) -> str:
    """One line that says what went wrong, and where, if that is noted."""
    lines = str(error).strip().splitlines()
    # A note of several lines is a traceback, see `light`.
    told = [note for note in getattr(error, "__notes__", ()) if "\n" not in note]
    notes = "".join(f" ({note})" for note in told)
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}{notes}"
