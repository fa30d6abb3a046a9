"""One trial on several processes: ``TorchDistributedTrial`` of optuna-integration.

It wraps the trial on the first process and holds none on the others; what is asked of it is
answered on all at once. It is known by its attributes, so that its package need not be there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from optuna.study import Study
from optuna.trial import BaseTrial

from recent_prune.optuna import attributes
from recent_prune.rules import Verdict


def is_shared(trial: BaseTrial) -> bool:
    """Whether several processes work on the trial."""
    return hasattr(trial, "_delegate") and callable(getattr(trial, "_broadcast", None))


def judged_by_the_first(trial: BaseTrial, judge: Callable[[BaseTrial | None], Verdict]) -> Verdict:
    """The first process judges, and its verdict, or its error, is everybody's.

    Args:
        trial: See `is_shared`.
        judge: Takes the first process's trial, and stores the verdict there; on the others it
            takes None. Those run the model too, since layers such as ``SyncBatchNorm`` wait for
            all.

    Raises:
        Exception: That of the first process.
    """
    shared: Any = trial
    outcome: Verdict | Exception
    try:
        outcome = judge(shared._delegate)
    except Exception as error:  # the other processes wait for an answer
        outcome = error
    outcome = shared._broadcast(outcome)
    if isinstance(outcome, Exception):
        raise outcome
    # Once more, for each process's copy of the attributes is read anew after it.
    trial.set_user_attr(attributes.TRAINABLE, outcome.trainable)
    return outcome


def study_of(trial: BaseTrial) -> Study | None:
    """The study of a trial, also of a trial that wraps another; None if unknown."""
    for known in (trial, getattr(trial, "_delegate", None)):
        study = getattr(known, "study", None)
        if isinstance(study, Study):
            return study
    return None
