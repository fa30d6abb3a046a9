"""Several candidates at a time: ask for them, probe them together, train the best."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from optuna import TrialPruned
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import Trial, TrialState
from torch import nn

from recent_prune.optuna import attributes, rung_zero
from recent_prune.optuna.pruner import ReconstructionEntropyPruner
from recent_prune.optuna.storing import caller, store
from recent_prune.probe import ProbeResult, Training, probe_many
from recent_prune.probe.batches.calling import Call
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.probe.probing import Estimator
from recent_prune.rules import Rule, TrainabilityRule, Verdict
from recent_prune.rules.certified import CertifiedRule
from recent_prune.rules.certified.arguments import check_rule
from recent_prune.rules.rung_zero import (
    Key,
    Place,
    check_shares,
    drawn,
    error_of,
    is_stopped,
    score_of,
    scorer_of,
    stored,
)
from recent_prune.rules.verdict import verdict_of

Build = Callable[[Trial], tuple[nn.Module, Training]]
"""From a trial to its model and how it trains; suggests all parameters."""

ROUNDS = 10
"""After so many times that all candidates were condemned it is the search space that is broken."""


@dataclass(frozen=True)
class Asked:
    """A trial to be trained, and told its value.

    Attributes:
        trial: Of the study.
        model: That was probed, as it was built.
        training: That came with it.
        verdict: Of the trial.
    """

    trial: Trial
    model: nn.Module
    training: Training
    verdict: Verdict


def ask_best(
    study: Study,
    build: Build,
    inputs: Inputs,
    *,
    candidates: int = 8,
    explore: float = 0.05,
    distributions: Mapping[str, BaseDistribution] | None = None,
    rule: Rule | None = None,
    estimator: Estimator = "ridge",
    call: Call | None = None,
    seed: int = 0,
) -> Asked:
    """Ask a study for several candidates, probe them together, and give the best to be trained.

    In place of ``study.ask()``: rung zero for loops of one's own, in which each training is the
    best of so many candidates. The others are told to the study as pruned, with what
    :func:`probe_trial` stores, so that report and :func:`audit` know them, and samplers how they
    ranked.

    Where all are condemned, they are pruned and as many others are asked for, ten times at most.
    One that cannot be probed is never condemned for it: with a warning it ranks in the middle of
    the others.

    Args:
        study: Of one objective.
        build: ``build(trial)`` suggests the parameters and gives model and :class:`Training`; each
            model has an optimizer of its own. A candidate that it prunes (``optuna.TrialPruned``)
            is left out; after any other error, here or in the inputs, all have failed.
        inputs: As in :func:`recent_prune.probe.probe_many`.
        candidates: Asked for at a time, at least 2. Default 8.
        explore: Probability with which a candidate is drawn from all that are not condemned,
            whatever it ranks, so that :func:`audit` can say what the ranking is worth. Default
            0.05.
        distributions: As in ``study.ask``.
        rule: Default: that of the study's :class:`ReconstructionEntropyPruner`, or
            :class:`TrainabilityRule`.
        estimator: As in :func:`recent_prune.probe.probe_many`.
        call: As in :func:`recent_prune.probe.probe_many`.
        seed: As in :func:`recent_prune.probe.probe_many`.

    Returns:
        Trial, model, training and verdict. Tell the study what the trial came to, as after
        ``study.ask()``.

    Raises:
        TypeError: If ``build`` gives something else, or ``inputs`` hold no tensors.
        ValueError: If ``candidates`` or ``explore`` is out of its range, ``inputs`` cannot be
            probed, the study has several objectives, or its pruner ranks by itself (``keep``).
        RuntimeError: If all candidates were condemned, ten times in a row.

    Example:
        .. code-block:: python

            for _ in range(12):  # trainings
                asked = ask_best(study, build, train_loader)
                study.tell(asked.trial, train(asked.model))
    """
    check_shares(1, explore)
    if not isinstance(candidates, int) or candidates < 2:
        raise ValueError(
            f"`candidates` must be a whole number of at least 2, but got {candidates!r}."
        )
    judge = _judge(study, rule)
    tried: list[_Tried] = []
    for _ in range(ROUNDS):
        built = _built(study, build, candidates, distributions)
        if not built:  # all were pruned by the user's own code
            continue
        models = [model for _, model, _ in built]
        trainings = [training for _, _, training in built]
        with _failing(study, [trial for trial, *_ in built]):
            results = probe_many(
                models,
                inputs,
                training=trainings,
                estimator=estimator,
                call=call,
                seed=seed,
                progress=False,
            )
            tried = [
                _Tried(Asked(*one, _verdict(judge, result)), result)
                for one, result in zip(built, results, strict=True)
            ]
            chosen = _chosen(study, tried, judge, float(explore))
        if chosen is not None:
            return chosen
    if not tried:
        raise RuntimeError(
            f"All of {ROUNDS * candidates} candidates were pruned by `build`. Is the search space "
            "at fault?"
        )
    raise RuntimeError(
        f"All of {ROUNDS * candidates} candidates were condemned, the last one since: "
        f"{tried[-1].asked.verdict.reason} Is the search space at fault?"
    )


@dataclass(frozen=True)
class _Tried:
    asked: Asked
    result: ProbeResult | Exception


def _judge(study: Study, rule: Rule | None) -> Rule:
    check_rule(rule)
    pruner = study.pruner
    if len(study.directions) > 1:
        raise ValueError(
            f"`study` must have one objective, but got {len(study.directions)}: Optuna prunes no "
            "trial of several."
        )
    ours = pruner if isinstance(pruner, ReconstructionEntropyPruner) else None
    if ours is not None and ours.keep < 1:
        raise ValueError(
            f"`study` has a pruner that ranks candidates by itself (keep={ours.keep:g}): "
            "give it keep=1, or use study.optimize with probe_trial."
        )
    found = rule or (None if ours is None else ours.rule)
    if isinstance(found, CertifiedRule):
        raise ValueError(
            f"`rule` must be one that ranks candidates, but got {found!r}, which prunes by itself: "
            "use study.optimize and probe_trial, or give ask_best(…, rule=TrainabilityRule())."
        )
    return found or TrainabilityRule()


def _built(
    study: Study, build: Build, count: int, distributions: Mapping[str, BaseDistribution] | None
) -> list[tuple[Trial, nn.Module, Training]]:
    """Candidates with their models; those that the user's own code prunes are left out."""
    built: list[tuple[Trial, nn.Module, Training]] = []
    asked: list[Trial] = []
    with _failing(study, asked):
        for _ in range(count):
            asked.append(study.ask(None if distributions is None else dict(distributions)))
            try:
                made = build(asked[-1])
            except TrialPruned:
                study.tell(asked.pop(), state=TrialState.PRUNED)
                continue
            if not (
                isinstance(made, tuple)
                and len(made) == 2
                and isinstance(made[0], nn.Module)
                and isinstance(made[1], Training)
            ):
                raise TypeError(f"`build` must return a model and a Training, but got {made!r}.")
            built.append((asked[-1], *made))
    return built


@contextmanager
def _failing(study: Study, trials: Sequence[Trial]) -> Iterator[None]:
    """After an error, an interrupt included, all have failed that were not told anything yet."""
    try:
        yield
    except BaseException:
        known = study.get_trials(deepcopy=False)
        for trial in trials:
            if not known[trial.number].state.is_finished():
                study.tell(trial, state=TrialState.FAIL)
        raise


def _verdict(judge: Rule, result: ProbeResult | Exception) -> Verdict:
    if isinstance(result, ProbeResult):
        return verdict_of(judge, result)
    fault = attributes.fault_of(result)
    warnings.warn(
        f"The probe failed, so the candidate ranks in the middle: {fault}", stacklevel=caller()
    )
    return Verdict(True, 0.0, f"It could not be judged: {fault}")


def _chosen(study: Study, tried: Sequence[_Tried], judge: Rule, explore: float) -> Asked | None:
    """The one to be trained; the others are told to the study."""
    scores = _scores(tried, judge)
    trials = [one.asked.trial for one in tried]
    keys: list[Key] = [
        (score, drawn(study.study_name, trial.number, "ties"))
        for score, trial in zip(scores, trials, strict=True)
    ]
    fine = [index for index, one in enumerate(tried) if one.asked.verdict.trainable]
    first = max(fine, key=lambda index: keys[index], default=None)
    chosen = first
    if fine and drawn(study.study_name, trials[0].number, "explore") < explore:
        chosen = fine[int(drawn(study.study_name, trials[0].number, "which") * len(fine))]
    for index, one in enumerate(tried):
        by_chance = explore / len(fine) if index in fine else 0.0
        place = Place(
            rank=1 + sum(key > keys[index] for key in keys),
            of=len(tried),
            keep=stored(1 / len(tried)),
            best=index == first and chosen == first,
            explored=index == chosen and chosen != first,
            share=by_chance + (1 - explore if index == first else 0.0),
            by=scorer_of(judge),
        )
        if index == first != chosen:
            place["displaced"] = True
        _tell(study, one, scores[index], place, judge)
    return None if chosen is None else tried[chosen].asked


def _scores(tried: Sequence[_Tried], judge: Rule) -> list[float]:
    known = {
        index: score_of(judge, one.result)
        for index, one in enumerate(tried)
        if isinstance(one.result, ProbeResult)
    }
    finite = [score for score in known.values() if not math.isnan(score)]
    middle = median(finite) if finite else 0.0
    scores = [known.get(index, middle) for index in range(len(tried))]
    return [-math.inf if math.isnan(score) else score for score in scores]


def _tell(study: Study, one: _Tried, score: float, place: Place, judge: Rule) -> None:
    trial, verdict, error = one.asked.trial, one.asked.verdict, None
    if isinstance(one.result, ProbeResult):
        known = attributes.to_attributes(trial.number, one.result, verdict)
        error = error_of(judge, one.result)
    else:
        known = attributes.of_failure(trial.number, attributes.fault_of(one.result), verdict, 0.0)
    placed = rung_zero.of_place(score, place, error, condemned=not verdict.trainable)
    store(trial, verdict, {**placed, **known})
    if is_stopped(place):
        study.tell(trial, state=TrialState.PRUNED)
